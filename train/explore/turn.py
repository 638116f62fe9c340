"""Turns: z of samples that look left and right in; random z, turned from one to the other, out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 6.3.2 and figure 8: a vector from the
mean z of four faces looking left to that of four looking right; interpolations along it, added to the z of other
samples, turn these too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.explore.concepts import SHOWN
from train.explore.layout import GAP, below, beside, enlarge, write
from train.samples import Pixels

COLUMNS = 9
RISE = 0.01  # a probability that rises by less has not risen

Floats = npt.NDArray[np.float32]


def find_direction(left: Tensor, right: Tensor) -> Tensor:
    """From the mean of z looking left to that of z looking right: each float32 (N, z_size) → (z_size,)."""
    return right.mean(0) - left.mean(0)


def draw_direction(like: Tensor, noise: torch.Generator) -> Tensor:
    """A direction by chance, as long as ``like``, (z_size,): what turning is compared with."""
    drawn = torch.empty_like(like).normal_(generator=noise)
    scaled: Tensor = drawn * (like.norm() / drawn.norm())
    return scaled


def move(z: Tensor, direction: Tensor, reach: float, columns: int = COLUMNS) -> Tensor:
    """Move each z along a direction, from -reach to reach times its length: (N, z_size) → (N, columns, z_size)."""
    return z[:, None] + torch.linspace(-reach, reach, columns)[:, None] * direction


@dataclass(frozen=True, slots=True)
class Turned:
    """Which rows have turned.

    Attributes:
        through: bool (rows,): looks left at the first picture, and no longer at the last.
        steadily: bool (rows,): and less with every picture.
    """

    through: npt.NDArray[np.bool_]
    steadily: npt.NDArray[np.bool_]


def judge_rows(likely: Floats) -> Turned:
    """Judge rows by how likely each picture looks left, float32 (rows, columns)."""
    through = (likely[:, 0] > SHOWN) & (likely[:, -1] < SHOWN)
    return Turned(through, through & (np.diff(likely, axis=1) < RISE).all(1))


def lay_out_rows(images: Pixels, names: Sequence[str]) -> Pixels:
    """A row for each z, uint8 RGB (rows, columns, R, R, 3), under the names of both ends."""
    rows = below(*(beside(*enlarge(row), gap=GAP) for row in images), gap=GAP)
    start, end = map(write, names)
    between = rows.shape[1] - start.shape[1] - end.shape[1]
    return below(beside(start, end, gap=max(GAP, between)), rows, gap=GAP)
