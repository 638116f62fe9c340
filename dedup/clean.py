"""Clean shards: the source once more in; the keepers' own bytes as WebDataset tars with a parquet beside each out.

Last arrow before training. Imports no torch: its workers start quickly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.images import ArrayShards, read_usable, read_usable_records
from pipelines.images import decode, encode_preview
from pipelines.manifest import Manifest, digest_of
from pipelines.shards import ShardWriter
from pipelines.sources import Source, Split, digest_split
from pipelines.stage import READ_IN_PARTS, Task

PREVIEW_SIDE = 256
PREVIEWS_SUFFIX = ".previews"
PREVIEWS = pa.schema([("key", pa.string()), ("jpeg", pa.binary())])


@dataclass(frozen=True, slots=True)
class _Payload:
    """What one task needs: its split of the source, its rows, the images with duplicates among them, those shown."""

    split: Split
    thumbnails: Manifest
    grouped: npt.NDArray[Any]
    shown: frozenset[int]


@dataclass(frozen=True, slots=True)
class CleanStage:
    """Copies what is kept, split by split: ``NNNNN.tar``, ``NNNNN.parquet`` and ``NNNNN.previews``.

    ``.previews`` is a parquet of small JPEGs of the images that the report will show, kept or dropped, so that the
    source need not be read a third time. A shard is written anew only where something in it changes.
    """

    name: ClassVar[str] = "clean"
    version: ClassVar[int] = 2

    source: Source = field(metadata=READ_IN_PARTS)
    shard_size: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source; ``upstream`` is the thumbnails' and the groups' manifest."""
        thumbnails, groups = upstream
        grouped = np.load(groups.path("grouped.npy"))
        shown = np.unique(pq.read_table(groups.path("exhibits.parquet"))["image"].to_numpy())
        starts = ArrayShards(thumbnails, ".ids.npy").starts
        tasks = []
        splits = self.source.splits(self.shard_size)
        for shard, split, start, end in zip(thumbnails.shards, splits, starts, starts[1:], strict=False):
            first, last = np.searchsorted(grouped["number"], [start, end])
            here = grouped[first:last].copy()
            here["number"] -= start
            places = shown[(shown >= start) & (shown < end)] - start
            part = thumbnails.part(shard.name)
            read = [digest_split(self.source, split), part.digest, here.tolist(), places.tolist()]
            payload = _Payload(split, part, here, frozenset(places.tolist()))
            tasks.append(Task(shard.name, payload, digest_of(read)))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Copy one split's keepers."""
        payload: _Payload = task.payload
        rows = read_usable(payload.thumbnails.paths(".parquet")[0])
        sizes = np.ones(rows.num_rows, np.int32)
        sizes[payload.grouped["number"]] = payload.grouped["size"]
        columns = [name for name in rows.column_names if name not in {"key", "reason"}]
        known = rows.select(columns).to_pylist()
        previews = []
        with ShardWriter(out, task.name) as shard:
            for place, record in read_usable_records(self.source, payload.split, payload.thumbnails):
                if sizes[place]:
                    shard.add(record, **known[place], group_size=int(sizes[place]))
                if place in payload.shown:
                    previews.append({"key": record.key, "jpeg": encode_preview(decode(record.image), PREVIEW_SIDE)})
        if previews:
            pq.write_table(pa.Table.from_pylist(previews, PREVIEWS), out / f"{task.name}{PREVIEWS_SUFFIX}")
        return shard.records


def read_previews(clean: Manifest) -> dict[str, bytes]:
    """Key → JPEG of the images that the report shows."""
    tables = [pq.read_table(path) for path in clean.paths(PREVIEWS_SUFFIX)]
    return {row["key"]: row["jpeg"] for table in tables for row in table.to_pylist()}
