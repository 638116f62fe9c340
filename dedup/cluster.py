"""Groups: verified pairs in, one keeper per group and what each dropped image is a duplicate of out.

A group is a connected component of verified pairs in which every member also verifies against the group's keeper;
what does not (the far end of a chain of small steps) forms groups of its own, and takes along what is more surely like
its keeper. Pure: arrays in, arrays out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dedup.edges import Indices, number_edges

Scores = npt.NDArray[np.float32]
Verify = Callable[[Indices, Indices], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Groups:
    """Who is kept for whom.

    Attributes:
        keeper: int64 (N,): for each image the image that is kept for it; itself where it is kept.
        split_off: (image, keeper) of each image that left the component which linked it to that keeper, because it
            does not verify against it.
    """

    keeper: Indices
    split_off: tuple[tuple[int, int], ...]

    @property
    def dropped(self) -> Indices:
        """Images that are not kept, ascending."""
        return np.flatnonzero(self.keeper != np.arange(len(self.keeper)))

    @property
    def sizes(self) -> npt.NDArray[np.int32]:
        """int32 (N,): group size where an image is kept (1: it had no duplicates), 0 where it is dropped."""
        return np.bincount(self.keeper, minlength=len(self.keeper)).astype(np.int32)


def group_pairs(a: Indices, b: Indices, score: Scores, rank: Indices, verify: Verify) -> Groups:
    """Group images that verified pairs link.

    Args:
        a: int64 (P,): an image of each pair, as an index below N.
        b: int64 (P,): the other one.
        score: float32 (P,): how sure each pair is.
        rank: int64 (N,): the total order of keepers; of several images the one of lowest rank is kept. No ties.
        verify: decides pairs (image, keeper), arrays of equal length, that are not among the given ones.

    Returns:
        Groups: the same whatever the order of the pairs.
    """
    keeper = np.arange(len(rank), dtype=np.int64)
    split_off: list[tuple[int, int]] = []
    pairs = a, b
    while len(a):
        members = np.unique(np.concatenate([a, b]))
        best = _best_of_component(members, a, b, rank)
        others, keepers = members[best != members], best[best != members]
        passed = _linked(others, keepers, a, b, len(rank))
        unknown = np.flatnonzero(~passed)
        if len(unknown):
            passed[unknown] = verify(others[unknown], keepers[unknown])
        keeper[others[passed]] = keepers[passed]
        # Only images that failed against their keeper go on, along the pairs among themselves.
        remains = np.zeros(len(rank), np.bool_)
        remains[others[~passed]] = True
        split_off += zip(others[~passed].tolist(), keepers[~passed].tolist(), strict=True)
        among_them = remains[a] & remains[b]
        a, b = a[among_them], b[among_them]
    images, surest = _find_surest(*pairs, score, keeper, rank)
    keeper[images] = surest
    return Groups(keeper, tuple(split_off))


def _find_surest(a: Indices, b: Indices, score: Scores, keeper: Indices, rank: Indices) -> tuple[Indices, Indices]:
    """Dropped images that pairs link to kept ones of lower rank, and the surest of those for each."""
    images, others, score = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([score, score])
    kept = keeper == np.arange(len(keeper))
    left = ~kept[images] & kept[others] & (rank[others] < rank[images])
    images, others, score = images[left], others[left], score[left]
    order = np.lexsort((rank[others], -score))
    images, first = np.unique(images[order], return_index=True)
    return images, others[order[first]]


def _best_of_component(members: Indices, a: Indices, b: Indices, rank: Indices) -> Indices:
    """For each member, the image of lowest rank in its component."""
    count = len(members)
    links = coo_array(
        (np.ones(len(a), np.int8), (np.searchsorted(members, a), np.searchsorted(members, b))), (count, count)
    )
    _, labels = connected_components(links, directed=False)
    by_rank = np.argsort(rank[members])
    # np.unique gives the first position of each label, which in this order is the one of lowest rank.
    _, first = np.unique(labels[by_rank], return_index=True)
    best: Indices = members[by_rank[first]][labels]
    return best


def _linked(others: Indices, keepers: Indices, a: Indices, b: Indices, count: int) -> npt.NDArray[np.bool_]:
    """Whether the pairs themselves hold (other, keeper)."""
    return np.isin(number_edges(others, keepers, count), number_edges(a, b, count))
