"""Pairs on disk: candidates and verified pairs as one array of records, by image number.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": `dedup.matching.match` finds pairs, `dedup.verification.verify` scores them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.matching.match import Pairs

# Two image numbers, a < b; the bits between their codes; whether one of the two is compared mirrored; how well they
# verify (NaN: not asked).
PAIR = np.dtype([("a", "<i8"), ("b", "<i8"), ("distance", "u1"), ("mirrored", "?"), ("score", "<f4")])

PairRows = npt.NDArray[Any]  # of dtype PAIR


def pair_rows(pairs: Pairs, scores: npt.NDArray[np.float32] | None = None) -> PairRows:
    """Pairs as one array of dtype `PAIR`."""
    rows = np.zeros(len(pairs), PAIR)
    rows["a"], rows["b"] = pairs.a, pairs.b
    rows["distance"], rows["mirrored"] = pairs.distance, pairs.mirrored
    rows["score"] = np.nan if scores is None else scores
    return rows


def as_pairs(rows: PairRows) -> Pairs:
    """The same pairs as columns, which share the array's memory."""
    return Pairs(rows["a"], rows["b"], rows["distance"], rows["mirrored"])


def load_pairs(paths: Sequence[Path]) -> list[PairRows]:
    """Memory-map arrays of pairs."""
    return [np.load(path, mmap_mode="r") for path in paths]
