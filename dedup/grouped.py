"""Grouped: the duplicate groups of a finished run as arrays of image numbers: ``grouped.npy`` and ``dropped.npy``.

The format of the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN". `dedup.stages.grouping` writes it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

# Images in groups of two or more, by number; size 0: dropped, else the size of the group it is the keeper of.
GROUPED = np.dtype([("number", "<i8"), ("size", "<i4")])
# Dropped images and those kept for them, by number; ``rule`` is a place in `RULES`.
DROPPED = np.dtype([("number", "<i8"), ("kept", "<i8"), ("distance", "<i2"), ("score", "<f4"), ("rule", "u1")])
RULES = ("same_bytes", "near", "near_mirrored", "equal_codes", "reviewed")


def find_kept(numbers: npt.NDArray[np.int64], dropped: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """For each image the one that is kept for it: itself where it was not dropped.

    Args:
        numbers: int64, of any shape.
        dropped: of dtype `DROPPED`, each image once, in the order of their numbers.
    """
    if not len(dropped):
        return numbers
    at = np.minimum(np.searchsorted(dropped["number"], numbers), len(dropped) - 1)
    return np.where(dropped["number"][at] == numbers, dropped["kept"][at], numbers)
