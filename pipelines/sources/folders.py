"""Folders of image files as sources."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import SourceError
from pipelines.record import Record, Scalar
from pipelines.sources.base import IMAGE_SUFFIXES, Split, choose_size, digest_files

WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Image files below a folder, hidden ones aside; the key is the path below it, with ``/``."""

    path: str

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"folder:{Path(self.path).name}"

    def digest(self) -> str:
        """Of all files' names, sizes and times of change."""
        return digest_files(Path(self.path), self._files())

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """Runs of files in the order of their keys."""
        files = self._files()
        size = size or choose_size(len(files))
        runs = (files[start : start + size] for start in range(0, len(files), size))
        return [Split(tuple(run), len(run), digest_files(Path(self.path), run)) for run in runs]

    def read(self, split: Split) -> Iterator[Record]:
        """Read file after file."""
        for key in map(str, split.where):
            yield self._record(key)

    def pick(self, split: Split, keys: Set[str]) -> Iterator[Record]:
        """Read just their files."""
        for key in keys & set(map(str, split.where)):
            yield self._record(key)

    def meta_of(self, key: str) -> Mapping[str, Scalar]:
        """What a path says of its image: nothing, in a plain folder."""
        return {}

    def _record(self, key: str) -> Record:
        return Record(key, (Path(self.path) / key).read_bytes(), self.meta_of(key))

    def _files(self) -> list[str]:
        root = Path(self.path)
        if not root.is_dir():
            raise SourceError(f"no folder at {root}", hint="check the path after the scheme")
        files = sorted(
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
        )
        files = [key for key in files if not any(part.startswith(".") for part in key.split("/"))]
        if not files:
            raise SourceError(
                f"no image files below {root}", hint=f"images are known by {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return files


@dataclass(frozen=True, slots=True)
class ImagenetFolderSource(FolderSource):
    """ImageNet-1k unpacked: ``<wnid>/<wnid>_<number>.JPEG``, at any depth."""

    @property
    def name(self) -> str:
        """See `Source`."""
        return f"imagenet:{Path(self.path).name}"

    def meta_of(self, key: str) -> Mapping[str, Scalar]:
        """The wnid, from the folder."""
        return {"label": next((part for part in key.split("/") if WNID.fullmatch(part)), None)}
