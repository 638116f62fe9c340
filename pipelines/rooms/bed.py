"""The bed of rendered rooms: headboard, frame, pillows, duvet, throw."""

from typing import NamedTuple

import numpy as np

from pipelines.rooms.canvas import Canvas, Skin
from pipelines.rooms.furniture import Thing
from pipelines.rooms.materials import F, Floats, Material, Rng, pick, triple
from pipelines.rooms.space import Wall, cushion, draped
from pipelines.rooms.styles import Style


class _Pillow(NamedTuple):
    """Arguments of `cushion`, and its colour."""

    foot: Floats
    size: Floats
    lean: float
    turn: float
    colour: Floats


def make_bed(rng: Rng, style: Style, wall: Wall, middle: float, width: float) -> Thing:
    """A bed with its head at a wall, ``middle`` along it."""
    length, top = rng.uniform(1.9, 2.1), rng.uniform(0.46, 0.66)
    a0, a1, o0, o1 = middle - width / 2, middle + width / 2, 0.1, 0.1 + length
    head = pick(rng, {"panel": 0.38, "tufted": 0.3, "slats": 0.24, "none": 0.08})
    head_height = top + (rng.uniform(0.35, 0.95) if head != "none" else 0.1)
    frame = style.wood if rng.random() < 0.7 else style.upholstery
    turned_down = pick(rng, {0.1: 0.35, 0.6: 0.45, 1.0: 0.2})
    hem, bulge, wave = rng.uniform(0.12, top - 0.15), rng.uniform(0.02, 0.06), rng.uniform(0, 6)
    throw = (rng.uniform(1.2, 1.5), rng.uniform(0.3, 0.5)) if rng.random() < 0.4 else None
    has_footboard = rng.random() < 0.2
    pillows = _choose_pillows(rng, style, middle, width, np.array([0, o0, top]))

    def paint_covers(canvas: Canvas) -> None:
        over, start = (a0 - 0.04, a1 + 0.04), o0 + turned_down
        cloth, metres = draped(
            wall, over, (start, o1 + 0.05), (hem, top + 0.05), facets=(22, 14), crown=bulge, wave=wave
        )
        canvas.solid(cloth, style.duvet, metres=metres)
        if turned_down > 0.5:  # the sheet, folded back over the duvet
            fold = (max(hem, top - 0.2), top + 0.066)
            canvas.solid(
                draped(wall, over, (start - 0.02, start + 0.24), fold, facets=(16, 5), crown=bulge)[0], style.sheet
            )
        if throw is not None:
            over, along = (a0 - 0.055, a1 + 0.055), (throw[0], sum(throw))
            canvas.solid(draped(wall, over, along, (hem, top + 0.075), facets=(16, 5), crown=bulge)[0], style.throw)

    def paint(canvas: Canvas) -> None:
        _paint_headboard(canvas, rng, style, wall, (a0 - 0.05, a1 + 0.05, head_height), head)
        canvas.box(*wall.box(a0, a1, o0, o1, 0.06, top - 0.18), frame, rng)
        mattress, _ = draped(wall, (a0, a1), (o0, o1), (top - 0.24, top), facets=(12, 7), radius=0.07)
        canvas.solid(mattress, style.sheet)
        if turned_down < 0.5:
            paint_covers(canvas)
        shapes = [(cushion(wall, *pillow[:4]), pillow.colour) for pillow in pillows]
        for shape, colour in sorted(shapes, key=lambda s: -float(np.linalg.norm(s[0][3, 4] - canvas.camera.position))):
            canvas.solid(shape, colour)
        if turned_down > 0.5:
            paint_covers(canvas)
        if has_footboard:
            canvas.box(*wall.box(a0 - 0.05, a1 + 0.05, o1 + 0.06, o1 + 0.12, 0, top + 0.1), style.wood, rng)

    wall.taken.append((a0 - 0.1, a1 + 0.1, 0, head_height))
    return Thing(*wall.box(a0 - 0.06, a1 + 0.06, 0, o1 + 0.1, 0, top + 0.1), paint)


def _choose_pillows(rng: Rng, style: Style, middle: float, width: float, head: Floats) -> list[_Pillow]:
    """Rows of pillows against the headboard, then some cushions; ``head`` is the mattress's upper end (0, o, z)."""
    columns = 1 if width < 1.15 else 2
    rows, lean = int(rng.integers(1, 3)), rng.uniform(0.85, 1.25)
    cushions = int(rng.integers(0, 2 * columns))
    pillows = []
    for row, column in np.ndindex(rows, columns):
        colour = style.sheet if row == 0 else style.cushions[0]
        across = middle + (column - (columns - 1) / 2) * width / columns
        foot = head + np.array([across, 0.3 + 0.17 * row, 0.04])
        size = np.array([min(0.72, 0.95 * width / columns), 0.46 - 0.06 * row, 0.1])
        pillows.append(_Pillow(foot, size, lean - 0.15 * row, rng.uniform(-0.06, 0.06), colour))
    for i in range(cushions):
        across, side = middle + (i - (cushions - 1) / 2) * 0.4, rng.uniform(0.34, 0.44)
        foot = head + np.array([across, 0.36 + 0.17 * rows, 0.05])
        size = np.array([side, side, 0.09])
        pillows.append(_Pillow(foot, size, lean - 0.2, rng.uniform(-0.25, 0.25), style.cushions[i]))
    return pillows


def _paint_headboard(
    canvas: Canvas, rng: Rng, style: Style, wall: Wall, extent: tuple[float, float, float], kind: str
) -> None:
    a0, a1, height = extent
    if kind == "panel":
        canvas.box(*wall.box(a0, a1, 0, 0.08, 0, height), style.wood, rng)
    elif kind == "tufted":
        front = _tufted_skin(rng, style.upholstery)
        canvas.box(*wall.box(a0, a1, 0, 0.1, 0, height), style.upholstery, rng, front=front, facing=wall.inward)
    elif kind == "slats":
        bars = np.zeros((2, 16 * round((a1 - a0) / 0.14)), F)
        bars[:, np.arange(bars.shape[1]) % 16 < 6] = 1
        canvas.surface(
            wall.face(a0, a1, 0.2, height - 0.05, 0.04), lambda *size: style.wood.cut(rng, *size), alpha=bars
        )
        canvas.box(*wall.box(a0, a1, 0, 0.07, height - 0.09, height), style.wood, rng)
        for x in (a0, a1 - 0.08):
            canvas.box(*wall.box(x, x + 0.08, 0, 0.08, 0, height + 0.06), style.wood, rng)


def _tufted_skin(rng: Rng, material: Material) -> Skin:
    step, is_diamond = rng.uniform(0.14, 0.24), rng.random() < 0.5

    def skin(width_m: float, height_m: float, width: int, height: int) -> Floats:
        x, y = np.linspace(0, width_m / step, width, dtype=F), np.linspace(0, height_m / step, height, dtype=F)[:, None]
        if is_diamond:
            seam = np.minimum(np.abs((x + y) % 1 - 0.5), np.abs((x - y) % 1 - 0.5))
        else:
            seam = 0.5 - np.abs((x + 0 * y) % 1 - 0.5)
        depth = F(0.72) + F(0.33) * np.sqrt(np.minimum(5 * seam, 1))
        return material.cut(rng, width_m, height_m, width, height) * triple(depth)

    return skin
