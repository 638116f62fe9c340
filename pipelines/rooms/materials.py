"""Colours and materials of rendered rooms: texture maps, coloured between two colours in CIE LCh.

Colours are RGB as displayed (sRGB), float32, 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator
T = TypeVar("T")

F = np.float32
TILE = 512  # side of a texture map in pixels
LEVELS = 3  # of a texture map: each a half of the one before
CREASES_PER_M = 280.0
_STEPS = np.linspace(0, 1, 256, dtype=F)[:, None, None]

PRINTS = (
    *("stripes", "pinstripes", "bands", "check", "dots", "diamonds"),
    *("chevron", "flowers", "damask", "trellis", "blossom", "ikat"),
)
WALLPAPERS = ("stripes", "pinstripes", "diamonds", "damask", "trellis", "blossom", "flowers", "dots")


def pick(rng: Rng, weights: Mapping[T, float]) -> T:
    """Draw one of the keys, each as often as its weight says."""
    left = rng.random() * sum(weights.values())
    for option, weight in weights.items():
        left -= weight
        if left < 0:
            return option
    return option


def to_bytes(values: Floats) -> Pixels:
    """0..1 to 0..255, clipped."""
    pixels: Pixels = np.clip(values * F(255) + F(0.5), 0, 255).astype(np.uint8)
    return pixels


def lch(lightness: float, chroma: float, hue_deg: float) -> Floats:
    """CIE LCh (lightness 0 to 100) to an RGB colour, clipped to the gamut."""
    a, b = chroma * np.cos(np.radians(hue_deg)), chroma * np.sin(np.radians(hue_deg))
    colour = cv2.cvtColor(np.array([[[lightness, a, b]]], F), cv2.COLOR_Lab2RGB)[0, 0]
    return np.clip(np.asarray(colour, F), 0.01, 1)


def scalar(colour: Floats) -> tuple[float, float, float]:
    """A colour as OpenCV's drawing functions want it."""
    red, green, blue = colour.tolist()
    return red, green, blue


def resize(values: npt.NDArray[Any], width: int, height: int) -> Floats:
    """Resize (h, w) or (h, w, c), by area where it shrinks; float32."""
    shrinks = width * height < values.shape[0] * values.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=interpolation), F)


