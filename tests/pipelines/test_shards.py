import io
import json
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from helpers import hashes_below, jpeg
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.errors import SourceError
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record
from pipelines.shards import COLUMNS, ShardWriter, escape_key, read_shard, remove_records
from pipelines.store import File, LocalFolder, hash_file

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ODD_KEYS = [
    "a.b.c",
    "../up",
    "/root",
    "./x",
    "a//b",
    "end/",
    ".",
    "..",
    "a b",
    "%2E",
    "ü/日本.webp",
    "x\ny",
    "~",
    "C:\\x",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)


def write(folder: Path, records: list[Record], **columns: str | int) -> Path:
    with ShardWriter(folder, "00000") as writer:
        for record in records:
            writer.add(record, **columns)
    assert writer.records == len(records)
    return folder / "00000.tar"


@given(st.lists(KEYS, min_size=1, max_size=8, unique=True))
@example(ODD_KEYS)
def test_any_keys_come_back_in_order(keys: list[str]) -> None:
    records = [Record(key, b"%d" % number) for number, key in enumerate(keys)]
    with TemporaryDirectory() as folder:
        tar = write(Path(folder), records)
        assert list(read_shard(tar)) == records
        samples = list(webdataset.WebDataset(str(tar), shardshuffle=False))
    assert [(sample["__key__"], sample["jpg"]) for sample in samples] == [(escape_key(r.key), r.image) for r in records]


@given(KEYS, KEYS)
def test_escaped_keys_are_unique_and_have_no_dots(one: str, other: str) -> None:
    assert (escape_key(one) == escape_key(other)) == (one == other)
    assert "." not in escape_key(one)
    assert escape_key(one).rpartition("/")[2]


@given(st.lists(st.dictionaries(st.sampled_from([*"abc", "key", "width", "sha256"]), SCALARS), min_size=1, max_size=5))
@settings(max_examples=80)
def test_any_metadata_comes_back(metas: list[dict[str, str | int | float | bool | None]]) -> None:
    records = [Record(str(number), b"x", meta) for number, meta in enumerate(metas)]
    with TemporaryDirectory() as folder:
        back = list(read_shard(write(Path(folder), records)))
    assert back == records
    assert [[type(value) for value in r.meta.values()] for r in back] == [
        [type(r.meta[name]) for name in sorted(r.meta)] for r in records
    ]


def test_the_parquet_has_a_row_per_record_in_order(tmp_path: Path) -> None:
    records = [Record("b", b"12345", {"label": 3, "url": "u"}), Record("a", b"", {"label": 4})]
    tar = write(tmp_path, records, source="lmdb:rooms", format="webp", width=7, height=5, sha256="00", group_size=2)
    table = pq.read_table(tar.with_suffix(".parquet"))
    assert table.schema.names == [*COLUMNS.names, "label", "url"]
    assert table.select(COLUMNS.names).schema == COLUMNS
    assert table["key"].to_pylist() == ["b", "a"]
    assert table["size_bytes"].to_pylist() == [5, 0]
    assert table["label"].to_pylist() == [3, 4]
    assert table["url"].to_pylist() == ["u", None]
    assert table["source"].to_pylist() == ["lmdb:rooms"] * 2


def test_metadata_of_mixed_types_becomes_text_in_the_parquet(tmp_path: Path) -> None:
    tar = write(tmp_path, [Record("a", b"x", {"label": 1}), Record("b", b"x", {"label": "one"}), Record("c", b"x")])
    assert pq.read_table(tar.with_suffix(".parquet"))["label"].to_pylist() == ["1", "one", None]


def test_the_columns_of_cleanshards_are_not_taken_by_metadata(tmp_path: Path) -> None:
    tar = write(tmp_path, [Record("a", b"x", {"width": "wide", "key": "of another", "sha256": 5})], width=7)
    table = pq.read_table(tar.with_suffix(".parquet"))
    assert (table["key"].to_pylist(), table["width"].to_pylist(), table["sha256"].to_pylist()) == (["a"], [7], [None])


def test_the_same_records_are_the_same_bytes(tmp_path: Path) -> None:
    records = [Record(f"{i}.x", jpeg(i), {"b": i, "a": "x"}) for i in range(4)]
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, records if name == "one" else [Record(r.key, r.image, dict(r.meta)) for r in records])
    assert hashes_below(tmp_path / "one") == hashes_below(tmp_path / "other")
    with tarfile.open(tmp_path / "one" / "00000.tar") as tar:
        assert {(member.mtime, member.uid, member.uname) for member in tar} == {(0, 0, "")}


def test_an_exception_leaves_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(KeyError), ShardWriter(tmp_path, "00000") as writer:
        writer.add(Record("a", b"x"))
        raise KeyError
    assert not list(tmp_path.glob("*.parquet"))


def test_no_records_leave_no_files(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "00000") as writer:
        assert writer.records == 0
    assert not list(tmp_path.iterdir())


