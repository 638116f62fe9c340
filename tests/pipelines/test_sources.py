import json
import os
import pickle
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import hashes_below, jpeg, private_mounts, python_process, read_all, write_lmdb, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError, SourceError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.record import Record
from pipelines.shards import ShardWriter
from pipelines.sources import Member, SeveralSources, Source, open_source, pick_records
from pipelines.stage import Task, run_stage

COUNT = 23
IMAGES = [jpeg(seed) for seed in range(COUNT)]
WNIDS = ("n01440764", "n02102040")


def make_lmdb(folder: Path) -> str:
    return f"lmdb:{write_lmdb(folder / 'rooms', {b'%03d' % i: image for i, image in enumerate(IMAGES)})}"


def make_folder(folder: Path) -> str:
    for i, image in enumerate(IMAGES):
        path = folder / "pictures" / f"room {i % 3}" / f"{i:03d}.{('jpg', 'JPEG', 'Png')[i % 3]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return f"folder:{folder / 'pictures'}"


def make_webdataset(folder: Path) -> str:
    (folder / "tars").mkdir()
    for tar in range(3):
        members = [(f"{i:03d}.jpg", image) for i, image in enumerate(IMAGES) if i % 3 == tar]
        write_tar(folder / "tars" / f"{tar:05d}.tar", members)
    return f"webdataset:{folder / 'tars'}"


def make_parquet(folder: Path, column: str = "image", struct: bool = True) -> str:
    (folder / "tables").mkdir()
    for name, images in (("train-0", IMAGES[:15]), ("train-1", IMAGES[15:])):
        values = [{"bytes": image, "path": None} for image in images] if struct else images
        table = pa.table({column: values, "label": list(range(len(images))), "boxes": [[1, 2]] * len(images)})
        pq.write_table(table, folder / "tables" / f"{name}.parquet", row_group_size=4)
    return f"parquet:{folder / 'tables'}"


def make_imagenet_tar(folder: Path) -> str:
    inner = []
    for number, wnid in enumerate(WNIDS):
        members = [(f"{wnid}_{i}.JPEG", image) for i, image in enumerate(IMAGES) if i % 2 == number]
        inner.append((f"{wnid}.tar", write_tar(folder / "inner.tar", members).read_bytes()))
    (folder / "inner.tar").unlink()
    return f"imagenet:{write_tar(folder / 'ILSVRC2012_img_train.tar', inner)}"


def make_imagenet_tree(folder: Path) -> str:
    for i, image in enumerate(IMAGES):
        path = folder / "train" / WNIDS[i % 2] / f"{WNIDS[i % 2]}_{i}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return f"imagenet:{folder / 'train'}"


@dataclass(frozen=True)
class WriteShards:
    name: ClassVar[str] = "clean"
    version: ClassVar[int] = 1

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task(f"{number:05d}", number) for number in range(3)]

    def run(self, task: Task, out: Path) -> int:
        with ShardWriter(out, task.name) as writer:
            for i in range(task.payload, COUNT, 3):
                writer.add(Record(f"a/{i}.jpg", IMAGES[i], {"label": i}), format="jpeg")
        return writer.records


def make_shards(folder: Path) -> str:
    run_stage(WriteShards(), [], folder, LocalExecutor(1))
    return f"shards:{folder / 'clean'}"


MAKERS: Mapping[str, Callable[[Path], str]] = {
    "lmdb": make_lmdb,
    "folder": make_folder,
    "webdataset": make_webdataset,
    "parquet": make_parquet,
    "imagenet tar": make_imagenet_tar,
    "imagenet tree": make_imagenet_tree,
    "shards": make_shards,
}
SOURCES = pytest.mark.parametrize("kind", MAKERS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: make(tmp_path_factory.mktemp(kind.replace(" ", "_"))) for kind, make in MAKERS.items()}


@SOURCES
@given(size=st.integers(1, COUNT + 5) | st.none())
@settings(max_examples=20)
def test_the_splits_together_are_the_source(sources: dict[str, str], kind: str, size: int | None) -> None:
    source = open_source(sources[kind])
    records = read_all(source, size)
    assert sorted(record.image for record in records) == sorted(IMAGES)
    assert len({record.key for record in records}) == COUNT
    assert {record.key: record for record in records} == {record.key: record for record in read_all(source)}
    for split in source.splits(size):
        assert split.records is None or split.records == len(list(source.read(split)))


