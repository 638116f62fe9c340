"""What hangs on the walls of rendered rooms: windows with a view, curtains, pictures, mirrors, doors."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.rooms.canvas import Canvas, Skin
from pipelines.rooms.materials import F, Floats, Material, Rng, lch, pick, resize, scalar, texture_maps, triple
from pipelines.rooms.space import UP, Face, Wall
from pipelines.rooms.styles import Mood, WindowStyle

_VIEW_SIZE = 80  # a view is out of focus: it is painted small


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A hole in a wall, from ``a0`` to ``a1`` along it and ``z0`` to ``z1`` up."""

    wall: Wall
    a0: float
    a1: float
    z0: float
    z1: float

    @property
    def area(self) -> float:
        """Square metres."""
        return (self.a1 - self.a0) * (self.z1 - self.z0)

    @property
    def centre(self) -> Floats:
        """Just inside of it."""
        return self.wall.place((self.a0 + self.a1) / 2, 0.02, (self.z0 + self.z1) / 2)

    def face(self, margin: float = 0.0, out: float = 0.02) -> Face:
        """The window with so much around it."""
        return self.wall.face(self.a0 - margin, self.a1 + margin, self.z0 - margin, self.z1 + margin, out)


def paint_window(canvas: Canvas, rng: Rng, window: Window, number: int, style: WindowStyle, mood: Mood) -> None:
    """Paint a window with frame, view, blind and curtains; its pixels carry its number."""
    wall = window.wall
    light = canvas.light.at(window.centre + 0.3 * wall.inward, wall.inward)
    canvas.quad(window.face(0.07, 0.015), _fill(style.frame * light * F(0.93), 2, 2), window=number)
    canvas.surface(window.face(), _window_skin(rng, style, mood, style.frame * light), lit=False, window=number)
    if mood.outside > 0.5:
        canvas.add_window_glow(window.face(), mood.daylight * F(0.12))
    if style.curtain is None:
        return
    top = min(wall.height - 0.03, window.z1 + 0.15)
    bottom = 0.03 if style.to_floor else window.z0 - 0.12
    part = (window.a1 - window.a0) * style.drawn
    for a0, a1 in ((window.a0 - 0.2, window.a0 + part), (window.a1 - part, window.a1 + 0.2)):
        _paint_cloth(canvas, rng, wall.face(a0, a1, bottom, top, 0.08), style.curtain, mood)
    rod = wall.face(window.a0 - 0.3, window.a1 + 0.3, top, top + 0.03, 0.1)
    canvas.surface(rod, lambda *_: _fill(style.rod, 2, 2))


def paint_frame(canvas: Canvas, face: Face, skin: Skin) -> None:
    """Paint something flat that hangs on a wall, and its shadow."""
    beside = Face(face.origin + 0.03 * (face.across / face.size_m[0] - UP), face.across, face.down)
    canvas.quad(beside, np.zeros((2, 2, 3), F), alpha=_SOFT_SHADOW)
    canvas.surface(face, skin)


def picture_skin(rng: Rng, wood: Floats) -> Skin:
    """A framed picture."""
    frames = (np.full(3, 0.08, F), np.array([0.93, 0.92, 0.9], F), wood, np.array([0.68, 0.53, 0.28], F))
    frame = frames[rng.integers(len(frames))]
    border, mount = rng.uniform(0.04, 0.09), (0.0, 0.12, 0.18)[rng.integers(3)]

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        size = min(width, height)
        art = _fill(frame, width, height)
        b = max(1, round(size * border))
        p = b + round(size * mount)
        art[b:-b, b:-b] = (0.93, 0.92, 0.9)
        if min(width, height) - 2 * p > 3:
            art[p:-p, p:-p] = _painting(rng, width - 2 * p, height - 2 * p)
        cv2.rectangle(art, (b, b), (width - b - 1, height - b - 1), scalar(frame * F(0.6)), 1)
        return art

    return skin


def mirror_skin(rng: Rng, wood: Floats) -> Skin:
    """A mirror in a wooden frame."""
    phase = rng.uniform(0, 6)

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        art = _fill(wood, width, height)
        b = max(1, round(0.07 * min(width, height)))
        x, y = np.meshgrid(np.linspace(0, 1, width - 2 * b, dtype=F), np.linspace(0, 1, height - 2 * b, dtype=F))
        art[b:-b, b:-b] = (0.65 + 0.2 * np.sin(3 * (x + y) + phase))[..., None] * np.array([0.95, 1, 1.02], F)
        return art

    return skin


