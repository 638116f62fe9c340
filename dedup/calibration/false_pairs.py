"""False pairs: scores of near pairs in; how many of those that pass show different pictures, with a bound, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A set's own near-duplicates pass as well and nothing tells them apart, so
counting what passes gives no more than an upper bound; what fails says the rest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv  # scipy.stats takes a third of a second to import

CONFIDENCE = 0.95
TAIL_PAIRS = 100  # that failed, the best first: how their scores thin out


def estimate_by_radius(
    scores: Sequence[npt.NDArray[np.floating[Any]]], threshold: float, near: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Estimate at every radius how many near pairs pass though they show different pictures.

    A smaller radius holds no more false pairs than a larger one. So where too few pairs failed to tell how their scores
    thin out, the next larger radius tells it; and what falls all the same is noise, which is averaged out.

    Args:
        scores: for each radius from 0, of the pairs drawn within it.
        threshold: what near-duplicates score at least.
        near: int64 (R,), for each radius how many pairs those drawn stand for.

    Returns:
        The numbers expected, and their bounds with a confidence of 95%: float64 (R,) each.
    """
    false, false_at_most = np.empty(len(scores)), np.empty(len(scores))
    known: tuple[float, float] | None = None
    for radius in reversed(range(len(scores))):
        scale = near[radius] / max(1, len(scores[radius]))
        expected, bound = estimate_false(scores[radius], threshold)
        if expected is not None:
            known = expected * scale, bound * scale
        most = near[radius] if known is None else min(known[0], near[radius])
        false[radius] = most
        false_at_most[radius] = bound * scale if known is None else min(known[1], max(bound * scale, most))
    return _never_falling(false), _never_falling(false_at_most)


def estimate_false(scores: npt.NDArray[np.floating[Any]], threshold: float) -> tuple[float | None, float]:
    """Estimate how many pairs of different pictures score at least the threshold.

    Those that do cannot be told from near-duplicates that were there before. But most that do not are pairs of
    different pictures; of the best 100 of them, those in the upper half of the way to the threshold are fewer than
    those in the lower by some factor, and so many fewer again are expected in each further step. Tails that fall
    faster than exponentially, as those of correlations do, bring fewer.

    Args:
        scores: of all pairs looked at.
        threshold: what near-duplicates score at least.

    Returns:
        The number expected, None where fewer than 100 fail; and its bound with a confidence of 95% (exact for the
        share in the upper half: Clopper & Pearson, Biometrika 1934). Neither is above the bound for all that pass.
    """
    passed = int(np.count_nonzero(scores >= threshold))
    all_false = len(scores) * at_most(passed, len(scores))
    tail = np.sort(scores[np.isfinite(scores) & (scores < threshold)])[-TAIL_PAIRS:]
    if len(tail) < TAIL_PAIRS:
        return None, all_false
    upper = int(np.count_nonzero(tail >= (tail[0] + threshold) / 2))
    return (
        min(_sum_beyond(upper / TAIL_PAIRS, TAIL_PAIRS), all_false),
        min(_sum_beyond(at_most(upper, TAIL_PAIRS), TAIL_PAIRS), all_false),
    )


def at_most(count: int, of: int) -> float:
    """The share that ``count`` of ``of`` stays below with a confidence of 95%, one-sided, exact; 1 where of is 0."""
    return float(betaincinv(count + 1, of - count, CONFIDENCE)) if count < of else 1.0


def at_least(count: int, of: int) -> float:
    """The share that ``count`` of ``of`` stays above with a confidence of 95%, one-sided, exact."""
    return float(betaincinv(count, of - count + 1, 1 - CONFIDENCE)) if count else 0.0


def _never_falling(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The nearest values, in least squares, that never fall: neighbours that do are averaged (isotonic regression)."""
    means: list[float] = []
    lengths: list[int] = []
    for value in values.tolist():
        mean, length = value, 1
        while means and means[-1] > mean:
            before, count = means.pop(), lengths.pop()
            mean, length = (before * count + mean * length) / (count + length), count + length
        means.append(mean)
        lengths.append(length)
    return np.repeat(means, lengths)


def _sum_beyond(share: float, count: int) -> float:
    """What lies beyond the threshold if ``share`` of ``count`` lies in the upper half before it: a geometric sum."""
    factor = share / (1 - share) if share < 1 else np.inf
    return count * share * factor / (1 - factor) if factor < 1 else np.inf