@SOURCES
def test_order_is_fixed_and_splits_cross_process_borders(sources: dict[str, str], kind: str) -> None:
    source, splits = pickle.loads(pickle.dumps((open_source(sources[kind]), open_source(sources[kind]).splits(5))))
    assert [record for split in splits for record in source.read(split)] == read_all(open_source(sources[kind]), 5)


@SOURCES
@pytest.mark.parametrize("label", ["", "mine"])
def test_records_are_picked_by_their_keys(sources: dict[str, str], kind: str, label: str) -> None:
    source = SeveralSources((Member(open_source(sources[kind]), label),))
    for split in source.splits(2):
        records = {record.key: record for record in source.read(split)}
        for wanted in (set(list(records)[-1:]), set(records), {"no such key", "mine/none"}):
            picked = list(pick_records(source, split, wanted))
            assert {record.key: record for record in picked} == {key: records[key] for key in wanted & set(records)}


@pytest.mark.parametrize("kind", ["lmdb", "folder", "parquet", "imagenet tree"])
def test_splits_have_about_the_size_asked_for(sources: dict[str, str], kind: str) -> None:
    sizes = [split.records for split in open_source(sources[kind]).splits(4)]
    assert max(sizes) == 4
    assert len(sizes) <= 7


@SOURCES
def test_moving_a_source_keeps_its_digest_keys_and_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    uri = MAKERS[kind](tmp_path / "here")
    before = open_source(uri).digest(), read_all(open_source(uri)), open_source(uri).name
    shutil.copytree(tmp_path / "here", tmp_path / "far" / "away")
    shutil.rmtree(tmp_path / "here")
    moved = open_source(uri.replace(str(tmp_path / "here"), str(tmp_path / "far" / "away")))
    assert (moved.digest(), read_all(moved), moved.name) == before


def change_lmdb(path: Path) -> None:
    with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"011", IMAGES[11][:-1] + b"\0")


def change_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    changed_ns = path.stat().st_mtime_ns + 1_000_000_000
    path.write_bytes(content)
    os.utime(path, ns=(changed_ns, changed_ns))


@pytest.mark.parametrize("kind", ["lmdb", "folder", "webdataset", "parquet", "imagenet tar", "imagenet tree"])
def test_another_content_is_another_digest(kind: str, tmp_path: Path) -> None:
    uri = MAKERS[kind](tmp_path)
    before = open_source(uri).digest()
    assert open_source(uri).digest() == before
    path = Path(uri.partition(":")[2])
    if kind == "lmdb":
        change_lmdb(path)
    else:
        change_file(path if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())[1])
    assert open_source(uri).digest() != before


def test_an_lmdb_made_again_with_the_same_keys_and_sizes_has_another_digest(tmp_path: Path) -> None:
    one = write_lmdb(tmp_path / "one", {b"%d" % i: bytes([i]) * 5000 for i in range(9)})
    other = write_lmdb(tmp_path / "other", {b"%d" % i: bytes([i + 1]) * 5000 for i in range(9)})
    assert open_source(f"lmdb:{one}").digest() != open_source(f"lmdb:{other}").digest()


@SOURCES
def test_nothing_is_written_to_a_source(kind: str, tmp_path: Path) -> None:
    uri = MAKERS[kind](tmp_path)
    (tmp_path / "rooms" / "lock.mdb").unlink(missing_ok=True)
    before = hashes_below(tmp_path)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(read_all(open_source(uri), 4)) == COUNT
        open_source(uri).digest()
        assert hashes_below(tmp_path) == before
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)


