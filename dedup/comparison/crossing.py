"""Crossing: two encoded data sets in; which images of the one are near-duplicates of an image of the other out.

Runs beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": the same codes, search and verification, across two sets instead of within
one. Flat pictures are compared by their bytes alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.images import ArrayShards, Images, Numbers, save_array
from dedup.matching.match import Pairs, merge_pairs, search_part
from dedup.matching.pairs import PairRows, as_pairs, load_pairs, pair_rows
from dedup.matching.plan import plan_search
from dedup.verification.verify import THRESHOLD, score_numbered
from pipelines.manifest import Manifest
from pipelines.stage import Task

IMAGES_PER_TASK = 1 << 16
IDS_AT_A_TIME = 1 << 24  # images whose bytes are looked for in one walk through the reference

MATCHES = pa.schema(
    [
        ("key", pa.string()),
        ("reference_key", pa.string()),
        ("distance", pa.int16()),
        ("mirrored", pa.bool_()),
        ("score", pa.float32()),
        ("same_bytes", pa.bool_()),
        ("matches", pa.int64()),
    ]
)
NUMBERED = pa.schema([*MATCHES, ("number", pa.int64()), ("reference_number", pa.int64())])


@dataclass(frozen=True, slots=True)
class CrossStage:
    """Finds pairs of an image and one of the reference whose codes lie within the radius.

    ``NNNNN.pairs.npy``, columns `dedup.matching.pairs.PAIR`: ``a`` is an image's number, ``b`` the reference's after
    all of those. Of references with equal codes the first stands for all.
    """

    name: ClassVar[str] = "candidates"
    version: ClassVar[int] = 1

    mirrored: bool

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per part of the search; ``upstream``: both sets' codes, and the search's manifest."""
        codes, reference, search = upstream
        radius = int(json.loads(search.path("search.json").read_bytes())["radius"])
        count = codes.records + reference.records
        plan = plan_search(count, radius, mirrored=self.mirrored, border=codes.records)
        return [Task(f"{index:05d}", (codes, reference, plan, part)) for index, part in enumerate(plan.parts)]

    def run(self, task: Task, out: Path) -> int:
        """Search one part."""
        *manifests, plan, part = task.payload
        codes = [array for manifest in manifests for array in ArrayShards(manifest, ".codes.npy").parts]
        usable = [array == 0 for manifest in manifests for array in ArrayShards(manifest, ".flat.npy").parts]
        pairs = search_part(codes, usable, plan, part)
        save_array(out / f"{task.name}.pairs.npy", pair_rows(pairs))
        return len(pairs)


@dataclass(frozen=True, slots=True)
class SameBytesStage:
    """Finds equal bytes: ``same_bytes.pairs.npy``, as `CrossStage` writes them.

    Each image comes with, of the equal ones of the reference, that of the smallest key.
    """

    name: ClassVar[str] = "same_bytes"
    version: ClassVar[int] = 1

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream``: thumbnails and codes, and the reference's."""
        return [Task(self.name, upstream)]

    def run(self, task: Task, out: Path) -> int:
        """Go through the reference once for each range of images."""
        thumbnails, codes, *others = task.payload
        images, reference = Images(thumbnails, codes), Images(*others)
        found = [
            find_same_bytes(images, reference, range(start, min(start + IDS_AT_A_TIME, len(images))))
            for start in range(0, len(images), IDS_AT_A_TIME)
        ]
        a, b = (
            np.concatenate([np.zeros(0, np.int64), *column])
            for column in (zip(*found, strict=True) if found else ((), ()))
        )
        pairs = Pairs(a, len(images) + b, np.zeros(len(a), np.uint8), np.zeros(len(a), np.bool_))
        save_array(out / f"{task.name}.pairs.npy", pair_rows(pairs))
        return len(pairs)


