"""Parts that several tests share: pictures, tars, LMDBs, and a stage that subprocesses can import."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lmdb
import numpy as np
from PIL import Image

from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.record import Record
from pipelines.sources import Source
from pipelines.stage import Task, dataset_lock, run_stage
from pipelines.store import open_root

TESTS = Path(__file__).parent


def smooth_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture without fine detail, so that lossy formats keep it; no two of its corners are alike."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def jpeg(seed: int = 0) -> bytes:
    return encode(smooth_picture(24, 20, seed), "JPEG")


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_lmdb(path: Path, items: Mapping[bytes, bytes], **options: Any) -> Path:
    with lmdb.open(str(path), **{"map_size": 1 << 26, **options}) as environment, environment.begin(write=True) as txn:
        for key, value in items.items():
            txn.put(key, value)
    return path


def read_all(source: Source, size: int | None = None) -> list[Record]:
    return [record for split in source.splits(size) for record in source.read(split)]


def hashes_below(folder: Path, *, leave_out: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(path.relative_to(folder).parts) & set(leave_out)
    }


def wait_until(condition: Any, timeout_s: float = 20.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def python_process(code: str, *arguments: object, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """A Python of its own that can import the tests' modules."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def private_mounts() -> list[str]:
    """The command prefix that gives a process mounts of its own; empty where the system allows none."""
    prefix = ["unshare", "--user", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode
    ):
        return []
    return prefix


@dataclass(frozen=True)
class WriteNumbers:
    """A stage of small files: two per task, of known bytes."""

    name: ClassVar[str] = "numbers"
    version: ClassVar[int] = 1

    count: int = 6
    factor: int = 1
    size_bytes: int = 1000
    pause_s: float = 0.0
    fails_at: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task(f"{number:05d}", number) for number in range(self.count)]

    def run(self, task: Task, out: Path) -> int:
        time.sleep(self.pause_s)
        if task.payload == self.fails_at:
            raise ValueError(f"number {task.payload} is unlucky")
        content = np.random.default_rng([self.factor, task.payload]).bytes(self.size_bytes)
        (out / f"{task.name}.bin").write_bytes(content)
        time.sleep(self.pause_s)
        (out / f"{task.name}.txt").write_text(str(self.factor * int(task.payload)))
        return int(task.payload) + 1


@dataclass(frozen=True)
class SumNumbers:
    """A stage of one task, which stands on `WriteNumbers`."""

    name: ClassVar[str] = "sum"
    version: ClassVar[int] = 1

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task("sum", upstream[0])]

    def run(self, task: Task, out: Path) -> int:
        (out / "sum.txt").write_text(str(sum(int(path.read_text()) for path in task.payload.paths(".txt"))))
        return 1


def make_numbers(root: str, workers: str) -> None:
    """What a test's subprocess does, to be killed at any instant."""
    with dataset_lock(open_root(root), "make numbers"):
        print("begun", flush=True)
        run_stage(SLOW_NUMBERS, [], open_root(root), LocalExecutor(int(workers)))


SLOW_NUMBERS = WriteNumbers(count=14, pause_s=0.01)
