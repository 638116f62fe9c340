"""The scene of a rendered room: what stands where, seen from where, in which light; and the finished picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipelines.rooms.bed import make_bed
from pipelines.rooms.canvas import Canvas, Skin
from pipelines.rooms.furniture import (
    Place,
    Thing,
    make_floor_lamp,
    make_nightstand,
    make_pendant,
    make_plant,
    make_storage,
)
from pipelines.rooms.hangings import Window, mirror_skin, paint_frame, paint_window, panels_skin, picture_skin
from pipelines.rooms.light import Lamp, Light
from pipelines.rooms.materials import F, Floats, Pixels, Rng, pick, plain, resize, to_bytes, triple
from pipelines.rooms.shell import Sun, paint_ceiling, paint_floor, paint_wall
from pipelines.rooms.space import Camera, Face, Wall
from pipelines.rooms.styles import Mood, Style, choose_mood, choose_style

SIDE = 256  # the shorter side of a picture, as in LSUN
_GRAIN_SIZE = 768
_FURNITURE = {"wardrobe": 0.22, "chest": 0.3, "shelf": 0.16, "plant": 0.2, "lamp": 0.12}


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """A picture, uint8 RGB (H, W, 3), and the boxes around its windows: (left, top, width, height) in pixels."""

    image: Pixels
    windows: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A room's size, its walls (back, left, right), and what it holds; the bed is the first thing."""

    size: Floats
    walls: tuple[Wall, Wall, Wall]
    bed_wall: Wall
    camera: Camera
    windows: tuple[Window, ...]
    things: tuple[Thing, ...]
    hung: tuple[tuple[Face, Skin], ...]


def render_room(seed: int, index: int) -> Room:
    """Render one bedroom.

    Args:
        seed: of the whole set.
        index: of the room in it. Each pair gives another room, and always the same.

    Returns:
        The picture, its shorter side 256 pixels, and where its windows are.
    """
    rng = np.random.default_rng([seed, index])
    mood = choose_mood(rng)
    style = choose_style(rng, mood)
    plan = _draw_plan(rng, style)
    canvas = Canvas(plan.camera, _light_room(rng, plan, mood))
    sun = Sun(mood, plan.windows)
    paint_floor(canvas, rng, plan.size, style, plan.things, sun)
    paint_ceiling(canvas, rng, plan.size, style)
    board_m, crown_m = rng.uniform(0.06, 0.16), 0.09 if rng.random() < 0.35 else 0.0
    for wall in plan.walls:
        if (plan.camera.position - wall.origin) @ wall.inward > 0:
            material = style.feature_wall if wall is plan.bed_wall else style.walls
            paint_wall(canvas, rng, wall, material, style.trim, board_m, crown_m, sun)
    for number, window in enumerate(plan.windows, 1):
        paint_window(canvas, rng, window, number, style.windows, mood)
    for face, skin in plan.hung:
        paint_frame(canvas, face, skin)
    for thing in _far_first(plan.things, plan.camera.position):
        thing.paint(canvas)
    return Room(_develop(canvas, rng), _find_windows(canvas, len(plan.windows)))


