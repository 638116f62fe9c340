"""The shell of rendered rooms: floor with rug, ceiling and walls, with soft shadows and sunbeams on them."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from pipelines.rooms.canvas import Canvas
from pipelines.rooms.furniture import Thing
from pipelines.rooms.hangings import Window
from pipelines.rooms.materials import F, Floats, Material, Rng, scalar, triple
from pipelines.rooms.space import Face, Wall
from pipelines.rooms.styles import Mood, Style

_OVERHANG_M = 1.0  # floor, ceiling and side walls go on past the room's open front, where the camera may stand
_BEAMS_SHAPE = (200, 300)


class _Rug(NamedTuple):
    """Centre (x, y) and size in metres."""

    centre: Floats
    size: Floats
    is_round: bool


class Sun:
    """Sunlight through a room's windows."""

    def __init__(self, mood: Mood, windows: Sequence[Window]) -> None:
        self.direction, self.colour = mood.sun, mood.sunlight
        self.windows = [] if mood.sun is None else [w for w in windows if w.wall.inward @ mood.sun > 0.1]

    def beams(self, face: Face) -> Floats | None:
        """Light to add where the sun falls onto a face, (h, w, 3); None where it does not."""
        if self.direction is None or face.normal @ self.direction > -0.05:
            return None
        height, width = _BEAMS_SHAPE
        lit = np.zeros(_BEAMS_SHAPE, np.uint8)
        for window in self.windows:
            corners = window.face(out=0).corners
            way = (face.origin - corners) @ face.normal / (self.direction @ face.normal)
            if way.min() > 0.01:
                hit = corners + way[:, None] * self.direction - face.origin
                u, v = (hit @ axis / (axis @ axis) for axis in (face.across, face.down))
                points = np.clip(np.column_stack([u * width, v * height]) * 16, -1e6, 1e6).astype(np.int32)
                cv2.fillConvexPoly(lit, points, 255, cv2.LINE_AA, 4)
        if not lit.any():
            return None
        return triple(np.asarray(cv2.GaussianBlur(lit, (0, 0), 1.5), F)) * (self.colour * F(0.75 / 255))


def paint_floor(canvas: Canvas, rng: Rng, room: Floats, style: Style, things: Sequence[Thing], sun: Sun) -> None:
    """Paint the floor, perhaps with a rug at the bed, which is the first of ``things``."""
    width, depth, _ = room
    face = Face(np.array([0, depth, 0]), np.array([width, 0, 0]), np.array([0, -depth - _OVERHANG_M, 0]))
    rug = _place_rug(rng, things[0]) if rng.random() < 0.5 else None

    def skin(width_m: float, height_m: float, w: int, h: int) -> Floats:
        texture = style.floor.cut(rng, width_m, height_m, w, h)
        return texture if rug is None else _lay_rug(texture, rng, face, rug, style.rug)

    canvas.surface(face, skin, grid=14, shade=_floor_shade(face, things), beams=sun.beams(face), largest=300)


def paint_ceiling(canvas: Canvas, rng: Rng, room: Floats, style: Style) -> None:
    """Paint the ceiling."""
    width, depth, height = room
    face = Face(np.array([0, -_OVERHANG_M, height]), np.array([width, 0, 0]), np.array([0, depth + _OVERHANG_M, 0]))
    canvas.surface(face, lambda *size: style.ceiling.cut(rng, *size), grid=12, largest=128)


def paint_wall(
    canvas: Canvas, rng: Rng, wall: Wall, material: Material, trim: Floats, board_m: float, crown_m: float, sun: Sun
) -> None:
    """Paint a wall with its skirting board and crown moulding; the back wall (which faces -y) has no overhang."""
    a0, a1 = 0.0, wall.length
    if wall.along[1] > 0:
        a0 -= _OVERHANG_M
    elif wall.along[1] < 0:
        a1 += _OVERHANG_M

    def skin(width_m: float, height_m: float, w: int, h: int) -> Floats:
        texture = material.cut(rng, width_m, height_m, w, h)
        board, crown = (round(size * h / height_m) for size in (board_m, crown_m))
        texture[h - board :] = texture[:crown] = trim
        for edge in (h - board, crown):
            if 0 < edge < h:
                cv2.line(texture, (0, edge), (w, edge), scalar(trim * F(0.65)), 1)
        return texture

    face = wall.face(a0, a1, 0, wall.height)
    canvas.surface(face, skin, grid=12, shade=_wall_shade(wall, a0, a1), beams=sun.beams(face))


def _floor_shade(floor: Face, things: Sequence[Thing]) -> Floats:
    """Soft shadows under and around the furniture, as a factor on the light."""
    n = 72
    shadow = np.zeros((n, n), F)
    scale = n / np.array(floor.size_m)
    for thing in sorted(things, key=lambda thing: thing.shadow):
        corners = np.array([(thing.low[0], thing.high[1]), (thing.high[0], thing.low[1])]) - floor.origin[:2]
        low, high = np.round(corners * (1, -1) * scale * 8).astype(int).tolist()
        if thing.shadow:
            cv2.rectangle(shadow, low, high, thing.shadow, -1, cv2.LINE_8, 3)
    wide, close = (np.asarray(cv2.GaussianBlur(shadow, (0, 0), sigma), F) for sigma in (3.0, 1.2))
    return 1 - F(0.3) * wide - F(0.22) * close


def _wall_shade(wall: Wall, a0: float, a1: float) -> Floats:
    """Soft shadows around what stands at a wall, as a factor on the light."""
    n = 64
    shadow = np.zeros((n, n), F)
    for b0, b1, z0, z1 in wall.taken:
        if z0 == 0:
            left, right = (max(0, round((b - a0) / (a1 - a0) * n)) for b in (b0, b1))
            shadow[max(0, round((1 - z1 / wall.height) * n)) :, left:right] = 1
    return 1 - F(0.3) * np.asarray(cv2.GaussianBlur(shadow, (0, 0), 2.5), F)


def _place_rug(rng: Rng, bed: Thing) -> _Rug:
    centre = (bed.low + bed.high)[:2] / 2 + rng.uniform((-0.5, -1.1), (0.5, 0.3))
    return _Rug(centre, rng.uniform((1.4, 1.2), (2.8, 2.2)), rng.random() < 0.3)


def _lay_rug(texture: Floats, rng: Rng, floor: Face, rug: _Rug, material: Material) -> Floats:
    """The floor's texture with a rug on it."""
    h, w = texture.shape[:2]
    scale = np.array([w, h]) / floor.size_m
    across, down = np.maximum(rug.size * scale, 16).round().astype(int).tolist()
    cloth = material.cut(rng, float(rug.size[0]), float(rug.size[1]), across, down)
    laid = np.zeros((down, across), np.uint8)
    if rug.is_round:
        cv2.ellipse(laid, (across // 2, down // 2), (across // 2 - 2, down // 2 - 2), 0, 0, 360, 255, -1, cv2.LINE_AA)
    else:
        laid[2:-2, 2:-2] = 255
        cv2.rectangle(cloth, (5, 5), (across - 6, down - 6), scalar(material.second), 2)
    corner = (rug.centre - floor.origin[:2]) * (1, -1) * scale - (across / 2, down / 2)
    left, top = np.clip(corner.round(), (-across, -down), (w, h)).astype(int).tolist()
    here = np.s_[max(0, top) : max(0, top + down), max(0, left) : max(0, left + across)]
    seen = np.s_[max(0, -top) : max(0, h - top), max(0, -left) : max(0, w - left)]
    cover = triple(laid[seen] * F(1 / 255))
    texture[here] += cover * (cloth[seen] - texture[here])
    return texture
