"""The colour of faces: blotches, freckles, lips, nostrils, brows and beards on the points of a head's surface."""

from dataclasses import dataclass

import numpy as np

from pipelines.portraits.fields import bump, curve, mix, noise, step, vector
from pipelines.portraits.head import Anatomy
from pipelines.portraits.light import to_linear
from pipelines.portraits.people import Person
from pipelines.rooms.materials import F, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Skin:
    """Linear colour (3, h, w), and shares of 0 to 1, each (h, w): gloss, and what is hair."""

    colour: Floats
    gloss: Floats
    hairy: Floats


def hair_tone(person: Person) -> Floats:
    """The linear colour of a person's hair, (3, 1, 1)."""
    grey = np.array([0.72, 0.71, 0.69], F)
    return vector(*to_linear(mix(person.hair, grey, F(0.85 * person.grey))).tolist())


def paint_skin(person: Person, at: Anatomy, points: Floats, brows_up: float) -> Skin:
    """The skin at points of the head, (3, h, w)."""
    x, y, z = points
    side, front = np.abs(x), step(z, 0.5, 3.0)
    angle = np.arctan2(x, z)
    shift = person.seed % 509
    blotch = noise("cloud", angle * F(60) + shift, y * F(9))
    pores = noise("grain", angle * F(330) + shift, y * F(38))
    base = vector(*to_linear(person.skin).tolist())
    colour = base * (1 + F(0.035) * blotch + F(0.03) * pores)[None]
    flush = F(0.5) * bump(side - F(4.0), 1.5, y - F(3.8), 1.4) + F(0.55) * bump(x, 0.9, y - F(4.1), 0.8)
    flush += F(0.5) * step(np.abs(np.degrees(angle)), 80, 92) * step(z, 4, 1) + F(0.2) * bump(x, 1.6, y - F(10), 1.2)
    flush = flush + F(0.12) * blotch * front
    red = vector(1.06, 0.72 + 0.15 * person.dark, 0.7 + 0.17 * person.dark)
    colour = mix(colour, colour * red, (F(0.55 + 0.4 * person.makeup) * flush)[None])
    socket = bump(side - F(at.eye_x), 1.5, y + F(0.1), 0.85) + F(0.5) * bump(side - F(2.0), 0.6, y - F(0.3), 0.6)
    colour = mix(colour, colour * vector(0.72, 0.62, 0.66), (F(0.4 + 0.35 * person.makeup) * socket * front)[None])
    if person.freckles:
        spots = step(noise("grain", x * F(22) + shift, y * F(22)), 1.1, 1.9) * bump(side - F(2), 3, y - F(3), 1.8)
        colour = mix(colour, colour * vector(0.72, 0.56, 0.45), (F(0.5 * person.freckles) * spots * front)[None])
    gloss = F(0.5) + F(0.5) * bump(x, 2.5, y + F(5), 2) + F(0.6) * bump(x, 0.7, y - F(3.4), 1.2) + F(0.1) * pores
    colour, gloss = _paint_lips(person, at, colour, gloss, x, y, front)
    for nostril in (-0.68, 0.68):
        dark = bump(x - F(nostril * at.nose_width), 0.3, y - F(at.nose_y + 0.42), 0.15) * front
        colour = colour * (1 - F(0.88) * np.minimum(dark * F(1.2), 1))[None]
    colour, beard = _paint_beard(person, at, colour, points, side)
    brow = _brows(person, at, x, y, brows_up) * front
    colour = mix(colour, np.minimum(hair_tone(person) * F(0.75), F(0.35)), brow[None])
    return Skin(colour, gloss * (1 - np.maximum(brow, F(0.8) * beard)), np.maximum(brow, beard))


def _paint_lips(
    person: Person, at: Anatomy, colour: Floats, gloss: Floats, x: Floats, y: Floats, front: Floats
) -> tuple[Floats, Floats]:
    top, upper, lower, bottom = at.lip_lines(x)
    inside = step(np.abs(x), at.mouth_width + 0.05, at.mouth_width - 0.25) * front
    edge = 0.14
    on_lips = step(y - top, -edge, edge) * step(bottom - y, -edge, edge) * inside
    lines = noise("strands", x * F(26) + person.seed % 97, y * F(3))
    tint = vector(0.86, 0.42, 0.45) * (1 + F(0.05) * lines)[None]
    rouge = vector(*to_linear(np.array([0.68, 0.2, 0.24], F)).tolist())
    lips = mix(colour * mix(tint, vector(0.72, 0.52, 0.56), F(person.dark)), rouge, F(0.55 * person.makeup))
    colour = mix(colour, lips, (F(0.85) * on_lips)[None])
    seam = bump(y - (upper + lower) * F(0.5), 0.07) * inside
    corner = bump(np.abs(x) - F(at.mouth_width), 0.18, y - (upper + lower) * F(0.5), 0.14) * front
    dark = np.minimum(F(0.75) * seam + F(0.45) * corner, 1)
    return colour * (1 - dark * vector(0.8, 0.9, 0.9)), gloss + on_lips * F(0.1 + 0.4 * person.makeup)