def triple(values: Floats) -> Floats:
    """(h, w) to float32 (h, w, 3): for products of pictures, where broadcasting is many times slower."""
    return np.asarray(cv2.merge([values.astype(F, copy=False)] * 3), F)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A texture map that runs from ``first`` to ``second``; ``scale`` is the map's pixels per metre."""

    first: Floats
    second: Floats
    texture: str
    scale: float = 150.0
    turned: bool = False

    @property
    def mean(self) -> Floats:
        """The colour from afar."""
        return (self.first + self.second) * F(0.5)

    def cut(self, rng: Rng, width_m: float, height_m: float, width: int, height: int) -> Floats:
        """A random piece of so many metres, as float32 (height, width, 3)."""
        w, h = (max(8, min(TILE, round(size * self.scale))) for size in (width_m, height_m))
        level = int(np.clip(np.log2(max(w / width, h / height)), 0, LEVELS - 1))  # so small that pixels are not skipped
        w, h, side = w >> level, h >> level, TILE >> level
        left, top = (rng.random(2) * (side - w + 1, side - h + 1)).astype(int).tolist()
        piece = self._map(level)[top : top + h, left : left + w]
        return self._colour(cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR))

    def spread(self, x_m: Floats, y_m: Floats) -> Floats:
        """The material at points of a cloth, with the creases that cloth has; (H, W) each to (H, W, 3)."""
        x, y = x_m * F(self.scale), y_m * F(self.scale)
        colours = self._colour(cv2.remap(self._map(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
        x, y, creases = x_m * F(CREASES_PER_M), y_m * F(CREASES_PER_M), texture_maps()["creases"][0]
        fold = np.asarray(cv2.remap(creases, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), F)
        return colours * triple(F(0.91) + F(0.18 / 255) * fold)

    def _map(self, level: int = 0) -> Pixels:
        values = texture_maps()[self.texture][level]
        return values.T if self.turned else values

    def _colour(self, values: Any) -> Floats:
        ramp = to_bytes(self.first + _STEPS * (self.second - self.first))
        return np.asarray(cv2.applyColorMap(values, ramp), F) * F(1 / 255)


def plain(colour: Floats, texture: str = "plaster", contrast: float = 0.04, scale: float = 100.0) -> Material:
    """One colour with a little texture."""
    return Material(colour * F(1 - contrast), np.minimum(colour * F(1 + contrast), 1), texture, scale)


@lru_cache(maxsize=1)
def texture_maps() -> dict[str, list[Pixels]]:
    """Maps by name, uint8: how far each point is from a material's first colour to its second.

    Each is a list of `LEVELS` sizes, from (TILE, TILE) down.
    """
    rng = np.random.default_rng(1511_06434)
    y, x = np.mgrid[:TILE, :TILE].astype(F)
    cloud, grain = _noise(rng, 5, 5, 6), _noise(rng, 3, 40, 4) + 0.4 * np.sin(y / 9 + 4 * _noise(rng, 2, 6, 3))
    grain /= grain.std()
    weave = np.sin(x * np.pi / 2) * np.sin(y * np.pi / 2)
    fold = _noise(rng, 7, 9, 3)
    maps = {
        "plaster": 0.5 + 0.2 * cloud,
        "cloud": 0.5 + 0.25 * cloud,
        "wood": 0.5 + 0.2 * grain,
        "fabric": 0.5 + 0.1 * cloud + 0.12 * weave + 0.08 * _noise(rng, 128, 128, 3),
        "carpet": 0.5 + 0.15 * cloud + 0.13 * _noise(rng, 90, 90, 2),
        "creases": 0.5 + 0.8 * (np.roll(fold, (5, 3), (0, 1)) - fold),
        "planks": _boards(rng, y, x, 16, 150, 61) + 0.11 * grain,
        "wide planks": _boards(rng, y, x, 26, 240, 97) + 0.11 * grain,
        "tiles": _boards(rng, y, x, 44, 44, 0, gap=-0.4) + 0.07 * cloud,
        "bricks": _boards(rng, y, x, 10, 26, 13, gap=-0.35) + 0.06 * cloud,
        "panelling": (_boards(rng, y, x, 16, 600, 0, gap=0.4) + 0.04 * grain).T,
        "clapboard": 0.75 - 0.3 * (y % 24) / 24 - 0.4 * (y % 24 < 2),
        "herringbone": _herringbone(rng, y, x, grain),
    }
    cell_x, cell_y = (x % 32 - 16) / 16, (y % 32 - 16) / 16
    offset_x = ((x + 16 * (y // 32 % 2)) % 32 - 16) / 16  # every other row half a cell on
    radius, angle = np.hypot(offset_x, cell_y), np.arctan2(cell_y, offset_x)
    prints = {
        "stripes": x % 32 < 16,
        "pinstripes": x % 16 < 4,
        "bands": y % 32 < 15,
        "check": 0.5 * (x % 32 < 16) + 0.5 * (y % 32 < 16),
        "dots": radius < 0.38,
        "diamonds": np.abs(cell_x) + np.abs(cell_y) < 0.75,
        "chevron": (y + np.abs(x % 32 - 16)) % 20 < 9,
        "flowers": radius < 0.45 + 0.25 * np.cos(5 * angle),
        "damask": np.sin(x / 10.2) * np.sin(y / 6.8) + 0.6 * np.sin(x / 5.1 + 2 * np.sin(y / 6.8)) > 0.15,
        "trellis": np.abs(np.hypot(cell_x, cell_y) - 0.75) < 0.16,
        "blossom": _noise(rng, 30, 30, 3) > 0.7,
        "ikat": np.abs(cell_x) + np.abs(cell_y + 0.15 * np.sin(x * 0.8)) < 0.6,
    }
    for name, values in prints.items():
        printed = np.asarray(cv2.GaussianBlur(values.astype(F), (3, 3), 0), F)
        maps[name] = 0.08 + 0.84 * printed + 0.03 * weave + 0.02 * cloud
    sides = [TILE >> level for level in range(LEVELS)]
    return {name: [to_bytes(resize(values.astype(F), side, side)) for side in sides] for name, values in maps.items()}


def _noise(rng: Rng, cells_x: int, cells_y: int, octaves: int) -> Floats:
    """Fractal value noise (TILE, TILE): mean 0, standard deviation 1."""
    total = np.zeros((TILE, TILE), F)
    for octave in range(octaves):
        lattice = rng.standard_normal((min(TILE, cells_y << octave), min(TILE, cells_x << octave))).astype(F)
        total += F(0.55**octave) * np.asarray(cv2.resize(lattice, (TILE, TILE), interpolation=cv2.INTER_CUBIC), F)
    normal: Floats = (total - total.mean()) / total.std()
    return normal


def _boards(rng: Rng, y: Floats, x: Floats, height: int, length: int, stagger: int, gap: float = 0.3) -> Floats:
    """Rows of boards, tiles or bricks, each of its own tone, with joints that are darker (or, gap < 0, lighter)."""
    row = (y // height).astype(int)
    along = x + (row * stagger) % length
    tones = rng.standard_normal((TILE // height + 1, 2 * TILE // length + 2)).astype(F)
    joint = (y % height < 1.5) | (along % length < 1.5)
    boards: Floats = 0.55 + 0.1 * tones[row, (along // length).astype(int)] - gap * joint
    return boards


def _herringbone(rng: Rng, y: Floats, x: Floats, grain: Floats) -> Floats:
    slanted = y + np.abs(x % 48 - 24)
    tones = rng.standard_normal((TILE // 12 + 4, TILE // 24 + 1)).astype(F)
    tone = tones[(slanted // 12).astype(int), (x // 24).astype(int)]
    staves: Floats = 0.52 + 0.09 * np.where(x % 48 < 24, grain, grain.T) + 0.09 * tone - 0.25 * (slanted % 12 < 1.5)
    return staves