def _draw_plan(rng: Rng, style: Style) -> _Plan:
    size = rng.uniform((3.0, 3.4, 2.35), (5.4, 5.2, 3.0))
    width, depth, height = size.tolist()
    back = Wall(np.array([0, depth, 0]), np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), width, height)
    left = Wall(np.array([0.0, 0, 0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0]), depth, height)
    right = Wall(np.array([width, depth, 0]), np.array([0, -1.0, 0]), np.array([-1.0, 0, 0]), depth, height)
    walls = (back, left, right)
    number = pick(rng, {0: 0.56, 1: 0.22, 2: 0.22})
    bed_width = pick(rng, {0.95: 0.14, 1.2: 0.12, 1.45: 0.28, 1.65: 0.28, 1.9: 0.18})
    near, far = bed_width / 2 + 0.1, walls[number].length - bed_width / 2 - 0.1
    if number == 0:
        middle = rng.uniform(near, far)
    else:  # towards the back of the room
        from_back = rng.uniform(near, min(far, near + 1.3))
        middle = depth - from_back if number == 1 else from_back
    bed = make_bed(rng, style, walls[number], middle, bed_width)
    camera = _place_camera(rng, size, bed, ((0.1, 0.9), (0.45, 0.95), (0.05, 0.55))[number])
    windows = tuple(_place_windows(rng, walls, curtained=style.windows.curtain is not None))
    things = [bed, *_place_nightstands(rng, style, walls[number], middle, bed_width, bed, camera)]
    things += _place_furniture(rng, style, walls, things, camera)
    hung = tuple(_hang(rng, style, walls, walls[number], middle))
    if rng.random() < 0.3:
        things.append(make_pendant(rng, style, size * (rng.uniform(0.35, 0.65), rng.uniform(0.45, 0.75), 1)))
    return _Plan(size, walls, walls[number], camera, windows, tuple(things), hung)


def _place_camera(rng: Rng, room: Floats, bed: Thing, across: tuple[float, float]) -> Camera:
    """Near the room's open front, ``across`` of its width, looking at the bed, more or less."""
    longer = pick(rng, {SIDE: 0.12, 341: 0.5, int(rng.integers(290, 385)): 0.38})
    width, height = (SIDE, min(longer, 341)) if rng.random() < 0.08 else (longer, SIDE)
    eye = np.array([room[0] * rng.uniform(*across), rng.uniform(-0.8, 0.35), rng.uniform(1.1, 1.9)])
    target = 0.68 * (bed.low + bed.high) / 2 + 0.32 * room * (0.5, 1, 0)
    target[0] += rng.normal(0, 0.3)
    target[2] = rng.uniform(0.55, 1.15)
    focal = max(width, height) / 2 / np.tan(np.radians(rng.uniform(52, 82)) / 2)
    return Camera(eye, target, roll=rng.normal(0, 0.01), focal=focal, width=width, height=height)


def _place_windows(rng: Rng, walls: Sequence[Wall], *, curtained: bool) -> Iterator[Window]:
    head = min(walls[0].height - 0.2, rng.uniform(1.9, 2.4))
    sill = 0.02 if rng.random() < 0.1 else rng.uniform(0.5, 1.1)
    margin = 0.22 if curtained else 0.08
    for _ in range(pick(rng, {0: 0.08, 1: 0.42, 2: 0.34, 3: 0.16})):
        for _ in range(8):
            number, width = pick(rng, {0: 0.5, 1: 0.25, 2: 0.25}), rng.uniform(0.6, 1.9)
            wall = walls[number]
            spare = wall.length - width - 0.4
            if spare < 0.2:
                continue
            # Of the side walls, the front part is mostly out of sight.
            a0 = 0.2 + rng.uniform(0, spare if number == 0 else min(spare, 2.0))
            if number == 1:
                a0 = wall.length - a0 - width
            if wall.claim(a0 - margin, a0 + width + margin, sill, head, 0.03):
                yield Window(wall, a0, a0 + width, sill, head)
                break


def _place_nightstands(
    rng: Rng, style: Style, wall: Wall, middle: float, bed_width: float, bed: Thing, camera: Camera
) -> Iterator[Thing]:
    width, depth, height = rng.uniform((0.4, 0.35, 0.42), (0.6, 0.45, 0.65)).tolist()
    lamp_seed, lit = int(rng.integers(1 << 30)), rng.random() < style.lamps_lit
    for a in (middle - bed_width / 2 - 0.14 - width, middle + bed_width / 2 + 0.14):
        place = Place(wall, a, width, depth, height)
        if rng.random() < 0.82 and _fits(place, [bed], camera, gap=0.02):
            has_lamp = rng.random() < 0.78
            yield make_nightstand(rng, style, place, lamp_seed if has_lamp else None, lit)
            wall.taken.append((a, a + width, 0, height + (0.6 if has_lamp else 0.1)))


