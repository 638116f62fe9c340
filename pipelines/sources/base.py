"""What every source is: `Source` and `Split`; and what several of them share."""

import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Protocol, runtime_checkable

from braceexpand import braceexpand

from pipelines.errors import SourceError
from pipelines.manifest import digest_of
from pipelines.record import Record

# Formats that we do not decode are listed too: such a file is rejected with a reason instead of never being seen.
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".jp2", ".jxl", ".psd"),
    )
)
SMALLEST_SPLIT, LARGEST_SPLIT, WANTED_SPLITS = 256, 10_000, 64


@dataclass(frozen=True, slots=True)
class Split:
    """A piece of a source: picklable, no open handles.

    Attributes:
        where: the source's own.
        records: how many it holds; None: not known before it is read.
        digest: SHA-256 (hex) of what tells this piece's content from another; None: the source's digest and the place.
        source: the name of the source it is a piece of, where several are read as one.
    """

    where: tuple[str | int, ...]
    records: int | None = None
    digest: str | None = None
    source: str | None = None


class Source(Protocol):
    """Where records come from. Keys are unique within a source; splits and the records in them have a fixed order."""

    @property
    def name(self) -> str:
        """Scheme and last part of the path: says which source it was without saying where it lay."""
        ...

    def digest(self) -> str:
        """SHA-256 (hex) of what tells this content from another, without reading all of it; says nothing of paths."""
        ...

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """Pieces of about ``size`` records; None: about 64 pieces of 256 to 10,000 records."""
        ...

    def read(self, split: Split) -> Iterator[Record]:
        """The records of one split; opens its own handle."""
        ...


@runtime_checkable
class PickingSource(Source, Protocol):
    """A source that finds single records without reading what stands before them."""

    def pick(self, split: Split, keys: Set[str]) -> Iterator[Record]:
        """Those records of a split that have one of these keys, in any order."""
        ...


def pick_records(source: Source, split: Split, keys: Set[str]) -> Iterator[Record]:
    """Those records of a split that have one of these keys; no more is read than the source needs to find them."""
    if isinstance(source, PickingSource):
        yield from source.pick(split, keys)
        return
    missing = set(keys)
    for record in source.read(split):
        if record.key in missing:
            yield record
            missing.remove(record.key)
        if not missing:
            return


def digest_split(source: Source, split: Split) -> str:
    """SHA-256 (hex) of what tells a split's content from another's, and of where it stands in its source."""
    return digest_of([split.digest or source.digest(), split.where, split.records, split.source])


def choose_size(records: int) -> int:
    """Records per split of a source that holds so many: about 64 splits, none small, none huge."""
    return min(max(-(-records // WANTED_SPLITS), SMALLEST_SPLIT), LARGEST_SPLIT)


def digest_files(root: Path, names: Sequence[str]) -> str:
    """SHA-256 of the names, sizes and times of change of files below ``root``."""
    stats = ((name, (root / name).stat()) for name in names)
    return digest_of([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def expand(pattern: str, suffix: str) -> tuple[Path, list[str]]:
    """The files that a glob, a brace pattern or a folder means: their common folder, and their names below it."""
    paths: set[Path] = set()
    for expanded in _expand_braces(pattern):
        path = Path(expanded)
        if path.is_dir():
            paths.update(file for file in path.rglob(f"*{suffix}") if file.is_file() and not file.name.startswith("."))
        elif path.is_file():
            paths.add(path)
        else:
            matches = map(Path, glob(expanded, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
            paths.update(match for match in matches if match.is_file() and match.name.endswith(suffix))
    if not paths:
        raise SourceError(
            f"no {suffix} files match {pattern}", hint="give a folder, or a pattern in quotes such as 'shards/*.tar'"
        )
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return root, sorted(path.relative_to(root).as_posix() for path in paths)


def _expand_braces(pattern: str) -> list[str]:
    try:
        return list(braceexpand(pattern, escape=False))  # a backslash is a path's on Windows
    except ValueError as error:
        raise SourceError(f"{pattern} has unbalanced braces", hint="close each { with a }") from error
