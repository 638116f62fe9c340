"""LSUN's zips from a loopback publisher: what ends on disk is whole, counted and verified, or an error says why not."""

import hashlib
import io
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from helpers import hashes_below
from loopback import CutsConnection, Publisher, WithoutRanges, serve, zip_of, zipped_lmdb

from pipelines.download import Patience
from pipelines.errors import ConfigError, DiskFull, DownloadError
from pipelines.lsun import download_lmdb, plan_download
from pipelines.registry import DatasetSpec
from pipelines.sources import open_source

ZIP = zipped_lmdb(50)
HASTY = Patience(connect_timeout_s=2, read_timeout_s=2, tries=3, pause_s=0)


def spec_of(url: str, zipped: bytes = ZIP, images: int = 50, **fields: object) -> DatasetSpec:
    known = {"size_bytes": len(zipped), "sha256": hashlib.sha256(zipped).hexdigest(), "images": images} | fields
    return DatasetSpec("rooms", "rooms", "lmdb:raw/rooms_train_lmdb", url, **known)  # type: ignore[arg-type]


def files_of(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("kind", [Publisher, WithoutRanges, CutsConnection])
def test_zip_becomes_an_lmdb_that_a_source_reads(tmp_path: Path, kind: type[Publisher]) -> None:
    steps: dict[str, tuple[int, int | None]] = {}
    with serve(kind, ZIP) as (url, _):
        spec = spec_of(url)
        images = download_lmdb(
            spec,
            tmp_path,
            patience=HASTY,
            report=lambda what, *state: steps.update({what: state}),
            sleep=lambda _: None,
        )
    assert images == 50
    assert files_of(tmp_path) == ["rooms/raw/rooms_train_lmdb/data.mdb"]
    assert sum(split.records or 0 for split in open_source(spec.uri(tmp_path)).splits()) == 50
    assert list(steps) == ["downloading", "verifying", "unpacking"]
    assert all(done == total for done, total in steps.values())


def test_second_call_asks_for_nothing(tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, asked):
        spec = spec_of(url)
        download_lmdb(spec, tmp_path, keep_zip=True)
        assert download_lmdb(spec, tmp_path) == 50
    assert asked == [""]
    assert files_of(tmp_path) == ["rooms/raw/rooms_train_lmdb/data.mdb", "rooms/raw/rooms_train_lmdb.zip"]


def test_stop_at_any_point_of_the_download_goes_on(tmp_path: Path) -> None:
    """A stop, as Ctrl-C makes it, after every chunk; the same call again and again brings the whole."""

    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    stops = 0
    with serve(Publisher, ZIP) as (url, asked):
        spec = spec_of(url)
        while True:
            try:
                download_lmdb(spec, tmp_path, report=stop if stops < 5 else lambda *_: None)
                break
            except Stop:
                stops += 1
                assert not spec.path(tmp_path).exists()
    assert stops == 5
    assert asked[0] == "" and all(asked[1:])
    assert len(set(asked)) == len(asked) > 2
    assert spec.path(tmp_path).is_dir()


def test_leftover_of_a_kill_while_unpacking_is_swept_away(tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, _):
        spec = spec_of(url)
        half = spec.path(tmp_path).with_name(".tmp-rooms_train_lmdb")
        half.mkdir(parents=True)
        (half / "data.mdb").write_bytes(b"half")
        download_lmdb(spec, tmp_path)
    assert files_of(tmp_path) == ["rooms/raw/rooms_train_lmdb/data.mdb"]


@pytest.mark.parametrize("folder", ["", "rooms_train_lmdb/", "../../", "/etc/", "C:\\\\temp/"])
def test_no_name_in_a_zip_is_a_path(tmp_path: Path, folder: str) -> None:
    zipped = zipped_lmdb(50, folder or "./")
    with serve(Publisher, zipped) as (url, _):
        download_lmdb(spec_of(url, zipped), tmp_path / "inner" / "data")
    assert files_of(tmp_path) == ["inner/data/rooms/raw/rooms_train_lmdb/data.mdb"]


def damaged() -> bytes:
    """One byte of an image differs from what the zip's checksum says."""
    content = bytearray(ZIP)
    content[content.index(bytes([7]) * 5000) + 100] ^= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("zipped", "says"),
    [
        (damaged(), "damaged .Bad CRC-32"),
        (ZIP[:-100], "damaged .File is not a zip file"),
        (zip_of({"rooms/readme.txt": b"no data here" * 9}), "holds 0 files called data.mdb"),
        (zip_of({"a/data.mdb": b"1", "b/data.mdb": b"2"}), "holds 2 files called data.mdb"),
    ],
)
def test_zip_that_is_wrong_is_removed(tmp_path: Path, zipped: bytes, says: str) -> None:
    with serve(Publisher, zipped) as (url, _), pytest.raises(DownloadError, match=says) as raised:
        download_lmdb(spec_of(url, zipped), tmp_path)
    assert "fetch it anew" in raised.value.hint
    assert files_of(tmp_path) == []


