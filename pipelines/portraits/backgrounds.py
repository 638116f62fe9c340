"""What is behind people, out of focus: studios, walls, rooms, lights, gardens, crowds, skies; and the light there."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.portraits.fields import noise
from pipelines.rooms import render_room
from pipelines.rooms.materials import F, Floats, Rng, lch, pick, plain, resize, triple

KINDS = {"studio": 0.2, "wall": 0.16, "room": 0.2, "lights": 0.1, "garden": 0.16, "crowd": 0.1, "sky": 0.08}


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """A picture in displayed colours, float32 (H, W, 3), and the mood of its light (see `draw_lighting`)."""

    image: Floats
    mood: str


def draw_background(rng: Rng, width: int, height: int, *, kind: str | None = None) -> Background:
    """Something behind somebody: one of `KINDS`, drawn where none is given."""
    kind = kind or pick(rng, KINDS)
    w, h = -(-width // 4), -(-height // 4)  # all of it is soft
    y, x = np.mgrid[:h, :w].astype(F) * F(4 / max(width, height))
    if kind == "studio":
        image, mood = _studio(rng, x, y), "studio"
    elif kind == "wall":
        image, mood = _wall(rng, w, h), pick(rng, {"indoor": 0.6, "studio": 0.2, "daylight": 0.2})
    elif kind == "room":
        image, mood = _room(rng, w, h), "indoor"
    elif kind == "lights":
        image, mood = _lights(rng, x, y), pick(rng, {"stage": 0.6, "indoor": 0.4})
    elif kind == "garden":
        image, mood = _garden(rng, x, y), pick(rng, {"sun": 0.5, "daylight": 0.5})
    elif kind == "crowd":
        image, mood = _crowd(rng, w, h), pick(rng, {"sun": 0.3, "daylight": 0.4, "stage": 0.3})
    else:
        image, mood = _sky(rng, x, y), pick(rng, {"sun": 0.6, "daylight": 0.4})
    return Background(np.clip(resize(image.astype(F), width, height), 0.004, 1), mood)


def _blur(image: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma, 0.4), borderType=cv2.BORDER_REPLICATE), F)


def _studio(rng: Rng, x: Floats, y: Floats) -> Floats:
    colour = lch(rng.uniform(15, 90), rng.uniform(0, 22), rng.uniform(0, 360))
    at_x, at_y = rng.uniform(0.1, 0.9) * x.max(), rng.uniform(0.1, 0.7) * y.max()
    glow = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / rng.uniform(0.15, 0.8))
    cloud = noise("cloud", x * 260 + rng.uniform(0, 500), y * 260) * F(rng.uniform(0, 0.08))
    return triple(F(0.62) + F(rng.uniform(0.2, 0.5)) * glow + cloud) * colour


def _wall(rng: Rng, w: int, h: int) -> Floats:
    colour = lch(rng.uniform(30, 92), rng.uniform(0, 30), rng.uniform(0, 360))
    texture = pick(rng, {"plaster": 0.5, "bricks": 0.2, "panelling": 0.1, "wood": 0.1, "clapboard": 0.1})
    size = rng.uniform(1.0, 2.2)
    image = plain(colour, texture, 0.12).cut(rng, size * w / max(w, h), size * h / max(w, h), w, h)
    ramp = np.linspace(rng.uniform(0.7, 1.05), rng.uniform(0.7, 1.05), w, dtype=F)[None] * np.ones((h, 1), F)
    return _blur(image * triple(ramp), rng.uniform(0.3, 3.0))


def _room(rng: Rng, w: int, h: int) -> Floats:
    room = render_room(int(rng.integers(1 << 30)), 0).image
    scale = min(room.shape[1] / w, room.shape[0] / h)
    wide, side = int(w * scale), int(h * scale)
    left, top = int(rng.integers(room.shape[1] - wide + 1)), int(rng.integers(room.shape[0] - side + 1))
    piece = resize(room[top : top + side, left : left + wide], w, h) * F(1 / 255)
    return _blur(piece, rng.uniform(0.008, 0.035) * max(w, h))


def _discs(
    rng: Rng, image: Floats, count: int, radius: tuple[float, float], colours: list[Floats], opacity: float
) -> Floats:
    h, w = image.shape[:2]
    for _ in range(count):
        layer = image.copy()
        centre = (int(rng.integers(w) * 16), int(rng.integers(h) * 16))
        size = int(rng.uniform(*radius) * max(w, h) * 16)
        colour = colours[int(rng.integers(len(colours)))] * rng.uniform(0.7, 1.3)
        cv2.circle(layer, centre, size, colour.tolist(), -1, cv2.LINE_AA, 4)
        image += (layer - image) * F(opacity * rng.uniform(0.4, 1))
    return image


def _lights(rng: Rng, x: Floats, y: Floats) -> Floats:
    dark = lch(rng.uniform(5, 22), rng.uniform(3, 20), rng.uniform(0, 360))
    image: Floats = triple(1 + F(0.5) * noise("cloud", x * 200 + rng.uniform(0, 500), y * 200) * F(0.5)) * dark
    hue = rng.uniform(0, 360)
    colours = [lch(rng.uniform(60, 92), rng.uniform(10, 60), hue + rng.normal(0, 40)) for _ in range(5)]
    image = _discs(rng, image, int(rng.integers(14, 45)), (0.012, 0.05), colours, 0.55)
    return _blur(image, rng.uniform(0.6, 2.0))


def _garden(rng: Rng, x: Floats, y: Floats) -> Floats:
    top, hue = lch(rng.uniform(70, 95), rng.uniform(4, 25), 250), rng.uniform(95, 140)
    horizon = rng.uniform(-0.1, 0.55) * y.max() + 0.06 * noise("cloud", x * 150 + rng.uniform(0, 500), 0 * y)
    leaves = [lch(light, rng.uniform(15, 45), hue + rng.normal(0, 12)) for light in (18, 38, 62)]
    tuft = noise("cloud", x * 240 + rng.uniform(0, 500), y * 240) * F(0.4)
    share = np.clip(tuft * F(0.5) + F(0.5), 0, 1)
    green = triple(1 - share) * leaves[0] + triple(share) * leaves[1]
    far = triple(np.clip((horizon - y) * 18 + tuft, 0, 1))
    image: Floats = green * (1 - far) + top * far
    image = _discs(
        rng, np.ascontiguousarray(image, F), int(rng.integers(8, 30)), (0.008, 0.04), [*leaves[1:], top], 0.4
    )
    return _blur(image, rng.uniform(0.004, 0.02) * max(x.shape))


def _crowd(rng: Rng, w: int, h: int) -> Floats:
    rows, columns = int(rng.integers(14, 34)), int(rng.integers(14, 34))
    base, team = rng.uniform(0.08, 0.3), lch(rng.uniform(25, 55), rng.uniform(15, 45), rng.uniform(0, 360))
    tones = rng.uniform(0.3, 1.2, (rows, columns, 1)) * np.where(
        rng.random((rows, columns, 1)) < 0.4,
        team,
        rng.uniform(0.15, 0.6, (rows, columns, 1)) + rng.normal(0, 0.06, (rows, columns, 3)),
    )
    seats: Floats = resize((base + 0.6 * tones).astype(F), w, h)
    fine = resize(rng.uniform(0.5, 1.5, (rows * 3, columns * 3)).astype(F), w, h)
    return _blur(seats * triple(fine), rng.uniform(0.012, 0.035) * max(w, h))


def _sky(rng: Rng, x: Floats, y: Floats) -> Floats:
    high, low = (
        lch(rng.uniform(40, 75), rng.uniform(15, 45), 265),
        lch(rng.uniform(78, 94), rng.uniform(2, 18), rng.uniform(60, 270)),
    )
    down = triple(np.clip(y / y.max(), 0, 1))
    image = high * (1 - down) + low * down
    cloud = np.clip(noise("cloud", x * 180 + rng.uniform(0, 500), y * 330) * F(0.5) - F(rng.uniform(-0.2, 0.5)), 0, 0.8)
    return image * (1 - triple(cloud)) + triple(cloud)
