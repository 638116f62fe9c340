"""Chance: codes of a sample and of others in; how near unrelated ones lie, and pairs drawn fairly at each radius, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Near pairs are rare, so all pairs are counted, and those to be looked at more
closely are drawn at a rate that falls as the radius grows: within any one radius every pair has the same chance.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dedup.codes import CODE_BITS, code_words, mirror_codes

LARGEST_RADIUS = 64

_NO_PAIR = 255  # a distance that no two codes have


@dataclass(frozen=True, slots=True)
class DrawnPairs:
    """Pairs drawn of all between a sample and others.

    Attributes:
        histogram: (129,) int64, how many pairs lie at each distance.
        rates: (65,) float64, for each radius the share of its pairs that is drawn.
        first: (P,) int64, rows of the sample; pairs come by them, then by ``second``.
        second: (P,) int64, rows of the others.
        draw: (P,) float32, uniform from 0 to 1. Of the pairs within radius r, those with a draw below ``rates[r]`` are
            all here.
    """

    histogram: npt.NDArray[np.int64]
    rates: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    draw: npt.NDArray[np.float32]


def draw_pairs(
    sample: npt.NDArray[np.uint8],
    others: npt.NDArray[np.uint8],
    unrelated: npt.NDArray[np.bool_],
    budget: float,
    rng: np.random.Generator,
    *,
    mirrored: bool,
) -> DrawnPairs:
    """Count all pairs by distance and draw about ``budget`` of those within each radius, all where they are fewer.

    Args:
        sample: (S, 16) uint8 codes.
        others: (N, 16) uint8 codes.
        unrelated: (S, N) bool, which pairs are pairs at all.
        budget: pairs wanted within each radius from 0 to 64.
        rng: draws them.
        mirrored: whether a pair's distance is that of the nearer of the two orientations.
    """
    distance = _distances(sample, others, mirrored)
    distance[~unrelated] = _NO_PAIR
    histogram = np.bincount(distance.ravel(), minlength=_NO_PAIR + 1)[: CODE_BITS + 1]
    within = np.cumsum(histogram[: LARGEST_RADIUS + 1])
    rates = np.minimum(1, budget / np.maximum(1, within))
    rate_at = np.zeros(_NO_PAIR + 1, np.float32)
    rate_at[: LARGEST_RADIUS + 1] = rates
    draw = rng.random(distance.shape, np.float32)
    first, second = np.nonzero(draw < rate_at[distance])
    return DrawnPairs(histogram, rates, first, second, draw[first, second])


def _distances(sample: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8], mirrored: bool) -> npt.NDArray[np.uint8]:
    """All Hamming distances, (S, N) uint8."""
    high, low = code_words(others).T.copy()
    distance = np.full((len(sample), len(others)), _NO_PAIR, np.uint8)
    for codes in (sample, mirror_codes(sample))[: 1 + mirrored]:
        for row, (first, second) in zip(distance, code_words(codes), strict=True):
            np.minimum(row, np.bitwise_count(high ^ first) + np.bitwise_count(low ^ second), out=row)
    return distance
