from pathlib import Path

import pytest
from collected import collect, write_photographs


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs") / "photos")


@pytest.fixture(scope="session")
def collection(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``raw`` after an undisturbed run with one worker. Tests only read it."""
    data_root = tmp_path_factory.mktemp("undisturbed")
    result = collect(data_root, photographs, "--workers", 1)
    assert result.returncode == 0, result.stderr
    return data_root / "people" / "raw"
