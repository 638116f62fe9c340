"""Gathering: codes on disk in; the distinct codes of one range, links between equal ones, and samples out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": what `dedup.matching.match` searches is read here, some rows at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dedup.matching.orders import BitOrder, Words, as_words, hash_codes
from dedup.matching.plan import SearchPart, SearchPlan

Codes = NDArray[np.uint8]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

_CHUNK_ROWS = 1 << 15  # so that working arrays stay in a core's cache
_MOST_ROWS = 1 << 25  # held by a part before equal codes are collapsed
_SAMPLE = 1 << 17  # codes that decide where ranges end
_RANGE_BYTES = 4  # of each code's 16, that its range is told by


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of items, unique and sorted by (a, b).

    Attributes:
        a: (P,) int64, the smaller number of each pair.
        b: (P,) int64, the larger number.
        distance: (P,) uint8, bits between the two codes in the nearer orientation.
        mirrored: (P,) bool, True where that is one item's code and the code of the other's mirror image.
    """

    a: Indices
    b: Indices
    distance: NDArray[np.uint8]
    mirrored: Mask

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True, slots=True)
class Items:
    """Distinct codes in an order that the codes alone decide: (N,) int64 numbers and (N, 2) uint64 words."""

    numbers: Indices
    words: Words


def sort_pairs(pieces: Sequence[Pairs]) -> Pairs:
    """Unite pairs: sorted, each once."""
    keys = np.concatenate([np.zeros(0, np.int64), *(piece.a << 32 | piece.b for piece in pieces)])
    distance = np.concatenate([np.zeros(0, np.uint8), *(piece.distance for piece in pieces)])
    mirrored = np.concatenate([np.zeros(0, np.bool_), *(piece.mirrored for piece in pieces)])
    order = np.argsort(keys)  # what is found twice is the same both times
    keys = keys[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    keys, order = keys[new], order[new]
    return Pairs(keys >> 32, keys & 0xFFFFFFFF, distance[order], mirrored[order])


def _stream(codes: Sequence[Codes], usable: Sequence[Mask]) -> Iterator[tuple[Indices, Words]]:
    """Usable items in order, some at a time: (n,) int64 numbers and (n, 2) uint64 words."""
    first = 0
    for array, mask in zip(codes, usable, strict=True):
        words = as_words(array)
        for start in range(0, len(array), _CHUNK_ROWS):
            chunk = slice(start, start + _CHUNK_ROWS)
            rows = np.flatnonzero(mask[chunk])
            yield (
                first + start + rows,
                words[chunk] if len(rows) == len(mask[chunk]) else words[chunk].take(rows, axis=0),
            )
        first += len(array)


def gather_part(
    codes: Sequence[Codes], usable: Sequence[Mask], plan: SearchPlan, part: SearchPart
) -> tuple[Items, Pairs]:
    """The distinct codes of a part's range, and the pairs that link equal codes with their first items."""
    order = BitOrder((part.group, 0), _RANGE_BYTES, mirrored=plan.mirrored)
    low, high = _find_range(codes, usable, plan, part, order)
    numbers, words, links = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.uint64)], []
    held, most = 0, _MOST_ROWS
    for some_numbers, some_words in _stream(codes, usable):
        keys, _ = order.keys(some_words)
        inside = np.flatnonzero((keys >= low) & (keys < high))
        numbers.append(some_numbers[inside])
        words.append(some_words.take(inside, axis=0))  # many times as fast as indexing rows
        held += len(inside)
        if held > most:
            items, equal = _collapse_equal(numbers, words, plan)
            links.append(equal)
            back = np.argsort(items.numbers)
            numbers, words, held = [items.numbers[back]], [items.words[back]], len(back)
            most = max(_MOST_ROWS, 2 * held)
    items, equal = _collapse_equal(numbers, words, plan)
    return items, sort_pairs([*links, equal])


def _find_range(
    codes: Sequence[Codes], usable: Sequence[Mask], plan: SearchPlan, part: SearchPart, order: BitOrder
) -> tuple[int, int]:
    """The keys from which and below which codes belong to a part; ranges hold about equally many distinct codes."""
    if plan.ranges == 1:
        return 0, 1 << 8 * _RANGE_BYTES
    sample, _ = sample_codes(codes, usable, _SAMPLE)
    end = 1 << 8 * _RANGE_BYTES
    keys = np.append(np.sort(order.keys(sample)[0]), np.uint64(end))  # the end, lest there be none
    borders = [0, *keys[len(sample) * np.arange(1, plan.ranges) // plan.ranges].tolist(), end]
    return borders[part.range], borders[part.range + 1]


def sample_codes(codes: Sequence[Codes], usable: Sequence[Mask], size: int) -> tuple[Words, float]:
    """Draw distinct codes by what they are, not by where they stand.

    Args:
        codes: (n_i, 16) uint8 arrays.
        usable: (n_i,) bool arrays; other codes are not drawn.
        size: about how many are drawn where there are more items; all of fewer.

    Returns:
        (S, 2) uint64, a code and its mirrored code being one, and the share of the distinct codes that were drawn.
    """
    count = sum(int(np.count_nonzero(mask)) for mask in usable)
    share = min(1.0, size / max(1, count))
    limit = np.uint64(min((1 << 64) - 1, int(share * 2.0**64)))
    drawn = [np.zeros((0, 2), np.uint64)]
    for _, words in _stream(codes, usable):
        drawn.append(words.take(np.flatnonzero(hash_codes(words) <= limit), axis=0))
    sample = np.concatenate(drawn)
    _, first = np.unique(hash_codes(sample), return_index=True)
    return sample[first], share


def _collapse_equal(
    some_numbers: Sequence[Indices], some_words: Sequence[Words], plan: SearchPlan
) -> tuple[Items, Pairs]:
    """One item of each code, the first, in an order that the codes alone decide; and links to the others."""
    numbers, words = np.concatenate(some_numbers), np.concatenate(some_words)
    rows, first_of_class = _sort_by_code(numbers, words, plan)
    first = rows[first_of_class]
    copies = rows[~first_of_class]
    original = first[np.cumsum(first_of_class)[~first_of_class] - 1]
    mirrored = (words[copies] != words[original]).any(axis=1)
    links = Pairs(numbers[original], numbers[copies], np.zeros(len(copies), np.uint8), mirrored)
    return Items(numbers[first], words.take(first, axis=0)), links


def _sort_by_code(numbers: Indices, words: Words, plan: SearchPlan) -> tuple[Indices, Mask]:
    """Rows ordered by code, then by number, and which of them in this order are the first of their code."""
    bits = np.uint64(len(words).bit_length())
    keys = hash_codes(words) >> bits << bits
    keys |= np.arange(len(words), dtype=np.uint64)
    keys.sort()
    rows = (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    keys >>= bits
    first = np.ones(len(words), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    # Where the kept bits of the hash are equal the codes themselves decide; mirrored ones count as equal codes.
    unsure = np.flatnonzero(~first | ~np.append(first[1:], True))
    mine = rows[unsure]
    left, right = words[mine, 0], words[mine, 1]
    if plan.mirrored:
        left, right = np.minimum(left, right), np.maximum(left, right)
    apart = np.zeros(len(mine), np.bool_) if plan.border is None else numbers[mine] >= plan.border
    order = np.lexsort((mine, apart, right, left, keys[unsure]))
    rows[unsure] = mine[order]
    left, right, apart = left[order], right[order], apart[order]
    first[unsure[1:]] = (left[1:] != left[:-1]) | (right[1:] != right[:-1]) | (apart[1:] != apart[:-1])
    first[unsure[:1]] = True
    return rows, first
