"""Nearest codes: a few query codes in, their nearest among all codes out, by one look at each code.

Serves query and audit: beside "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN",
where a picture from elsewhere is looked up among the codes of a finished data set.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dedup.codes import check_codes
from dedup.matching.orders import as_words, block_distances

Codes = NDArray[np.uint8]
Indices = NDArray[np.int64]

_CELLS = 1 << 17  # distances worked out at a time: half a megabyte, so that they stay in a core's cache
_QUERIES = 64  # at a time
_NUMBER_BITS = 40


def nearest(
    queries: Codes, codes: Sequence[Codes], k: int, *, mirrored: bool
) -> tuple[Indices, NDArray[np.uint8], NDArray[np.bool_]]:
    """Find the nearest codes of each query, exactly.

    Args:
        queries: (Q, 16) uint8.
        codes: (n_i, 16) uint8 arrays, which may be mapped from files; codes are numbered through all of them.
        k: how many for each query, at least 1.
        mirrored: let a code stand for its mirrored code too.

    Returns:
        Numbers (Q, k) int64, nearest first and of equally near codes the one numbered first; their distances (Q, k)
        uint8; and where the mirrored orientation is the nearer one, (Q, k) bool. Where there are fewer than k codes
        the last columns hold -1, 255 and False.
    """
    check_codes(queries)
    queries = np.ascontiguousarray(queries)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if mirrored:
        turned = as_words(queries)[:, ::-1].copy().view(np.uint8)
    best = np.full((len(queries), k), np.iinfo(np.int64).max)
    for start in range(0, len(queries), _QUERIES):
        block = slice(start, start + _QUERIES)
        best[block] = _scan(queries[block], turned[block] if mirrored else None, codes, k)
    none = best == np.iinfo(np.int64).max
    numbers = np.where(none, -1, best >> 1 & (1 << _NUMBER_BITS) - 1)
    distances = np.where(none, 255, best >> _NUMBER_BITS + 1).astype(np.uint8)
    return numbers, distances, (best & 1).astype(np.bool_) & ~none


def _scan(queries: Codes, turned: Codes | None, codes: Sequence[Codes], k: int) -> Indices:
    """The k smallest of (distance, number, whether mirrored) of each query, packed in this order: (Q, k) int64."""
    best = np.full((len(queries), k), np.iinfo(np.int64).max)
    first, rows = 0, 2 * k
    for array in codes:
        check_codes(array)
        start = 0
        while start < len(array):
            chunk = np.ascontiguousarray(array[start : start + rows])
            distance = block_distances(queries, chunk)
            if turned is not None:
                flipped = block_distances(turned, chunk)
                mirrored = flipped < distance
                np.minimum(distance, flipped, out=distance)
            # Of equally near codes the one met first stays.
            nearer = np.flatnonzero(distance < (best[:, -1:] >> _NUMBER_BITS + 1).astype(np.int32))
            query, row = np.divmod(nearer, len(chunk))
            packed = (distance[query, row].astype(np.int64) << _NUMBER_BITS | first + start + row) << 1
            if turned is not None:
                packed |= mirrored[query, row]
            best = _keep_smallest(best, query, packed)
            start += len(chunk)
            # Few of many codes are nearer than the best of those before, so each look may be twice as long.
            rows = min(2 * rows, max(2 * k, _CELLS // len(queries)))
        first += len(array)
    return best


def _keep_smallest(best: Indices, query: Indices, packed: Indices) -> Indices:
    """The smallest of each query's best so far and what was found for it, in order."""
    if not len(query):
        return best
    rows, k = best.shape
    everyone = np.concatenate([np.repeat(np.arange(rows), k), query])
    values = np.concatenate([best.ravel(), packed])
    order = np.lexsort((values, everyone))
    starts = np.searchsorted(everyone[order], np.arange(rows))
    return np.asarray(values[order][starts[:, None] + np.arange(k)])
