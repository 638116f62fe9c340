"""Targets: a name in, a density p_data on the line out, to draw from and to compare with.

Each is a mixture of Gaussians, so that its density and its distribution function are known in closed form.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr
from torch import Tensor

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """A mixture of Gaussians.

    Attributes:
        weights: of each Gaussian; their sum is 1.
        means: of each.
        stds: standard deviation of each.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    def density(self, x: Floats) -> Floats:
        """p_data(x), for ``x`` of any shape."""
        u = (x[..., None] - self.means) / self.stds
        heights = np.array(self.weights) / (np.array(self.stds) * math.sqrt(2 * math.pi))
        density: Floats = (heights * np.exp(-(u**2) / 2)).sum(axis=-1)
        return density

    def mass_below(self, x: Floats) -> Floats:
        """The distribution function: P(data < x), for ``x`` of any shape."""
        mass: Floats = (np.array(self.weights) * ndtr((x[..., None] - self.means) / self.stds)).sum(axis=-1)
        return mass

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw x: float32 of shape (count, 1)."""
        which = torch.multinomial(torch.tensor(self.weights), count, replacement=True, generator=generator)
        noise = torch.empty(count).normal_(generator=generator)
        return (torch.tensor(self.means)[which] + torch.tensor(self.stds)[which] * noise).unsqueeze(1)


TARGETS: Mapping[str, Target] = {
    "gaussian": Target((1.0,), (0.5,), (0.5,)),
    "mixture": Target((0.6, 0.4), (-1.2, 1.2), (0.4, 0.4)),
    "skewed": Target((0.5, 0.3, 0.2), (-0.8, 0.0, 1.0), (0.35, 0.5, 0.6)),
}