def _place_furniture(
    rng: Rng, style: Style, walls: Sequence[Wall], standing: Sequence[Thing], camera: Camera
) -> Iterator[Thing]:
    standing = list(standing)
    for _ in range(int(rng.integers(0, 5))):
        kind = pick(rng, _FURNITURE)
        width, depth, height, out = {
            "wardrobe": (rng.uniform(0.9, 1.8), 0.58, rng.uniform(1.8, 2.2), 0.02),
            "chest": (rng.uniform(0.7, 1.5), 0.45, rng.uniform(0.7, 1.1), 0.02),
            "shelf": (rng.uniform(0.6, 1.3), 0.3, rng.uniform(1.3, 2.1), 0.02),
            "plant": (0.4, 0.4, rng.uniform(0.7, 1.5), rng.uniform(0.05, 0.3)),
            "lamp": (0.35, 0.35, rng.uniform(1.35, 1.7), rng.uniform(0.05, 0.2)),
        }[kind]
        make = {"plant": make_plant, "lamp": make_floor_lamp}.get(kind, make_storage)
        for _ in range(5):
            wall = walls[int(rng.integers(3))]
            place = Place(wall, rng.uniform(0.03, wall.length - width - 0.03), width, depth, height, out)
            if _fits(place, standing, camera) and wall.claim(place.a, place.a + width, 0, height, 0.02):
                standing.append(make(rng, style, place))
                yield standing[-1]
                break


def _fits(place: Place, standing: Sequence[Thing], camera: Camera, gap: float = 0.06) -> bool:
    """Whether a thing would stand at its wall and free, neither at the camera nor between it and the bed."""
    if place.a < 0 or place.a + place.width > place.wall.length:
        return False
    low, high = place.box
    for thing in standing:
        if (low[:2] < thing.high[:2] + gap).all() and (thing.low[:2] < high[:2] + gap).all():
            return False
    to_it = (place.foot - camera.position)[:2]
    to_bed = ((standing[0].low + standing[0].high) / 2 - camera.position)[:2]
    distance, bed_distance = float(np.linalg.norm(to_it)), float(np.linalg.norm(to_bed))
    if distance < 1.5 or camera.depth(np.stack([low, high])).min() < 0.9:
        return False
    return distance > bed_distance or float(to_it @ to_bed) < 0.93 * distance * bed_distance


def _hang(rng: Rng, style: Style, walls: Sequence[Wall], bed_wall: Wall, bed_at: float) -> Iterator[tuple[Face, Skin]]:
    """Pictures and mirrors, perhaps a door."""
    for wall in walls:
        for _ in range(pick(rng, {0: 0.3, 1: 0.32, 2: 0.26, 3: 0.12})):
            width, height = rng.uniform(0.3, 1.1), rng.uniform(0.3, 0.9)
            a, z = rng.uniform(0.1, wall.length - width - 0.1), rng.uniform(1.1, 1.7)
            if wall is bed_wall and rng.random() < 0.6:
                a = bed_at - width / 2
                z = max(z1 for a0, a1, _, z1 in wall.taken if a0 <= bed_at <= a1) + rng.uniform(0.12, 0.3)
            make_skin = mirror_skin if rng.random() < 0.15 else picture_skin
            if wall.claim(a, a + width, z, z + height):
                yield wall.face(a, a + width, z, z + height, 0.02), make_skin(rng, style.wood.mean)
    wall = walls[int(rng.integers(3))]
    a = rng.uniform(0.2, wall.length - 1.1)
    if rng.random() < 0.25 and wall.claim(a, a + 0.85, 0, 2.05):
        yield wall.face(a, a + 0.85, 0, 2.05, 0.02), panels_skin(rng, plain(style.trim), 1, 1, style.metal)


