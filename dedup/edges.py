"""Edges: pairs of images by number in; which of them are the same pair, and the surest of each, out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A pair has no order: (a, b) is (b, a). Pure: arrays in, arrays out.
"""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def number_edges(a: Indices, b: Indices, count: int) -> Indices:
    """A number for each pair of images below ``count``, int64 (P,); equal for equal pairs alone."""
    return np.asarray(np.minimum(a, b) * count + np.maximum(a, b))


def find_surest(a: Indices, b: Indices, score: npt.NDArray[np.float32]) -> Indices:
    """Places of the highest score of each pair, int64, ascending.

    Args:
        a: int64 (P,): the first image of each pair; a pair may come more than once.
        b: int64 (P,): the other one.
        score: float32 (P,): how sure each is.
    """
    low, high = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((-score, high, low))
    first = np.ones(len(order), np.bool_)
    first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return np.sort(order[first])
