import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer

from pipelines.cli import run_app
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record
from pipelines.shards import ShardWriter
from pipelines.store import File, LocalFolder, hash_file
from train.run import app

SHARD_IMAGES = (30, 36)


def make_png(seed: int) -> bytes:
    """A picture of two colours and a gradient, 40 by 48 pixels."""
    rng = np.random.default_rng(seed)
    image = np.full((40, 48, 3), rng.integers(0, 256, 3), np.uint8)
    image[rng.integers(10, 30) :] = rng.integers(0, 256, 3)
    image[:, :, 0] += np.arange(48, dtype=np.uint8)
    _, encoded = cv2.imencode(".png", image)
    return encoded.tobytes()


def write_clean(folder: Path, shard_images: tuple[int, ...]) -> Manifest:
    folder.mkdir(parents=True)
    shards = []
    for i, images in enumerate(shard_images):
        name = f"{i:05d}"
        with ShardWriter(folder, name) as writer:
            for j in range(images):
                writer.add(Record(f"{i}-{j}", make_png(1000 * i + j)))
        paths = [folder / f"{name}{suffix}" for suffix in (".parquet", ".tar")]
        files = tuple(File(path.name, path.stat().st_size, hash_file(path)) for path in paths)
        shards.append(Shard(name, images, files))
    manifest = Manifest(LocalFolder(folder), "clean", "fingerprint", tuple(shards))
    manifest.save()
    return manifest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """In networks this small, threads only wait for one another where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(name="make_png")
def make_png_fixture() -> Callable[[int], bytes]:
    return make_png


@pytest.fixture
def clean(tmp_path: Path) -> Manifest:
    """A finished clean set of two shards, whose j-th image of shard i is ``make_png(1000 * i + j)``."""
    return write_clean(tmp_path / "clean", SHARD_IMAGES)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """A data root that holds the finished clean set ``rooms``."""
    write_clean(tmp_path / "data" / "rooms" / "clean", SHARD_IMAGES)
    return tmp_path / "data"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[typer.Typer, str], Callable[..., int]]:
    """A command and the name of its module → a function that runs it in this process, and returns its exit code."""
    monkeypatch.setenv("COLUMNS", "300")

    def prepare(app: typer.Typer, module: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            monkeypatch.setattr(sys, "argv", [f"{module.replace('.', '/')}.py", *map(str, arguments)])
            with pytest.raises(SystemExit) as exit_info:
                run_app(app, f"python -m {module}")
            assert isinstance(exit_info.value.code, int)
            return exit_info.value.code

        return call

    return prepare


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, data_root: Path, in_process: Callable[[typer.Typer, str], Callable[..., int]]
) -> Callable[..., int]:
    """`python -m train.run` in this process; returns its exit code."""
    monkeypatch.setenv("CLEANSHARDS_DATA", str(data_root))
    return in_process(app, "train.run")
