"""Light in rendered rooms: lamps and windows as points, on surfaces without cast shadows, with darker corners.

Light is linear where it adds up; its 1/2.2 power is the factor on displayed colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.rooms.materials import F, Floats

GAMMA = 2.2
_CORNER_PER_M, _CORNER_DARKNESS = 3.2, 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Lamp:
    """A point that gives light: all round, or only towards ``direction`` (as a window does). ``colour`` is linear."""

    position: Floats
    colour: Floats
    direction: Floats | None = None


class Light:
    """All light of a room of some ``size`` (3,): the same from everywhere (``ambient``, linear), and of lamps."""

    def __init__(self, size: Floats, ambient: Floats, lamps: Sequence[Lamp]) -> None:
        self.ambient: Floats = ambient.astype(F)
        self.colours: Floats = np.array([lamp.colour for lamp in lamps], F)
        self._positions: Floats = np.array([lamp.position for lamp in lamps], F)
        self._directions: Floats = np.array(
            [[0, 0, 0] if lamp.direction is None else lamp.direction for lamp in lamps], F
        )
        self._everywhere: Floats = np.array([[lamp.direction is None] for lamp in lamps], F)
        self._squares = (self._positions**2).sum(axis=1, keepdims=True) + F(0.05)
        self._starts = (self._directions * self._positions).sum(axis=1, keepdims=True)
        self._far_corner = np.exp(F(-_CORNER_PER_M) * size.astype(F))

    def scale(self, factor: Floats) -> None:
        """Change brightness and colour of everything: exposure and white balance."""
        self.ambient, self.colours = self.ambient * factor, self.colours * factor

    def linear(self, points: Floats, normals: Floats) -> Floats:
        """Light on surface points (..., 3), linear (..., 3). A normal holds for one point or for a run of them."""
        p, n = points.reshape(-1, 3).astype(F), normals.reshape(-1, 3).astype(F)
        if len(n) != len(p):
            n = np.repeat(n, len(p) // len(n), axis=0)
        squares = self._squares + (p * p).sum(axis=1) - 2 * (self._positions @ p.T)
        distances = np.sqrt(squares)
        facing = (self._positions @ n.T - (p * n).sum(axis=1)) / distances
        emitted = np.maximum(self._directions @ p.T - self._starts, 0) / distances + self._everywhere
        weights = np.maximum(facing * F(0.85) + F(0.15), 0) * emitted / (squares + F(0.3))
        received = self.ambient * (F(0.85) + F(0.15) * n[:, 2:]) + weights.T @ self.colours
        # Corners are darker: the nearer a wall that the point does not lie in, the less light arrives.
        near = np.exp(F(-_CORNER_PER_M) * p)
        darkening = F(_CORNER_DARKNESS) * (1 - np.abs(n))
        lit = 1 - darkening * np.minimum(self._far_corner / near, 1)  # a leaf may reach through a wall: at most 1
        lit[:, ::2] *= 1 - darkening[:, ::2] * np.minimum(near[:, ::2], 1)  # not in y: the front is open
        total: Floats = received * lit.prod(axis=1, keepdims=True)
        return total.reshape(points.shape)

    def at(self, points: Floats, normals: Floats) -> Floats:
        """The factor on displayed colours, float32 (..., 3)."""
        factor: Floats = np.power(self.linear(points, normals), F(1 / GAMMA))
        return factor
