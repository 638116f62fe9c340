"""Orders: 128-bit codes in, sort keys out under which codes a few bits apart often end side by side.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A code is read here as two words of 64 bits; the code of a picture's mirror
image is the same two words the other way round.
"""

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from dedup.codes import CODE_BYTES, check_codes

Words = NDArray[np.uint64]

_CHUNK_ROWS = 1 << 15  # so that working arrays stay in a core's cache
_EVERY_OTHER_BIT = np.uint64(0x5555555555555555)
_ONE = np.uint64(1)
# Knuth's multiplicative hashing: odd numbers near 2^64 over the golden and over the silver ratio.
_GOLDEN, _SILVER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x6A09E667F3BCC909)


def as_words(codes: NDArray[np.uint8]) -> Words:
    """Read (N, 16) uint8 codes as (N, 2) uint64, without a copy where they lie in one piece."""
    check_codes(codes)
    return np.ascontiguousarray(codes).view("<u8")


def hash_codes(words: Words) -> Words:
    """Spread codes over 64 bits, the upper ones best, and a code and its mirrored code alike: (N,) uint64."""
    left, right = words[:, 0], words[:, 1]
    hashed = left + right
    hashed *= _GOLDEN
    differing = left ^ right
    differing *= _SILVER
    hashed += differing
    return hashed


class BitOrder:
    """A random choice of bits in random order: the sort key of one table, or of the ranges that tables are cut into.

    Args:
        seed: of the choice.
        n_bytes: how many of a code's 16 bytes the bits come from; the key has all their bits. Even.
        mirrored: take a code and its mirrored code for one. Each bit then stands beside its mirror bit, so that
            mirroring swaps neighbours in the key, and the smaller of the two keys is taken.
    """

    def __init__(self, seed: Sequence[int], n_bytes: int, *, mirrored: bool) -> None:
        rng = np.random.default_rng(seed)
        n_bits = 8 * n_bytes
        if mirrored:
            half = rng.permutation(CODE_BYTES // 2)[: n_bytes // 2]
            self._bytes = np.concatenate([half, half + CODE_BYTES // 2])
            pairs = rng.permutation(n_bits // 2)
            places = np.concatenate([2 * pairs, 2 * pairs + 1])
        else:
            self._bytes = rng.permutation(CODE_BYTES)[:n_bytes]
            places = rng.permutation(n_bits)
        weights = _ONE << places.astype(np.uint64).reshape(n_bytes, 8)
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
        self._lookup = weights @ bits.T
        self._mirrored = mirrored

    def keys(self, words: Words) -> tuple[Words, NDArray[np.bool_]]:
        """The sort key of each code, and whether it is that of the mirrored code: (N,) uint64 and (N,) bool."""
        octets = words.view(np.uint8).reshape(-1, CODE_BYTES)
        keys = np.zeros(len(words), np.uint64)
        flipped = np.zeros(len(words), np.bool_)
        for start in range(0, len(words), _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            key = keys[chunk]
            for table, column in zip(self._lookup, self._bytes, strict=True):
                key |= table.take(octets[chunk, column])
            if self._mirrored:
                swapped = (key & _EVERY_OTHER_BIT) << _ONE | key >> _ONE & _EVERY_OTHER_BIT
                np.less(swapped, key, out=flipped[chunk])
                np.minimum(key, swapped, out=key)
        return keys, flipped


def pair_distances(left: Words, right: Words, *, mirrored: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Bits between the codes of each pair in the nearer orientation, and whether that is the mirrored one.

    Args:
        left: (P, 2) uint64.
        right: (P, 2) uint64.
        mirrored: look at the mirrored orientation at all.

    Returns:
        (P,) uint8 and (P,) bool; plain where both are as near.
    """
    plain = _count_bits(left ^ right)
    if not mirrored:
        return plain, np.zeros(len(plain), np.bool_)
    flipped = _count_bits(left ^ right[:, ::-1])
    return np.minimum(plain, flipped), flipped < plain


def block_distances(left: Words | NDArray[np.uint8], right: Words | NDArray[np.uint8]) -> NDArray[np.int32]:
    """Bits between each code of one array and each of another, codes or words, contiguous: (L, R) int32."""
    distance = np.empty((len(left), len(right)), np.int32)
    a, b, out = (faiss.swig_ptr(array) for array in (left.view(np.uint8), right.view(np.uint8), distance))
    faiss.hammings(a, b, len(left), len(right), CODE_BYTES, out)  # type: ignore[attr-defined]
    return distance


def _count_bits(words: Words) -> NDArray[np.uint8]:
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.uint8))
