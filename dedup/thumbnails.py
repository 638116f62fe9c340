"""Thumbnails: a source's records in; per split, a 32×32 thumbnail per usable image and a row per record out.

First arrow of "source → thumbnails → codes → groups → clean shards". Imports no torch: its workers start quickly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.images import THUMBNAIL_SIZE, ImageRejected, make_thumbnail
from pipelines.manifest import Manifest
from pipelines.sources import Source
from pipelines.stage import Task

SHAPE = (THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)

# A row per record, in the source's order. `reason` is null for a usable image, and then size and format are known.
ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ThumbnailStage:
    """Decodes every record once: ``NNNNN.npy``, uint8 (n, 32, 32, 3), and ``NNNNN.parquet`` with columns `ROWS`."""

    name: ClassVar[str] = "thumbnails"
    version: ClassVar[int] = 1

    source: Source
    shard_size: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source."""
        return [Task(f"{index:05d}", split) for index, split in enumerate(self.source.splits(self.shard_size))]

    def run(self, task: Task, out: Path) -> int:
        """Decode one split."""
        cv2.setNumThreads(1)  # the parallelism is in the tasks
        rows, thumbnails = [], []
        for record in self.source.read(task.payload):
            row = {
                "key": record.key,
                "size_bytes": len(record.image),
                "sha256": hashlib.sha256(record.image).hexdigest(),
            }
            try:
                header, thumbnail = make_thumbnail(record.image)
            except ImageRejected as rejected:
                rows.append({**row, "reason": rejected.reason.value})
                continue
            thumbnails.append(thumbnail)
            rows.append({**row, "format": header.format, "width": header.width, "height": header.height})
        save_array(out / f"{task.name}.npy", np.stack(thumbnails) if thumbnails else np.empty((0, *SHAPE), np.uint8))
        pq.write_table(pa.Table.from_pylist(rows, ROWS), out / f"{task.name}.parquet")
        return len(rows)


def save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write ``.npy`` such that a full disk raises the system's own error, which `numpy.save` hides."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)


class ArrayShards:
    """The ``.npy`` shards of a stage as one array along the first axis, memory-mapped, never loaded whole."""

    def __init__(self, manifest: Manifest, suffix: str = ".npy") -> None:
        self._parts = [_map_array(path) for path in manifest.paths(suffix)]
        self.starts = np.cumsum([0, *(len(part) for part in self._parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Rows at ``indices``, in their order, as an array in memory."""
        first = self._parts[0]
        rows = np.empty((len(indices), *first.shape[1:]), first.dtype)
        order = np.argsort(indices, kind="stable")
        bounds = np.searchsorted(indices[order], self.starts)
        for part, start, begin, end in zip(self._parts, self.starts, bounds, bounds[1:], strict=False):
            where = order[begin:end]
            rows[where] = part[indices[where] - start]
        return rows

    def load(self) -> npt.NDArray[np.uint8]:
        """All rows in memory: for codes, not for thumbnails."""
        return np.concatenate(self._parts)


def _map_array(path: Path) -> npt.NDArray[np.uint8]:
    array: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return array


def read_rows(manifest: Manifest, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of all shards of a finished `ThumbnailStage`, in the source's order."""
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in manifest.paths(".parquet")])
