import subprocess
import sys

PROGRAM = """
import resource
import torch
from train.memory import keep_freed_memory

def count_new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
count_new_pages()
handed_back = count_new_pages()
kept = keep_freed_memory()
count_new_pages()
print(kept, handed_back, count_new_pages())
"""


def test_freed_memory_is_had_again_without_asking_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    kept, handed_back, pages = done.stdout.split()
    if kept == "True":  # glibc's
        assert int(pages) < int(handed_back) / 10
