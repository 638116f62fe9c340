"""Hair: a second surface around the head, with strands that run from a parting or a crown and shine as hair does.

Its highlights follow Kajiya and Kay, "Rendering fur with three dimensional textures" (SIGGRAPH 1989).
"""

import cv2
import numpy as np

from pipelines.portraits.fields import bump, curve, mix, noise, step, unit, vector
from pipelines.portraits.hairstyles import Style, style_of
from pipelines.portraits.light import Lighting
from pipelines.portraits.people import Person
from pipelines.portraits.skin import hair_tone
from pipelines.portraits.surface import Hits, Star, directions, longitudes
from pipelines.rooms.materials import F, Floats


def shape_hair(person: Person, head: Floats) -> tuple[Floats, Floats] | None:
    """The map of radii of a person's hair over their head's, and how densely it grows there; None: bald."""
    style = style_of(person)
    if person.style == "bald":
        return None
    dx, dy, dz = directions()
    longitude, y = longitudes()[None], head * dy
    border = _border(person, style, y.shape)
    wisps = noise("strands", longitude * F(1.6) + person.seed % 311, y * F(3))
    reach = border - y + F(0.12) * wisps + F(0.5 * style.curl) * noise("cloud", longitude * F(3), y * F(14))
    parting = F(3.0 * person.parting)
    lift = F(style.sweep) * bump(head * dx - parting, 3.6, y + F(8.5), 3.4) * step(dz, -0.2, 0.4)
    thick = mix(F(style.side), F(style.top), step(y, -2, -8)) + lift
    if style.curl:
        lumps = noise("curls", longitude * F(2.6) + person.seed % 199, y * F(16)) * F(0.14) + noise(
            "cloud", longitude * F(4), y * F(18)
        ) * F(0.12)
        thick = thick * np.maximum(1 + F(style.curl) * lumps, F(0.3))
    else:
        thick = thick * (1 + F(0.05) * noise("strands", longitude * F(2) + person.seed % 173, y))
    if style.parted:
        groove = bump(head * dx - parting, 0.35) * step(y, -5, -8) * step(dz, -0.3, 0.2)
        thick = thick * (1 - F(0.5) * groove)
    grown = np.maximum(head, 0) + thick * step(reach, -0.1, 1.6 if style.fringe else 2.8)
    cover = step(reach, -0.3, 0.6) * F(0.72 if person.style == "buzz" else 1.0)
    return np.where(cover > 0.02, grown, head - F(0.25)).astype(F), cover.astype(F)


def _border(person: Person, style: Style, shape: tuple[int, int]) -> Floats:
    """The y at which hair ends, by longitude, (1, W) or the full map."""
    angle = np.abs(longitudes())
    top = -7.1 - 0.9 * person.hairline * person.male
    receding = 0.9 * max(person.hairline, 0) * person.male
    knots = [(0, top), (16, top + 0.1 - receding), (30, top + 0.5 - 1.3 * receding), (42, top + 1.7 - 0.8 * receding)]
    if style.falls:
        knots += [(50, -3.6), (60, -1.5), (67, 3.0), (90, 5.5), (130, 6)]
    else:
        knots += [
            (52, -3.4),
            (63, -2.2),
            (70, 0.2),
            (79, 1.4 if person.male > 0.5 else 0.2),
            (83, -2.2),
            (106, -2.4),
            (115, 3.5),
            (130, 6),
        ]
    line = curve(angle, knots)
    if style.fringe:
        signed = longitudes() * F(np.sign(person.parting))
        hang = style.fringe * (1 - 0.3 * step(signed, -10, 40)) if style.fringe < 2 else style.fringe
        line = np.maximum(line, np.where(angle < 50, F(-6.4) + hang * step(angle, 52, 38), line))
    border: Floats = np.asarray(
        cv2.GaussianBlur(line[None].astype(F), (0, 0), sigmaX=6, sigmaY=0.1, borderType=cv2.BORDER_REPLICATE), F
    )
    return np.broadcast_to(border, shape)


