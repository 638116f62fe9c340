from pathlib import Path

import pytest
from dedup_set import PlantedSet, run, write_planted_set


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> PlantedSet:
    return write_planted_set(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def clean_run(planted: PlantedSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set's folder after an undisturbed run of the default profile with one worker. Tests only read it."""
    data_root = tmp_path_factory.mktemp("undisturbed")
    result = run(data_root, planted.lmdb, "--workers", "1", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    return data_root / "set"
