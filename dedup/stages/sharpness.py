"""Sharpness: verified pairs and the source in; how sharp each image with a duplicate is, out. For ``--keep sharpest``.

Imports no torch: its workers start quickly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from dedup.images import ArrayShards, read_usable_records, save_array
from dedup.matching.pairs import load_pairs
from pipelines.images import decode, measure_sharpness
from pipelines.manifest import Manifest, digest_of
from pipelines.sources import Source, digest_split
from pipelines.stage import READ_IN_PARTS, Task

SHARPNESS = np.dtype([("place", "<i8"), ("sharpness", "<f8")])
SIDE = 256  # pixels at which images of all sizes are compared


@dataclass(frozen=True, slots=True)
class SharpnessStage:
    """Reads the source again and measures the images that are in pairs: ``NNNNN.sharpness.npy``, dtype `SHARPNESS`,
    by place in the shard."""

    name: ClassVar[str] = "sharpness"
    version: ClassVar[int] = 1

    source: Source = field(metadata=READ_IN_PARTS)
    shard_size: int | None = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source; ``upstream`` is the thumbnails' and the pairs' manifest."""
        thumbnails, pairs = upstream
        rows = load_pairs(pairs.paths(".pairs.npy"))
        asked = np.unique(np.concatenate([part[end] for part in rows for end in ("a", "b")]))
        starts = ArrayShards(thumbnails, ".ids.npy").starts
        tasks = []
        for index, (shard, split) in enumerate(
            zip(thumbnails.shards, self.source.splits(self.shard_size), strict=True)
        ):
            first, end = np.searchsorted(asked, starts[index : index + 2])
            places = asked[first:end] - starts[index]
            part = thumbnails.part(shard.name)
            inputs = digest_of([digest_split(self.source, split), part.digest, places.tolist()])
            tasks.append(Task(shard.name, (split, part, places), inputs))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Read one split, and decode the images that are asked for."""
        split, part, places = task.payload
        measured = np.zeros(len(places), SHARPNESS)
        measured["place"] = places
        if len(places):
            wanted = dict(zip(places.tolist(), range(len(places)), strict=True))
            for place, record in read_usable_records(self.source, split, part):
                if place in wanted:
                    measured["sharpness"][wanted[place]] = measure_sharpness(decode(record.image, at_least=SIDE), SIDE)
        save_array(out / f"{task.name}.sharpness.npy", measured)
        return len(measured)
