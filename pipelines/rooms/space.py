"""The space of rendered rooms: a camera, faces, walls, and grids of points for what is round or soft.

In metres: x to the right, y away from the camera, z up. A room spans (0, 0, 0) to (width, depth, height); its front is
open.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot

import numpy as np

from pipelines.rooms.materials import F, Floats

UP = np.array([0.0, 0.0, 1.0])
_YZX, _ZXY = [1, 2, 0], [2, 0, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A parallelogram, seen from the side where ``across`` runs to the right and ``down`` runs down."""

    origin: Floats
    across: Floats
    down: Floats

    @property
    def corners(self) -> Floats:
        """(4, 3), clockwise from the origin."""
        end = self.origin + self.across
        return np.stack([self.origin, end, end + self.down, self.origin + self.down])

    @property
    def normal(self) -> Floats:
        """Unit vector towards the viewer."""
        (ax, ay, az), (bx, by, bz) = self.down.tolist(), self.across.tolist()
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        return np.array([x, y, z]) / hypot(x, y, z)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height."""
        return hypot(*self.across.tolist()), hypot(*self.down.tolist())

    def grid(self, n: int) -> Floats:
        """Centres of n × n cells, (n, n, 3)."""
        t = ((np.arange(n) + 0.5) / n)[:, None]
        points: Floats = self.origin + (t * self.down)[:, None] + t * self.across
        return points


class Camera:
    """A pinhole camera. Pixel (i, j) spans [j, j + 1] × [i, i + 1] of its picture."""

    def __init__(self, position: Floats, target: Floats, *, roll: float, focal: float, width: int, height: int) -> None:
        self.position, self.focal, self.width, self.height = position, focal, width, height
        forward = (target - position) / np.linalg.norm(target - position)
        right = cross(forward, UP) / np.linalg.norm(cross(forward, UP))
        up = cross(right, forward)
        right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        rows = np.stack([focal * right + width / 2 * forward, height / 2 * forward - focal * up, forward])
        self.matrix: Floats = np.column_stack([rows, -rows @ position])

    def project(self, points: Floats) -> Floats:
        """Points (..., 3) in front of the camera to pixel coordinates (..., 2)."""
        at: Floats = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        return at[..., :2] / at[..., 2:]

    def depth(self, points: Floats) -> Floats:
        """Distance along the line of sight."""
        depth: Floats = points @ self.matrix[2, :3] + self.matrix[2, 3]
        return depth

    def density(self, face: Face) -> float:
        """Pixels that a metre of a face gets, where it is rather near."""
        away = face.origin + (face.across + face.down) / 2 - self.position
        return self.focal / max(0.6, 0.75 * hypot(*away.tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class Wall:
    """A wall and what stands against it, in coordinates (a, o, z): along it to the right, out into the room, up."""

    origin: Floats
    along: Floats
    inward: Floats
    length: float
    height: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)  # (a0, a1, z0, z1)

    def place(self, a: Floats | float, o: Floats | float, z: Floats | float) -> Floats:
        """Coordinates (arrays or numbers) to points (..., 3)."""
        a, o, z = (np.asarray(value)[..., None] for value in (a, o, z))
        points: Floats = self.origin + a * self.along + o * self.inward + z * UP
        return points

    def face(self, a0: float, a1: float, z0: float, z1: float, out: float = 0.0) -> Face:
        """A rectangle parallel to the wall."""
        return Face(self.place(a0, out, z1), (a1 - a0) * self.along, (z0 - z1) * UP)

    def box(self, a0: float, a1: float, o0: float, o1: float, z0: float, z1: float) -> tuple[Floats, Floats]:
        """Lowest and highest corner of a box in the room's coordinates."""
        p, q = self.place(a0, o0, z0), self.place(a1, o1, z1)
        return np.minimum(p, q), np.maximum(p, q)

    def claim(self, a0: float, a1: float, z0: float, z1: float, margin: float = 0.06) -> bool:
        """Take a rectangle of the wall, if it is on the wall and free."""
        if a0 < 0 or a1 > self.length or z1 > self.height:
            return False
        for b0, b1, y0, y1 in self.taken:
            if a0 < b1 + margin and b0 < a1 + margin and z0 < y1 + margin and y0 < z1 + margin:
                return False
        self.taken.append((a0, a1, z0, z1))
        return True


def cross(a: Floats, b: Floats) -> Floats:
    """`np.cross` of (..., 3), several times faster on small arrays."""
    return a[..., _YZX] * b[..., _ZXY] - a[..., _ZXY] * b[..., _YZX]