def test_zip_with_another_hash_is_removed(tmp_path: Path) -> None:
    with serve(Publisher, damaged()) as (url, _), pytest.raises(DownloadError, match="SHA-256"):
        download_lmdb(spec_of(url), tmp_path)
    assert files_of(tmp_path) == []


def test_replaced_zip_is_seen_by_its_size_before_it_is_fetched(tmp_path: Path) -> None:
    with serve(Publisher, zipped_lmdb(90)) as (url, _), pytest.raises(DownloadError, match="the registry says"):
        download_lmdb(spec_of(url), tmp_path)
    assert files_of(tmp_path) == []


def test_size_without_hash_is_only_about(tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, _):
        assert download_lmdb(spec_of(url, sha256="", size_bytes=len(ZIP) // 2), tmp_path) == 50


def test_number_of_images_must_be_right(tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, _):
        with pytest.raises(DownloadError, match=r"\.zip holds 50 images, and the registry says 51"):
            download_lmdb(spec_of(url, images=51), tmp_path)
        assert not spec_of(url).path(tmp_path).exists()
        download_lmdb(spec_of(url), tmp_path)
        with pytest.raises(DownloadError, match="rooms_train_lmdb holds 50 images"):
            download_lmdb(spec_of(url, images=51), tmp_path)


def test_data_file_that_is_no_lmdb(tmp_path: Path) -> None:
    zipped = zip_of({"rooms/data.mdb": b"nothing that LMDB knows" * 1000})
    with serve(Publisher, zipped) as (url, _), pytest.raises(DownloadError, match="is no LMDB"):
        download_lmdb(spec_of(url, zipped), tmp_path)
    assert not spec_of("http://x").path(tmp_path).exists()


def test_room_is_checked_before_anything_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zip and the LMDB need to fit together; the disk itself cannot be filled here."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 0, int(2.2 * len(ZIP))))
    with serve(Publisher, ZIP) as (url, asked), pytest.raises(DiskFull, match=r"fetching rooms takes .* free"):
        download_lmdb(spec_of(url), tmp_path)
    assert asked == []


def test_room_is_checked_again_when_the_zip_says_how_large_it_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rooms/data.mdb", bytes(10_000_000))
    zipped = buffer.getvalue()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 0, 1_000_000))
    with serve(Publisher, zipped) as (url, _), pytest.raises(DiskFull, match=r"unpacking .* takes 10\.0 MB"):
        download_lmdb(spec_of(url, zipped), tmp_path)
    assert files_of(tmp_path) == ["rooms/raw/rooms_train_lmdb.zip"]


def test_same_bytes_as_in_the_zip(tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, _):
        download_lmdb(spec_of(url), tmp_path)
    with zipfile.ZipFile(io.BytesIO(ZIP)) as archive:
        data = archive.read("rooms_train_lmdb/data.mdb")
    assert hashes_below(tmp_path) == {"rooms/raw/rooms_train_lmdb/data.mdb": hashlib.sha256(data).hexdigest()}


def test_entry_without_address(tmp_path: Path) -> None:
    spec = DatasetSpec("faces", "faces", "folder:raw", obtain="ask the owner")
    with pytest.raises(ConfigError, match="no address") as raised:
        download_lmdb(spec, tmp_path)
    assert raised.value.hint == "ask the owner"


def test_zip_lies_beside_the_lmdb(tmp_path: Path) -> None:
    planned = plan_download(spec_of("http://x/y.zip"), tmp_path)
    assert planned.target == tmp_path / "rooms/raw/rooms_train_lmdb.zip"
    assert planned.size_bytes == len(ZIP)
