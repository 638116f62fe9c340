"""Eyes, teeth and glasses: what is neither skin nor hair, painted over a lit face."""

import cv2
import numpy as np

from pipelines.portraits.fields import bump, dot, mix, noise, step, unit, vector
from pipelines.portraits.head import Anatomy
from pipelines.portraits.light import Lighting, to_linear
from pipelines.portraits.people import Person, Pose
from pipelines.portraits.surface import Star
from pipelines.rooms.materials import F, Floats

_EYEBALL_CM, _IRIS_CM = 1.25, 0.6
_SHARP_EDGES = vector(0.15, 0.12, 0.1)


def paint_eyes(
    lit: Floats,
    head: Star,
    person: Person,
    pose: Pose,
    at: Anatomy,
    points: Floats,
    view: Floats,
    lighting: Lighting,
    shadow: Floats,
    pixel_cm: float,
) -> Floats:
    """Eyes between their lids, with lashes; ``lighting`` and ``view`` (3,) are in the head's axes."""
    x, y, z = points
    edge = max(0.05, 0.7 * pixel_cm)
    for sign in (-1.0, 1.0):
        out = x * F(sign) - F(at.eye_x)
        rows, columns = _window((np.abs(out) < 2.6) & (np.abs(y) < 1.9) & (z > 0))
        if rows is None:
            continue
        here = (rows, columns)
        out, h = out[here], y[here]
        upper, lower = at.lid_lines(out, person.eye_tilt)
        between = step(h - upper, -edge, edge) * step(lower - h, -edge, edge) * (np.abs(out) < at.eye_width)
        centre = np.array([sign * at.eye_x, 0.0, head.front(sign * at.eye_x, 0.0) - _EYEBALL_CM - 0.05], F)
        ball, normal = _look_at_ball(points[:, rows, columns] - centre[:, None, None], view)
        gaze = np.array([pose.gaze[0] - 0.03 * sign, pose.gaze[1], 1.0])
        gaze /= np.linalg.norm(gaze)
        colour, iris = _colour_ball(person, ball, gaze.astype(F))
        below_lid = h - upper
        shade = F(0.35) + F(0.65) * step(below_lid, 0.0, 0.38)
        cornea = unit(mix(normal, ball / F(_EYEBALL_CM) + F(0.5) * vector(*gaze), F(0.3) * iris))
        shine = lighting.highlights(cornea, view, F(0.6) + F(0.4) * shadow[here], 260) * F(2.2)
        eye: Floats = colour * lighting.diffuse(normal, F(0.4) + F(0.6) * shadow[here], 0.75, _SHARP_EDGES)
        eye = eye * shade
        patch = mix(lit[:, rows, columns], eye + shine, between[None])
        lash = bump(h - upper + F(0.03), 0.075 + 0.03 * person.makeup) * step(
            np.abs(out), at.eye_width + 0.12, at.eye_width - 0.1
        )
        thick = F(0.55 + 0.35 * person.makeup) + F(0.2) * step(out, -0.5, 1.2)
        patch = mix(patch, vector(0.012, 0.009, 0.008), (np.clip(thick * lash, 0, 0.96))[None])
        rim = bump(h - lower, 0.06) * step(np.abs(out), at.eye_width + 0.1, at.eye_width - 0.3)
        patch = mix(patch, patch * vector(0.5, 0.42, 0.42), (F(0.5 + 0.4 * person.makeup) * rim)[None])
        lit[:, rows, columns] = patch
    return lit


def _window(mask: Floats) -> tuple[slice, slice] | tuple[None, None]:
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if min(width, height) < 3:
        return None, None
    return slice(top, top + height), slice(left, left + width)


def _look_at_ball(offset: Floats, view: Floats) -> tuple[Floats, Floats]:
    """Where rays through ``offset`` from an eyeball's middle meet it: that point, and the unit normal there."""
    along = np.einsum("i,ihw->hw", view, offset)
    across = offset - view[:, None, None] * along
    rise = np.sqrt(np.maximum(F(_EYEBALL_CM**2) - dot(across, across), F(0.04)))
    ball = across + view[:, None, None] * rise
    return ball, unit(ball)


