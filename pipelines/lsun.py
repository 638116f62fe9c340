"""LSUN: a registry's entry in, its LMDB on disk out: downloaded, verified, unpacked, counted.

The publisher's zips hold one folder with ``data.mdb`` and LMDB's lock file each (https://github.com/fyu/lsun). Only
``data.mdb`` is unpacked. This is how a source comes to lie on disk, before the pipeline begins.
"""

import hashlib
import os
import time
import zipfile
import zlib
from pathlib import Path

import lmdb

from pipelines.download import Download, Patience, Report, Sleep, fetch, report_nothing, require_room
from pipelines.errors import ConfigError, DownloadError
from pipelines.registry import DatasetSpec, how_to_get
from pipelines.store import published

DATA_FILE = "data.mdb"
CHUNK_BYTES = 1 << 20
ZIP_BEGINS_WITH = b"PK\x03\x04"
UNPACKED_RATIO = 1.25  # LMDB rounds each image up to pages of 4 kB, which the zip takes out again

_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


def download_lmdb(
    spec: DatasetSpec,
    data_root: Path,
    *,
    keep_zip: bool = False,
    patience: Patience | None = None,
    report: Report = report_nothing,
    sleep: Sleep = time.sleep,
) -> int:
    """Bring a data set's LMDB to `DatasetSpec.path`; returns how many images it holds.

    Whatever stands there already, the LMDB, its zip or a part of the zip, is used. The caller holds the lock of the
    data set's folder.

    Args:
        spec: an entry with a ``url``.
        data_root: folder that holds a folder per data set.
        keep_zip: leave the zip beside the LMDB instead of removing it.
        patience: timeouts and retries.
        report: is told the progress.
        sleep: waits between tries.

    Raises:
        ConfigError: the entry has no ``url``.
        DownloadError: what came is not what the entry says.
        DiskFull: the disk has no room for the zip and the LMDB together.
    """
    if not spec.url:
        raise ConfigError(f"{spec.name} has no address to download from", hint=how_to_get(spec, data_root))
    folder = spec.path(data_root)
    if not folder.exists():
        zipped = plan_download(spec, data_root)
        zipped.target.parent.mkdir(parents=True, exist_ok=True)
        missing_bytes = max(spec.size_bytes - zipped.fetched_bytes, 0)
        require_room(folder.parent, missing_bytes + int(UNPACKED_RATIO * spec.size_bytes), f"fetching {spec.name}")
        fetch(zipped, patience=patience, report=report, sleep=sleep)
        _verify_hash(spec, zipped.target, report)
        _unpack(spec, zipped.target, folder, report)
        if not keep_zip:
            zipped.target.unlink()
    images = count_images(folder)
    _require_all(spec, images, folder)
    return images


def plan_download(spec: DatasetSpec, data_root: Path) -> Download:
    """The zip that `download_lmdb` fetches, and where to: beside the LMDB's folder."""
    folder = spec.path(data_root)
    size_bytes = spec.size_bytes if spec.size_is_exact else None
    return Download(spec.url, folder.with_name(f"{folder.name}.zip"), ZIP_BEGINS_WITH, size_bytes)


def _verify_hash(spec: DatasetSpec, zip_path: Path, report: Report) -> None:
    if not spec.sha256:
        return
    digest, total_bytes = hashlib.sha256(), zip_path.stat().st_size
    with zip_path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            report("verifying", file.tell(), total_bytes)
    if digest.hexdigest() != spec.sha256:
        _refuse(zip_path, f"has SHA-256 {digest.hexdigest()}, and the registry says {spec.sha256}")


def _unpack(spec: DatasetSpec, zip_path: Path, folder: Path, report: Report) -> None:
    """Unpack ``data.mdb`` and publish it as ``folder``. No name in the zip is ever used as a path."""
    try:
        with zipfile.ZipFile(zip_path) as archive, published(folder) as unpacking:
            members = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == DATA_FILE]
            if len(members) != 1:
                raise zipfile.BadZipFile(f"it holds {len(members)} files called {DATA_FILE} instead of one")
            total_bytes = members[0].file_size
            require_room(folder.parent, total_bytes, f"unpacking {zip_path.name}")
            with archive.open(members[0]) as packed, (unpacking / DATA_FILE).open("wb") as file:
                while chunk := packed.read(CHUNK_BYTES):  # its end is where zipfile checks the CRC
                    file.write(chunk)
                    report("unpacking", file.tell(), total_bytes)
                file.flush()
                os.fsync(file.fileno())
            _require_all(spec, count_images(unpacking), zip_path)
    except _BAD_ZIP as error:
        _refuse(zip_path, f"is damaged ({error})")


def count_images(folder: Path) -> int:
    """Entries of the LMDB in ``folder``; DownloadError where there is none."""
    try:
        with lmdb.open(str(folder), readonly=True, lock=False) as environment:
            return int(environment.stat()["entries"])
    except lmdb.Error as error:
        raise DownloadError(
            f"{folder} is no LMDB ({error})", hint="remove it, and run the same command again"
        ) from error


def _require_all(spec: DatasetSpec, images: int, where: Path) -> None:
    if spec.images and images != spec.images:
        raise DownloadError(
            f"{where} holds {images:,} images, and the registry says {spec.images:,}",
            hint=f"remove it, and run the same command again; or correct images of {spec.name} in ./datasets.toml",
        )


def _refuse(zip_path: Path, why: str) -> None:
    """A zip that is whole and wrong cannot be mended by asking for more of it."""
    zip_path.unlink()
    raise DownloadError(f"{zip_path} {why}; it was removed", hint="run the same command again to fetch it anew")
