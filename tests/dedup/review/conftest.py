import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dedup_set import PlantedSet, picture, run
from helpers import encode
from PIL import ImageEnhance, ImageOps
from served import Served, serving

ORIGINALS = 40


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
