"""Matching: 128-bit codes in, candidate pairs within a Hamming radius out, in time linear in the number of codes.

Stands at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". Candidates still have to pass `dedup.verification.verify`.

A search is a plan of parts, each a few tables over one range of codes, which run anywhere and in any order:
`search_part` reads the codes where they lie on disk and holds its own range alone. The union of all parts is the
result, and the same pairs come out in whatever order the items are numbered.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dedup.matching.gather import Items, Pairs, gather_part, sample_codes, sort_pairs
from dedup.matching.nearest import nearest
from dedup.matching.orders import BitOrder, Words, pair_distances
from dedup.matching.plan import SearchPart, SearchPlan, plan_search
from dedup.matching.search import count_distances, search_exhaustively, search_tables, unpack_pairs

__all__ = [
    "Pairs",
    "SearchPart",
    "SearchPlan",
    "choose_radius",
    "cross_pairs",
    "equal_code_pairs",
    "find_pairs",
    "merge_pairs",
    "nearest",
    "plan_search",
    "search_part",
]

Codes = NDArray[np.uint8]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

_TABLE_BYTES = 8  # of each code's 16, that a table sorts by
_SAMPLE = 1 << 15  # codes whose distances a radius is chosen by


def search_part(codes: Sequence[Codes], usable: Sequence[Mask], plan: SearchPlan, part: SearchPart) -> Pairs:
    """Run one part of a search.

    Equal codes (or mirror images of each other, in a mirrored search) are linked with the first item of their class,
    by the parts of the first group alone; that first item stands for its class in all tables.

    Args:
        codes: (n_i, 16) uint8 arrays, which may be mapped from files; items are numbered through all of them.
        usable: (n_i,) bool arrays; other items are in no pair.
        plan: of the whole search.
        part: one of ``plan.parts``.

    Returns:
        The pairs that this part finds, of usable items. A plan that looks across a border yields pairs (a, b) with
        a below it and b not.
    """
    items, links = gather_part(codes, usable, plan, part)
    side = None if plan.border is None else items.numbers >= plan.border
    if plan.exhaustive:
        near = search_exhaustively(items.words, plan.radius, mirrored=plan.mirrored, side=side)
    else:
        orders = (
            BitOrder((part.group, 1 + table), _TABLE_BYTES, mirrored=plan.mirrored) for table in range(plan.tables)
        )
        near = search_tables(items.words, plan.radius, orders, side)
    left, right = unpack_pairs(near)
    if plan.border is None:
        found = _describe(items.numbers[left], items.words.take(left, axis=0), items, right, plan.mirrored)
        return sort_pairs([links, found] if part.group == 0 else [found])
    swap = items.numbers[left] >= plan.border
    left, right = np.where(swap, right, left), np.where(swap, left, right)
    numbers, words, right = _expand(items, left, right, links)
    return sort_pairs([_describe(numbers, words, items, right, plan.mirrored)])


def find_pairs(codes: Codes, radius: int, *, mirrored: bool) -> Pairs:
    """Find nearly all pairs of items whose codes lie within `radius` bits; all parts of the search in this process.

    Args:
        codes: (N, 16) uint8.
        radius: largest Hamming distance of a pair, 0 to 128.
        mirrored: find pairs of one item's code and the other's mirrored code too.

    Returns:
        Each pair once, in the nearer orientation; plain where both are as near. Items of equal codes are linked with
        the first of them, which alone stands for them in pairs with others.
    """
    return _run_plan([codes], plan_search(len(codes), radius, mirrored=mirrored))


def equal_code_pairs(codes: Codes) -> Pairs:
    """Link each item with the first item of the same code: the paper's duplicates.

    Args:
        codes: (N, 16) uint8.

    Returns:
        Pairs at distance 0: m items of one code yield m - 1 of them.
    """
    return find_pairs(codes, 0, mirrored=False)


def cross_pairs(codes: Codes, reference_codes: Codes, radius: int, *, mirrored: bool) -> Pairs:
    """Find nearly all pairs of an item and a reference item whose codes lie within `radius` bits.

    Args:
        codes: (N, 16) uint8.
        reference_codes: (M, 16) uint8.
        radius: largest Hamming distance of a pair, 0 to 128.
        mirrored: find pairs of one item's code and the other's mirrored code too.

    Returns:
        ``a`` is a row of `codes`, ``b`` one of `reference_codes`. Of references with equal codes the first stands for
        all; every item that is near it has its own pair.
    """
    plan = plan_search(len(codes) + len(reference_codes), radius, mirrored=mirrored, border=len(codes))
    pairs = _run_plan([codes, reference_codes], plan)
    return Pairs(pairs.a, pairs.b - len(codes), pairs.distance, pairs.mirrored)


def merge_pairs(parts: Sequence[Pairs], a_from: int, a_to: int) -> Pairs:
    """Unite the results of parts, as far as a_from <= a < a_to.

    Args:
        parts: of one search; their arrays may be mapped from files, and only what is asked for is read.
        a_from: first number of the range.
        a_to: the number after the last.

    Returns:
        Each pair once.
    """
    pieces = []
    for part in parts:
        # Bisection touches a few places of a mapped file, where numpy's own would first copy a column of records.
        piece = slice(bisect_left(part.a, a_from), bisect_left(part.a, a_to))
        pieces.append(Pairs(part.a[piece], part.b[piece], part.distance[piece], part.mirrored[piece]))
    return sort_pairs(pieces)


def choose_radius(
    codes: Sequence[Codes], usable: Sequence[Mask], candidates_per_item: float, *, most: int, mirrored: bool
) -> int:
    """Choose the largest radius at which chance pairs an item with few enough others.

    The distances between the codes of a sample stand for those of unrelated items, so three million pictures of one
    kind of scene get a tighter radius than two thousand.

    Args:
        codes: (n_i, 16) uint8 arrays, which may be mapped from files.
        usable: (n_i,) bool arrays.
        candidates_per_item: unrelated pairs per item that verification is given to look at.
        most: the radius never exceeds this.
        mirrored: whether the search will look at mirrored codes too.

    Returns:
        A radius, 0 to `most`.
    """
    sample, share = sample_codes(codes, usable, _SAMPLE)
    if len(sample) < 2:
        return most
    pairs = len(sample) * (len(sample) - 1) / 2
    expected = np.cumsum(count_distances(sample, most, mirrored=mirrored)) / pairs * (len(sample) / share - 1) / 2
    return max(0, int(np.count_nonzero(expected <= candidates_per_item)) - 1)


def _run_plan(codes: Sequence[Codes], plan: SearchPlan) -> Pairs:
    usable = [np.ones(len(array), np.bool_) for array in codes]
    return sort_pairs([search_part(codes, usable, plan, part) for part in plan.parts])


def _describe(numbers: Indices, words: Words, items: Items, right: Indices, mirrored: bool) -> Pairs:
    """Pairs of items given by number and code and of rows of `items`, not sorted yet."""
    distance, flipped = pair_distances(words, items.words.take(right, axis=0), mirrored=mirrored)
    other = items.numbers[right]
    return Pairs(np.minimum(numbers, other), np.maximum(numbers, other), distance, flipped)


def _expand(items: Items, left: Indices, right: Indices, links: Pairs) -> tuple[Indices, Words, Indices]:
    """Pairs of rows as numbers, words and rows, with all items of a code where its first item stands on the left."""
    numbers, words = items.numbers[left], items.words.take(left, axis=0)
    start, stop = (np.searchsorted(links.a, numbers, side) for side in ("left", "right"))
    times = stop - start
    pair = np.repeat(np.arange(len(left)), times)
    link = start[pair] + np.arange(len(pair)) - (np.cumsum(times) - times)[pair]
    copies = words.take(pair, axis=0)
    turned = links.mirrored[link]
    copies[turned] = copies[turned, ::-1]
    return (
        np.concatenate([numbers, links.b[link]]),
        np.concatenate([words, copies]),
        np.concatenate([right, right[pair]]),
    )
