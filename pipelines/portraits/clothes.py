"""Necks, shoulders and clothes below rendered heads."""

from dataclasses import dataclass

import numpy as np

from pipelines.portraits.canvas import Patch
from pipelines.portraits.fields import bump, curve, mix, noise, step, unit, vector
from pipelines.portraits.light import Lighting, to_linear
from pipelines.portraits.people import Person
from pipelines.portraits.surface import Star
from pipelines.rooms.materials import PRINTS, F, Floats, Material, Rng, lch, pick, plain

_NOTCH_Y = 16.6  # where the neck's front ends, below the eyes
_SHOULDER = [  # the outline, (x, y)
    *((0.0, 13.6), (5.0, 13.9), (8.0, 15.3), (13.0, 17.2), (17.5, 18.6), (20.5, 20.6)),
    *((22.4, 24.0), (23.6, 30.0), (24.6, 48.0), (25.2, 200.0)),
]
_CUTS = {  # half the width of the neckline, its upper end and its depth; cm
    "crew": (7.4, 13.6, 3.6),
    "vee": (7.2, 13.4, 9.5),
    "scoop": (9.5, 14.6, 7.0),
    "high": (7.3, 9.8, 2.2),
    "shirt": (6.2, 12.0, 6.5),
    "suit": (6.2, 12.0, 4.6),
}


@dataclass(frozen=True, slots=True, eq=False)
class Outfit:
    """What a person wears in one shot; ``shirt`` and ``tie`` are linear colours (3, 1, 1) below a jacket."""

    cut: str
    cloth: Material
    shirt: Floats
    tie: Floats | None
    turn: float


