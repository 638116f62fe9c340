"""Memorised: generated samples in; for each its nearest training image, and the same for real images not seen, out.

Comes after the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
did the generator learn the pictures, or learn them by heart? `dedup.comparison.memorisation` says what follows from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedup.comparison.encoded import is_mirrored, threaded
from dedup.comparison.neighbours import NEAREST, find_neighbours
from dedup.finished import Encoded
from dedup.images import Images, Numbers
from dedup.stages.encoding import CodeStage
from dedup.thumbnails import ThumbnailStage
from pipelines.executors import Executor
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.sources import Source
from pipelines.stage import Task, run_stage
from pipelines.store import Folder

# A fifth of the clean set stands for images not seen; of a large set, so many: the cost is theirs times the set's.
LEFT_OUT_ONE_IN, LEFT_OUT_MOST, LEFT_OUT_PER_TASK = 5, 5_000, 1_000

ROWS = pa.schema(
    [
        ("key", pa.string()),
        ("reference_key", pa.string()),
        ("distance", pa.int16()),
        ("mirrored", pa.bool_()),
        ("score", pa.float32()),
        ("number", pa.int64()),
        ("reference_number", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True)
class NearestStage:
    """Finds each picture's nearest training image: ``NNNNN.parquet``, columns `ROWS`, a row per picture not flat."""

    name: ClassVar[str] = "nearest"
    version: ClassVar[int] = 1

    mirrored: bool

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard; ``upstream``: thumbnails and codes, and the training set's, and its groups' if there are."""
        thumbnails, codes, *training = upstream
        starts = np.cumsum([0, *(shard.records for shard in codes.shards)]).tolist()
        parts = zip(thumbnails.parts(), codes.parts(), starts, strict=False)
        return [Task(part[1].shards[0].name, (*part, training)) for part in parts]

    def run(self, task: Task, out: Path) -> int:
        """Look up one shard."""
        thumbnails, codes, start, training = task.payload
        pictures, images = Images(thumbnails, codes), Images(*training[:2])
        usable = trained_masks(images, *training[2:])
        numbers = np.flatnonzero(pictures.flat.take(np.arange(len(pictures))) == 0)
        table = _find_nearest(pictures, numbers, images, usable, mirrored=self.mirrored, first=start)
        pq.write_table(table, out / f"{task.name}.parquet")
        return len(pictures)


@dataclass(frozen=True, slots=True)
class LeaveOneOutStage:
    """Finds the nearest other training image of a fifth of them: ``NNNNN.parquet``, columns `ROWS`.

    The fifth is told by the hashes of the images' bytes, so it does not depend on their order.
    """

    name: ClassVar[str] = "nearest"
    version: ClassVar[int] = 1

    mirrored: bool

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per `LEFT_OUT_PER_TASK` images; ``upstream``: the training set's manifests."""
        images = Images(*upstream[:2])
        drawn = _draw(images, trained_masks(images, *upstream[2:]))
        blocks = [drawn[start : start + LEFT_OUT_PER_TASK] for start in range(0, len(drawn), LEFT_OUT_PER_TASK)]
        return [Task(f"{index:05d}", (block, upstream)) for index, block in enumerate(blocks)]

    def run(self, task: Task, out: Path) -> int:
        """Look up one block."""
        numbers, training = task.payload
        images = Images(*training[:2])
        usable = trained_masks(images, *training[2:])
        table = _find_nearest(images, numbers, images, usable, mirrored=self.mirrored, leave_out=numbers)
        pq.write_table(table, out / f"{task.name}.parquet")
        return len(numbers)


@dataclass(frozen=True, slots=True)
class Audited:
    """The manifests of one finished audit.

    Attributes:
        training: the data set.
        groups: which of its images its clean shards hold; None: not known, and all of them count.
        samples: the samples' thumbnails.
        nearest: the samples' nearest training images.
        held_out: thumbnails of the real images that were not trained on; None where training images are left out.
        held_out_nearest: these real images' nearest training images.
    """

    training: Encoded
    groups: Manifest | None
    samples: Manifest
    nearest: Manifest
    held_out: Manifest | None
    held_out_nearest: Manifest