def panels_skin(rng: Rng, material: Material, columns: int, rows: int, handle: Floats) -> Skin:
    """Doors (one row) or drawers (several) with raised panels and handles."""

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        texture = material.cut(rng, width_m, height_m, width, height)
        line = scalar(material.mean * F(0.45))
        inset = 0.16 if rows == 1 else 0.06
        step_x, step_y = width / columns, height / rows
        mx, my = max(1, round(inset * min(step_x, step_y))), max(1, round(inset * min(step_x, step_y)))
        for column, row in np.ndindex(columns, rows):
            x0, x1 = round(column * step_x), round((column + 1) * step_x) - 1
            y0, y1 = round(row * step_y), round((row + 1) * step_y) - 1
            cv2.rectangle(texture, (x0, y0), (x1, y1), line, 1)
            texture[y0 + my : y1 - my, x0 + mx : x1 - mx] *= F(1.06)
            cv2.rectangle(texture, (x0 + mx, y0 + my), (x1 - mx, y1 - my), line, 1, cv2.LINE_AA)
            if rows == 1:  # doors open in pairs
                x, y = (x1 - mx // 2 - 1 if column % 2 == 0 else x0 + mx // 2 + 1), round(0.5 * height)
                end = (x, y + max(2, height // 14))
                cv2.line(texture, (x, y), end, scalar(handle), max(1, mx // 4), cv2.LINE_AA)
            else:
                size = max(1, round(0.018 * height / height_m))
                centre = ((x0 + x1) // 2, (y0 + y1) // 2)
                cv2.ellipse(texture, centre, (2 * size, size), 0, 0, 360, scalar(handle), -1, cv2.LINE_AA)
        return texture

    return skin


_SOFT_SHADOW = np.asarray(cv2.GaussianBlur(np.pad(np.full((20, 20), 0.4, F), 2), (5, 5), 0), F)


def _fill(colour: Floats, width: int, height: int) -> Floats:
    filled = np.empty((height, width, 3), F)
    filled[:] = colour
    return filled


def _paint_cloth(canvas: Canvas, rng: Rng, face: Face, material: Material, mood: Mood) -> None:
    folds_per_m, phase = rng.uniform(6, 11), rng.uniform(0, 6)

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        x, y = np.linspace(0, 1, width, dtype=F), np.linspace(0, 1, height, dtype=F)[:, None]
        turn = F(2 * np.pi * max(2.0, width_m * folds_per_m)) * x + F(phase)
        folds = np.sin(turn + F(0.5) * np.sin(3 * y + 5 * x)) + F(0.4) * np.sin(F(1.9) * turn + y)
        return material.cut(rng, width_m, height_m, width, height) * triple(F(0.86) + F(0.13) * folds)

    shine = 0.25 * min(1.0, mood.outside)  # daylight comes through
    canvas.surface(face, skin, emit=shine, largest=200)


def _window_skin(rng: Rng, style: WindowStyle, mood: Mood, frame: Floats) -> Skin:
    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        width, height = max(width, 16), max(height, 16)
        scene = resize(_view(rng, mood), width, height)
        if style.blind:
            y = np.arange(round(height * style.blind), dtype=F)
            slats = F(0.78) + F(0.22) * np.cos(y * F(2 * np.pi) / max(4, height / 26))
            light = F(0.5 * mood.outside + 0.25) * np.array([1, 0.98, 0.94], F)
            scene[: len(y)] = F(0.25) * scene[: len(y)] + slats[:, None, None] * light
        bar = max(1, round(0.02 * width))
        lines = [(round(k * width / style.panes[0]), 0) for k in range(1, style.panes[0])]
        lines += [(0, round(k * height / style.panes[1])) for k in range(1, style.panes[1])]
        for x, y0 in lines:
            low = (x - bar, 0) if x else (0, y0 - bar)
            high = (x + bar, height) if x else (width, y0 + bar)
            cv2.rectangle(scene, low, high, scalar(frame), -1)
            cv2.line(scene, (high[0], low[1]) if x else (low[0], high[1]), high, scalar(frame * F(0.7)), 1)
        edge = max(1, round(0.04 * min(width, height)))
        cv2.rectangle(scene, (0, 0), (width - 1, height - 1), scalar(frame), 2 * edge)
        cv2.rectangle(scene, (edge, edge), (width - 1 - edge, height - 1 - edge), scalar(frame * F(0.7)), 1)
        return scene

    return skin


def _view(rng: Rng, mood: Mood) -> Floats:
    """What stands outside, (_VIEW_SIZE, _VIEW_SIZE, 3), as displayed."""
    n = _VIEW_SIZE
    y, x = np.linspace(0, 1, n, dtype=F)[:, None], np.linspace(0, 1, n, dtype=F)
    zenith, horizon = mood.sky
    cloud, leaves = (_crop(rng, "cloud", size, n) for size in (200, 90))
    scene = (zenith + (horizon - zenith) * y[..., None]) * np.ones((1, n, 1), F)
    scene += np.maximum(cloud - F(0.5), 0)[..., None] * F(mood.clouds)
    for _ in range(int(rng.integers(1, 4))):
        level = rng.uniform(0.35, 0.85)
        match pick(rng, {"trees": 0.55, "hill": 0.25, "houses": 0.2}):
            case "trees":
                outline = level + 0.9 * (cloud[rng.integers(n)] - 0.5) + 0.02 * rng.standard_normal(n)
                colour = lch(rng.uniform(30, 60), rng.uniform(12, 32), rng.uniform(100, 140))
            case "hill":
                outline = level + 0.2 * np.sin(3 * x + rng.uniform(0, 6))
                colour = lch(rng.uniform(45, 70), rng.uniform(8, 24), rng.uniform(100, 260))
            case _:
                outline = level + np.repeat(rng.uniform(-0.2, 0.2, 8), n // 8)
                colour = lch(rng.uniform(45, 85), rng.uniform(3, 18), rng.uniform(30, 90))
        covered = np.clip((y - outline) * 25, 0, 1)[..., None].astype(F)
        scene += covered * (colour * F(mood.outside) * (F(0.65) + F(0.7) * leaves[..., None]) - scene)
    return scene


def _crop(rng: Rng, name: str, size: int, pixels: int) -> Floats:
    """A random square of a texture map, as (pixels, pixels), 0 to 1."""
    values = texture_maps()[name][0]
    top, left = rng.integers(0, len(values) - size, 2)
    return resize(values[top : top + size, left : left + size], pixels, pixels) * F(1 / 255)


def _painting(rng: Rng, width: int, height: int) -> Floats:
    art: Floats
    n, hue = 64, rng.uniform(0, 360)
    kind = pick(rng, {"abstract": 0.4, "landscape": 0.4, "shapes": 0.2})
    if kind == "landscape":
        y, x = np.linspace(0, 1, n, dtype=F)[:, None], np.linspace(0, 1, n, dtype=F)
        art = (lch(85, 20, hue) + (lch(75, 35, hue + 60) - lch(85, 20, hue)) * y[..., None]) * np.ones((1, n, 1), F)
        for layer in range(3):
            outline = 0.4 + 0.18 * layer + 0.1 * np.sin(rng.uniform(3, 9) * x + rng.uniform(0, 6))
            covered = np.clip((y - outline) * n, 0, 1)[..., None].astype(F)
            art += covered * (lch(65 - 18 * layer, 25, hue + 30 * layer) - art)
    elif kind == "shapes":
        art = _fill(lch(rng.uniform(80, 95), 8, hue), n, n)
        for _ in range(int(rng.integers(2, 6))):
            centre, radii = rng.integers(n // 5, 4 * n // 5, 2).tolist(), rng.integers(n // 12, n // 3, 2).tolist()
            colour = lch(rng.uniform(20, 80), rng.uniform(10, 50), hue + rng.uniform(-90, 90))
            cv2.ellipse(art, centre, radii, rng.uniform(0, 180), 0, 360, scalar(colour), -1, cv2.LINE_AA)
    else:
        chroma = pick(rng, {0: 1, 45: 3})
        values = _crop(rng, pick(rng, {"cloud": 3, "wood": 1, "blossom": 1}), 150, n)[..., None]
        tones = rng.uniform((10, 0, -80), (95, chroma, 80), (3, 3)) + np.array((0, 0, hue))
        low, middle, high = (lch(*tone) for tone in tones)
        art = np.where(values < 0.5, low + 2 * values * (middle - low), middle + (2 * values - 1) * (high - middle))
    return resize(art.astype(F), width, height)
