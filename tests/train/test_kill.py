"""A run that is killed again and again, and gone on with each time, against one that nothing disturbs."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contents import differences, last_checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.store import temporary_name
from train.checkpoint import find_checkpoints

EPOCHS = 16
EPOCH_IMAGES = 64
OPTIONS = (
    *("--preset", "demo", "--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8"),
    *("--evaluate-every", "256", "--samples", "16"),
)
SEED = 0
PATIENCE_S = 120.0


def read_rows(run_folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run_folder / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "images_per_s"} for row in rows]


def images_seen(run_folder: Path) -> int:
    found = find_checkpoints(run_folder)
    return int(found[-1].stem) if found else 0


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.002)


def kill_while_it_writes(process: subprocess.Popen[str], checkpoint: Path) -> None:
    """Kill a process in the middle of a checkpoint, which it writes into a pipe that nobody empties."""
    own = temporary_name(checkpoint.name).removesuffix(str(os.getpid()))
    pipe = checkpoint.with_name(f"{own}{process.pid}")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    written = 0

    def has_begun() -> bool:
        nonlocal written
        try:
            written += len(os.read(reader, 1000))
        except BlockingIOError:  # it has opened the file, and not written yet
            return False
        return written > 0

    wait_until(has_begun, process)
    process.kill()
    os.close(reader)


def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(command: Callable[..., int], data_root: Path) -> None:
    arguments = ["rooms", *OPTIONS, "--epochs", str(EPOCHS)]
    runs = data_root / "rooms" / "train"
    assert command(*arguments, "--name", "undisturbed") == 0
    run_folder = runs / "killed"

    instants = sorted(random.Random(SEED).sample(range(1, EPOCHS * 3 // 4), 3))
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    for epochs, number in [*zip(instants, signals, strict=True), (None, signal.SIGKILL)]:
        before = images_seen(run_folder)
        process = subprocess.Popen(
            [sys.executable, "-m", "train.run", *arguments, "--name", "killed", "--resume", "auto"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "300", "OMP_NUM_THREADS": "1"},
        )
        if epochs is None:
            following = (before // EPOCH_IMAGES + 1) * EPOCH_IMAGES
            kill_while_it_writes(process, run_folder / "checkpoints" / f"{following:012d}.pt")
        else:
            target = max(epochs * EPOCH_IMAGES, before + 1)
            wait_until(lambda: images_seen(run_folder) >= target, process)  # noqa: B023
            process.send_signal(number)
        output, _ = process.communicate()
        if number is signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
        else:
            assert process.returncode == 130
            assert f"stopped and saved at image {images_seen(run_folder):,}" in output
            assert "python -m train.run rooms" in output
        if epochs is None:
            assert images_seen(run_folder) == before
        assert images_seen(run_folder) < EPOCHS * EPOCH_IMAGES

    time.sleep(1)  # TensorBoard orders a run's files by the second that they were begun in
    assert command(*arguments, "--name", "killed", "--resume", "must") == 0
    assert differences(last_checkpoint(runs / "undisturbed"), last_checkpoint(run_folder)) == []
    rows = read_rows(run_folder)
    assert rows == read_rows(runs / "undisturbed")
    assert (run_folder / "samples.png").read_bytes() == (runs / "undisturbed" / "samples.png").read_bytes()
    assert not list((run_folder / "checkpoints").glob(".tmp-*"))
    events = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("value")] == [row["images"] for row in rows if "value" in row]


def test_a_damaged_last_checkpoint_costs_time_and_nothing_else(command: Callable[..., int], data_root: Path) -> None:
    runs = data_root / "rooms" / "train"
    assert command("rooms", *OPTIONS, "--epochs", "4", "--name", "undisturbed") == 0
    assert command("rooms", *OPTIONS, "--epochs", "3", "--name", "damaged") == 0
    last = find_checkpoints(runs / "damaged")[-1]
    last.write_bytes(last.read_bytes()[:5000])
    assert command("rooms", *OPTIONS, "--epochs", "4", "--name", "damaged", "--resume", "auto") == 0
    assert differences(last_checkpoint(runs / "undisturbed"), last_checkpoint(runs / "damaged")) == []
    assert read_rows(runs / "undisturbed") == read_rows(runs / "damaged")
