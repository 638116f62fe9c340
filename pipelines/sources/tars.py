"""Tars as sources: WebDataset, ImageNet-1k's tar of tars, and our own shards."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from pipelines.errors import SourceError
from pipelines.manifest import Manifest, digest_of
from pipelines.record import Record, Scalar
from pipelines.shards import read_shard
from pipelines.sources.base import IMAGE_SUFFIXES, Split, digest_files, expand
from pipelines.store import File, open_root

SUFFIXES = (".tar", ".parquet")  # of the files of one of our shards


@dataclass(frozen=True, slots=True)
class WebdatasetSource:
    """WebDataset tars: each image member is a record; ``.json``, ``.cls`` and ``.txt`` beside it are its metadata."""

    pattern: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"webdataset:{Path(self.pattern).name}"

    def digest(self) -> str:
        """Of the tars' names, sizes and times of change."""
        root, tars = self._tars()
        return digest_files(root, tars)

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """One tar each, whatever ``size``: a tar can only be read from its start."""
        root, tars = self._tars()
        return [Split((tar,), digest=digest_files(root, [tar])) for tar in tars]

    def read(self, split: Split) -> Iterator[Record]:
        """Group a tar's members into samples. A sample without an image yields an empty one, so that it counts."""
        tar_name = str(split.where[0])
        path = self._tars()[0] / tar_name
        with _open_tar(path) as tar:
            for stem, members in groupby(_files_of(tar, path), key=lambda member: _sample_stem(member[0])):
                sample = list(members)
                images = [(name, content) for name, content in sample if Path(name).suffix.lower() in IMAGE_SUFFIXES]
                try:
                    meta = _sample_meta(sample)
                except ValueError as error:
                    raise SourceError(
                        f"{path} holds damaged metadata beside {stem} ({error})", hint="make the tar again"
                    ) from error
                for name, content in images or [(stem, b"")]:
                    yield Record(f"{tar_name.removesuffix('.tar')}/{name}", content, meta)

    def _tars(self) -> tuple[Path, list[str]]:
        return expand(self.pattern, ".tar")


@dataclass(frozen=True, slots=True)
class ImagenetTarSource:
    """ImageNet-1k as released: one tar of a tar per wnid. Read in place; nothing is unpacked."""

    path: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"imagenet:{Path(self.path).name}"

    def digest(self) -> str:
        """Of the names, sizes and places of the inner tars, and the outer one's time of change."""
        inner = self._inner_tars()
        return digest_of([inner, Path(self.path).stat().st_mtime_ns])

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """One inner tar (about 1,300 images) each, whatever ``size``."""
        return [Split(where) for where in self._inner_tars()]

    def read(self, split: Split) -> Iterator[Record]:
        """Read one inner tar where it lies in the outer one."""
        name, offset, _ = split.where
        wnid = Path(str(name)).stem
        with Path(self.path).open("rb") as outer:
            outer.seek(int(offset))
            with _open_tar(self.path, outer) as inner:
                for member, content in _files_of(inner, self.path):
                    yield Record(f"{wnid}/{member}", content, {"label": wnid})

    def _inner_tars(self) -> list[tuple[str, int, int]]:
        with _open_tar(self.path) as outer:
            members = _members_of(outer, self.path)
            inner = sorted((m.name, m.offset_data, m.size) for m in members if m.name.endswith(".tar"))
        if not inner:
            raise SourceError(
                f"{self.path} holds no tars, so it is not ImageNet's tar of tars",
                hint="give ILSVRC2012_img_train.tar, or a folder of wnid folders; webdataset: reads other tars",
            )
        return inner


@dataclass(frozen=True, slots=True)
class ShardsSource:
    """A finished folder of our own shards, by its path or URL: clean shards can be a source again."""

    path: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"shards:{open_root(self.path).name}"

    def digest(self) -> str:
        """The manifest's: hashes of all files."""
        return self._manifest().digest

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """One shard each, whatever ``size``."""
        splits = []
        for shard in self._manifest().shards:
            files = [file for suffix in SUFFIXES for file in shard.files if file.name.endswith(suffix)]
            if files:
                where: tuple[str | int, ...] = ()
                for file in files:
                    where += (file.name, file.size_bytes, file.sha256)
                splits.append(Split(where, digest=files[0].sha256))
        return splits

    def read(self, split: Split) -> Iterator[Record]:
        """See `pipelines.shards.read_shard`."""
        tar, parquet = (
            File(str(name), int(size_bytes), str(sha256))
            for name, size_bytes, sha256 in (split.where[:3], split.where[3:])
        )
        return read_shard(*open_root(self.path).fetch([tar, parquet]))

    def _manifest(self) -> Manifest:
        hint = "run the command that makes them to its end, or read plain tars with webdataset:"
        try:
            manifest = Manifest.load(open_root(self.path))
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError(f"no finished shards in {self.path} (no manifest.json there)", hint=hint) from None
        if not manifest.records:
            raise SourceError(f"the finished stage in {self.path} holds no images", hint=hint)
        return manifest


def _open_tar(path: str | Path, file: IO[bytes] | None = None) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:", fileobj=file)
    except (OSError, tarfile.TarError) as error:
        raise SourceError(
            f"{path} cannot be read as a tar ({error})", hint="check the path, or fetch it again"
        ) from error


def _files_of(tar: tarfile.TarFile, path: str | Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a tar's files, in its order."""
    for member in _members_of(tar, path):
        content = tar.extractfile(member) if member.isfile() else None
        if content is not None:
            try:
                yield member.name, content.read()
            except tarfile.TarError as error:
                raise _damaged(path, error) from error


def _members_of(tar: tarfile.TarFile, path: str | Path) -> Iterator[tarfile.TarInfo]:
    """A tar's members, in its order; certain that none is missing."""
    try:
        yield from tar
        # tarfile takes a damaged header, or the end of the file, for the end of the tar; a whole one ends in zeros.
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no header and no end of the tar at byte {tar.offset}")
    except tarfile.TarError as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path} is damaged or cut short ({error})", hint="fetch it again, or leave it out of the pattern"
    )


def _sample_stem(member: str) -> str:
    """WebDataset's rule: up to the first dot of the last part of the path."""
    folder, slash, base = member.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _sample_meta(sample: Sequence[tuple[str, bytes]]) -> dict[str, Scalar]:
    meta: dict[str, Scalar] = {}
    for name, content in sample:
        match Path(name).suffix:
            case ".json":
                values = json.loads(content)
                if isinstance(values, dict):
                    meta |= {key: value for key, value in values.items() if isinstance(value, str | int | float | bool)}
            case ".cls":
                text = content.decode().strip()
                meta["label"] = int(text) if text.isdecimal() else text
            case ".txt":
                meta["caption"] = content.decode(errors="replace").strip()
    return meta
