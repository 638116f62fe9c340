"""One person on a canvas: hair behind, body, head, hair and glasses, in that order."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.portraits.canvas import Patch, View
from pipelines.portraits.clothes import Outfit, paint_body
from pipelines.portraits.features import glasses_lines, paint_eyes, paint_mouth
from pipelines.portraits.fields import step, vector
from pipelines.portraits.hair import sample_cover, shade_hair, shape_hair
from pipelines.portraits.head import Anatomy, locate, shape_head
from pipelines.portraits.light import Lighting
from pipelines.portraits.locks import paint_back_hair, paint_locks
from pipelines.portraits.people import Person, Pose
from pipelines.portraits.skin import beard_cover, paint_skin
from pipelines.portraits.surface import Hits, Star, cavities, directions, rotation
from pipelines.rooms.materials import F, Floats

_FRAMES = ((0.01, 0.01, 0.01), (0.06, 0.025, 0.012), (0.13, 0.11, 0.07), (0.02, 0.02, 0.035))  # linear
_BEARD_CM = {"full": 0.75, "goatee": 0.5, "moustache": 0.25}


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """A head in one pose: its surface, how open each texel is, features, and the light and view in its own axes."""

    star: Star
    openness: Floats
    hair: tuple[Star, Floats, Floats] | None
    at: Anatomy
    turn: Floats
    view: Floats
    lighting: Lighting


def paint_figure(
    view: View, person: Person, pose: Pose, outfit: Outfit, lighting: Lighting
) -> tuple[float, float, float, float]:
    """Paint a person; returns the face's box (left, top, width, height) in pixels, whether or not it is in sight."""
    head = _build_head(person, pose, lighting)
    detail = 1.0 if view.per_cm > 9 else 2.0
    back = view.patch(-17, -9, 17, 34, 0.5 * detail)
    if back is not None:
        paint_back_hair(back, person, lighting)
    body = view.patch(-34, 2, 34, 90, 0.5 * detail)
    if body is not None:
        paint_body(body, person, outfit, head.star, head.turn, lighting)
    outer = head.star if head.hair is None else head.hair[0]
    wide, tall, low = max(outer.half_width, 9.5), outer.largest, max(outer.lowest, 13.0)
    patch = view.patch(-wide, -tall, wide, low, detail)
    if back is not None:
        paint_locks(back, person, head.turn, lighting, behind=True)
    if patch is not None:
        _paint_head(patch, back, person, pose, head, lighting)
        if pose.glasses:
            _paint_glasses(view, person, head)
    return _face_box(view, person, head)


def _build_head(person: Person, pose: Pose, lighting: Lighting) -> _Head:
    at, turn = locate(person, pose), rotation(pose.yaw_deg, pose.pitch_deg, pose.roll_deg)
    radius = shape_head(person, pose, at)
    dx, dy, dz = directions()
    beard = beard_cover(person, at, radius * dx, radius * dy, radius * dz)
    radius = radius + F(_BEARD_CM.get(person.beard, 0.0)) * np.asarray(cv2.GaussianBlur(beard, (0, 0), 5), F)
    star, hair = Star(radius), None
    grown = shape_hair(person, radius)
    if grown is not None:
        surface = Star(grown[0])
        hair = surface, cavities(surface.radius), grown[1]
    return _Head(star, cavities(star.radius), hair, at, turn, turn[2].copy(), lighting.seen_from(turn))


def _paint_head(
    patch: Patch, beside: Patch | None, person: Person, pose: Pose, head: _Head, lighting: Lighting
) -> None:
    hits = head.star.trace(head.turn, patch.u, patch.v, patch.pixel_cm)
    main = head.lighting.lamps[0].direction
    shadow = head.star.visibility(hits.points, hits.normals, main)
    openness = head.star.sample(head.openness, hits.points)
    hair = None
    if head.hair is not None:
        surface, hair_openness, cover = head.hair
        hair = surface.trace(head.turn, patch.u, patch.v, patch.pixel_cm)
        opaque = sample_cover(surface, cover, hair) * step(
            hair.depth - np.where(hits.cover > 0.5, hits.depth, F(-50)), -0.12, 0.05
        )
        above = np.asarray(cv2.GaussianBlur(opaque, (0, 0), 0.9 / patch.pixel_cm), F)
        openness = openness * (1 - F(0.5) * above)
    lit = _light_skin(person, pose, head, hits, shadow, openness, patch.pixel_cm)
    patch.paint(lit, hits.cover)
    if beside is not None:
        paint_locks(beside, person, head.turn, lighting, behind=False)
    if hair is not None:
        towards = surface.visibility(hair.points, hair.normals, main)
        colour = shade_hair(person, hair, head.lighting, head.view, towards, surface.sample(hair_openness, hair.points))
        patch.paint(colour, opaque)


