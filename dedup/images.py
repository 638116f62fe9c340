"""Images by number: arrays, codes and rows of all usable images of a finished data set, none of them loaded whole.

Serves every arrow after "thumbnails" of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards
→ DCGAN". An image's number is its place among all usable images, in the source's order; rows and keys come back by it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import IntegrityError
from pipelines.manifest import Manifest
from pipelines.record import Record
from pipelines.sources import Source, Split

Numbers = npt.NDArray[np.int64]

IDS_AT_A_TIME = 1 << 26


class ArrayShards:
    """The ``.npy`` shards of a stage as one array along the first axis, memory-mapped.

    Attributes:
        parts: the shards' arrays, in order.
        starts: int64 (shards + 1,): the number of each shard's first row; lastly, how many rows there are.
    """

    def __init__(self, manifest: Manifest, suffix: str = ".npy") -> None:
        self.parts: list[npt.NDArray[Any]] = [np.load(path, mmap_mode="r") for path in manifest.paths(suffix)]
        self.starts = np.cumsum([0, *(len(part) for part in self.parts)], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, numbers: Numbers) -> npt.NDArray[Any]:
        """Rows at ``numbers``, in their order, as an array in memory."""
        first = self.parts[0]
        rows = np.empty((len(numbers), *first.shape[1:]), first.dtype)
        for part, where, local in self.locate(numbers):
            rows[where] = self.parts[part][local]
        return rows

    def locate(self, numbers: Numbers) -> Iterator[tuple[int, Numbers, Numbers]]:
        """Shard by shard of those that hold some of ``numbers``: its index, their places in ``numbers`` and in it."""
        order = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[order], self.starts)
        for part in np.flatnonzero(np.diff(bounds)).tolist():
            where = order[bounds[part] : bounds[part + 1]]
            yield part, where, numbers[where] - self.starts[part]


class Images:
    """Thumbnails, codes and rows of all usable images of a data set.

    Attributes:
        thumbnails: uint8 (N, 32, 32, 3).
        ids: uint64 (N,): equal bytes have equal ones.
        codes: uint8 (N, 16).
        flat: uint8 (N,), 1 where a picture is of one colour, so that its code means nothing.
    """

    def __init__(self, thumbnails: Manifest, codes: Manifest) -> None:
        self.thumbnails = ArrayShards(thumbnails, ".thumbnails.npy")
        self.ids = ArrayShards(thumbnails, ".ids.npy")
        self.codes = ArrayShards(codes, ".codes.npy")
        self.flat = ArrayShards(codes, ".flat.npy")
        self._tables = thumbnails.paths(".parquet")

    def __len__(self) -> int:
        return len(self.codes)

    def keys(self, numbers: Numbers) -> list[str]:
        """The keys of images, in the order of their numbers."""
        keys: list[str] = self.rows(numbers, ["key"])["key"].to_pylist()
        return keys

    def rows(self, numbers: Numbers, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of images (columns of `dedup.thumbnails.ROWS`), in the order of their numbers."""
        places, tables = [np.zeros(0, np.int64)], [read_usable(self._tables[0], columns).slice(0, 0)]
        for part, where, local in self.thumbnails.locate(numbers):
            usable = read_usable(self._tables[part], columns)
            places.append(where)
            tables.append(usable.take(pa.array(local)))
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(places))))


def find_bytes(images: Images, sha256: Iterable[str]) -> Numbers:
    """Numbers of the images whose bytes have one of some SHA-256 (hex), as far as 64 bits of it tell."""
    wanted = np.array([int(digest[:16], 16) for digest in sha256], np.uint64)
    if not len(wanted):
        return np.zeros(0, np.int64)
    parts = zip(images.ids.parts, images.ids.starts.tolist(), strict=False)
    return np.concatenate([start + np.flatnonzero(np.isin(part, wanted)) for part, start in parts])


def equal_bytes(images: Images, at_a_time: int = IDS_AT_A_TIME) -> tuple[Numbers, Numbers]:
    """Pairs (first, copy) of images with equal bytes, by the first 64 bits of their SHA-256.

    Large sets are gone through several times, a range of ids each time, so that memory stays bounded.
    """
    passes = -(-max(1, len(images)) // at_a_time)
    width = np.uint64((1 << 64) // passes - 1 if passes > 1 else (1 << 64) - 1)
    firsts, copies = [], []
    for turn in range(passes):
        low = np.uint64(turn) * width
        ids, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for part, start in zip(images.ids.parts, images.ids.starts.tolist(), strict=False):
            chosen = np.arange(len(part))
            if passes > 1:
                last = turn == passes - 1
                chosen = np.flatnonzero((part >= low) & ((part - low < width) | last))
            ids.append(part[chosen])
            numbers.append(start + chosen)
        order = np.argsort(np.concatenate(ids), kind="stable")
        ordered, number = np.concatenate(ids)[order], np.concatenate(numbers)[order]
        new = np.ones(len(ordered), np.bool_)
        new[1:] = ordered[1:] != ordered[:-1]
        first = number[np.flatnonzero(new)[np.cumsum(new) - 1]] if len(number) else number
        firsts.append(first[~new])
        copies.append(number[~new])
    return np.concatenate(firsts), np.concatenate(copies)


def read_usable(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one shard that have no reason to be rejected, in the source's order."""
    return pq.read_table(path, columns=None if columns is None else list(columns), filters=pc.field("reason").is_null())


def read_usable_records(source: Source, split: Split, thumbnails: Manifest) -> Iterator[tuple[int, Record]]:
    """Read a split of the source again: each usable image's place in its shard, and the record.

    Args:
        source: the images.
        split: a piece of it.
        thumbnails: the part of the thumbnails' manifest that was made of this split.

    Raises:
        IntegrityError: the source is not what it was.
    """
    (table,) = thumbnails.paths(".parquet")
    rows = iter(pq.read_table(table, columns=["key", "sha256", "reason"]).to_pylist())
    place = 0
    for record in source.read(split):
        row = next(rows, None)
        if row is None or hashlib.sha256(record.image).hexdigest() != row["sha256"]:
            raise _has_changed(source, record.key)
        if row["reason"] is None:
            yield place, record
            place += 1
    if (missing := next(rows, None)) is not None:
        raise _has_changed(source, missing["key"])


def _has_changed(source: Source, key: str) -> IntegrityError:
    return IntegrityError(
        f"the source {source.name} changed while it was read (at key {key})",
        hint="run the same command again when nothing writes to the source",
    )


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write ``.npy`` such that a full disk raises the system's own error, which `numpy.save` hides."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)
