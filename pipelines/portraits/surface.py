"""Star-shaped surfaces: a radius for every direction from a centre, seen along parallel rays.

Axes: x to the right, y down, z towards whoever looks; lengths in centimetres. A head and its hair are such surfaces,
with the centre between the ears at the height of the eyes. The map of radii has longitude 0 in front and latitude down.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipelines.portraits.fields import dot
from pipelines.rooms.materials import F, Floats

LONGITUDE, LATITUDE = np.radians(130.0), np.radians(88.0)  # of the map's edges; behind, the edge goes on
WIDTH, HEIGHT = 440, 300


@lru_cache(maxsize=1)
def directions() -> Floats:
    """Unit vectors to the map's texels, (3, HEIGHT, WIDTH)."""
    longitude = np.linspace(-LONGITUDE, LONGITUDE, WIDTH, dtype=F)
    latitude = np.linspace(-LATITUDE, LATITUDE, HEIGHT, dtype=F)[:, None]
    flat = np.cos(latitude)
    return np.stack(
        [np.sin(longitude) * flat, np.broadcast_to(np.sin(latitude), (HEIGHT, WIDTH)), np.cos(longitude) * flat]
    )


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """From a head's axes to the camera's, (3, 3): yaw turns it to the right, pitch down, roll clockwise."""
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    turned: Floats = (about_z @ about_x @ about_y).astype(F)
    return turned


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Where rays meet a surface, in its own axes.

    Attributes:
        points: (3, h, w).
        normals: (3, h, w).
        depth: along the camera's z, (h, w).
        cover: how much of a pixel the surface takes up, 0 to 1, (h, w).
    """

    points: Floats
    normals: Floats
    depth: Floats
    cover: Floats


class Star:
    """A star-shaped surface from a map of radii (HEIGHT, WIDTH)."""

    def __init__(self, radius: Floats) -> None:
        self.radius = np.ascontiguousarray(radius, F)
        self.largest = float(radius.max()) + 0.1
        self.half_width = float((self.radius * np.hypot(directions()[0], F(0.45) * directions()[2])).max()) + 0.5
        self.lowest = float((self.radius * directions()[1]).max()) + 1.5
        along, down = 2 * LONGITUDE / (WIDTH - 1), 2 * LATITUDE / (HEIGHT - 1)
        d_latitude, d_longitude = np.gradient(self.radius)
        self._slopes = np.dstack([d_longitude * F(1 / along), d_latitude * F(1 / down)]).astype(F)

    def sample(self, values: Floats, points: Floats) -> Floats:
        """Values of a map at points (3, h, w)."""
        x, y = _texels(points)
        return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), F)

    def height(self, points: Floats) -> Floats:
        """How far points (3, h, w) are outside, along the radius; negative inside."""
        outside: Floats = np.sqrt(dot(points, points)) - self.sample(self.radius, points)
        return outside

    def trace(self, turn: Floats, u: Floats, v: Floats, pixel_cm: float) -> Hits:
        """Look along -z at camera positions (u, v), each (h, w); ``turn`` is a `rotation`."""
        coarse = self._march(turn, u[::2, ::2], v[::2, ::2], None, 22, 0.7)[0]
        start = np.asarray(cv2.dilate(coarse, np.ones((3, 3), np.uint8)), F)
        start = np.asarray(cv2.resize(start, u.shape[::-1], interpolation=cv2.INTER_NEAREST), F)
        depth, closest = self._march(turn, u, v, start + F(0.1), 11, 0.8)
        points = _to_head(turn, u, v, depth)
        return Hits(points, self.normals(points), depth, np.clip(F(1.2) - closest * F(0.9 / pixel_cm), 0, 1))

    def normals(self, points: Floats) -> Floats:
        """At points near the surface, (3, h, w)."""
        slopes = self.sample(self._slopes, points)
        x, y, z = points
        flat = np.sqrt(x * x + z * z) + F(1e-4)
        radius = np.sqrt(dot(points, points)) + F(1e-4)
        sin_lat, cos_lat = y / radius, flat / radius
        sin_lon, cos_lon = x / flat, z / flat
        east = slopes[..., 0] / (radius * np.maximum(cos_lat, F(0.08)))
        south = slopes[..., 1] / radius
        normal = np.stack(
            [
                x / radius - east * cos_lon + south * sin_lat * sin_lon,
                sin_lat - south * cos_lat,
                z / radius + east * sin_lon + south * sin_lat * cos_lon,
            ]
        )
        return normal / np.sqrt(dot(normal, normal))

    def visibility(self, points: Floats, normals: Floats, towards: Floats) -> Floats:
        """How much of a light in direction ``towards`` (3,) reaches points, 0 to 1, with soft edges; (h, w)."""
        seen = np.ones(points[0, ::2, ::2].shape, F)  # shadows are soft: every other point is enough
        start = points[:, ::2, ::2] + normals[:, ::2, ::2] * F(0.12)
        for way in (0.25, 0.5, 0.9, 1.5, 2.3, 3.4, 5.0, 7.5, 11.0):
            free = self.height(start + towards[:, None, None] * F(way)) * F(4.5 / way)
            np.minimum(seen, free * F(0.5) + F(0.75), out=seen)
        seen = np.clip(seen, 0, 1)
        return np.asarray(cv2.resize(seen, points.shape[:0:-1], interpolation=cv2.INTER_LINEAR), F)

    def front(self, x: float, y: float) -> float:
        """The z at which the ray through (x, y) in the surface's own axes meets it."""
        at = np.full((1, 1), x, F), np.full((1, 1), y, F)
        return float(self._march(np.eye(3, dtype=F), *at, None, 60, 0.5)[0][0, 0])

    def _march(
        self, turn: Floats, u: Floats, v: Floats, start: Floats | None, steps: int, stride: float
    ) -> tuple[Floats, Floats]:
        """Depths along the rays, and how close to the surface they ever were."""
        depth = np.sqrt(np.maximum(F(self.largest**2) - u * u - v * v, 0)) if start is None else start
        origin, ahead = _to_head(turn, u, v, np.zeros_like(u)), turn[2][:, None, None]
        closest = np.full_like(depth, self.largest)
        for _ in range(steps):
            outside = self.height(origin + ahead * depth)
            np.minimum(closest, outside, out=closest)
            depth = np.maximum(depth - outside * F(stride), F(-self.largest))
        return depth, closest


