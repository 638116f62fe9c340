"""Does a run that is killed at any instant, and gone on with, end as one that nothing disturbs? To the bit, on the CPU.

    python -m benchmarks.kill [--kills 10] [--images 640] [--epochs 12] [--seed 0]

Rendered rooms are trained on by `python -m train.run`, undisturbed; then once for SIGKILL and once for SIGTERM, killed
``--kills`` times and started again with ``--resume auto`` each time. Instants are drawn from a seeded generator, over
the course of the run: seconds since training went on. Every third is the next moment that a checkpoint is being
written. At last the runs end, and their last checkpoints are compared, tensor by tensor, and all rows of statistics but
for their rate.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.loader import write_clean
from benchmarks.tables import console, print_machine, print_table
from train import checkpoint

DATASET = "rooms"
NTH_IN_A_WRITE = 3
POLL_S = 0.0005
COURSE = 1.2  # times an equal share of the run's seconds: the longest time between two kills


@dataclass(frozen=True, slots=True)
class Run:
    """A run that can be started, and started again.

    Attributes:
        data_root: where the clean set is.
        name: of the run.
        epochs: of training.
    """

    data_root: Path
    name: str
    epochs: int

    @property
    def folder(self) -> Path:
        """Where its samples, statistics and checkpoints are."""
        return self.data_root / DATASET / "train" / self.name

    def start(self) -> subprocess.Popen[bytes]:
        """Begin or go on, and return once training does."""
        stats = self.folder / "stats.jsonl"
        before = stats.stat().st_ino if stats.exists() else 0
        options = ["--preset", "demo", "--epochs", str(self.epochs), "--device", "cpu", "--resume", "auto", "--quiet"]
        where = ["--data-root", str(self.data_root), "--name", self.name]
        process = subprocess.Popen(
            [sys.executable, "-m", "train.run", DATASET, *options, *where], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        # The rows that come after the checkpoint are dropped first: the file is another one then.
        wait_until(lambda: stats.exists() and stats.stat().st_ino != before, process)
        return process

    def images_saved(self) -> int:
        """Images seen by its last checkpoint."""
        found = checkpoint.find_checkpoints(self.folder)
        return int(found[-1].stem) if found else 0

    def is_writing(self) -> bool:
        """Whether a checkpoint is being written, or was when the process was killed."""
        return any((self.folder / checkpoint.CHECKPOINTS).glob(".tmp-*"))

    def rows(self) -> list[dict[str, Any]]:
        """Its statistics, without the rate."""
        lines = (self.folder / "stats.jsonl").read_text().splitlines()
        return [{name: value for name, value in json.loads(line).items() if name != "images_per_s"} for line in lines]


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait; return too where the process has ended."""
    while process.poll() is None and not is_so():
        time.sleep(POLL_S)


def kill_again_and_again(
    run: Run, number: signal.Signals, kills: int, course_s: float, rng: random.Random
) -> Iterator[tuple[str, ...]]:
    """Start and kill a run, then let it end; yields a row of the table for each start."""
    for kill in range(1, kills + 1):
        came_from = run.images_saved()
        delay_s = rng.uniform(0, COURSE * course_s / kills)
        for leftover in (run.folder / checkpoint.CHECKPOINTS).glob(".tmp-*"):
            leftover.unlink()  # so that the next one seen is a new one
        process = run.start()
        if kill % NTH_IN_A_WRITE:
            end = time.monotonic() + delay_s
            wait_until(lambda: time.monotonic() > end, process)  # noqa: B023
        else:
            wait_until(run.is_writing, process)
        process.send_signal(number)
        code = process.wait()
        instant = f"after {delay_s:.2f} s" if kill % NTH_IN_A_WRITE else "in a write"
        left = "yes" if run.is_writing() else ""
        yield instant, number.name, f"{came_from:,}", f"{run.images_saved():,}", left, str(code)
    came_from = run.images_saved()
    code = run.start().wait()
    yield "never", "", f"{came_from:,}", f"{run.images_saved():,}", "", str(code)


def count_differences(a: object, b: object) -> tuple[int, int]:
    """How many leaves (tensors, numbers, words) two nests of dicts and lists have, and how many are not equal."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        counts = [count_differences(a[key], b[key]) for key in a]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        counts = [count_differences(*pair) for pair in zip(a, b, strict=True)]
    elif isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return 1, int(not torch.equal(a, b))
    else:
        return 1, int(a != b)
    return sum(leaves for leaves, _ in counts), sum(differing for _, differing in counts)


def main() -> None:
    """Make the images, train, kill, compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    print_machine("torch", "numpy")
    verdicts, is_equal = [], True
    with tempfile.TemporaryDirectory() as name:
        write_clean(Path(name) / DATASET / "clean", options.images)
        undisturbed = Run(Path(name), "undisturbed", options.epochs)
        process = undisturbed.start()
        started = time.monotonic()
        process.wait()
        course_s = time.monotonic() - started
        expected = checkpoint.read(checkpoint.find_checkpoints(undisturbed.folder)[-1])
        for number in (signal.SIGKILL, signal.SIGTERM):
            run = Run(Path(name), number.name, options.epochs)
            rows = list(kill_again_and_again(run, number, options.kills, course_s, rng))
            columns = ("killed", "signal", "began at image", "saved at image", "a write was cut off", "exit code")
            print_table(f"{number.name}, {options.kills} times", columns, rows)
            leaves, differing = count_differences(
                expected, checkpoint.read(checkpoint.find_checkpoints(run.folder)[-1])
            )
            rows_alike = run.rows() == undisturbed.rows()
            is_equal = is_equal and not differing and rows_alike
            verdicts.append(
                f"{number.name}: {differing} of {leaves} values in the last checkpoint differ; "
                f"rows {'are equal' if rows_alike else 'DIFFER'}"
            )
    for verdict in verdicts:
        console.print(verdict)
    console.print(
        f"{options.images} rooms of 32 px, {options.epochs} epochs ({expected['images_seen']:,} images) in "
        f"{course_s:.1f} s undisturbed; seed {options.seed}"
    )
    if not is_equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
