"""Small functions on fields of numbers, (h, w), and of vectors and colours, planar: (3, h, w)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from pipelines.rooms.materials import F, Floats

NOISE_SIDE = 512


def vector(*values: float) -> Floats:
    """A vector or colour (3,) that broadcasts against planar fields: (3, 1, 1), float32."""
    return np.array(values, F)[:, None, None]


def step(values: Any, start: float, end: float) -> Floats:
    """A smooth step from 0 at ``start`` to 1 at ``end`` (which may lie below)."""
    t = np.clip((values - F(start)) * F(1 / (end - start)), 0, 1)
    risen: Floats = t * t * (3 - 2 * t)
    return risen


def bump(x: Any, width_x: float, y: Any = 0.0, width_y: float = 1.0) -> Floats:
    """A Gaussian hill of height 1; widths are standard deviations."""
    hill: Floats = np.exp(F(-0.5) * ((x * F(1 / width_x)) ** 2 + (y * F(1 / width_y)) ** 2))
    return hill


def mix(first: Any, second: Any, share: Any) -> Floats:
    """From ``first`` (share 0) to ``second`` (share 1)."""
    mixed: Floats = first + (second - first) * share
    return mixed


def curve(x: Any, knots: Sequence[tuple[float, float]]) -> Floats:
    """Straight from knot to knot (x, y)."""
    xs, ys = zip(*knots, strict=True)
    line: Floats = np.interp(x, xs, ys).astype(F)
    return line


def dot(a: Floats, b: Floats) -> Floats:
    """The scalar product of planar fields, (h, w)."""
    product: Floats = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return product


def unit(v: Floats) -> Floats:
    """A planar field of vectors at length 1."""
    normal: Floats = v / np.sqrt(dot(v, v) + F(1e-9))
    return normal


def noise(kind: str, x: Any, y: Any) -> Floats:
    """Noise (mean 0, deviation about 1) at positions in texels; repeats every `NOISE_SIDE`."""
    x, y = np.broadcast_arrays(np.asarray(x, F), np.asarray(y, F))
    return np.asarray(
        cv2.remap(_noise_maps()[kind], x.copy(), y.copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), F
    )


@lru_cache(maxsize=1)
def _noise_maps() -> dict[str, Floats]:
    """Maps by name, each (NOISE_SIDE, NOISE_SIDE) and seamless.

    Soft clouds, fine grain, strands (across x, along y), and curls.
    """
    rng = np.random.default_rng(2017_1706)
    white = rng.standard_normal((NOISE_SIDE, NOISE_SIDE)).astype(F)

    def blur(values: Floats, across: float, along: float) -> Floats:
        tiled = np.tile(values, (3, 3))
        soft = np.asarray(cv2.GaussianBlur(tiled, (0, 0), sigmaX=across, sigmaY=along), F)
        soft = soft[NOISE_SIDE : 2 * NOISE_SIDE, NOISE_SIDE : 2 * NOISE_SIDE]
        normal: Floats = (soft - soft.mean()) / soft.std()
        return normal

    cloud = sum(
        (blur(np.roll(white, 97 * i, 1), 40 / 2**i, 40 / 2**i) * F(0.6**i) for i in range(4)), np.zeros_like(white)
    )
    strands = blur(white, 0.8, 60) + F(0.9) * blur(white.T, 3, 90) + F(0.8) * blur(white[::-1], 9, 140)
    warp = 14 * blur(white.T, 14, 14)
    y, x = np.mgrid[:NOISE_SIDE, :NOISE_SIDE].astype(F)
    ridges = np.abs(
        np.asarray(cv2.remap(blur(white, 5, 5), x + warp, y - warp.T, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
    )
    maps = {"cloud": cloud, "grain": blur(white, 1.1, 1.1), "strands": strands, "curls": ridges}
    return {name: np.ascontiguousarray((m - m.mean()) / m.std(), F) for name, m in maps.items()}