def cavities(radius: Floats) -> Floats:
    """How open each place of a map of radii is to light from all around: 1 on open skin, less in hollows."""
    open_share = np.ones_like(radius)
    for sigma, weight in ((5, 0.55), (14, 0.3)):
        around = np.asarray(cv2.GaussianBlur(radius, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), F)
        open_share -= F(weight) * np.clip(around - radius, F(-0.12), 0.8)
    return np.clip(open_share, 0.3, 1.06)


def longitudes() -> Floats:
    """Of the map's columns in degrees, (WIDTH,)."""
    return np.degrees(np.linspace(-LONGITUDE, LONGITUDE, WIDTH)).astype(F)


def _to_head(turn: Floats, u: Floats, v: Floats, depth: Floats) -> Floats:
    return np.stack([turn[0, i] * u + turn[1, i] * v + turn[2, i] * depth for i in range(3)])


def _texels(points: Floats) -> tuple[Floats, Floats]:
    x, y, z = points
    longitude, latitude = np.arctan2(x, z), np.arctan2(y, np.sqrt(x * x + z * z))
    across = longitude * F((WIDTH - 1) / (2 * LONGITUDE)) + F((WIDTH - 1) / 2)
    down = latitude * F((HEIGHT - 1) / (2 * LATITUDE)) + F((HEIGHT - 1) / 2)
    return across, down