def _paint_beard(person: Person, at: Anatomy, colour: Floats, points: Floats, side: Floats) -> tuple[Floats, Floats]:
    x, y, z = points
    cover = beard_cover(person, at, x, y, z)
    if not cover.any():
        return colour, cover
    roots = noise("grain", x * F(30) + person.seed % 89, y * F(26))
    hairs = noise("strands", x * F(30) + F(6) * noise("cloud", x * F(20), y * F(20)), y * F(9) + side * F(3))
    if person.beard in {"stubble", "none"}:
        share = cover * np.clip(F(0.5) + F(0.22) * roots, 0.1, 1)
        blue = mix(colour * vector(0.42, 0.44, 0.48), hair_tone(person), F(0.35))
        return mix(colour, blue, (F(0.55) * share)[None]), cover * F(0.2)
    share = step(cover * (1 + F(0.1) * hairs + F(0.1) * roots), 0.2, 0.75)
    tone = hair_tone(person) * np.clip(1 + F(0.3) * hairs + F(0.1) * roots, 0.3, 2)[None]
    return mix(colour, tone, (F(0.94) * share)[None]), share


def beard_cover(person: Person, at: Anatomy, x: Floats, y: Floats, z: Floats) -> Floats:
    """How far the beard covers points of the head; 0 to 1, soft at its edge."""
    if person.beard == "none" and person.male <= 0.5:
        return np.zeros_like(x)
    side = np.abs(x)
    line = curve(side, [(0, 9.2), (1.0, 9.0), (1.9, 8.2), (2.8, 7.4), (4.5, 6.2), (5.8, 3.4), (6.6, 1.5), (7.4, 0.5)])
    jaw = step(y - line, -0.35, 0.9) * step(z, -0.5, 1.5) * step(side, 7.4, 6.8)
    top, _, _, bottom = at.lip_lines(x)
    lip_line = F(at.mouth_y) - F(1.45) + F(0.1) * side**2
    upper = (
        step(y - lip_line, -0.15, 0.35)
        * step(top - y, -0.05, 0.2)
        * step(side, at.mouth_width + 0.6, at.mouth_width - 0.4)
    )
    corners = bump(side - F(at.mouth_width + 0.45), 0.4, y - F(at.mouth_y + 0.7), 0.9)
    under = bump(x, 0.5, y - bottom - F(0.5), 0.4)
    chin = bump(x, 1.8, y - F(at.chin_y - 0.9), 1.5) * F(1.3)
    lips = step(y - top, 0, 0.1) * step(bottom - y, 0, 0.1) * step(side, at.mouth_width + 0.1, at.mouth_width - 0.1)
    parts = {
        "none": F(0.25) * np.maximum(jaw, upper),
        "stubble": np.maximum(np.maximum(jaw, upper), corners),
        "full": np.maximum(np.maximum(np.maximum(jaw, upper), corners), under),
        "goatee": np.maximum(np.maximum(chin, upper), np.maximum(corners, under)),
        "moustache": upper,
    }
    cover: Floats = np.clip(parts[person.beard], 0, 1) * (1 - lips) * step(z, -2, 0)
    return cover


def _brows(person: Person, at: Anatomy, x: Floats, y: Floats, brows_up: float) -> Floats:
    side = np.abs(x)
    along = (side - F(1.35)) * F(1 / (3.6 * person.eye_gap))  # 0 at the nose, 1 at the temple
    arch = F(0.55 * person.brow_arch + 0.18) * np.sin(np.clip(along, 0, 1) * F(2.5)) - F(0.25) * along**3
    middle = F(-1.75 - 0.35 * brows_up + 0.12 * person.male) - arch
    thick = F(0.34 * person.brow_weight) * curve(along, [(-0.1, 0.75), (0.15, 1), (0.55, 0.9), (1, 0.3), (1.15, 0.1)])
    hairs = noise("strands", (y * F(1.2) + side) * F(26), y * F(8)) * F(0.28)
    body = step(np.abs(y - middle) / np.maximum(thick, F(0.05)) + hairs, 1.25, 0.45)
    return F(0.88) * body * step(along, -0.08, 0.12) * step(along, 1.12, 0.85)