def shards_of(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir()
    return write(folder, [Record(str(i), jpeg(i)) for i in range(first, first + count)])


@pytest.mark.parametrize(("records_in_tar", "first"), [(3, 0), (5, 0), (4, 1)])
def test_a_tar_and_a_parquet_of_another_shard_are_an_error(tmp_path: Path, records_in_tar: int, first: int) -> None:
    tar = shards_of(tmp_path / "one", 4)
    other = shards_of(tmp_path / "other", records_in_tar, first)
    other.replace(tar)
    with pytest.raises(SourceError, match=r"00000\.tar") as caught:
        list(read_shard(tar))
    assert caught.value.hint


def test_a_cut_shard_never_loses_records_in_silence(tmp_path: Path) -> None:
    tar = shards_of(tmp_path / "one", 4)
    data, expected = tar.read_bytes(), list(read_shard(tar))
    end_of_members = 512 * sum(1 + -(-len(record.image) // 512) for record in expected)
    for end in range(1, end_of_members, 400):
        tar.write_bytes(data[:end])
        with pytest.raises(SourceError, match=r"00000\.tar"):
            list(read_shard(tar))


def test_webdataset_decodes_our_shards(tmp_path: Path) -> None:
    tar = write(tmp_path, [Record(f"room/{i}.webp", jpeg(i), {"label": i}) for i in range(3)])
    samples = list(webdataset.WebDataset(str(tar), shardshuffle=False).decode("rgb8").to_tuple("jpg", "json"))
    assert [(image.shape, meta) for image, meta in samples] == [((20, 24, 3), {"label": i}) for i in range(3)]


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets_reads_our_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool, meta: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    keys = ["a/1.jpg", "end/", "x y.é", *map(str, range(5))]
    png = io.BytesIO()
    Image.new("RGB", (24, 20)).save(png, "PNG")
    images = [jpeg(0), png.getvalue(), *(jpeg(i) for i in range(2, len(keys)))]
    records = [
        Record(key, image, {"label": i} if meta else {})
        for i, (key, image) in enumerate(zip(keys, images, strict=True))
    ]
    tar = write(tmp_path, records)
    rows = list(
        datasets.load_dataset(
            "webdataset", data_files=str(tar), split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
        )
    )
    assert [row["__key__"] for row in rows] == [escape_key(key) for key in keys]
    assert {row["jpg"].size for row in rows} == {(24, 20)}
    assert not meta or [row["json"] for row in rows] == [{"label": i} for i in range(len(keys))]


def test_metadata_in_the_tar_is_sorted_json(tmp_path: Path) -> None:
    tar_path = write(tmp_path, [Record("a", b"x", {"b": 1, "a": "ü"})])
    with tarfile.open(tar_path) as tar:
        file = tar.extractfile("a.json")
        assert file is not None
        content = file.read()
    assert content == json.dumps({"a": "ü", "b": 1}).encode()


def test_the_parquet_is_readable_by_others(tmp_path: Path) -> None:
    tar = write(tmp_path, [Record("a", b"x", {"nothing": None})])
    assert pa.types.is_null(pq.read_schema(tar.with_suffix(".parquet")).field("nothing").type)


def finished_shards(folder: Path) -> Manifest:
    """Three shards of two records each; the second has a file of previews beside it."""
    shards = []
    for name in ("00000", "00001", "00002"):
        with ShardWriter(folder, name) as writer:
            for number in range(2):
                writer.add(Record(f"{name}.{number}", jpeg(number), {"person": "A"}), group_size=3, format="jpeg")
        if name == "00001":
            (folder / f"{name}.previews").write_bytes(b"small pictures")
        files = tuple(File(p.name, p.stat().st_size, hash_file(p)) for p in sorted(folder.glob(f"{name}.*")))
        shards.append(Shard(name, writer.records, files))
    manifest = Manifest(LocalFolder(folder), "clean", "f", tuple(shards), {"groups": "d"})
    manifest.save()
    return manifest


def test_records_are_removed_from_their_shards_alone(tmp_path: Path) -> None:
    manifest = finished_shards(tmp_path)
    before = hashes_below(tmp_path)
    assert remove_records(manifest, {"nobody"}) == manifest
    assert hashes_below(tmp_path) == before
    remaining = remove_records(manifest, {"00001.0", "00002.0", "00002.1"})
    assert remaining == Manifest.load(tmp_path)
    assert [shard.records for shard in remaining.shards] == [2, 1, 0]
    assert [record.key for tar in remaining.paths(".tar") for record in read_shard(tar)] == [
        *("00000.0", "00000.1", "00001.1")
    ]
    after = hashes_below(tmp_path)
    assert set(after) == {"manifest.json", *(f"{n}.{kind}" for n in ("00000", "00001") for kind in ("tar", "parquet"))}
    assert {name: after[name] for name in after if name.startswith("00000")} == {
        name: before[name] for name in before if name.startswith("00000")
    }
    (row,) = pq.read_table(tmp_path / "00001.parquet").to_pylist()
    assert (row["key"], row["person"], row["group_size"], row["format"]) == ("00001.1", "A", 3, "jpeg")
