"""Clean shards in an object store: packed here, and trained on as if they lay here."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import s3fs
import torch
from s3_server import s3, s3_root

from train.checkpoint import find_checkpoints

__all__ = ["s3", "s3_root"]

SMALL = ("--preset", "demo", "--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8")
ONCE = ("--epochs", "1", "--evaluate-every", "0")


def test_a_clean_set_on_s3_trains_the_same_networks(
    command: Callable[..., int], data_root: Path, s3_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("rooms", *SMALL, *ONCE, "--name", "here") == 0
    clean = data_root / "rooms" / "clean"
    bucket = f"{s3_root.removeprefix('s3://')}/rooms/clean"
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    for path in clean.iterdir():
        files.pipe_file(f"{bucket}/{path.name}", path.read_bytes())
    shutil.rmtree(clean)
    shutil.rmtree(data_root / "rooms" / "packed")
    assert command("rooms", *SMALL, *ONCE, "--name", "there") == 1
    assert "there is no clean set of rooms" in capsys.readouterr().err
    assert command("rooms", *SMALL, *ONCE, "--name", "there", "--clean-root", s3_root) == 0

    runs = data_root / "rooms" / "train"
    here, there = (
        torch.load(find_checkpoints(runs / name)[-1], weights_only=True)["generator"] for name in ("here", "there")
    )
    assert all(torch.equal(here[name], there[name]) for name in here)
