import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import open_browser
from dedup_set import PlantedSet, picture, run
from helpers import encode
from PIL import ImageEnhance, ImageOps
from served import REPOSITORY, Served, serving
from two_sources import TwoSources, write_two_sources

ORIGINALS = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def triples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose set holds 40 pictures and three near-duplicates of each: 120 pairs to judge. Tests copy it."""
    folder, data_root = tmp_path_factory.mktemp("triples"), tmp_path_factory.mktemp("triples_data")
    for seed in range(ORIGINALS):
        original = picture(seed)
        (folder / f"{seed:03d}.png").write_bytes(encode(original, "PNG"))
        (folder / f"{seed:03d}_again.jpg").write_bytes(encode(original.resize((100, 80)), "JPEG", quality=70))
        bright = ImageEnhance.Brightness(original.resize((100, 80))).enhance(1.12)
        (folder / f"{seed:03d}_bright.png").write_bytes(encode(bright, "PNG"))
        (folder / f"{seed:03d}_mirror.png").write_bytes(encode(ImageOps.mirror(original.resize((100, 80))), "PNG"))
    result = run(data_root, None, "--source", f"folder:{folder}", "--workers", "1")
    assert result.returncode == 0, result.stderr
    return data_root


@pytest.fixture
def data_root(triples: Path, tmp_path: Path) -> Path:
    """A copy of `triples` to change."""
    shutil.copytree(triples, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(scope="module")
def served(clean_run: Path, planted: PlantedSet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A review of the planted set, which the tests of a module share."""
    data_root = tmp_path_factory.mktemp("served")
    shutil.copytree(clean_run, data_root / "set")
    with serving(data_root) as review:
        yield review


@pytest.fixture(scope="session")
def two_sources(tmp_path_factory: pytest.TempPathFactory) -> TwoSources:
    """Two sources that share pictures. Tests only read them."""
    return write_two_sources(tmp_path_factory.mktemp("two_sources"))


@pytest.fixture(scope="session")
def two_sources_run(two_sources: TwoSources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of an undisturbed run on both. Tests copy it."""
    data_root = tmp_path_factory.mktemp("two_sources_data")
    result = run(data_root, None, *two_sources.options, "--workers", "1")
    assert result.returncode == 0, result.stderr
    return data_root


@pytest.fixture(scope="module")
def browsed(two_sources_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A review of the two sources, which the tests of a module share: what one marks, it takes back."""
    data_root = tmp_path_factory.mktemp("browsed") / "data"
    shutil.copytree(two_sources_run, data_root)
    with serving(data_root) as review:
        yield review


@pytest.fixture(scope="session")
def trained(clean_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose set has a training run, "first", of three epochs of five minibatches. Tests copy it."""
    data_root = tmp_path_factory.mktemp("trained")
    shutil.copytree(clean_run, data_root / "set")
    small = ("--preset", "demo", "--generator-width", "8", "--discriminator-width", "8", "--batch-size", "8")
    options = ("--epochs", "3", "--samples", "64", "--ema-decay", "0.9", "--name", "first", "--workers", "1", "--quiet")
    command = [sys.executable, "-m", "train.run", "set", "--data-root", str(data_root), *small, *options]
    subprocess.run(command, check=True, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return data_root
