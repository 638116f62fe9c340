"""Thumbnails: a source's records in; per split, a 32×32 thumbnail per usable image and a row per record out.

First arrow of "source → thumbnails → codes → groups → clean shards". Imports no torch: its workers start quickly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.images import save_array
from pipelines.images import THUMBNAIL_SIZE, ImageRejected, make_thumbnail
from pipelines.manifest import Manifest
from pipelines.sources import Source, digest_split
from pipelines.stage import READ_IN_PARTS, Task

SHAPE = (THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3)

# A row per record, in the source's order. `reason` is null for a usable image, and then size and format are known.
ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
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
    """Decodes every record once.

    Per split: ``NNNNN.thumbnails.npy``, uint8 (n, 32, 32, 3); ``NNNNN.ids.npy``, uint64 (n,), the first eight bytes of
    each image's SHA-256; and ``NNNNN.parquet`` with columns `ROWS`. A split that stays as it is is not read again when
    the source grows.
    """

    name: ClassVar[str] = "thumbnails"
    version: ClassVar[int] = 2

    source: Source = field(metadata=READ_IN_PARTS)
    shard_size: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source."""
        splits = self.source.splits(self.shard_size)
        return [Task(f"{index:05d}", split, digest_split(self.source, split)) for index, split in enumerate(splits)]

    def run(self, task: Task, out: Path) -> int:
        """Decode one split."""
        cv2.setNumThreads(1)  # the parallelism is in the tasks
        rows, thumbnails, ids = [], [], []
        for record in self.source.read(task.payload):
            sha256 = hashlib.sha256(record.image)
            row = {
                "key": record.key,
                "source": task.payload.source or self.source.name,
                "size_bytes": len(record.image),
                "sha256": sha256.hexdigest(),
            }
            try:
                header, thumbnail = make_thumbnail(record.image)
            except ImageRejected as rejected:
                rows.append({**row, "reason": rejected.reason.value})
                continue
            thumbnails.append(thumbnail)
            ids.append(int.from_bytes(sha256.digest()[:8], "big"))
            rows.append({**row, "format": header.format, "width": header.width, "height": header.height})
        pixels = np.stack(thumbnails) if thumbnails else np.empty((0, *SHAPE), np.uint8)
        save_array(out / f"{task.name}.thumbnails.npy", pixels)
        save_array(out / f"{task.name}.ids.npy", np.array(ids, np.uint64))
        pq.write_table(pa.Table.from_pylist(rows, ROWS), out / f"{task.name}.parquet")
        return len(rows)
