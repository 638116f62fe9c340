"""Neighbours: pictures in; their nearest images of a data set, by code and then by verification, out.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": what `dedup.query` and `dedup.audit` stand on. All codes are scanned where
they lie on disk, so that nothing near is missed and no index is built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dedup.images import Images, Numbers
from dedup.matching.nearest import nearest
from dedup.verification.verify import score_numbered

Codes = npt.NDArray[np.uint8]
Thumbnails = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

NEAREST = 64  # by code, of which verification says which is nearest


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The images nearest to each of Q pictures, K of each, the nearest first.

    They are ordered by score from the highest, then by distance, then by number. Where fewer than K are to be had, the
    last have the number -1.

    Attributes:
        numbers: int64 (Q, K).
        distance: uint8 (Q, K): bits between the codes, in the nearer of the two orientations.
        mirrored: bool (Q, K): whether that is the mirrored one.
        score: float32 (Q, K): see `dedup.verification.verify.score_pairs`.
    """

    numbers: Numbers
    distance: npt.NDArray[np.uint8]
    mirrored: npt.NDArray[np.bool_]
    score: npt.NDArray[np.float32]


def find_neighbours(
    thumbnails: Thumbnails,
    codes: Codes,
    images: Images,
    k: int,
    *,
    mirrored: bool,
    usable: Sequence[Mask] | None = None,
    leave_out: Numbers | None = None,
) -> Neighbours:
    """Find the images nearest to each picture.

    Args:
        thumbnails: (Q, 32, 32, 3) uint8 RGB.
        codes: (Q, 16) uint8, theirs.
        images: what they are looked for in.
        k: how many by code, at least 1; verification then puts these in order.
        mirrored: whether mirrored codes are compared too.
        usable: shard by shard, bool (n,): the images that count; None: all.
        leave_out: int64 (Q,): for each picture, the number of an image that does not count.
    """
    searched = images.codes.parts if usable is None else _UsableCodes(images.codes.parts, usable)
    rank, distance, flipped = nearest(codes, searched, k + (leave_out is not None), mirrored=mirrored)
    numbers = rank if usable is None else _number_usable(rank, usable, images.codes.starts)
    if leave_out is not None:
        numbers[numbers == leave_out[:, None]] = -1
    there = numbers >= 0
    query, _ = np.nonzero(there)
    score = np.full(numbers.shape, -np.inf, np.float32)
    score[there] = score_numbered(thumbnails.__getitem__, images.thumbnails.take, query, numbers[there], flipped[there])
    order = np.lexsort((numbers, distance, -score), axis=1)[:, :k]
    return Neighbours(
        np.take_along_axis(numbers, order, axis=1),
        np.take_along_axis(distance, order, axis=1),
        np.take_along_axis(flipped, order, axis=1),
        np.take_along_axis(score, order, axis=1),
    )


class _UsableCodes(Sequence[Codes]):
    """Shards of codes without those that do not count, one of them in memory at a time."""

    def __init__(self, parts: Sequence[Codes], usable: Sequence[Mask]) -> None:
        self._parts, self._usable = parts, usable

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: Any) -> Any:
        return self._parts[index][self._usable[index]]


def _number_usable(rank: Numbers, usable: Sequence[Mask], starts: Numbers) -> Numbers:
    """The numbers, among all images, of the images of these ranks among the usable ones; -1 stays."""
    bounds = np.cumsum([0, *(int(np.count_nonzero(mask)) for mask in usable)])
    part = np.searchsorted(bounds, rank, "right") - 1
    numbers = np.full(rank.shape, -1, np.int64)
    for index in np.unique(part[rank >= 0]).tolist():
        here = part == index
        numbers[here] = starts[index] + np.flatnonzero(usable[index])[rank[here] - bounds[index]]
    return numbers