@dataclass(frozen=True, slots=True)
class MatchStage:
    """Verifies candidates: ``NNNNN.parquet``, columns `NUMBERED`, a row per image that has a match: its best one.

    The best has equal bytes, or else the highest score, then the smallest distance, then the smallest key.
    ``NNNNN.candidates.json`` says how many candidates there were: several parts of a search may find the same pair.
    """

    name: ClassVar[str] = "matches"
    version: ClassVar[int] = 2

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per `IMAGES_PER_TASK` images; ``upstream``: both sets' thumbnails and codes, candidates, equal bytes."""
        starts = range(0, max(1, upstream[1].records), IMAGES_PER_TASK)
        return [Task(f"{index:05d}", (upstream, start)) for index, start in enumerate(starts)]

    def run(self, task: Task, out: Path) -> int:
        """Verify the candidates of some images."""
        (*manifests, candidates, equal), start = task.payload
        end = start + IMAGES_PER_TASK
        images, reference = Images(*manifests[:2]), Images(*manifests[2:])
        near, same = (
            pair_rows(merge_pairs([as_pairs(rows) for rows in load_pairs(found.paths(".pairs.npy"))], start, end))
            for found in (candidates, equal)
        )
        for pairs in (near, same):
            pairs["b"] -= len(images)
            take, other = images.thumbnails.take, reference.thumbnails.take
            pairs["score"] = score_numbered(take, other, pairs["a"], pairs["b"], pairs["mirrored"])
        (out / f"{task.name}.candidates.json").write_text(json.dumps(len(near)))
        table = _choose_best(images, reference, near[near["score"] >= THRESHOLD], same)
        pq.write_table(table, out / f"{task.name}.parquet")
        return int(table.num_rows)


def find_same_bytes(images: Images, reference: Images, some: range) -> tuple[Numbers, Numbers]:
    """Pair each image of ``some`` with, of the reference's images of equal bytes, that of the smallest key.

    Returns:
        Image numbers, ascending, and reference numbers, int64 (P,).
    """
    ids = images.ids.take(np.arange(some.start, some.stop))
    shared = [
        start + np.flatnonzero(np.isin(part, ids))
        for part, start in zip(reference.ids.parts, reference.ids.starts.tolist(), strict=False)
    ]
    found = np.concatenate([np.zeros(0, np.int64), *shared])
    found = found[np.argsort(np.array(reference.keys(found), object), kind="stable")]
    known, first = np.unique(reference.ids.take(found), return_index=True)
    a = np.flatnonzero(np.isin(ids, known))
    b = found[first[np.searchsorted(known, ids[a])]]
    # Ids are the first 64 bits of hashes, which tell nearly all images apart; all 256 bits tell all.
    hashes = [side.rows(numbers, ["sha256"])["sha256"] for side, numbers in ((images, a + some.start), (reference, b))]
    equal = pc.equal(*(column.combine_chunks() for column in hashes)).to_numpy(zero_copy_only=False)
    return a[equal] + some.start, b[equal]


def _choose_best(images: Images, reference: Images, near: PairRows, same: PairRows) -> pa.Table:
    """A row per image that has a match, by number: its best match, and how many there are."""
    pairs = np.concatenate([same, near])
    same_bytes = np.arange(len(pairs)) < len(same)
    # A pair of equal bytes is mostly found by its codes too; np.unique keeps the first of the two.
    _, at = np.unique(pairs["a"] * len(reference) + pairs["b"], return_index=True)
    pairs, same_bytes = pairs[at], same_bytes[at]
    keys = np.array(reference.keys(pairs["b"]), object)
    _, key_rank = np.unique(keys, return_inverse=True)
    order = np.lexsort((key_rank, pairs["distance"], -pairs["score"], ~same_bytes, pairs["a"]))
    numbers, best, matches = np.unique(pairs["a"][order], return_index=True, return_counts=True)
    best = order[best]
    chosen = pairs[best]
    score = pa.array(chosen["score"], mask=images.flat.take(numbers) != 0) if len(best) else []
    columns = [
        images.keys(numbers),
        keys[best],
        chosen["distance"],
        chosen["mirrored"],
        score,
        same_bytes[best],
        matches,
    ]
    arrays = [pa.array(column) for column in [*columns, numbers, chosen["b"]]]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, NUMBERED, strict=True)], schema=NUMBERED
    )
