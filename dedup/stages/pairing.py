"""Pairing: candidates in; those whose thumbnails show one picture, with their scores, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from dedup.images import Images, save_array
from dedup.matching.match import merge_pairs
from dedup.matching.pairs import as_pairs, load_pairs, pair_rows
from dedup.verification.verdicts import Verdicts
from dedup.verification.verify import EXAMINED, net_sha256, score_numbered
from pipelines.manifest import Manifest
from pipelines.stage import WITHOUT_EFFECT, Task
from pipelines.store import Folder

IMAGES_PER_TASK = 1 << 16


@dataclass(frozen=True, slots=True)
class PairStage:
    """Merges the candidates of all parts and keeps the duplicates: ``NNNNN.pairs.npy``.

    Its columns are `dedup.matching.pairs.PAIR`; ``NNNNN`` numbers runs of images, and a pair is in the run of its first
    image. ``NNNNN.near_misses.npy`` holds the pairs that were compared closely and fell short of the threshold, for
    review. ``NNNNN.candidates.json`` says how many candidates there were: several parts of a search may find the same
    pair. Scores are remembered in the folder ``verdicts``, so that a set that grows has just its new pairs scored.
    """

    name: ClassVar[str] = "pairs"
    version: ClassVar[int] = 4

    threshold: float | None
    verdicts: Folder = field(metadata=WITHOUT_EFFECT)
    net: str = field(default_factory=net_sha256)

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per `IMAGES_PER_TASK` images; ``upstream``: the thumbnails', the codes' and the candidates' manifest."""
        thumbnails, codes, candidates = upstream
        starts = range(0, max(1, codes.records), IMAGES_PER_TASK)
        return [Task(f"{index:05d}", (thumbnails, codes, candidates, start)) for index, start in enumerate(starts)]

    def run(self, task: Task, out: Path) -> int:
        """Merge, and score what is not known yet."""
        thumbnails, codes, candidates, start = task.payload
        found = [as_pairs(rows) for rows in load_pairs(candidates.paths(".pairs.npy"))]
        pairs = pair_rows(merge_pairs(found, start, start + IMAGES_PER_TASK))
        (out / f"{task.name}.candidates.json").write_text(json.dumps(len(pairs)))
        near_misses = pairs[:0]
        if self.threshold is not None:
            images = Images(thumbnails, codes)
            verdicts = Verdicts(self.verdicts, f"{task.name}.{self.net[:16]}")
            a, b, mirrored = pairs["a"], pairs["b"], pairs["mirrored"]
            scores = verdicts.look_up(images.ids.take(a), images.ids.take(b), mirrored)
            unknown = np.flatnonzero(np.isnan(scores))
            if len(unknown):
                a, b, mirrored = a[unknown], b[unknown], mirrored[unknown]
                scores[unknown] = score_numbered(images.thumbnails.take, images.thumbnails.take, a, b, mirrored)
                verdicts.remember(images.ids.take(a), images.ids.take(b), mirrored, scores[unknown])
            pairs["score"] = scores
            near_misses = pairs[(scores < self.threshold) & (scores > EXAMINED)]
            pairs = pairs[scores >= self.threshold]
        save_array(out / f"{task.name}.near_misses.npy", near_misses)
        save_array(out / f"{task.name}.pairs.npy", pairs)
        return len(pairs)