def audit_samples(
    training: Encoded,
    groups: Manifest | None,
    samples: Source,
    held_out: Source | None,
    root: Folder,
    executor: Executor,
    progress: Progress,
) -> Audited:
    """Look up the samples, and what they are compared with, in stages below ``root``."""
    inside, mirrored = threaded(executor), is_mirrored(training.encoder)
    known = [training.thumbnails, training.codes, *([groups] if groups else [])]

    def look_up(source: Source, folder: Folder) -> tuple[Manifest, Manifest]:
        thumbnails = run_stage(ThumbnailStage(source), [], folder, executor, progress)
        codes = run_stage(CodeStage(), [thumbnails, training.encoder], folder, inside, progress)
        return thumbnails, run_stage(NearestStage(mirrored), [thumbnails, codes, *known], folder, inside, progress)

    thumbnails, nearest = look_up(samples, root)
    if held_out is None:
        left_out = run_stage(LeaveOneOutStage(mirrored), known, root / "left_out", inside, progress)
        return Audited(training, groups, thumbnails, nearest, None, left_out)
    return Audited(training, groups, thumbnails, nearest, *look_up(held_out, root / "held_out"))


def load_groups(root: Folder, training: Encoded) -> Manifest | None:
    """The groups of a data set that was de-duplicated to its end; None of one that was not, or not since it grew."""
    try:
        groups = Manifest.load(root / "groups")
    except FileNotFoundError:
        return None
    return groups if groups.lineage.get("codes") == training.codes.digest else None


def trained_masks(images: Images, groups: Manifest | None = None) -> list[npt.NDArray[np.bool_]]:
    """Shard by shard, which images are in the clean shards and have a code that means something."""
    masks = [flat == 0 for flat in images.flat.parts]
    if groups is not None:
        grouped = np.load(groups.path("grouped.npy"))
        for part, _, local in images.flat.locate(grouped["number"][grouped["size"] == 0]):
            masks[part][local] = False
    return masks


def _draw(images: Images, usable: Sequence[npt.NDArray[np.bool_]]) -> Numbers:
    """Numbers of a fifth of the usable images, at most `LEFT_OUT_MOST`, by their hashes."""
    ids, numbers = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for part, mask, start in zip(images.ids.parts, usable, images.ids.starts.tolist(), strict=False):
        chosen = np.flatnonzero(mask & (part % LEFT_OUT_ONE_IN == 0))
        ids.append(part[chosen])
        numbers.append(start + chosen)
    order = np.argsort(np.concatenate(ids), kind="stable")[:LEFT_OUT_MOST]
    return np.sort(np.concatenate(numbers)[order])


def _find_nearest(
    pictures: Images,
    numbers: Numbers,
    images: Images,
    usable: Sequence[npt.NDArray[np.bool_]],
    *,
    mirrored: bool,
    first: int = 0,
    leave_out: Numbers | None = None,
) -> pa.Table:
    """The nearest usable image of each of the pictures ``numbers``, counted from ``first`` on: columns `ROWS`."""
    thumbnails, codes = pictures.thumbnails.take(numbers), pictures.codes.take(numbers)
    found = find_neighbours(thumbnails, codes, images, NEAREST, mirrored=mirrored, usable=usable, leave_out=leave_out)
    there = np.flatnonzero(found.numbers[:, 0] >= 0)
    numbers, nearest = numbers[there], found.numbers[there, 0]
    columns = [pictures.keys(numbers), images.keys(nearest), found.distance[there, 0], found.mirrored[there, 0]]
    arrays = [pa.array(column) for column in [*columns, found.score[there, 0], numbers + first, nearest]]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, ROWS, strict=True)], schema=ROWS)
