"""Photographs without people: rooms, landscapes, stages and things, in displayed colours, float32 (H, W, 3)."""

import cv2
import numpy as np

from pipelines.portraits.fields import bump, noise, step
from pipelines.rooms import render_room
from pipelines.rooms.materials import F, Floats, Rng, lch, pick, plain, resize, triple


def draw_scene(rng: Rng, width: int, height: int) -> Floats:
    """Somewhere with nobody in it."""
    kind = pick(rng, {"room": 0.25, "landscape": 0.3, "stage": 0.2, "thing": 0.25})
    if kind == "room":
        room = render_room(int(rng.integers(1 << 30)), 1).image
        scale = max(width / room.shape[1], height / room.shape[0])
        room_image = resize(room, round(room.shape[1] * scale) + 1, round(room.shape[0] * scale) + 1)
        return room_image[:height, :width] * F(1 / 255)
    y, x = np.mgrid[:height, :width].astype(F) * F(1 / max(width, height))
    image = {"landscape": _landscape, "stage": _stage, "thing": _thing}[kind](rng, x, y)
    bright: Floats = np.clip(image.astype(F), 0.004, 1)
    return bright


def _landscape(rng: Rng, x: Floats, y: Floats) -> Floats:
    """Sky, clouds and some rows of hills, hazier the farther."""
    high, low = (
        lch(rng.uniform(45, 75), rng.uniform(15, 40), 262),
        lch(rng.uniform(80, 94), rng.uniform(3, 25), rng.uniform(50, 270)),
    )
    far = float(y.max())
    image = high + triple(np.clip(y / (0.6 * far), 0, 1)) * (low - high)
    cloud = np.clip(
        noise("cloud", x * 420 + rng.uniform(0, 500), y * 900) * F(0.45) - F(rng.uniform(-0.1, 0.4)), 0, 0.85
    )
    image = image * (1 - triple(cloud)) + triple(cloud)
    hue, count = rng.uniform(60, 150), int(rng.integers(2, 5))
    for i in range(count):
        rough = noise("cloud", x * F(110 * (i + 1)) + rng.uniform(0, 500), 0 * y + 37 * i)
        ridge = far * (0.42 + 0.5 * i / count) + F(0.035) * rough
        near = (i + 1) / count
        ground = low + (lch(rng.uniform(28, 55), rng.uniform(15, 40), hue) - low) * F(0.25 + 0.75 * near)
        grass = (
            1
            + F(0.16 * near) * noise("grain", x * F(300), y * F(900) / (0.4 + y))
            + F(0.1) * noise("cloud", x * 500, y * 1500)
        )
        share = triple(step(y - ridge, -0.002, 0.002))
        image = image * (1 - share) + triple(grass) * ground * share
    return image


def _stage(rng: Rng, x: Floats, y: Floats) -> Floats:
    """Beams of light over a dark stage, and a crowd's heads in front."""
    wide, far = float(x.max()), float(y.max())
    image = triple(F(0.05) + F(0.05) * (y / far)) * np.ones(3, F)
    hue = rng.uniform(0, 360)
    for _ in range(int(rng.integers(4, 10))):
        from_x, lean, spread = rng.uniform(0, wide), rng.normal(0, 0.5), rng.uniform(0.04, 0.12)
        beam = bump((x - F(from_x) - F(lean) * y) / (F(spread) * (F(0.12) + y)), 1.0)
        haze = beam * (1 - F(0.7) * y / far) * (1 + F(0.2) * noise("cloud", x * 300, y * 300))
        image = image + triple(F(rng.uniform(0.25, 0.7)) * haze) * lch(
            rng.uniform(60, 90), rng.uniform(15, 70), hue + rng.normal(0, 50)
        )
    floor = far * rng.uniform(0.6, 0.75)
    image = image * (1 - triple(F(0.5) * step(y, floor, floor + 0.01)))
    heads = np.zeros(x.shape, np.uint8)
    for _ in range(int(rng.integers(10, 40))):
        size = rng.uniform(0.02, 0.05) * x.shape[1] * (1 + wide)
        centre = (int(rng.integers(x.shape[1])), int(x.shape[0] * rng.uniform(0.9, 1.08)))
        cv2.ellipse(heads, centre, (int(0.8 * size), int(size)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    return image * (1 - triple(heads * F(0.95 / 255)))


def _thing(rng: Rng, x: Floats, y: Floats) -> Floats:
    """A ball, a vase or a book on a table."""
    h, w = x.shape
    far, wide = float(y.max()), float(x.max())
    wall = lch(rng.uniform(35, 92), rng.uniform(0, 20), rng.uniform(0, 360))
    wood = plain(lch(rng.uniform(25, 65), rng.uniform(10, 35), rng.uniform(50, 80)), "wood", 0.25)
    edge = far * rng.uniform(0.55, 0.7)
    table = wood.cut(rng, 1.5, 0.6, w, h)
    image = triple(F(0.85) + F(0.2) * noise("cloud", x * 120, y * 120) * F(0.3)) * wall
    on_table = triple(step(y - edge, -0.002, 0.002))
    image = image * (1 - on_table) + table * on_table
    colour = lch(rng.uniform(30, 75), rng.uniform(15, 60), rng.uniform(0, 360))
    at, size = wide * rng.uniform(0.35, 0.65), min(wide, far) * rng.uniform(0.16, 0.26)
    foot = edge + 0.35 * (far - edge)
    image = image * (1 - triple(F(0.6) * bump(x - at - 0.2 * size, 0.8 * size, y - foot, 0.14 * size)))
    form = pick(rng, {"ball": 0.35, "vase": 0.4, "book": 0.25})
    up = (foot - y) / F(2.4 * size)  # 0 at the foot, 1 at a vase's rim
    if form == "ball":
        across, down = (x - at) / size, (y - foot + size) / size
        inside, depth = step(np.hypot(across, down), 1.005, 0.99), np.sqrt(np.clip(1 - across**2 - down**2, 0, 1))
    elif form == "vase":
        belly = F(size) * (F(0.42) + F(rng.uniform(0.1, 0.35)) * np.sin(up * F(3.6) + F(rng.uniform(-0.6, 0.6))))
        across, down = (x - at) / np.maximum(belly, F(0.02)), F(-0.1) + 0 * y
        inside, depth = (
            step(np.abs(across), 1.01, 0.98) * step(up, 0, 0.01) * step(up, 1, 0.99),
            np.sqrt(np.clip(1 - across**2, 0, 1)),
        )
    else:
        across, down, depth = (x - at) / F(1.1 * size), F(-0.2) + 0 * y, F(0.8) + 0 * y
        inside = step(np.abs(across), 1.0, 0.99) * step(up, 0, 0.004) * step(up, 0.9, 0.896)
        depth = depth - F(0.3) * bump(across + F(0.9), 0.05)
    light = np.clip(F(0.2) + F(0.55) * depth - F(0.35) * across - F(0.3) * down, 0.08, 1.1)
    shine = (
        bump(across + F(0.4), 0.16, down + F(0.45), 0.16) if form == "ball" else F(0.4) * bump(across + F(0.45), 0.1)
    )
    body = triple(light.astype(F)) * colour + triple((F(0.5) * shine * (form != "book")).astype(F))
    share = triple(inside.astype(F))
    return image * (1 - share) + body * share
