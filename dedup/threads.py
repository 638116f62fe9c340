"""Threads: batches of rows in, their results in order out, worked on by every core.

Serves the arrows of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" that run
torch. Its own threads split every small operation over the cores and wait for each other after each; whole batches on
one thread each are faster, a good deal so on a busy machine, and sums round alike on any number of cores.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch use one thread for each operation, in this thread and those started meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_batches(work: Callable[[slice], None], count: int, size: int) -> None:
    """Call `work` with each slice of `size` rows of `count`, on all cores at once; it must write to its slice alone."""
    with one_torch_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, [slice(start, min(start + size, count)) for start in range(0, count, size)]):
            pass