def test_lmdb_on_a_read_only_file_system(tmp_path: Path) -> None:
    prefix = private_mounts()
    if not prefix:
        pytest.skip("this system lets no test mount a file system")
    uri = make_lmdb(tmp_path)
    (tmp_path / "rooms" / "lock.mdb").unlink()
    code = """
import subprocess, sys
from helpers import read_all
from pipelines.sources import open_source
subprocess.run(["mount", "--bind", sys.argv[1], sys.argv[1]], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", sys.argv[1]], check=True)
try:
    open(sys.argv[1] + "/probe", "w")
except OSError:
    print(len(read_all(open_source(sys.argv[2]))))
"""
    process = python_process(code, tmp_path, uri, prefix=prefix)
    out, err = process.communicate(timeout=60)
    assert (out.strip(), process.returncode) == (str(COUNT), 0), err


def test_lmdb_with_a_map_larger_than_memory_and_as_a_single_file(tmp_path: Path) -> None:
    items = {b"%d" % i: image for i, image in enumerate(IMAGES)}
    large = write_lmdb(tmp_path / "large", items, map_size=1 << 40)
    single = write_lmdb(tmp_path / "single.mdb", items, subdir=False)
    assert len(read_all(open_source(f"lmdb:{large}"))) == COUNT
    assert [r.image for r in read_all(open_source(f"lmdb:{single}"), 5)] == [items[key] for key in sorted(items)]


def test_lmdb_keys_that_are_no_text_stay_unique(tmp_path: Path) -> None:
    keys = [b"plain", b"\xff", b"0xff", b"\x00\x01", "schön".encode(), b"a/b c"]
    source = open_source(f"lmdb:{write_lmdb(tmp_path / 'l', {key: key for key in keys})}")
    records = read_all(source, 2)
    for record in records:
        assert list(pick_records(source, source.splits(2)[0], {record.key})) == [record]
    assert {record.image for record in records} == set(keys)
    assert len({record.key for record in records}) == len(keys)
    assert {record.key for record in records} >= {"plain", "a/b c"}


def test_lmdb_splits_can_be_read_side_by_side(sources: dict[str, str]) -> None:
    source = open_source(sources["lmdb"])
    one, other = (source.read(split) for split in source.splits(12))
    pairs = list(zip(one, other, strict=False))
    assert [(a.key, b.key) for a, b in pairs] == [(f"{i:03d}", f"{i + 12:03d}") for i in range(11)]
    assert len(source.splits(3)) == 8


def test_an_lmdb_cut_short_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    path = write_lmdb(tmp_path / "rooms", {b"%03d" % i: bytes(5000) for i in range(200)})
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[: len(data) // 2])
    code = """
import sys
from helpers import read_all
from pipelines.errors import SourceError
from pipelines.sources import open_source
try:
    read_all(open_source(sys.argv[1]))
except SourceError as error:
    print(error)
"""
    out, err = python_process(code, f"lmdb:{path}").communicate(timeout=60)
    assert str(path) in out, err


def test_folder_leaves_out_hidden_files_other_files_and_folders_named_like_images(tmp_path: Path) -> None:
    make_folder(tmp_path)
    root = tmp_path / "pictures"
    (root / ".cache").mkdir()
    (root / "folder.jpg").mkdir()
    for name in (".cache/1.jpg", "._1.jpg", "notes.txt"):
        (root / name).write_bytes(b"x")
    if hasattr(os, "symlink"):
        (root / "broken link.jpg").symlink_to(root / "nowhere.jpg")
    source = open_source(f"folder:{root}")
    assert len(read_all(source)) == COUNT
    assert source.digest()


def test_folder_shows_images_that_are_not_decoded_so_that_they_count(tmp_path: Path) -> None:
    (tmp_path / "a.tiff").write_bytes(b"II*\0")
    assert [record.key for record in read_all(open_source(f"folder:{tmp_path}"))] == ["a.tiff"]


def webdataset(path: Path, *members: tuple[str, bytes]) -> Source:
    return open_source(f"webdataset:{write_tar(path, members)}")


def test_webdataset_metadata(tmp_path: Path) -> None:
    records = read_all(
        webdataset(
            tmp_path / "a.tar",
            ("x/0.jpg", b"0"),
            ("x/0.json", json.dumps({"url": "u", "width": 3, "tags": [1], "none": None}).encode()),
            ("x/0.cls", b"7\n"),
            ("1.txt", b" a room "),
            ("1.PNG", b"1"),
            ("1.cls", b"cat"),
            ("2.left.jpg", b"2"),
            ("2.right.webp", b"3"),
            ("3.json", b"{}"),
            ("4.jpg", b"4"),
            ("4.json", b"[1, 2]"),
        )
    )
    assert records == [
        Record("a/x/0.jpg", b"0", {"url": "u", "width": 3, "label": 7}),
        Record("a/1.PNG", b"1", {"caption": "a room", "label": "cat"}),
        Record("a/2.left.jpg", b"2"),
        Record("a/2.right.webp", b"3"),
        Record("a/3", b""),
        Record("a/4.jpg", b"4"),
    ]


@pytest.mark.parametrize("member", [("0.json", b"{"), ("0.json", b"\xff"), ("0.cls", b"\xff")])
def test_webdataset_with_damaged_metadata_says_where(tmp_path: Path, member: tuple[str, bytes]) -> None:
    source = webdataset(tmp_path / "a.tar", ("0.jpg", b"x"), member)
    with pytest.raises(SourceError, match=r"a\.tar"):
        read_all(source)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("{00000..00001}.tar", 16), ("{00000,00002}.tar", 15), ("*.tar", COUNT), ("0000[12].tar", 15), ("*", COUNT)],
)
def test_webdataset_patterns(tmp_path: Path, pattern: str, count: int) -> None:
    root = make_webdataset(tmp_path).partition(":")[2]
    (Path(root) / "stats.json").write_text("{}")
    (Path(root) / "folder.tar").mkdir()
    assert len(read_all(open_source(f"webdataset:{root}/{pattern}"))) == count