def draw_outfit(rng: Rng, person: Person, yaw_deg: float) -> Outfit:
    """Something to wear."""
    feminine = person.male < 0.5
    cuts = {"crew": 0.28, "vee": 0.1, "shirt": 0.22, "suit": 0.28, "high": 0.08}
    cut = pick(rng, cuts | {"scoop": 0.3, "vee": 0.18, "suit": 0.14} if feminine else cuts)
    dark = rng.random() < (0.8 if cut == "suit" else 0.45)
    light = rng.uniform(12, 34) if dark else rng.uniform(45, 92)
    vivid = rng.uniform(0, 10) if cut == "suit" or rng.random() < 0.35 else rng.uniform(15, 60)
    colour = lch(light, vivid, rng.uniform(0, 360))
    if rng.random() < (0.1 if cut == "suit" else 0.28):
        second = lch(rng.uniform(20, 90), rng.uniform(5, 45), rng.uniform(0, 360))
        cloth = Material(colour, second, str(rng.choice(PRINTS)), scale=float(rng.uniform(400, 900)))
    else:
        cloth = plain(colour, "plaster", 0.08, scale=250.0)
    shirt = lch(rng.uniform(86, 97), rng.uniform(0, 9), rng.uniform(0, 360))
    has_tie = cut == "suit" and rng.random() < (0.1 if feminine else 0.65)
    tie = lch(rng.uniform(18, 50), rng.uniform(10, 55), rng.uniform(0, 360)) if has_tie else None
    return Outfit(
        cut,
        cloth,
        vector(*to_linear(shirt).tolist()),
        None if tie is None else vector(*to_linear(tie).tolist()),
        yaw_deg / 35 * rng.uniform(0.1, 0.7) + rng.normal(0, 0.08),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Torso:
    """A body's points on a patch, (h, w) each: centimetres from its middle, below its outline and towards the camera;
    how much of each pixel is torso or neck; and what light arrives."""

    patch: Patch
    x: Floats
    below: Floats
    z: Floats
    torso: Floats
    neck: Floats
    shadow: Floats
    openness: Floats


def paint_body(patch: Patch, person: Person, outfit: Outfit, head: Star, turn: Floats, lighting: Lighting) -> None:
    """Neck, shoulders and clothes; ``turn`` (3, 3) is the head's, which throws its shadow on them."""
    u, v = patch.u, patch.v
    x = (u - F(1.2 * outfit.turn)) * F(1 / person.build)
    side, soft = np.abs(x), max(0.12, 0.8 * patch.pixel_cm)
    neck_wide = F(4.6 + 1.0 * person.male) + F(3.4) * step(v, 11.5, 17.5) ** 2
    neck = step(side - neck_wide, soft, -soft) * step(v, 3.0, 5.0)
    below = v - curve(side, _SHOULDER)
    torso = step(below, -soft, soft)
    neck_z = np.sqrt(np.maximum(neck_wide**2 - x * x, 0)) - F(1.2)
    rounded = np.clip(below * F(1 / 9), 0, 1)
    torso_z = F(7.5) * np.sqrt(np.maximum(1 - (1 - rounded) ** 2, 0)) - F(0.013) * x * x - F(2.2)
    bare_z = np.maximum(neck_z * step(v, 20, 14), torso_z) + _relief(x, v)
    points = np.tensordot(turn.T, np.stack([u, v, np.maximum(bare_z, neck_z)]), 1).astype(F)
    towards = (turn.T @ lighting.lamps[0].direction).astype(F)
    shadow = head.visibility(points, np.zeros_like(points), towards)
    openness = F(0.12) + F(0.88) * step(head.height(points), -0.5, 8.0)
    tone = vector(*to_linear(person.skin).tolist()) * vector(0.97, 0.93, 0.92)
    skin = tone * (1 + F(0.03) * noise("cloud", u * F(14), v * F(14)))[None]
    light = lighting.diffuse(_normals(bare_z, patch.pixel_cm), shadow, openness, vector(0.42, 0.24, 0.18))
    inset = step(below, soft, 3 * soft)  # so that no skin shows along the edge of clothes
    patch.paint(skin * light, np.maximum(neck, inset))
    _paint_cloth(_Torso(patch, x, below, torso_z, torso, neck, shadow, openness), person, outfit, lighting)


def _relief(x: Floats, v: Floats) -> Floats:
    """The neck's two cords, the collarbones and the notch between them."""
    side = np.abs(x)
    cords = bump(side - F(1.1) - F(0.3) * (F(_NOTCH_Y) - v), 0.5) * step(v, 9, 13) * step(v, 17.2, 16)
    bones = bump(v - F(_NOTCH_Y + 0.9) + F(0.12) * side, 0.6) * step(side, 1.2, 3) * step(side, 16, 9)
    relief: Floats = F(0.35) * cords + F(0.45) * bones - F(0.5) * bump(x, 1.1, v - F(_NOTCH_Y), 0.8)
    return relief


def _paint_cloth(body: _Torso, person: Person, outfit: Outfit, lighting: Lighting) -> None:
    x, v, pixel_cm = body.x, body.patch.v, body.patch.pixel_cm
    side, soft = np.abs(x), max(0.1, 0.8 * pixel_cm)
    wide, top, deep = _CUTS[outfit.cut]
    has_collar = outfit.cut in {"shirt", "suit"}
    share = np.clip(side * F(1 / wide), 0, 1)
    hollow = 1 - share if has_collar or outfit.cut == "vee" else np.sqrt(np.maximum(1 - share**2, 0))
    within = v - (F(top) + F(deep) * hollow)  # below the neckline
    cover = body.torso
    if has_collar or outfit.cut == "high":
        cover = np.maximum(cover, body.neck * step(side, 12, 9))
    folds = F(0.24) * noise("cloud", x * F(5) + person.seed % 257, v * F(3))
    folds = folds + F(0.1) * noise("strands", x * F(4) + v * F(1.5), v * F(2))
    z = body.z + folds * step(body.below, 0, 6) + F(0.25) * bump(within - F(0.55), 0.4)
    if has_collar:
        z = z + F(1.2) * step(within, 3.2, 0.2) * step(side, 9, 5)
    light = lighting.diffuse(_normals(z, pixel_cm), body.shadow, body.openness, vector(0.12, 0.12, 0.12))
    light = light * (1 - F(0.35) * bump(within, 0.35))[None]
    spread = outfit.cloth.spread((x + 40) * F(0.01), (v + 20) * F(0.01))
    colour = np.ascontiguousarray(to_linear(spread).transpose(2, 0, 1))
    if outfit.cut == "suit":
        colour = _open_jacket(colour, outfit, person, x, v, top + deep + 0.9, soft)
    if has_collar:
        colour = _add_collar(colour, outfit, x, v, within)
    body.patch.paint(colour * light, cover * step(within, -soft, soft))


def _open_jacket(
    jacket: Floats, outfit: Outfit, person: Person, x: Floats, v: Floats, knot_y: float, soft: float
) -> Floats:
    """A shirt, perhaps with a tie, in the opening of a jacket."""
    side = np.abs(x)
    shirt = outfit.shirt * (1 - F(0.25) * bump(x, 0.12))[None]
    if outfit.tie is not None:
        knot = step(v, knot_y + 1.2, knot_y - 1.2)
        width = F(1.0) + F(0.5) * knot + F(0.1) * np.maximum(v - F(knot_y + 1.2), 0)
        stripes = (1 + F(0.35) * np.sin((x + v) * F(2.4) + person.seed % 5)) * (
            1 - F(0.4) * bump(v - knot_y - F(1.3), 0.25)
        )
        on_tie = step(side - width, soft, -soft) * step(v - F(knot_y), -1.6, -1.3)
        shirt = mix(shirt, outfit.tie * stripes[None], on_tie[None])
    opening = np.maximum((F(46) - v) * F(0.21), 0) * step(v, 12, 15)  # narrows downwards to the button
    lapel = F(6.8) + (F(44) - v) * F(0.16)
    rim = bump(side - opening, 0.22) + F(0.7) * bump(side - lapel, 0.16) * step(v, 30, 26)
    colour = mix(jacket, shirt, step(side - opening, soft, -soft)[None])
    return colour * (1 - F(0.55) * np.clip(rim, 0, 1) * step(v, 16, 19))[None]


def _add_collar(colour: Floats, outfit: Outfit, x: Floats, v: Floats, within: Floats) -> Floats:
    side = np.abs(x)
    collar = step(within, -0.2, 0.1) * step(within, 3.4, 3.1) * step(side, 8.6, 8.0)
    colour = mix(colour, outfit.shirt if outfit.cut == "suit" else colour * F(1.08), collar[None])
    colour = colour * (1 - F(0.45) * bump(within - F(3.4), 0.3) * step(side, 9, 8))[None]
    if outfit.cut == "shirt":
        colour = colour * (1 - F(0.4) * bump(x - F(0.4), 0.1) * step(v, 18, 19))[None]
    return colour


def _normals(z: Floats, pixel_cm: float) -> Floats:
    down, across = np.gradient(z, np.float32(pixel_cm))
    return unit(np.stack([-across, -down, np.ones_like(z)]).astype(F))
