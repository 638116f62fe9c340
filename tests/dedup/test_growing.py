"""A data set that grows, part by part, ends as one that was whole from the start."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_set import PlantedSet, run
from helpers import write_lmdb

PARTS = 3


@pytest.fixture
def parts(planted: PlantedSet, tmp_path: Path) -> list[Path]:
    """The planted set's values dealt to several LMDBs, copies and their originals to different ones."""
    paths = [tmp_path / f"part{number}" for number in range(PARTS)]
    for number, path in enumerate(paths):
        dealt = dict(sorted(planted.values.items())[number::PARTS])
        write_lmdb(path, {key.encode(): value for key, value in dealt.items()})
    return paths


def sources(parts: list[Path]) -> list[str]:
    return [option for part in parts for option in ("--source", f"lmdb:{part}")]


def dedup(data_root: Path, *options: str) -> str:
    result = run(data_root, None, *options)
    assert result.returncode == 0, result.stderr
    return result.stderr


def table(root: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(root / "set" / "duplicates.parquet").to_pylist()
    return rows


def stamps(root: Path, stage: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (root / "set" / stage).glob("[0-9]*.*")}


def test_added_part_by_part_it_ends_in_the_same_groups(parts: list[Path], tmp_path: Path) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    for count in range(1, PARTS + 1):
        read_before, encoder = stamps(grown, "thumbnails"), stamps(grown, "codes")
        dedup(grown, *sources(parts[:count]))
        assert read_before.items() <= stamps(grown, "thumbnails").items()
        assert encoder.items() <= stamps(grown, "codes").items()
    dedup(whole, *sources(parts))
    assert len(table(whole)) > 10
    assert table(grown) == table(whole)
    for name in ("encoder/encoder.safetensors", "rejected.parquet", "groups/grouped.npy"):
        assert (grown / "set" / name).read_bytes() == (whole / "set" / name).read_bytes()
    for path in sorted((whole / "set" / "clean").glob("*.tar")):
        assert (grown / "set" / "clean" / path.name).read_bytes() == path.read_bytes()


def test_the_order_of_sources_changes_neither_groups_nor_keepers(parts: list[Path], tmp_path: Path) -> None:
    dedup(tmp_path / "one", *sources(parts))
    dedup(tmp_path / "other", *sources(parts[::-1]))
    assert table(tmp_path / "one") == table(tmp_path / "other")


def test_an_added_part_of_new_pictures_leaves_old_clean_shards_alone(
    planted: PlantedSet, parts: list[Path], tmp_path: Path
) -> None:
    dedup(tmp_path, *sources(parts[:1]))
    before = stamps(tmp_path, "clean")
    new = {f"{'9' * 39}{seed}": planted.values[f"{seed:040x}"][:100] for seed in range(3)}  # broken: none is kept
    write_lmdb(tmp_path / "more", {key.encode(): value for key, value in new.items()})
    dedup(tmp_path, *sources(parts[:1]), "--source", f"lmdb:{tmp_path / 'more'}")
    assert before
    assert stamps(tmp_path, "clean") == before
    assert json.loads((tmp_path / "set" / "report.json").read_bytes())["rejected"] >= 3


def test_a_fitted_encoder_is_frozen_by_the_first_run(parts: list[Path], tmp_path: Path) -> None:
    options = ("--encoder", "fitted", "--steps", "5")
    dedup(tmp_path, *sources(parts[:1]), *options)
    first = (tmp_path / "set" / "encoder" / "encoder.safetensors").read_bytes()
    assert "encoder" in dedup(tmp_path, *sources(parts), *options)
    assert (tmp_path / "set" / "encoder" / "encoder.safetensors").read_bytes() == first


def test_named_sources_begin_the_keys_and_stand_in_the_tables(parts: list[Path], tmp_path: Path) -> None:
    dedup(tmp_path, "--source", f"one=lmdb:{parts[0]}", "--source", f"two=lmdb:{parts[0]}", "--prefer", "two")
    clean = pa.concat_tables(pq.read_table(path) for path in sorted((tmp_path / "set" / "clean").glob("*.parquet")))
    assert {row["kept_key"].split("/")[0] for row in table(tmp_path)} == {"two"}  # type: ignore[attr-defined]
    assert set(clean["source"].to_pylist()) == {"two"}
    assert all(key.startswith("two/") for key in clean["key"].to_pylist())


def test_sources_that_share_keys_must_be_named(parts: list[Path], tmp_path: Path) -> None:
    result = run(tmp_path, None, *sources([parts[0], parts[0]]))
    assert result.returncode == 1
    assert "the sources share keys" in result.stderr
    assert "--source NAME=URI" in result.stderr
