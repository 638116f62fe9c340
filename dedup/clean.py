"""Clean shards: the source once more in; the keepers' own bytes as WebDataset tars with a parquet beside each out.

Last arrow before training. Imports no torch: its workers start quickly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import IntegrityError
from pipelines.images import decode, encode_preview
from pipelines.manifest import Manifest
from pipelines.shards import ShardWriter
from pipelines.sources import Source, Split
from pipelines.stage import Task

PREVIEW_SIDE = 256
PREVIEWS_SUFFIX = ".previews"
PREVIEWS = pa.schema([("key", pa.string()), ("jpeg", pa.binary())])


@dataclass(frozen=True, slots=True)
class _Payload:
    """What one task needs: its split of the source, its rows, and where its images stand among all usable ones."""

    split: Split
    rows: Path
    group_sizes: Path
    first_image: int
    exhibits: Path


@dataclass(frozen=True, slots=True)
class CleanStage:
    """Copies what is kept, split by split: ``NNNNN.tar``, ``NNNNN.parquet`` and ``NNNNN.previews``.

    ``.previews`` is a parquet of small JPEGs of the images that the report will show, kept or dropped, so that the
    source need not be read a third time.
    """

    name: ClassVar[str] = "clean"
    version: ClassVar[int] = 1

    source: Source
    shard_size: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source; ``upstream`` is the thumbnails' and the groups' manifest."""
        thumbnails, groups = upstream
        (group_sizes,), (exhibits,) = groups.paths("group_sizes.npy"), groups.paths("exhibits.parquet")
        tasks, first_image = [], 0
        splits = self.source.splits(self.shard_size)
        arrays, tables = thumbnails.paths(".npy"), thumbnails.paths(".parquet")
        for shard, split, array, rows in zip(thumbnails.shards, splits, arrays, tables, strict=True):
            tasks.append(Task(shard.name, _Payload(split, rows, group_sizes, first_image, exhibits)))
            first_image += len(np.load(array, mmap_mode="r"))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Copy one split's keepers."""
        payload: _Payload = task.payload
        rows = iter(pq.read_table(payload.rows).to_pylist())
        group_sizes = np.load(payload.group_sizes, mmap_mode="r")
        shown = set(pq.read_table(payload.exhibits)["key"].to_pylist())
        previews = []
        image = payload.first_image
        with ShardWriter(out, task.name) as shard:
            for record in self.source.read(payload.split):
                row = next(rows, None)
                if row is None or hashlib.sha256(record.image).hexdigest() != row["sha256"]:
                    raise self._has_changed(record.key)
                if row.pop("reason") is not None:
                    continue
                group_size = int(group_sizes[image])
                image += 1
                if group_size:
                    shard.add(record, **{**row, "source": self.source.name, "group_size": group_size})
                if record.key in shown:
                    previews.append({"key": record.key, "jpeg": encode_preview(decode(record.image), PREVIEW_SIDE)})
        missing = next(rows, None)
        if missing is not None:
            raise self._has_changed(missing["key"])
        if previews:
            pq.write_table(pa.Table.from_pylist(previews, PREVIEWS), out / f"{task.name}{PREVIEWS_SUFFIX}")
        return shard.records

    def _has_changed(self, key: str) -> IntegrityError:
        return IntegrityError(
            f"the source {self.source.name} changed while it was read (at key {key})",
            hint="run the same command again when nothing writes to the source",
        )


def read_previews(clean: Manifest) -> dict[str, bytes]:
    """Key → JPEG of the images that the report shows."""
    tables = [pq.read_table(path) for path in clean.paths(PREVIEWS_SUFFIX)]
    return {row["key"]: row["jpeg"] for table in tables for row in table.to_pylist()}