def _colour_ball(person: Person, ball: Floats, gaze: Floats) -> tuple[Floats, Floats]:
    """An eyeball's colours, and how much of each point is iris."""
    from_axis = np.sqrt(np.maximum(dot(ball, ball) - np.einsum("i,ihw->hw", gaze, ball) ** 2, 0))
    around = np.arctan2(ball[1] - F(_EYEBALL_CM) * gaze[1], ball[0] - F(_EYEBALL_CM) * gaze[0])
    fibres = noise("strands", around * F(50), from_axis * F(60))
    tone = vector(*to_linear(person.iris).tolist())
    iris_colour = tone * (1 + F(0.25) * fibres + F(0.5) * bump(from_axis - F(0.32), 0.1))[None]
    iris_colour = iris_colour * (1 - F(0.75) * step(from_axis, 0.45, _IRIS_CM))[None]
    iris_colour = mix(iris_colour, vector(0.004, 0.004, 0.005), step(from_axis, 0.27, 0.21)[None])
    age = (person.age - 20) / 60
    white = vector(0.54, 0.5 - 0.05 * age, 0.47 - 0.08 * age) * (1 - F(0.35) * step(from_axis, 0.85, 1.25))[None]
    iris = step(from_axis, _IRIS_CM + 0.05, _IRIS_CM - 0.04)
    return mix(white, iris_colour, iris[None]), iris


def paint_mouth(lit: Floats, at: Anatomy, points: Floats, light: Floats) -> Floats:
    """Teeth and darkness between parted lips; ``light`` (3, h, w) is what falls on the face there."""
    x, y, z = points
    if at.gap < 0.06:
        return lit
    _, upper, lower, _ = at.lip_lines(x)
    inside = (
        step(y - upper, -0.06, 0.06)
        * step(lower - y, -0.06, 0.06)
        * step(np.abs(x), at.mouth_width, at.mouth_width - 0.2)
    )
    inside = inside * (z > 0)
    tooth = np.clip(x * F(1 / 0.82) + F(0.5), -4, 4)
    between = np.abs(tooth - np.round(tooth))
    length = F(0.95) - F(0.1) * np.abs(np.round(tooth)) + F(0.05) * (np.round(np.abs(tooth)) == 2)
    bottom = F(at.mouth_y - 0.16) - F(0.62 * 0.55 * at.smile) * (x / F(at.mouth_width)) ** 2 + length * F(0.75)
    enamel = step(bottom - y, -0.05, 0.06) * (F(0.72) + F(0.28) * step(between, 0.5, 0.4))
    enamel = enamel * np.clip(1.05 - (x / F(at.mouth_width)) ** 2, 0, 1)
    ivory, tongue = (
        vector(0.7, 0.64, 0.55),
        vector(0.16, 0.045, 0.04) * (F(0.3) + F(0.7) * step(y - bottom, 0.1, 0.8))[None],
    )
    hollow = mix(tongue, ivory, enamel[None]) * (F(0.35) + F(0.65) * step(y - upper, -0.05, 0.3))[None]
    return mix(lit, hollow * light, inside[None])


def glasses_lines(head: Star, person: Person, at: Anatomy) -> list[tuple[Floats, bool]]:
    """Frames as lines in the head's space: points (n, 3), and whether each is a closed rim around a lens."""
    wide, tall, power = ((2.75, 2.0, 3.2), (2.45, 2.3, 2.0), (2.8, 1.75, 4.5), (2.7, 2.25, 2.6))[person.frame]
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    front = max(head.front(0.8, -0.2), head.front(at.eye_x, -1.6)) + 0.5
    lines: list[tuple[Floats, bool]] = []
    for sign in (-1.0, 1.0):
        across = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / power) * wide
        down = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / power) * tall + 0.3
        down -= 0.12 * across * (down > 0.3)
        x = sign * (at.eye_x + across + 0.12)
        lines.append((np.column_stack([x, down, front - 0.035 * x**2]).astype(F), True))
        hinge = at.eye_x + wide
        temple = [
            (sign * hinge, -0.5, front - 0.035 * hinge**2),
            (sign * (hinge + 1.0), -0.4, 4.5),
            (sign * 7.6, 0.0, 0.5),
        ]
        lines.append((np.array(temple, F), False))
    inner = at.eye_x - wide + 0.12
    bridge = np.linspace(-1, 1, 9)
    lines.append(
        (np.column_stack([bridge * inner, -0.45 - 0.35 * (1 - bridge**2), np.full(9, front)]).astype(F), False)
    )
    return lines