def test_a_folder_of_tars_leaves_hidden_files_out(tmp_path: Path) -> None:
    uri = make_webdataset(tmp_path)
    (tmp_path / "tars" / "._00000.tar").write_bytes(b"a Mac's")
    assert len(read_all(open_source(uri))) == COUNT


def whole_or_error(uri: str, expected: list[Record]) -> bool:
    try:
        records = read_all(open_source(uri))
    except SourceError as error:
        assert uri.partition(":")[2] in error.message
        assert error.hint
        return False
    assert records == expected
    return True


@pytest.mark.parametrize("make", [make_imagenet_tar, lambda folder: f"webdataset:{make_one_tar(folder)}"])
def test_a_cut_tar_never_loses_records_in_silence(make: Callable[[Path], str], tmp_path: Path) -> None:
    uri = make(tmp_path)
    path = Path(uri.partition(":")[2])
    data, expected = path.read_bytes(), read_all(open_source(uri))
    for end in range(1, len(data) - 12_000, 500):
        path.write_bytes(data[:end])
        assert not whole_or_error(uri, expected)


def make_one_tar(folder: Path) -> Path:
    return write_tar(folder / "one.tar", [(f"{i}.jpg", image) for i, image in enumerate(IMAGES[:8])])


def test_a_damaged_header_never_loses_records_in_silence(tmp_path: Path) -> None:
    path = make_one_tar(tmp_path)
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        third = tar.getmembers()[3].offset
    data[third : third + 200] = b"\x55" * 200
    path.write_bytes(data)
    with pytest.raises(SourceError, match="damaged"):
        read_all(open_source(f"webdataset:{path}"))


@pytest.mark.parametrize(("column", "struct"), [("image", True), ("img", True), ("image", False)])
def test_parquet_columns(tmp_path: Path, column: str, struct: bool) -> None:
    records = read_all(open_source(make_parquet(tmp_path, column, struct)), 6)
    assert [record.image for record in records] == IMAGES
    assert [record.meta for record in records] == [{"label": i} for i in [*range(15), *range(8)]]
    assert (records[0].key, records[22].key) == ("train-0/00000000", "train-1/00000007")


def test_parquet_rows_without_an_image_still_count(tmp_path: Path) -> None:
    values = [{"bytes": b"x", "path": None}, {"bytes": None, "path": "a.jpg"}, None]
    pq.write_table(pa.table({"image": values}), tmp_path / "a.parquet")
    assert [record.image for record in read_all(open_source(f"parquet:{tmp_path / 'a.parquet'}"))] == [b"x", b"", b""]


