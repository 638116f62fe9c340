"""The furniture of rendered rooms: each function makes one `Thing`, which knows its place and how it is painted."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.rooms.canvas import Canvas, Skin
from pipelines.rooms.hangings import panels_skin
from pipelines.rooms.light import GAMMA, Lamp
from pipelines.rooms.materials import F, Floats, Material, Rng, lch, pick, scalar
from pipelines.rooms.space import UP, Wall, cross, turned
from pipelines.rooms.styles import Style

Paint = Callable[[Canvas], None]


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """A piece of furniture: a box around it, how to paint it, the light it gives, how dark its shadow is (0 to 1)."""

    low: Floats
    high: Floats
    paint: Paint
    lamps: tuple[Lamp, ...] = ()
    shadow: float = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A free stretch of a wall: from ``a`` along it, so wide, deep and high, ``out`` from it. In metres."""

    wall: Wall
    a: float
    width: float
    depth: float
    height: float
    out: float = 0.02

    @property
    def box(self) -> tuple[Floats, Floats]:
        """Lowest and highest corner."""
        return self.wall.box(self.a, self.a + self.width, self.out, self.out + self.depth, 0, self.height)

    @property
    def foot(self) -> Floats:
        """The middle of it, on the floor."""
        return self.wall.place(self.a + self.width / 2, self.out + self.depth / 2, 0)


def make_nightstand(rng: Rng, style: Style, place: Place, lamp_seed: int | None, lit: bool) -> Thing:
    """A small chest beside the bed, with a lamp; the lamps of equal seeds are a pair."""
    front = panels_skin(rng, style.storage, 1, 2 + int(place.height > 0.52), style.metal)
    low, high = place.box
    paint_lamp: Paint | None = None
    lamps: tuple[Lamp, ...] = ()
    if lamp_seed is not None:
        paint_lamp, lamps = _table_lamp(np.random.default_rng(lamp_seed), style, place.foot + UP * place.height, lit)

    def paint(canvas: Canvas) -> None:
        canvas.box(low, high, style.storage, rng, front=front, facing=place.wall.inward)
        if paint_lamp is not None:
            paint_lamp(canvas)

    return Thing(low, high, paint, lamps)


def make_storage(rng: Rng, style: Style, place: Place) -> Thing:
    """A wardrobe, a chest of drawers or a bookshelf, as its height says; low ones carry a lamp or a plant."""
    low, high = place.box
    columns = max(1, round(place.width / 0.55))
    if place.height < 1.2:
        front = panels_skin(rng, style.storage, columns, int(rng.integers(2, 5)), style.metal)
    elif place.depth > 0.4:
        front = panels_skin(rng, style.storage, max(2, columns), 1, style.metal)
    else:
        front = _shelf_skin(rng, style.storage, round(place.height / 0.35))
    paint_top, lamps = _on_top(rng, style, place)

    def paint(canvas: Canvas) -> None:
        canvas.box(low, high, style.storage, rng, front=front, facing=place.wall.inward)
        if paint_top is not None:
            paint_top(canvas)

    return Thing(low, high, paint, lamps)


def make_plant(rng: Rng, style: Style, place: Place) -> Thing:
    """A plant in a pot on the floor."""
    return Thing(*place.box, _plant(rng, place.foot, place.height), shadow=0.6)


def make_floor_lamp(rng: Rng, style: Style, place: Place) -> Thing:
    """A lamp on a tall stick."""
    lit = rng.random() < style.lamps_lit
    foot, height = place.foot, place.height
    shade = _Shade(foot + UP * (height - 0.3), rng.uniform(0.1, 0.18), 0.2, 0.28, lit)

    def paint(canvas: Canvas) -> None:
        canvas.solid(turned(foot, [(0.14, 0), (0.14, 0.02), (0, 0.03)]), style.metal)
        canvas.solid(turned(foot, [(0.013, 0), (0.013, height - 0.2)], 5), style.metal)
        shade.paint(canvas, style)

    return Thing(*place.box, paint, shade.lamps(style, 0.8), shadow=0.4)


def make_pendant(rng: Rng, style: Style, hook: Floats) -> Thing:
    """A lamp that hangs from the ceiling: a globe, a cone or a drum."""
    drop, radius, lit = rng.uniform(0.25, 0.6), rng.uniform(0.13, 0.24), rng.random() < style.lamps_lit
    at = hook - UP * drop
    kind = pick(rng, {"globe": 0.3, "cone": 0.3, "drum": 0.4})
    shade = _Shade(at - UP * 0.6 * radius, radius * (0.35 if kind == "cone" else 0.95), radius, 1.1 * radius, lit)

    def paint(canvas: Canvas) -> None:
        canvas.solid(turned(at, [(0.008, 0), (0.008, drop)], 5), np.full(3, 0.15, F))
        if kind != "globe":
            shade.paint(canvas, style)
            return
        t = np.linspace(-np.pi / 2, np.pi / 2, 9)
        ball = turned(at, list(zip(radius * np.cos(t), radius * np.sin(t), strict=True)), 14)
        canvas.solid(ball, style.shade, emit=_shine(style) if lit else None)
        if lit:
            canvas.add_glow(at, radius, style.lamplight)

    reach = np.array([radius, radius, radius])
    return Thing(at - reach, at + reach, paint, shade.lamps(style, 1.2), shadow=0)


