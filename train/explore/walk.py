"""Walks: random z in; a closed path through them, and how evenly pictures change along it, out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 6.1 and figure 4: where walking from
one z to another changes pictures by sharp transitions, G has learned by heart, or has collapsed; where it has learned,
each step changes a little. The paper judges by eye. Here a step is measured by the change that it makes in pixels and
in what D sees in them, each per unit of way in z, and called sharp where that is more than `SHARP` times the median.

Why so: a smooth G makes of half a step half a change, so that the largest over the median says how much its speed
varies, however many steps there are. Where a picture stays and then jumps, the jump remains as large in smaller steps
while the median falls with them. On a way of 16 steps, a step of 5 times the median makes a third of the change.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from train.config import Prior
from train.dcgan import Discriminator
from train.explore.layout import GAP, below, beside
from train.samples import Pixels

Floats = npt.NDArray[np.float64]

WALKS = 12
POINTS = 9
STEPS = 16  # between two points
SHARP = 5.0  # times the median change
STILL_LEVELS = 1.0  # of 255: a walk whose points differ by less shows one picture only
LEVELS = 127.5  # of a pixel, in a unit of what G draws
POOLED_SIDE = 4
MOST = 1000.0  # a larger ratio says no more, and JSON knows no infinity
RED = (214, 39, 40)


def walk_around(points: Tensor, steps: int, prior: Prior) -> Tensor:
    """Walk from each point to the next, and from the last to the first.

    Args:
        points: float32 (P, z_size), z.
        steps: from one to the next.
        prior: what z is drawn from: between those of a uniform prior the way is straight; between normal ones it is
            spherical (Shoemake 1985), since a straight one leads through z of lengths that are never drawn.

    Returns:
        float32 (P · steps, z_size): each point, followed by those on the way to the next.
    """
    shares = torch.arange(steps, dtype=torch.float64)[:, None] / steps
    ways = []
    for start, end in zip(points.double(), points.roll(-1, 0).double(), strict=True):
        if prior is Prior.NORMAL:
            angle = torch.arccos((start @ end / (start.norm() * end.norm())).clamp(-1, 1))
            ways.append((((1 - shares) * angle).sin() * start + (shares * angle).sin() * end) / angle.sin())
        else:
            ways.append((1 - shares) * start + shares * end)
    return torch.cat(ways).float()


@dataclass(frozen=True, slots=True, eq=False)
class Smoothness:
    """How evenly something changes along a closed walk.

    Attributes:
        changes: float64 (T,): at each step, to the next z, per unit of way in z.
    """

    changes: Floats

    @property
    def median(self) -> float:
        """The median step's change."""
        return float(np.median(self.changes))

    @property
    def ratio(self) -> float:
        """The largest over the median, at most `MOST`; 1 where nothing changes."""
        largest = float(self.changes.max())
        return min(largest / self.median, MOST) if self.median else (MOST if largest else 1.0)

    @property
    def sharp(self) -> npt.NDArray[np.int64]:
        """The steps that change more than `SHARP` times as much as the median one."""
        return np.flatnonzero(self.changes > SHARP * self.median)


def measure_changes(values: Tensor, z: Tensor) -> Smoothness:
    """The root mean square change of ``values``, (T, …), at each step of a closed walk through ``z``, (T, z_size)."""
    after = values.roll(-1, 0)
    change = (after - values).double().flatten(1).square().mean(1).sqrt()
    way = (z.roll(-1, 0) - z).double().norm(dim=1)
    return Smoothness((change / way).numpy())


@torch.inference_mode()
def see(discriminator: Discriminator, images: Tensor, *labels: Tensor) -> Tensor:
    """What D sees in images (N, 3, R, R): all layers' maps, pooled to 4×4 as in section 5.1; float32 (N, features)."""
    maps = discriminator.features(images, *labels)
    return torch.cat([adaptive_max_pool2d(each, POOLED_SIDE).flatten(1) for each in maps], dim=1).cpu()


def measure_spread(images: Pixels) -> float:
    """The root mean square difference, in levels of 255, between images (N, R, R, 3) and their mean."""
    return float(images.astype(np.float64).std(0).mean())


def draw_rows(images: Pixels, steps: int, sharp: npt.NDArray[np.int64]) -> Pixels:
    """Lay a closed walk out: a row from each point to the next, both shown; the gap of a sharp step is red.

    Args:
        images: uint8 RGB (P · steps, S, S, 3).
        steps: from one point to the next.
        sharp: the steps that are marked, by the images that they lead away from.
    """
    side = images.shape[1]
    rows = []
    for start in range(0, len(images), steps):
        shown = [images[(start + step) % len(images)] for step in range(steps + 1)]
        row = beside(*shown, gap=GAP)
        for step in sharp[(sharp >= start) & (sharp < start + steps)] - start:
            left = step * (side + GAP) + side
            row[:, left : left + GAP] = RED
        rows.append(row)
    return below(*rows, gap=GAP)