@given(st.integers(1, 900), st.integers(1, 700), st.integers(1, 900))
@settings(max_examples=25)
def test_parquet_row_ranges(tmp_path_factory: pytest.TempPathFactory, rows: int, group: int, size: int) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    pq.write_table(
        pa.table({"img": [{"bytes": b"%d" % i} for i in range(rows)]}), path, row_group_size=group, compression="none"
    )
    records = read_all(open_source(f"parquet:{path}"), size)
    assert [record.image for record in records] == [b"%d" % i for i in range(rows)]
    assert [record.key for record in records] == [f"a/{i:08d}" for i in range(rows)]


def test_imagenet_tar_and_tree_are_the_same_records(sources: dict[str, str]) -> None:
    of_tar, of_tree = (read_all(open_source(sources[f"imagenet {kind}"])) for kind in ("tar", "tree"))
    assert sorted(of_tar, key=lambda r: r.key) == sorted(of_tree, key=lambda r: r.key)
    assert {record.meta["label"] for record in of_tar} == set(WNIDS)
    assert all(record.key.startswith(f"{record.meta['label']}/") for record in of_tar)


def test_shards_keep_keys_and_metadata(sources: dict[str, str]) -> None:
    records = read_all(open_source(sources["shards"]))
    assert {record.key: record.meta for record in records} == {f"a/{i}.jpg": {"label": i} for i in range(COUNT)}


def test_what_cannot_be_read_says_where_and_what_to_try(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("<html>not found</html>")
    (tmp_path / "nothing").touch()
    (tmp_path / "bad_lmdb").mkdir()
    (tmp_path / "bad_lmdb" / "data.mdb").write_bytes(b"<html>" * 3000)
    (tmp_path / "text.parquet").write_text("<html>not found</html>")
    (tmp_path / "folder").mkdir()
    pq.write_table(pa.table({"picture": [b"x"]}), tmp_path / "columns.parquet")
    plain_tar = make_one_tar(tmp_path)
    for uri in (
        f"lmdb:{tmp_path / 'nowhere'}",
        f"lmdb:{tmp_path / 'folder'}",
        f"lmdb:{tmp_path / 'text'}",
        f"lmdb:{tmp_path / 'nothing'}",
        f"lmdb:{tmp_path / 'bad_lmdb'}",
        f"folder:{tmp_path / 'nowhere'}",
        f"folder:{tmp_path / 'folder'}",
        f"folder:{tmp_path / 'text'}",
        f"webdataset:{tmp_path / 'nowhere-*.tar'}",
        f"webdataset:{tmp_path / 'folder'}",
        f"webdataset:{tmp_path / 'text'}",
        f"webdataset:{tmp_path / 'nothing'}",
        f"webdataset:{tmp_path / '{0,1.tar'}",
        f"parquet:{tmp_path / 'nowhere'}",
        f"parquet:{tmp_path / 'text.parquet'}",
        f"parquet:{tmp_path / 'columns.parquet'}",
        f"imagenet:{tmp_path / 'nowhere'}",
        f"imagenet:{tmp_path / 'folder'}",
        f"imagenet:{tmp_path / 'text'}",
        f"imagenet:{plain_tar}",
        f"shards:{tmp_path / 'folder'}",
        f"shards:{tmp_path / 'text'}",
    ):
        with pytest.raises(SourceError) as caught:
            read_all(open_source(uri))
        assert "columns.parquet" in caught.value.message or str(tmp_path) in caught.value.message
        assert caught.value.hint
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("uri", ["rooms", "lmdb:", "", ":x", "zip:rooms.zip", "/data/rooms"])
def test_an_unknown_scheme_lists_the_known_ones(uri: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(uri)
    assert repr(uri) in caught.value.message
    assert "lmdb:PATH" in caught.value.hint


def test_a_home_folder_behind_the_colon_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(read_all(open_source("folder:~/pictures"))) == COUNT


def test_real_rooms_lmdb(shared_data: Path) -> None:
    source = open_source(f"lmdb:{shared_data / 'rooms_train_lmdb'}")
    assert sum(split.records or 0 for split in source.splits()) == 2261
    keys = [record.key for split in source.splits(1000) for record in source.read(split)]
    assert len(set(keys)) == 2261
    assert keys == sorted(keys)
