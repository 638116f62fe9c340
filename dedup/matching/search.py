"""Search: distinct 128-bit codes in memory in, pairs within a Hamming radius out; by sorted tables or exhaustively.

The heart of `dedup.matching.match`, at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails →
128-bit semantic codes → duplicate groups → clean shards → DCGAN".

A table sorts the codes under one random choice of bits and compares each with those next to it in that order (Charikar,
"Similarity Estimation Techniques from Rounding Algorithms", STOC 2002, section 4; Ravichandran, Pantel & Hovy, ACL
2005). However codes crowd, the work is the same, where the buckets of a multi-index would grow quadratically with the
share of their fullest value.
"""

from collections.abc import Iterable, Iterator

import faiss
import numpy as np
from numpy.typing import NDArray

from dedup.codes import CODE_BYTES
from dedup.matching.orders import BitOrder, Words, block_distances

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

# The rows of a block are compared with one another and with those of the next block.
BLOCK = 128
# Where codes lie dense, a block that finds this many pairs per code looks on to the end of so many blocks. A few blocks
# do; they hold many pairs, whose codes have so many others near that the next block holds few of them.
_RICH, _REACH = 0.5, 8
# A block with more pairs than this per code is a crowd: each of its codes keeps its nearest few only.
_CROWD, _FEW = 16, 4
# An exhaustive search keeps at most this many per code, the nearest ones.
MAX_NEIGHBOURS = 64

_CHUNK_ROWS = 256 * BLOCK
_AFTER = np.triu(np.ones((BLOCK, 2 * BLOCK), np.bool_), 1)
_FAR = np.int32(255)


def search_tables(words: Words, radius: int, orders: Iterable[BitOrder], side: Mask | None = None) -> Words:
    """Find pairs of codes that meet in one of the sorted orders.

    Args:
        words: (N, 2) uint64, distinct codes.
        radius: largest Hamming distance between a pair's codes as they lie in the order, mirrored or not.
        orders: one table each.
        side: (N,) bool; if given, only pairs with one code of either side are wanted.

    Returns:
        Unique pairs, sorted: (P,) uint64, the smaller row in the upper 32 bits and the larger in the lower.
    """
    found = [np.zeros(0, np.uint64), *(_walk_table(words, radius, order, side) for order in orders)]
    pairs = np.concatenate(found)
    pairs.sort()
    new = np.ones(len(pairs), np.bool_)
    new[1:] = pairs[1:] != pairs[:-1]
    return pairs[new]


def search_exhaustively(words: Words, radius: int, *, mirrored: bool, side: Mask | None = None) -> Words:
    """Compare each code with each: all pairs of up to `MAX_NEIGHBOURS` per code, as `search_tables` returns them."""
    found = [np.zeros(0, np.uint64)]
    for start, distance in _each_with_later(words, mirrored=mirrored):
        near = distance <= radius
        if side is not None:
            near &= side[start : start + BLOCK, None] != side[start:]
        hit = _thin(np.flatnonzero(near), distance, near, MAX_NEIGHBOURS, MAX_NEIGHBOURS)
        left, right = np.divmod(hit, near.shape[1])
        found.append(_pack(start + left, start + right))
    return np.sort(np.concatenate(found))


def count_distances(words: Words, most: int, *, mirrored: bool) -> Indices:
    """How many pairs of codes lie 0, 1, ... `most` bits apart, in the nearer orientation: (most + 1,) int64."""
    counts = np.zeros(most + 1, np.int64)
    for _, distance in _each_with_later(words, mirrored=mirrored):
        counts += np.bincount(distance[distance <= most], minlength=most + 1)
    return counts


def _each_with_later(words: Words, *, mirrored: bool) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Block by block: its first row, and the distances of its rows to all rows from there on, `_FAR` if not later."""
    swapped = np.ascontiguousarray(words[:, ::-1])
    for start in range(0, len(words), BLOCK):
        here = words[start : start + BLOCK]
        distance = block_distances(here, words[start:])
        if mirrored:
            np.minimum(distance, block_distances(here, swapped[start:]), out=distance)
        distance[:, :BLOCK][~_AFTER[: len(here), : len(here)]] = _FAR
        yield start, distance


def unpack_pairs(pairs: Words) -> tuple[Indices, Indices]:
    """The two rows of each pair."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _pack(left: Indices, right: Indices) -> Words:
    return (np.minimum(left, right) << 32 | np.maximum(left, right)).astype(np.uint64)


