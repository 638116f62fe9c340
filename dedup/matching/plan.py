"""Plan: how many codes and which radius in, the parts of a search that finds nearly all pairs out.

Serves the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN". A part is a task of its own: a few tables over one range of the codes.
"""

import math
from dataclasses import dataclass

from scipy.special import betainc

from dedup.codes import CODE_BITS
from dedup.matching.search import BLOCK

EXHAUSTIVE_UP_TO = 1 << 15  # codes: each is compared with each
RANGE_ROWS = 1 << 24  # codes that a part holds, about: it works in 2 GB
TABLES_PER_GROUP = 4  # tables that share their ranges: a part reads all codes once, and sorts its own so often

# A pair at exactly the radius is missed with at most this chance; nearer ones, with far less.
_MISSED = 0.01
# Unrelated codes that a code is taken to have within the radius: what `choose_radius` is mostly asked for.
_CANDIDATES = 4.0
_FEWEST_BITS = 4


@dataclass(frozen=True, slots=True)
class SearchPart:
    """Names one part of a search: a group of tables, and one of the ranges that the codes are cut into for it."""

    group: int
    range: int


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How a search is done.

    Attributes:
        count: items, at most.
        radius: largest Hamming distance of a pair.
        mirrored: whether an item's mirrored code is looked for too.
        border: if given, only pairs of an item numbered below it and one not below it are wanted.
        exhaustive: whether each code is compared with each.
        groups: groups of tables.
        tables: in a group.
        ranges: that the codes are cut into, for each group anew.
    """

    count: int
    radius: int
    mirrored: bool
    border: int | None
    exhaustive: bool
    groups: int
    tables: int
    ranges: int

    @property
    def parts(self) -> tuple[SearchPart, ...]:
        """All parts, in order of work done best: parts of a group read the same codes."""
        return tuple(SearchPart(group, place) for group in range(self.groups) for place in range(self.ranges))


def plan_search(count: int, radius: int, *, mirrored: bool, border: int | None = None) -> SearchPlan:
    """Plan a search for nearly all pairs: a pair at the radius is found in 98 of 100 cases or more.

    Args:
        count: items, below 2^32.
        radius: largest Hamming distance of a pair, 0 (equal codes) to 128.
        mirrored: look for pairs of one item's code and the other's mirrored code too.
        border: if given, look only for pairs of an item numbered below it and one not below it.

    Returns:
        A plan that depends on the arguments alone.
    """
    if not 0 <= radius <= CODE_BITS:
        raise ValueError(f"radius must be 0 to {CODE_BITS}, not {radius}")
    if not 0 <= count < 1 << 32:
        raise ValueError(f"count must be 0 to 2^32, not {count}")
    exhaustive = count <= EXHAUSTIVE_UP_TO
    ranges = max(1, math.ceil(count / RANGE_ROWS))
    if exhaustive:
        return SearchPlan(count, radius, mirrored, border, True, 1, 0, 1)
    if radius == 0:
        # In each range equal codes are linked as it is read; across a border, one table finds them.
        return SearchPlan(count, radius, mirrored, border, False, 1, 0 if border is None else 1, ranges)
    independent = _independent_bits(count, radius, mirrored)
    found = _group_chance(count, radius, mirrored, ranges, independent)
    groups = max(1, math.ceil(math.log(_MISSED) / math.log1p(-found)))
    return SearchPlan(count, radius, mirrored, border, False, groups, TABLES_PER_GROUP, ranges)


def _independent_bits(count: int, radius: int, mirrored: bool) -> float:
    """How many independent bits, each repeated, crowd so that a code has `_CANDIDATES` unrelated ones in the radius.

    Real codes crowd like that: those of 150,000 small pictures have the distances of 27 such bits, and their prefixes
    of 8 to 24 bits tell as many of them apart.
    """
    few, many = float(_FEWEST_BITS), float(CODE_BITS)
    while many - few > 0.01:
        bits = (few + many) / 2
        differing = radius * bits / CODE_BITS
        # The chance of at most so many differences among so many bits, between whole numbers too.
        chance = float(betainc(bits - differing, differing + 1, 0.5))
        if chance * count / (1 if mirrored else 2) > _CANDIDATES:
            few = bits
        else:
            many = bits
    return many


def _group_chance(count: int, radius: int, mirrored: bool, ranges: int, independent: float) -> float:
    """The chance that a pair at the radius meets in a group: it falls into one range, and meets in one table there."""
    same_range: float = (1 - radius / CODE_BITS) ** math.log2(ranges)
    rows = count / ranges * (2 if mirrored else 1)  # the smaller of two keys has one bit less to tell codes apart by
    return same_range * (1 - (1 - _table_chance(rows, radius, independent)) ** TABLES_PER_GROUP)


def _table_chance(rows: float, radius: int, independent: float) -> float:
    """The chance that a pair at the radius comes to lie within a block of each other in one order."""
    chance, agreeing = 0.0, 1.0
    for prefix in range(CODE_BITS - radius + 1):
        differing = radius / (CODE_BITS - prefix)
        # Codes of one prefix that part at the next bit lie in two neighbouring stretches of this many codes.
        stretch = rows / 2 ** (independent * (1 - (1 - 1 / independent) ** (prefix + 1)))
        near = 1.5 * BLOCK / stretch
        within = near**2 / 2 if near < 1 else 1 - max(0.0, 2 - near) ** 2 / 2
        chance += agreeing * differing * within
        agreeing *= 1 - differing
    return chance
