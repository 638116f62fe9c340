import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import IntegrityError
from pipelines.manifest import Manifest, Shard, digest_of
from pipelines.store import File, LocalFolder, hash_file, write_atomically


def make(root: Path, contents: dict[str, bytes]) -> Manifest:
    root.mkdir(parents=True, exist_ok=True)
    shards = []
    for name, content in contents.items():
        (root / name).write_bytes(content)
        shards.append(Shard(Path(name).stem, 2, (File(name, len(content), hash_file(root / name)),)))
    manifest = Manifest(LocalFolder(root), "clean", "f" * 64, tuple(shards))
    manifest.save()
    return manifest


def test_round_trip(tmp_path: Path) -> None:
    manifest = make(tmp_path, {"1.tar": b"one", "0.tar": b"zero", "0.parquet": b""})
    assert Manifest.load(tmp_path) == manifest
    assert manifest.records == 6
    assert manifest.paths(".tar") == [tmp_path / "1.tar", tmp_path / "0.tar"]


def test_the_digest_knows_names_and_bytes_and_no_paths(tmp_path: Path) -> None:
    digest = make(tmp_path / "a", {"0.tar": b"zero"}).digest
    assert make(tmp_path / "b", {"0.tar": b"zero"}).digest == digest
    assert make(tmp_path / "c", {"0.tar": b"Zero"}).digest != digest
    assert make(tmp_path / "d", {"1.tar": b"zero"}).digest != digest
    shutil.move(tmp_path / "a", tmp_path / "moved")
    assert Manifest.load(tmp_path / "moved").digest == digest


def test_saving_is_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a", {"0.tar": b"zero"})
    make(tmp_path / "b", {"0.tar": b"zero"})
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()


def test_no_manifest_is_no_finished_stage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("change", ["remove", "cut", "grow"])
def test_a_missing_or_cut_file_is_found(tmp_path: Path, change: str) -> None:
    make(tmp_path, {"0.tar": b"zero"})
    if change == "remove":
        (tmp_path / "0.tar").unlink()
    else:
        (tmp_path / "0.tar").write_bytes(b"zer" if change == "cut" else b"zeros")
    with pytest.raises(IntegrityError, match="shard 0") as caught:
        Manifest.load(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["stage", "fingerprint", "shards", "name", "records", "files"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_damaged_manifest_is_an_integrity_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "manifest.json").write_bytes(content)
    try:
        manifest = Manifest.load(folder)
    except IntegrityError as error:
        assert str(folder) in error.message
        assert error.hint
    else:
        assert isinstance(manifest.shards, tuple)


@given(JSON)
def test_digests_are_of_values_and_not_of_their_order(value: Any) -> None:
    assert digest_of(value) == digest_of(json.loads(json.dumps(value, indent=2)))
    assert digest_of({"a": value, "b": 1}) == digest_of({"b": 1, "a": value})
    assert digest_of([value, 0]) != digest_of([value, 1])


def test_atomic_writing_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="fire"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