def shade_hair(
    person: Person, hits: Hits, lighting: Lighting, view: Floats, shadow: Floats, openness: Floats
) -> Floats:
    """The linear colours of hair where rays hit it, (3, h, w); lighting and view in the head's axes."""
    style, points = style_of(person), hits.points
    axis = vector(*_growth_axis(person, style))
    tangent = unit(_cross(_cross(axis + 0 * points, points), hits.normals))
    around, along = _strand_coordinates(points, axis[:, 0, 0])
    if style.curl > 0.4:
        kind, streak = (
            "curls",
            noise(
                "curls", points[0] * F(16) + points[2] * F(9) + person.seed % 77, points[1] * F(16) - points[2] * F(7)
            ),
        )
        fine = noise("grain", points[0] * F(28), points[1] * F(28) + points[2] * F(20))
    else:
        kind = "strands"
        wave = F(2.5 + 5 * style.curl) * np.sin(along * F(0.6 + style.curl))
        streak = noise(kind, around * F(150) + wave + person.seed % 401, along * F(10))
        fine = noise(kind, around * F(420) + F(2) * wave, along * F(18))
    grain = F(0.24) * streak + F(0.13) * fine
    base = hair_tone(person)
    tone = base * np.clip(1 + grain * F(1.4), 0.15, 2.4)[None]
    tone = mix(tone, vector(0.5, 0.49, 0.47), np.clip(F(0.35 * person.grey) * (fine > 0.8), 0, 1)[None])
    light = lighting.diffuse(unit(hits.normals + F(0.35) * grain * tangent), shadow, openness, vector(0.4, 0.4, 0.4))
    colour = tone * light * F(0.95)
    gloss = 0.16 if kind == "strands" else 0.05
    for lamp in lighting.lamps:
        half = lamp.direction + view
        half = (half / np.linalg.norm(half)).astype(F)
        tilt = np.einsum("i,ihw->hw", half, tangent) + F(0.12) * streak
        facing = np.clip(np.einsum("i,ihw->hw", lamp.direction, hits.normals) + F(0.25), 0, 1)
        for sharp, shift, tint in ((70.0, 0.06, F(0.35)), (18.0, -0.12, base * F(2.2))):
            shine = np.sqrt(np.maximum(1 - (tilt + F(shift)) ** 2, 0)) ** F(sharp) * facing * shadow * openness
            colour = colour + (F(gloss) * shine)[None] * lamp.colour * tint
    return colour


def _growth_axis(person: Person, style: Style) -> tuple[float, float, float]:
    side = float(np.sign(person.parting))
    axis = np.array([0.36 * side, -0.9, 0.3] if style.parted else [0.12 * side, -0.85, -0.35])
    x, y, z = (axis / np.linalg.norm(axis)).tolist()
    return x, y, z


def _strand_coordinates(points: Floats, axis: Floats) -> tuple[Floats, Floats]:
    """Around the axis in radians, and along it in centimetres; strands run where the first is constant."""
    first = np.cross(axis, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    across = np.einsum("i,ihw->hw", first.astype(F), points)
    away = np.einsum("i,ihw->hw", second.astype(F), points)
    return np.arctan2(across, away), np.einsum("i,ihw->hw", axis, points)


def _cross(a: Floats, b: Floats) -> Floats:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def sample_cover(star: Star, cover: Floats, hits: Hits) -> Floats:
    """How opaque the hair is where rays hit it, strand by strand, (h, w)."""
    x, y, z = hits.points
    dense = star.sample(cover, hits.points)
    frayed = noise("strands", np.arctan2(x, z) * F(150), y * F(9)) * F(0.45)
    opaque: Floats = step(dense * (1 + frayed * (1 - dense)), 0.1, 0.8) * hits.cover
    return opaque