def _light_skin(
    person: Person, pose: Pose, head: _Head, hits: Hits, shadow: Floats, openness: Floats, pixel_cm: float
) -> Floats:
    skin = paint_skin(person, head.at, hits.points, pose.brows_up)
    depth = vector(0.46 - 0.12 * person.dark, 0.24 - 0.04 * person.dark, 0.17)
    soft = np.stack([np.clip(shadow * F(1 + k), 0, 1) for k in (0.22, 0.05, 0.0)])
    light = head.lighting.diffuse(hits.normals, soft, openness, depth) * np.clip(openness, 0.55, 1.05)
    lit: Floats = skin.colour * light
    gloss = skin.gloss * shadow
    for sharp, strength in ((9.0, 0.045), (38.0, 0.05 + 0.035 * person.dark)):
        lit = lit + head.lighting.highlights(hits.normals, head.view, gloss, sharp) * F(strength)
    grazing = (1 - np.clip(np.einsum("i,ihw->hw", head.view, hits.normals), 0, 1)) ** 3
    lit = lit + (F(0.05) * grazing * openness)[None] * head.lighting.above
    lit = paint_mouth(lit, head.at, hits.points, light)
    return paint_eyes(lit, head.star, person, pose, head.at, hits.points, head.view, head.lighting, shadow, pixel_cm)


def _paint_glasses(view: View, person: Person, head: _Head) -> None:
    rng = np.random.default_rng([person.seed, 3])
    patch = view.patch(-11, -6, 11, 6)
    if patch is None:
        return
    frame = np.array(_FRAMES[rng.integers(len(_FRAMES))], F)
    thick_cm, per_cm = float(rng.choice([0.14, 0.24, 0.36])), 1 / patch.pixel_cm
    lens, rims, glare = (np.zeros(patch.u.shape, np.uint8) for _ in range(3))
    for line, is_rim in glasses_lines(head.star, person, head.at):
        seen = (line @ head.turn.T)[:, :2] - (patch.u[0, 0], patch.v[0, 0])
        pixels = np.round(seen * per_cm * 16).astype(np.int32)
        if is_rim:
            cv2.fillPoly(lens, [pixels], 255, cv2.LINE_AA, 4)
            middle = pixels.mean(axis=0)
            band = (pixels - middle) * (0.8, 0.3) + middle - (0, 0.4 * (middle[1] - pixels[:, 1].min()))
            cv2.fillPoly(glare, [band.astype(np.int32)], 255, cv2.LINE_AA, 4)
        cv2.polylines(rims, [pixels], is_rim, 255, max(1, round(thick_cm * per_cm)), cv2.LINE_AA, 4)
    sheen = cv2.GaussianBlur(glare, (0, 0), max(0.6, 0.35 * per_cm))
    drop = round(0.4 * per_cm)
    shade = np.roll(cv2.GaussianBlur(rims, (0, 0), max(0.6, 0.22 * per_cm)), drop, axis=0)
    grey = np.array([0.4, 0.44, 0.5], F)
    for mask, colour, opacity in (
        (shade, frame, 0.3),
        (lens, grey, 0.03),
        (sheen, grey * 2, 0.03),
        (rims, frame, 0.96),
    ):
        patch.paint(colour[:, None, None] * np.ones((3, *mask.shape), F), mask * F(opacity / 255))


def _face_box(view: View, person: Person, head: _Head) -> tuple[float, float, float, float]:
    x, y, _ = head.turn @ np.array([0.0, 0.5 * (head.at.chin_y - 7.0), 4.5])
    width, height = 15.6 * person.width, head.at.chin_y + 5.8
    left, top = view.x + (x - width / 2) * view.per_cm, view.y + (y - height / 2) * view.per_cm
    return left, top, width * view.per_cm, height * view.per_cm
