"""The styles of rendered rooms: time of day, colours and materials that go together, drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.rooms.materials import PRINTS, WALLPAPERS, F, Floats, Material, Rng, lch, pick, plain

_CLOTH = {"white": 0.3, "neutral": 0.16, "pale": 0.22, "mid": 0.2, "deep": 0.12}
_ACCENT = {"white": 0.12, "neutral": 0.13, "pale": 0.25, "mid": 0.32, "deep": 0.18}
_PAINT = {"white": 0.3, "cream": 0.24, "neutral": 0.1, "pale": 0.2, "mid": 0.1, "deep": 0.06}
_STRONG_PAINT = {"pale": 0.25, "mid": 0.4, "deep": 0.35}
_CARPET = {"cream": 0.35, "neutral": 0.4, "pale": 0.1, "mid": 0.1, "deep": 0.05}

_WOODS = {  # lightness, chroma, hue
    "oak": (74, 24, 75),
    "pine": (80, 30, 78),
    "teak": (52, 32, 64),
    "walnut": (31, 20, 58),
    "cherry": (38, 32, 48),
    "grey": (60, 4, 80),
    "white": (93, 2, 85),
    "black": (13, 2, 60),
}
_FURNITURE_WOOD = {"oak": 3, "pine": 2, "teak": 3, "walnut": 3, "cherry": 1, "grey": 1, "white": 3, "black": 1}
_FLOOR_WOOD = {"oak": 4, "pine": 3, "teak": 4, "walnut": 3, "cherry": 1, "grey": 1, "white": 0.7, "black": 0.3}

_METALS = ((0.75, 0.6, 0.3), (0.6, 0.6, 0.62), (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))


@dataclass(frozen=True, slots=True, eq=False)
class Mood:
    """Time of day and weather.

    ``sky`` (zenith, horizon) as displayed, and how bright things ``outside`` are displayed; the other colours are
    linear. ``lamps_lit``: how likely lamps are on. ``sun``: where sunbeams go; None where the sun does not shine.
    """

    sky: tuple[Floats, Floats]
    clouds: float
    outside: float
    daylight: Floats
    ambient: Floats
    lamplight: Floats
    lamps_lit: float
    sun: Floats | None
    sunlight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class WindowStyle:
    """What a room's windows share.

    ``panes``: columns and rows. ``blind``, ``drawn``: how far the blind and the curtains are closed, 0 to 1.
    """

    frame: Floats
    panes: tuple[int, int]
    blind: float
    curtain: Material | None
    to_floor: bool
    drawn: float
    rod: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """Materials and colours of one room."""

    walls: Material
    feature_wall: Material
    ceiling: Material
    floor: Material
    rug: Material
    trim: Floats
    wood: Material
    storage: Material
    upholstery: Material
    duvet: Material
    sheet: Floats
    throw: Floats
    cushions: tuple[Floats, Floats, Floats]
    metal: Floats
    shade: Floats
    windows: WindowStyle
    lamplight: Floats
    lamps_lit: float


def choose_mood(rng: Rng) -> Mood:
    """Draw time of day and weather."""
    lamplight = np.array([1, rng.uniform(0.64, 0.85), rng.uniform(0.34, 0.6)], F)
    sun = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.2), rng.uniform(-1, -0.45)])
    low_sun = sun * (1, 1, 0.6)
    match pick(rng, {"day": 0.46, "overcast": 0.22, "golden": 0.14, "dusk": 0.08, "night": 0.1}):
        case "day":
            sky = (lch(rng.uniform(70, 80), rng.uniform(18, 32), rng.uniform(245, 265)), lch(96, 5, 250))
            ambient = _grey(rng.uniform(0.35, 0.65))
            return Mood(sky, 0.9, 1.2, _rgb(2.4, 2.4, 2.45), ambient, lamplight, 0.25, _unit(sun), _rgb(1, 0.93, 0.8))
        case "overcast":
            sky = (lch(94, 3, 250), lch(99, 1, 250))
            ambient = _rgb(0.98, 1, 1.03) * _grey(rng.uniform(0.35, 0.65))
            return Mood(sky, 0.2, 1.15, _rgb(2.1, 2.2, 2.3), ambient, lamplight, 0.35, None, _grey(0))
        case "golden":
            sky = (lch(82, 15, rng.uniform(30, 260)), lch(92, 30, rng.uniform(55, 80)))
            ambient = _rgb(1.04, 0.96, 0.85) * _grey(rng.uniform(0.25, 0.45))
            return Mood(sky, 0.7, 1, _rgb(2.4, 2, 1.5), ambient, lamplight, 0.35, _unit(low_sun), _rgb(1.1, 0.78, 0.45))
        case "dusk":
            sky = (lch(48, 30, rng.uniform(265, 300)), lch(74, 30, rng.uniform(20, 60)))
            ambient = _rgb(0.85, 0.85, 1) * _grey(rng.uniform(0.15, 0.3))
            return Mood(sky, 0.4, 0.4, _rgb(0.6, 0.6, 0.9), ambient, lamplight, 0.9, None, _grey(0))
        case _:
            sky = (lch(8, 15, 280), lch(20, 18, 280))
            ambient = _rgb(0.95, 0.9, 0.85) * _grey(rng.uniform(0.15, 0.3))
            return Mood(sky, 0.08, 0.14, _rgb(0.08, 0.1, 0.2), ambient, lamplight, 1, None, _grey(0))


def choose_style(rng: Rng, mood: Mood) -> Style:
    """Draw materials around one main hue and one that goes with it."""
    hue = rng.uniform(0, 360)
    other_hue = hue + pick(rng, {0: 2, 30: 2, -30: 2, 150: 1, 180: 1, 210: 1})
    accent, second = _colour(rng, _ACCENT, other_hue), _colour(rng, _ACCENT, hue)
    wood = _wood(rng, _FURNITURE_WOOD)
    paint = _colour(rng, _PAINT, hue)
    walls = _wall_material(rng, paint)
    has_feature = rng.random() < 0.35
    feature = _wall_material(rng, _colour(rng, _STRONG_PAINT, hue)) if has_feature else walls
    white = lch(rng.uniform(88, 98), rng.uniform(0, 4), 90)
    ceiling = plain(white if rng.random() < 0.85 else paint, contrast=0.02, scale=60)
    if rng.random() < 0.06:
        ceiling = Material(wood.first, wood.second, "panelling", 90)
    metal = np.array(_METALS[rng.integers(len(_METALS))], F)
    trim = lch(rng.uniform(90, 98), 3, 90) if rng.random() < 0.8 else wood.mean
    curtain = _cloth(rng, _colour(rng, _CLOTH, other_hue), second, 0.25)
    windows = WindowStyle(
        frame=trim if rng.random() < 0.8 else _grey(0.15),
        panes=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        blind=rng.uniform(0.15, 1) if rng.random() < 0.18 else 0,
        curtain=curtain if rng.random() < 0.65 else None,
        to_floor=rng.random() < 0.7,
        drawn=rng.uniform(0.05, 0.35),
        rod=metal,
    )
    return Style(
        walls=walls,
        feature_wall=feature,
        ceiling=ceiling,
        floor=_floor_material(rng, hue),
        rug=_cloth(rng, _colour(rng, _CLOTH, other_hue), _colour(rng, _CLOTH, hue), 0.7),
        trim=trim,
        wood=wood,
        storage=wood if rng.random() < 0.7 else _wood(rng, _FURNITURE_WOOD),
        upholstery=plain(_colour(rng, _CLOTH, other_hue), "fabric", 0.06, 160),
        duvet=_cloth(rng, _colour(rng, _CLOTH, hue), accent, 0.4),
        sheet=lch(rng.uniform(90, 98), rng.uniform(0, 5), hue) if rng.random() < 0.8 else _colour(rng, _CLOTH, hue),
        throw=_colour(rng, _ACCENT, other_hue),
        cushions=(accent, second, _colour(rng, _CLOTH, other_hue)),
        metal=metal,
        shade=lch(rng.uniform(84, 97), rng.uniform(0, 12), 80) if rng.random() < 0.85 else accent,
        windows=windows,
        lamplight=mood.lamplight,
        lamps_lit=mood.lamps_lit,
    )


def _rgb(red: float, green: float, blue: float) -> Floats:
    return np.array([red, green, blue], F)


def _grey(value: float) -> Floats:
    return np.full(3, value, F)


def _unit(vector: Floats) -> Floats:
    return vector / np.linalg.norm(vector)


def _colour(rng: Rng, weights: Mapping[str, float], hue: float) -> Floats:
    """A colour of one of the named families; only the colourful ones have the hue."""
    match pick(rng, weights):
        case "white":
            return lch(rng.uniform(90, 98), rng.uniform(0, 4), 80)
        case "cream":
            return lch(rng.uniform(76, 93), rng.uniform(5, 16), rng.uniform(60, 95))
        case "neutral":
            return lch(rng.uniform(25, 85), rng.uniform(0, 6), hue)
        case "pale":
            return lch(rng.uniform(74, 90), rng.uniform(7, 24), hue)
        case "mid":
            return lch(rng.uniform(48, 72), rng.uniform(14, 42), hue)
        case _:
            return lch(rng.uniform(18, 42), rng.uniform(10, 38), hue)


def _wood(rng: Rng, weights: Mapping[str, float]) -> Material:
    kind = pick(rng, weights)
    lightness, chroma, hue = np.array(_WOODS[kind]) + rng.uniform(-1, 1, 3) * (6, 5, 5)
    contrast = 3 if kind in {"white", "black"} else 8
    dark, light = (lch(np.clip(lightness + c, 4, 98), max(chroma, 0), hue) for c in (-contrast, contrast))
    return Material(dark, light, "wood", rng.uniform(180, 320))


def _cloth(rng: Rng, first: Floats, second: Floats, printed: float) -> Material:
    if rng.random() < printed:
        texture, is_turned = PRINTS[rng.integers(len(PRINTS))], bool(rng.random() < 0.5)
        return Material(first, second, texture, rng.uniform(55, 150), is_turned)
    return plain(first, "fabric", 0.05, 160)


def _wall_material(rng: Rng, colour: Floats) -> Material:
    if rng.random() < 0.7:
        return plain(colour, scale=90)
    texture = (*WALLPAPERS, "bricks", "panelling", "clapboard")[rng.integers(len(WALLPAPERS) + 3)]
    lift = 1 + rng.uniform(0.06, 0.2) * (1 if rng.random() < 0.5 else -1)
    return Material(colour, np.clip(colour * F(lift), 0.02, 1), texture, rng.uniform(70, 100))


def _floor_material(rng: Rng, hue: float) -> Material:
    texture = pick(rng, {"planks": 0.3, "wide planks": 0.22, "herringbone": 0.12, "carpet": 0.28, "tiles": 0.08})
    if texture == "carpet":
        return plain(_colour(rng, _CARPET, hue), "carpet", 0.12, 90)
    if texture == "tiles":
        tone = lch(rng.uniform(50, 90), rng.uniform(0, 12), rng.uniform(50, 95))
        return Material(tone * F(0.86), np.minimum(tone * F(1.08), 1), texture, rng.uniform(60, 95))
    wood = _wood(rng, _FLOOR_WOOD)
    dark, light = wood.first * F(0.74), np.minimum(wood.second * F(1.06), 1)
    return Material(dark, light, texture, rng.uniform(80, 105), bool(rng.random() < 0.5))