def turned(foot: Floats, profile: Sequence[tuple[float, float]], sides: int = 10) -> Floats:
    """What a lathe makes: circles of (radius, height) above ``foot``, (len(profile), sides + 1, 3)."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    radius, height = np.array(profile, float).T[..., None]
    x, y = foot[0] + radius * np.cos(angle), foot[1] + radius * np.sin(angle)
    return np.stack([x, y, np.broadcast_to(foot[2] + height, x.shape)], axis=-1)


def cushion(wall: Wall, foot: Floats, size: Floats, lean: float, turn: float) -> Floats:
    """A pillow of some width, height and depth. Its lower edge is at ``foot`` (a, o, z); it leans back from the room.

    ``lean`` is its angle from lying flat, ``turn`` its angle from the wall's direction. Returns points (16, 8, 3).
    """
    t = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 8))
    u, v = np.meshgrid(t, t)
    puff = size[2] * ((1 - u**4) * (1 - v**4)) ** 0.6
    x = u * (1 - 0.06 * (1 - v**2)) * size[0] / 2
    y = (v * (1 - 0.06 * (1 - u**2)) + 1) * size[1] / 2
    x, y, t = (np.concatenate(sides) for sides in ((x, x[::-1]), (y, y[::-1]), (puff, -0.6 * puff[::-1])))
    out, rise = t * np.sin(lean) - y * np.cos(lean), y * np.sin(lean) + t * np.cos(lean)
    a, o = x * np.cos(turn) - out * np.sin(turn), out * np.cos(turn) + x * np.sin(turn)
    return wall.place(foot[0] + a, foot[1] + o, foot[2] + rise)


def draped(
    wall: Wall,
    a: tuple[float, float],
    o: tuple[float, float],
    z: tuple[float, float],
    *,
    facets: tuple[int, int],
    crown: float = 0.0,
    wave: float | None = None,
    radius: float = 0.1,
) -> tuple[Floats, Floats]:
    """A sheet over a block at a wall: it hangs down from ``z[1]`` to ``z[0]`` at both sides and at the foot.

    Args:
        wall: whose coordinates (a, o, z) are meant.
        a: from and to, along the wall.
        o: from and to, out from the wall.
        z: the hem and the top.
        facets: along a and o.
        crown: how far the middle rises above the edges.
        wave: phase of the folds in what hangs down; None: no folds.
        radius: of the rounded edges.

    Returns:
        Points (rows, columns, 3), and metres along the cloth in both directions (rows, columns, 2).
    """
    (a0, a1), (o0, o1), (hem, top) = a, o, z
    quarter = np.linspace(0, np.pi / 2, 5)
    edge = np.column_stack([radius * (1 - np.cos(quarter)), top - radius * (1 - np.sin(quarter))])
    rim = np.concatenate([[(0, hem), (0, (hem + top) / 2)], edge])  # up from the hem and over the edge
    falling = rim[::-1] * np.array((-1, 1))
    across = np.concatenate([rim + np.array((a0, 0)), falling + np.array((a1, 0))])
    outward = np.concatenate([[(o0, top)], falling + np.array((o1, 0))])
    (x, at_side, metres_a), (y, at_foot, metres_o) = _resample(across, facets[0]), _resample(outward, facets[1])
    x, y = np.meshgrid(x, y)
    height = np.minimum(*np.meshgrid(at_side, at_foot))
    u = np.clip((2 * x - a0 - a1) / (a1 - a0), -1, 1)
    lift = np.clip((height - top) / radius + 1, 0, 1)
    if wave is not None:
        aside = 0.022 * np.sign(u) * (1 - lift) * np.sin(11 * y + wave)
        y = y + 0.022 * (y > o1 - 0.1) * (1 - lift) * np.sin(11 * x + wave)
        x = x + aside
    metres = np.stack(np.meshgrid(metres_a, metres_o), axis=-1).astype(F)
    return wall.place(x, y, height + crown * (1 - u**4) * lift), metres


def _resample(knots: Floats, count: int) -> tuple[Floats, Floats, Floats]:
    """A polyline (n, 2) at ``count`` evenly spaced points: first and second coordinate, and the way so far."""
    way = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(knots, axis=0).T))])
    at: Floats = np.linspace(0, way[-1], count)
    return np.interp(at, way, knots[:, 0]), np.interp(at, way, knots[:, 1]), at