def _light_room(rng: Rng, plan: _Plan, mood: Mood) -> Light:
    """All lamps and windows, exposed and balanced as a camera would."""
    width, depth, height = plan.size
    lamps = [lamp for thing in plan.things for lamp in thing.lamps]
    lamps += [Lamp(window.centre, mood.daylight * F(window.area), window.wall.inward) for window in plan.windows]
    behind = np.array([rng.uniform(0, width), 0.05, rng.uniform(1.4, height - 0.2)])  # the camera's side of the room
    lamps.append(Lamp(behind, (mood.daylight + 2 * mood.ambient) * F(rng.uniform(0.15, 1.4)), np.array([0, 1.0, 0])))
    light = Light(plan.size, mood.ambient, lamps)
    bed = plan.things[0]
    on_bed = ((bed.low + bed.high) / 2 * (1, 1, 0) + bed.high * (0, 0, 1)).tolist()
    probes = [(width / 2, depth / 2, 0), (width / 2, depth, 1.2), (0, 0.65 * depth, 1.2), (width, 0.65 * depth, 1.2)]
    normals = [(0, 0, 1), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1)]
    level = light.linear(np.array([*probes, on_bed]), np.array(normals)).mean(axis=0)
    tint = level / level.mean()
    key = rng.uniform(0.66, 1.12) * (1 if mood.outside > 0.5 else 0.66)
    light.scale((key / level.mean() / np.sqrt(tint)).astype(F))
    return light


def _far_first(things: Sequence[Thing], eye: Floats) -> Iterator[Thing]:
    """The painter's order of boxes that do not overlap: none is painted while another stands behind it."""

    def is_behind(a: Thing, b: Thing) -> bool:
        """A plane across an axis parts them, and the eye is on b's side of it."""
        spans = zip(a.low.tolist(), a.high.tolist(), b.low.tolist(), b.high.tolist(), eye.tolist(), strict=True)
        return any(
            (a_low >= b_high - 1e-3 and at < a_low) or (a_high <= b_low + 1e-3 and at > a_high)
            for a_low, a_high, b_low, b_high, at in spans
        )

    left = sorted(things, key=lambda thing: -float(np.linalg.norm((thing.low + thing.high) / 2 - eye)))
    while left:
        free = (t for t in left if not any(is_behind(o, t) and not is_behind(t, o) for o in left if o is not t))
        thing = next(free, left[0])
        left.remove(thing)
        yield thing


def _develop(canvas: Canvas, rng: Rng) -> Pixels:
    """Bloom, highlights that roll off, contrast, vignette and a little grain."""
    image = canvas.image
    h, w = image.shape[:2]
    small = np.asarray(cv2.resize(image, (w // 4, h // 4)), F)
    bright = np.clip(small - F(0.95), 0, 1) * F(0.6) + canvas.glow * F(0.22)
    near, far = (np.asarray(cv2.stackBlur(bright, (size, size)), F) for size in (19, 53))
    image += resize(near + F(0.6) * far, w, h)
    knee = F(0.7)
    over = np.maximum(image - knee, 0)
    image += (1 - knee) * over / (over + (1 - knee)) - over
    image += F(rng.uniform(0.05, 0.4)) * image * (image - 1) * (1 - 2 * image)  # towards a smooth step: contrast
    y, x = np.linspace(-1, 1, h, dtype=F)[:, None], np.linspace(-1, 1, w, dtype=F)
    image *= triple(1 - F(rng.uniform(0, 0.1)) * (x * x + y * y))
    top, left = rng.integers(0, _GRAIN_SIZE - max(h, w), 2)
    image += triple(_film_grain()[top : top + h, left : left + w] * F(rng.uniform(0.002, 0.007)))
    return to_bytes(image)


@lru_cache(maxsize=1)
def _film_grain() -> Floats:
    return np.random.default_rng(1511_06434).standard_normal((_GRAIN_SIZE, _GRAIN_SIZE)).astype(F)


def _find_windows(canvas: Canvas, count: int) -> tuple[tuple[int, int, int, int], ...]:
    """Boxes around what can be seen of each window, of those that are more than a sliver."""
    boxes = [cv2.boundingRect((canvas.windows == number).astype(np.uint8)) for number in range(1, count + 1)]
    return tuple((x, y, w, h) for x, y, w, h in boxes if min(w, h) >= 4 and w * h >= 64)