@dataclass(frozen=True, slots=True, eq=False)
class _Shade:
    """A lamp shade: its lower end, radii at the top and at the bottom, height."""

    foot: Floats
    top: float
    bottom: float
    height: float
    lit: bool

    def lamps(self, style: Style, brightness: float) -> tuple[Lamp, ...]:
        return (Lamp(self.foot + UP * self.height / 2, style.lamplight * F(brightness)),) if self.lit else ()

    def paint(self, canvas: Canvas, style: Style) -> None:
        t = np.linspace(0, 1, 4)
        profile = list(zip(self.bottom + (self.top - self.bottom) * t, self.height * t, strict=True))
        middle_brightest = np.array([0.8, 1, 0.75], F)[:, None, None]
        emit = _shine(style) * middle_brightest if self.lit else None
        canvas.solid(turned(self.foot, profile), style.shade, emit=emit)
        if self.lit:
            canvas.add_glow(self.foot + UP * self.height / 2, 1.1 * self.bottom, style.lamplight)


def _shine(style: Style) -> Floats:
    """What a lit shade adds to the light on it."""
    shine: Floats = np.power(style.lamplight, F(1 / GAMMA)) * F(1.2)
    return shine


def _table_lamp(rng: Rng, style: Style, foot: Floats, lit: bool) -> tuple[Paint, tuple[Lamp, ...]]:
    height = rng.uniform(0.34, 0.58)
    shade_height = height * rng.uniform(0.38, 0.5)
    stem, bottom = height - shade_height, shade_height * rng.uniform(0.55, 0.8)
    shade = _Shade(foot + UP * stem, bottom * rng.uniform(0.55, 1), bottom, shade_height, lit)
    colour = style.metal if rng.random() < 0.5 else style.cushions[-1]
    vase = [(0.05, 0.0), (0.085, 0.45 * stem), (0.05, 0.8 * stem), (0.015, stem + 0.02)]
    ball = [(0.03, 0.0), (0.36 * stem, 0.2 * stem), (0.42 * stem, 0.45 * stem), (0.25 * stem, 0.8 * stem), (0.01, stem)]
    stick = [(0.014, 0.0), (0.014, stem + 0.03)]
    body = (vase, ball, stick)[rng.integers(3)]

    def paint(canvas: Canvas) -> None:
        if body is stick:
            canvas.solid(turned(foot, [(0.07, 0), (0.07, 0.02), (0, 0.025)]), colour)
        canvas.solid(turned(foot, body), colour)
        shade.paint(canvas, style)

    return paint, shade.lamps(style, 0.55)


def _on_top(rng: Rng, style: Style, place: Place) -> tuple[Paint | None, tuple[Lamp, ...]]:
    """A lamp, a plant or nothing on top of something low."""
    what = pick(rng, {"lamp": 0.35, "plant": 0.3, "nothing": 0.35})
    spot = place.wall.place(place.a + place.width * rng.uniform(0.2, 0.8), place.out + place.depth / 2, place.height)
    if place.height > 1.2 or what == "nothing":
        return None, ()
    if what == "plant":
        return _plant(rng, spot, rng.uniform(0.3, 0.5)), ()
    return _table_lamp(rng, style, spot, rng.random() < style.lamps_lit)


def _plant(rng: Rng, foot: Floats, height: float) -> Paint:
    pot, radius = lch(rng.uniform(30, 85), rng.uniform(0, 35), rng.uniform(30, 90)), height * rng.uniform(0.12, 0.17)
    hue, lightness, count = rng.uniform(115, 145), rng.uniform(28, 50), int(rng.integers(9, 16))
    around, lift = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.5, 1.4, count)
    lengths, tones = rng.uniform(0.45, 0.8, count) * height, rng.uniform(-8, 14, count)
    ways = np.column_stack([np.cos(around) * np.cos(lift), np.sin(around) * np.cos(lift), np.sin(lift)])
    t = np.linspace(0, 1, 6)[:, None]
    breadth = 0.11 * height * np.sin(np.pi * (0.15 + 0.85 * t)) ** 0.8

    def paint(canvas: Canvas) -> None:
        rim = 0.28 * height
        canvas.solid(turned(foot, [(0.7 * radius, 0), (radius, rim), (0.9 * radius, rim), (0, rim - 0.01)]), pot)
        for i in np.argsort(ways @ (canvas.camera.position - foot)):  # the leaves behind first
            side = cross(ways[i], UP)
            side /= np.linalg.norm(side)
            spine = foot + UP * (0.26 * height) + ways[i] * lengths[i] * t - UP * (0.25 * lengths[i] * t**2)
            ribs = np.stack([spine - side * breadth, spine + UP * 0.01, spine + side * breadth], axis=1)
            canvas.leaf(ribs, lch(lightness + tones[i], 30, hue))

    return paint


def _shelf_skin(rng: Rng, material: Material, rows: int) -> Skin:
    colours = [lch(*rng.uniform((25, 5, 0), (85, 40, 360))) for _ in range(40)]
    breadths, heights, stands = rng.uniform(0.03, 0.06, 40), rng.uniform(0.55, 0.85, 40), rng.random(40) < 0.82

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        texture = material.cut(rng, width_m, height_m, width, height) * F(0.55)
        board, step, k = scalar(material.mean), height / rows, 0
        for row in range(1, rows + 1):
            base, x = round((row - 0.05) * step), 0.06 * width
            while x < 0.9 * width:
                right, top = x + max(2.0, breadths[k] * width / width_m), round(base - heights[k] * step)
                if stands[k]:
                    cv2.rectangle(texture, (round(x), top), (round(right) - 1, base), scalar(colours[k]), -1)
                x, k = right, (k + 1) % len(colours)
            cv2.line(texture, (0, base), (width, base), board, max(1, height // 60))
        cv2.rectangle(texture, (0, 0), (width - 1, height - 1), board, max(2, width // 16))
        return texture

    return skin
