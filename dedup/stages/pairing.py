"""Pairing: candidates in; those whose thumbnails show one picture, with their scores, out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from dedup.codes import hamming_distance, mirror_codes
from dedup.images import Images, Numbers, save_array
from dedup.match import merge_pairs
from dedup.pairs import as_pairs, load_pairs, pair_rows
from dedup.verdicts import Verdicts
from dedup.verify import THRESHOLD, net_sha256, score_pairs
from pipelines.manifest import Manifest
from pipelines.stage import WITHOUT_EFFECT, Task
from pipelines.store import Folder

IMAGES_PER_TASK = 1 << 16
BLOCK = 8_192  # pairs scored at a time: two thumbnails each, 50 MB


@dataclass(frozen=True, slots=True)
class PairStage:
    """Merges the candidates of all parts and keeps the duplicates: ``NNNNN.pairs.npy``, columns `dedup.pairs.PAIR`.

    ``NNNNN`` numbers runs of images; a pair is in the run of its first image. ``NNNNN.candidates.json`` says how many
    candidates there were: several parts of a search may find the same pair. Scores are remembered in the folder
    ``verdicts``, so that a set that grows has just its new pairs scored.
    """

    name: ClassVar[str] = "pairs"
    version: ClassVar[int] = 3

    verified: bool
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
        if self.verified:
            images = Images(thumbnails, codes)
            verdicts = Verdicts(self.verdicts, f"{task.name}.{self.net[:16]}")
            a, b, mirrored = pairs["a"], pairs["b"], pairs["mirrored"]
            scores = verdicts.look_up(images.ids.take(a), images.ids.take(b), mirrored)
            unknown = np.flatnonzero(np.isnan(scores))
            if len(unknown):
                a, b, mirrored = a[unknown], b[unknown], mirrored[unknown]
                scores[unknown] = score_images(images, a, b, mirrored)
                verdicts.remember(images.ids.take(a), images.ids.take(b), mirrored, scores[unknown])
            pairs["score"] = scores
            pairs = pairs[scores >= THRESHOLD]
        save_array(out / f"{task.name}.pairs.npy", pairs)
        return len(pairs)


def score_images(images: Images, a: Numbers, b: Numbers, mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Scores of pairs of images (see `dedup.verify.score_pairs`), block by block: float32 (P,)."""
    scores = np.empty(len(a), np.float32)
    for start in range(0, len(a), BLOCK):
        block = slice(start, start + BLOCK)
        first, second = images.thumbnails.take(a[block]), images.thumbnails.take(b[block])
        second[mirrored[block]] = second[mirrored[block]][:, :, ::-1]
        scores[block] = score_pairs(first, second)
    return scores


def compare_codes(images: Images, a: Numbers, b: Numbers) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Bits between the codes of images ``a`` and ``b``, and whether mirroring one of the two brings them nearer."""
    first, second = images.codes.take(a), images.codes.take(b)
    plain, flipped = hamming_distance(first, second), hamming_distance(first, mirror_codes(second))
    return np.minimum(plain, flipped), flipped < plain