def _walk_table(words: Words, radius: int, order: BitOrder, side: Mask | None) -> Words:
    """Sort, and compare each code with its neighbours in that order."""
    n_rows = len(words)
    keys, flipped = order.keys(words)
    # The row in the low bits makes the sort its own argsort, and the order total.
    row_bits = np.uint64(n_rows.bit_length() + 1)
    keys >>= row_bits
    keys <<= row_bits
    keys |= np.arange(n_rows, dtype=np.uint64) << np.uint64(1)
    keys |= flipped
    del flipped
    keys.sort()
    keys &= (np.uint64(1) << row_bits) - np.uint64(1)
    found = [np.zeros(0, np.uint64)]
    for start in range(0, n_rows, _CHUNK_ROWS):
        places = keys[start : start + _CHUNK_ROWS + (_REACH - 1) * BLOCK]
        rows = (places >> np.uint64(1)).astype(np.int64)
        turned = np.flatnonzero(places & np.uint64(1))
        near = words.take(rows, axis=0)
        near[turned] = near[turned, ::-1]
        left, right = _compare_neighbours(
            near, min(_CHUNK_ROWS, n_rows - start), radius, None if side is None else side[rows]
        )
        found.append(_pack(rows[left], rows[right]))
    return np.concatenate(found)


def _compare_neighbours(words: Words, own: int, radius: int, side: Mask | None) -> tuple[Indices, Indices]:
    """Places of pairs within the radius, the first of each pair among the first `own` rows."""
    count = len(words)
    padding = ((0, -own % BLOCK + _REACH * BLOCK),)
    words = np.pad(words, (*padding, (0, 0)))
    if side is not None:
        side = np.pad(side, padding)

    def wanted(here: int, there: int, columns: int) -> Mask | None:
        """Which pairs of a block and the rows from `there` on are looked for; None: all."""
        if side is None and there + columns <= count:
            return _AFTER if there == here else None
        mask = _AFTER.copy() if there == here else np.ones((BLOCK, columns), np.bool_)
        mask[:, max(0, count - there) :] = False
        if side is not None:
            mask &= side[here : here + BLOCK, None] != side[there : there + columns]
        return mask

    close, beyond = _Comparison(words, radius, 2), _Comparison(words, radius, _REACH - 2)
    for start in range(0, own, BLOCK):
        found = close.add(start, start, wanted(start, start, 2 * BLOCK))
        if _RICH * BLOCK <= found <= _CROWD * BLOCK and start + 2 * BLOCK < count:
            rest = start + 2 * BLOCK
            beyond.add(start, rest, wanted(start, rest, (_REACH - 2) * BLOCK))
    places = [close.places(0), beyond.places(2 * BLOCK)]
    left, right = (np.concatenate(side_places) for side_places in zip(*places, strict=True))
    return left, right


class _Comparison:
    """Compares blocks with as many rows elsewhere, in working arrays that are made once."""

    def __init__(self, words: Words, radius: int, blocks: int) -> None:
        self._octets = words.view(np.uint8)
        self._radius = radius
        self._columns = blocks * BLOCK
        self._distance = np.empty((BLOCK, self._columns), np.int32)
        self._near = np.empty(self._distance.shape, np.bool_)
        self._out = faiss.swig_ptr(self._distance)
        self._flat = self._near.reshape(-1)
        self._hits = [np.zeros(0, np.int64)]

    def add(self, here: int, there: int, wanted: Mask | None) -> int:
        """Compare the block from row `here` with the rows from `there` on: how many of the wanted pairs are near."""
        block = faiss.swig_ptr(self._octets[here:])
        rows = block if there == here else faiss.swig_ptr(self._octets[there:])
        faiss.hammings(block, rows, BLOCK, self._columns, CODE_BYTES, self._out)  # type: ignore[attr-defined]
        np.less_equal(self._distance, self._radius, out=self._near)
        if wanted is not None:
            np.logical_and(self._near, wanted, out=self._near)
        hit = self._flat.nonzero()[0]
        if len(hit):
            self._hits.append(here * self._columns + _thin(hit, self._distance, self._near, _CROWD, _FEW))
        return len(hit)

    def places(self, offset: int) -> tuple[Indices, Indices]:
        """The rows of all near pairs, if those from `there` on begin `offset` rows after the block."""
        left, column = np.divmod(np.concatenate(self._hits), self._columns)
        return left, left // BLOCK * BLOCK + offset + column


def _thin(hit: Indices, distance: NDArray[np.int32], near: Mask, crowd: int, few: int) -> Indices:
    """The flat places of near pairs; of a crowd, those of each row's nearest few, the first of equally near ones."""
    if len(hit) <= crowd * len(near):
        return hit
    columns = near.shape[1]
    rank = np.where(near, distance, _FAR) * np.int32(columns) + np.arange(columns, dtype=np.int32)
    nearest = np.argpartition(rank, few, axis=1)[:, :few]
    chosen = nearest + np.arange(len(near))[:, None] * columns
    return np.sort(chosen[np.take_along_axis(near, nearest, axis=1)])
