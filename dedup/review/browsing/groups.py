"""Groups: who was dropped for whom in; groups of duplicates in the orders in which people go through them out. Pure.

Serves the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN", for the eye. A page is asked for by the last group of the one before it, which is found by
bisection: no page costs more than the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from dedup.grouped import find_kept
from dedup.images import Numbers

Order = Literal["size", "score"]
ORDERS: tuple[str, ...] = get_args(Order)

Dropped = npt.NDArray[Any]  # of dtype `dedup.grouped.DROPPED`


@dataclass(frozen=True, slots=True)
class Group:
    """One group, or a part of it.

    Attributes:
        kept: number of the image that was kept.
        size: images in the group, the kept one among them.
        dropped: some that were dropped for it, the least sure first.
        more: how many more there are after these.
    """

    kept: int
    size: int
    dropped: Dropped
    more: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some groups in order.

    Attributes:
        groups: these.
        total: groups in all.
        following: what to ask for the next page with; None: this one is the last.
    """

    groups: Sequence[Group]
    total: int
    following: int | None


class Groups:
    """All groups of a run. ``len()`` says how many there are."""

    def __init__(self, dropped: Dropped) -> None:
        """Put them in order.

        Args:
            dropped: dtype `dedup.grouped.DROPPED`, in any order.
        """
        score = np.where(np.isnan(dropped["score"]), np.inf, dropped["score"])
        order = np.lexsort((dropped["number"], score, dropped["kept"]))
        self._dropped = np.asarray(dropped)[order]
        self._kept, first, counts = np.unique(self._dropped["kept"], return_index=True, return_counts=True)
        self._starts, self._sizes = np.append(first, len(dropped)), counts + 1
        self._by_number = self._dropped[np.argsort(self._dropped["number"])]
        ways = {"size": (self._kept, -self._sizes), "score": (self._kept, score[order][first])}
        self._orders = {way: np.lexsort(keys) for way, keys in ways.items()}
        self._ranks = {way: np.argsort(places) for way, places in self._orders.items()}

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def dropped(self) -> Dropped:
        """All dropped images, group by group; of each the least sure first, and equal bytes last."""
        return self._dropped

    def kept_for(self, numbers: Numbers) -> Numbers:
        """For each image the one that is kept for it: itself where it was not dropped."""
        return find_kept(np.asarray(numbers, np.int64), self._by_number)

    def size_of(self, kept: int) -> int:
        """Images in the group of a kept image; 1: it has no duplicates."""
        place = self._find(kept)
        return 1 if place is None else int(self._sizes[place])

    def page(
        self, order: Order, after: int | None, count: int, most: int, among: npt.NDArray[np.bool_] | None = None
    ) -> Page:
        """Some groups.

        Args:
            order: "size": the largest first; "score": those whose least sure member has the lowest score first.
            after: `Page.following` of the page before; None: the first page.
            count: groups in the page.
            most: dropped images of each.
            among: bool (dropped images,): just the groups with one of these, which are `dropped`.

        Raises:
            KeyError: there is no group that ``after`` could name.
        """
        places = self._orders[order]
        ranks = np.arange(len(places))
        if among is not None:
            chosen = np.logical_or.reduceat(among, self._starts[:-1]) if len(among) else among
            ranks = np.flatnonzero(chosen[places])
        begin = 0
        if after is not None:
            place = self._find(after)
            if place is None:
                raise KeyError(after)
            begin = int(np.searchsorted(ranks, self._ranks[order][place], side="right"))
        shown = places[ranks[begin : begin + count]].tolist()
        last = begin + count >= len(ranks)
        return Page(
            [self._part(place, 0, most) for place in shown], len(ranks), None if last else self._number(shown[-1])
        )

    def members(self, kept: int, after: int | None, most: int) -> Group:
        """A part of one group.

        Args:
            kept: its kept image.
            after: the dropped image that the part before ended with; None: from the first on.
            most: dropped images.

        Raises:
            KeyError: there is no such group, or no such image in it.
        """
        place = self._find(kept)
        if place is None:
            raise KeyError(kept)
        begin = 0
        if after is not None:
            numbers = self._dropped["number"][self._starts[place] : self._starts[place + 1]]
            (found,) = np.nonzero(numbers == after)
            if not len(found):
                raise KeyError(after)
            begin = int(found[0]) + 1
        return self._part(place, begin, most)

    def _part(self, place: int, begin: int, most: int) -> Group:
        start, end = self._starts[place] + begin, self._starts[place + 1]
        shown = self._dropped[start : min(start + most, end)]
        return Group(self._number(place), int(self._sizes[place]), shown, int(end - start) - len(shown))

    def _number(self, place: int) -> int:
        return int(self._kept[place])

    def _find(self, kept: int) -> int | None:
        if not len(self._kept) or not 0 <= kept <= self._kept[-1]:
            return None
        place = int(np.searchsorted(self._kept, kept))
        return place if self._kept[place] == kept else None
