"""Crossed: two encoded data sets in; which images of the one are in the other too, and clean shards without them, out.

Beside the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN": the stages of `dedup.comparison.crossing` in a row, and the one that drops.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq

from dedup.comparison.crossing import CrossStage, MatchStage, SameBytesStage
from dedup.comparison.encoded import is_mirrored, threaded
from dedup.comparison.exhibits import align_splits
from dedup.finished import Encoded
from dedup.images import ArrayShards, read_usable, read_usable_records
from dedup.profiles import Matching
from dedup.stages.searching import SearchStage
from pipelines.executors import Executor
from pipelines.manifest import Manifest, digest_of
from pipelines.progress import Progress
from pipelines.shards import ShardWriter
from pipelines.sources import Source, digest_split
from pipelines.stage import READ_IN_PARTS, Task, run_stage
from pipelines.store import Folder


@dataclass(frozen=True, slots=True)
class DropStage:
    """Copies what has no match, split by split: ``NNNNN.tar`` and ``NNNNN.parquet``, as `dedup.run` writes them.

    A shard is written anew only where something in it changes.
    """

    name: ClassVar[str] = "clean"
    version: ClassVar[int] = 1

    source: Source = field(metadata=READ_IN_PARTS)

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per split of the source; ``upstream`` is the thumbnails' and the matches' manifest."""
        thumbnails, matches = upstream
        tables = [pq.read_table(path, columns=["number"])["number"].to_numpy() for path in matches.paths(".parquet")]
        matched = np.concatenate(tables)
        starts = ArrayShards(thumbnails, ".ids.npy").starts
        tasks = []
        for split, part, start, end in zip(
            align_splits(self.source, thumbnails), thumbnails.parts(), starts, starts[1:], strict=False
        ):
            places = (matched[slice(*np.searchsorted(matched, [start, end]))] - start).tolist()
            digest = digest_of([digest_split(self.source, split), part.digest, places])
            tasks.append(Task(part.shards[0].name, (split, part, frozenset(places)), digest))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Copy one split."""
        split, thumbnails, matched = task.payload
        rows = read_usable(thumbnails.path(f"{task.name}.parquet")).drop_columns(["key", "reason"]).to_pylist()
        with ShardWriter(out, task.name) as shard:
            for place, record in read_usable_records(self.source, split, thumbnails):
                if place not in matched:
                    shard.add(record, **rows[place])
        return shard.records


@dataclass(frozen=True, slots=True)
class Crossed:
    """The manifests of one finished comparison.

    Attributes:
        images: the data set whose images are looked for.
        reference: the one they are looked for in; codes of the same encoder.
        search: says the radius.
        matches: see `dedup.comparison.crossing.MatchStage`.
        clean: the data set without its matches, where that was asked for.
    """

    images: Encoded
    reference: Encoded
    search: Manifest
    matches: Manifest
    clean: Manifest | None = None


def cross_datasets(
    images: Encoded, reference: Encoded, matching: Matching, root: Folder, executor: Executor, progress: Progress
) -> Crossed:
    """Find which of ``images`` match one of ``reference``, whose codes are of the same encoder, below ``root``."""
    inside = threaded(executor)
    mirrored = is_mirrored(images.encoder)
    matching = replace(matching, threshold=matching.threshold if mirrored else None)
    search = run_stage(SearchStage(matching), [reference.codes], root, inside, progress)
    candidates = run_stage(CrossStage(mirrored), [images.codes, reference.codes, search], root, inside, progress)
    both = [images.thumbnails, images.codes, reference.thumbnails, reference.codes]
    equal = run_stage(SameBytesStage(), both, root, inside, progress)
    matches = run_stage(MatchStage(), [*both, candidates, equal], root, inside, progress)
    return Crossed(images, reference, search, matches)


def drop_matches(crossed: Crossed, source: Source, root: Folder, executor: Executor, progress: Progress) -> Crossed:
    """Write the images without a match, as clean shards below ``root``."""
    upstream = [crossed.images.thumbnails, crossed.matches]
    return replace(crossed, clean=run_stage(DropStage(source), upstream, root, executor, progress))
