"""Photographs of people: a seed, a person and a shot in, a picture and the truth about its faces out.

Pictures with known truth, for tests and for collections replayed without a network: they stand where "photographs" do
in "names → URLs → photographs → boxes → crops".
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipelines.portraits.backgrounds import draw_background
from pipelines.portraits.camera import develop
from pipelines.portraits.canvas import View
from pipelines.portraits.clothes import draw_outfit
from pipelines.portraits.figure import paint_figure
from pipelines.portraits.light import Lighting, draw_lighting, to_linear
from pipelines.portraits.people import Pose, draw_person, draw_pose
from pipelines.portraits.scenes import draw_scene
from pipelines.rooms.materials import F, Floats, Pixels, Rng, pick

STRANGERS = 1_000_000  # who stands beside somebody has a number from here on
_APART_CM = 25.0  # between two people's heads
_HEIGHT_CM = 16.4  # of a face's box
_SHAPES = {0.75: 0.22, 0.8: 0.16, 2 / 3: 0.16, 1.0: 0.1, 4 / 3: 0.14, 1.5: 0.14, 16 / 9: 0.08}
_SHARES = {
    (0.34, 0.55): 0.45,
    (0.19, 0.34): 0.39,
    (0.08, 0.19): 0.16,
}  # of the picture's height, that the face takes up


@dataclass(frozen=True, slots=True)
class Face:
    """What is known of one face.

    Attributes:
        person: whose it is; strangers have numbers from `STRANGERS` on.
        box: (left, top, width, height) in pixels, as detectors draw it: from the forehead to the chin, ear to ear. It
            reaches beyond the picture where the face is cut off.
        yaw_deg: how far it is turned, to the picture's right.
        roll_deg: how far it is tilted, clockwise.
        smile: 0 to 1.
        glasses: whether it wears them.
        cut_off: whether the box reaches beyond the picture.
        blurred: whether it is out of focus.
    """

    person: int
    box: tuple[float, float, float, float]
    yaw_deg: float
    roll_deg: float
    smile: float
    glasses: bool
    cut_off: bool
    blurred: bool


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A picture, uint8 RGB (H, W, 3), and the faces in it, the person it was asked for first."""

    image: Pixels
    faces: tuple[Face, ...]


def render_portrait(seed: int, person: int, shot: int, *, width: int = 640, height: int = 800) -> Photograph:
    """Render one large face near the middle of the picture.

    Args:
        seed: of the whole set.
        person: number of the person, who looks alike in all shots.
        shot: number of the picture. Each triple gives another picture, and always the same.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    rng = np.random.default_rng([seed, person, shot])
    background = draw_background(rng, width, height)
    canvas = to_linear(background.image)
    per_cm = min(width / 34, height / 40) * rng.uniform(0.85, 1.15)
    view = View(canvas, width * rng.uniform(0.46, 0.54), height * rng.uniform(0.4, 0.46), per_cm)
    face = _paint_person(view, rng, seed, person, draw_lighting(rng, background.mood), turned=False)
    return Photograph(develop(canvas, rng), (face,))


def render_photograph(seed: int, person: int, shot: int) -> Photograph:
    """Render a photograph as the web has them for a person's name, of 320 to 1600 pixels on its longer side.

    Mostly of that person alone, at times with others or of nobody at all; a face may be small, turned, out of focus or
    cut off by the border. The arguments are those of `render_portrait`.
    """
    rng = np.random.default_rng([seed, person, shot, 1])
    width, height = _draw_size(rng)
    count = pick(rng, {1: 0.75, 2: 0.08, 3: 0.04, 0: 0.13})
    if count == 0:
        return Photograph(develop(to_linear(draw_scene(rng, width, height)), rng), ())
    background = draw_background(rng, width, height)
    canvas, lighting = to_linear(background.image), draw_lighting(rng, background.mood)
    share = rng.uniform(*pick(rng, _SHARES))
    per_cm = min(height * share / _HEIGHT_CM, width / (22 + _APART_CM * (count - 1)))
    is_cut, is_blurred = count == 1 and rng.random() < 0.06, rng.random() < 0.06
    middles = _place_heads(rng, width, height, per_cm, count, is_cut=is_cut)
    people = [person, *(STRANGERS + int(stranger) for stranger in rng.choice(10_000, count - 1, replace=False))]
    faces = []
    for who, (x, y) in zip(people, middles, strict=True):
        view = View(canvas, x, y, per_cm * (rng.uniform(0.94, 1.06) if count > 1 else 1.0))
        faces.append(_paint_person(view, rng, seed, who, lighting, turned=bool(rng.random() < 0.1)))
    if is_blurred:
        sigma = faces[0].box[3] * rng.uniform(0.035, 0.07)
        canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), F)
        faces = [replace(face, blurred=True) for face in faces]
    return Photograph(develop(canvas, rng), tuple(faces))


def _draw_size(rng: Rng) -> tuple[int, int]:
    longer = rng.uniform(*pick(rng, {(320, 500): 0.16, (500, 1000): 0.68, (1000, 1600): 0.16}))
    shape = pick(rng, _SHAPES)
    return round(longer * min(shape, 1)), round(longer / max(shape, 1))


def _place_heads(
    rng: Rng, width: int, height: int, per_cm: float, count: int, *, is_cut: bool
) -> list[tuple[float, float]]:
    """Where heads' centres are, in pixels; the boxes are well inside the picture unless ``is_cut``."""
    reach, apart = 10.5 * per_cm, _APART_CM * per_cm
    half = reach + apart * (count - 1) / 2
    x = rng.uniform(half, width - half) if width > 2 * half else width / 2
    x += 0.5 * (width / 2 - x)  # nearer the middle
    above, below = 8.0 * per_cm, 14.0 * per_cm
    y = above + (height - above - below) * rng.uniform(0.1, 0.55) if height > above + below else height * 0.42
    y = max(y, height - 80.0 * per_cm)  # a small figure is seen to the waist, under much background
    if is_cut:
        if rng.random() < 0.6:
            x = width * float(rng.integers(2)) + rng.uniform(-2.5, 2.5) * per_cm
        else:
            y = rng.uniform(-1.5, 2.5) * per_cm
    places = [(x + (i - (count - 1) / 2) * apart, y + rng.uniform(0, 2.0) * per_cm * (count > 1)) for i in range(count)]
    first = int(rng.integers(count))
    return [places[first], *places[:first], *places[first + 1 :]]


def _paint_person(view: View, rng: Rng, seed: int, number: int, lighting: Lighting, *, turned: bool) -> Face:
    person = draw_person(seed, number)
    pose: Pose = draw_pose(rng, person)
    if turned:
        pose = replace(pose, yaw_deg=float(rng.choice([-1.0, 1.0]) * rng.uniform(26, 35)))
    box = paint_figure(view, person, pose, draw_outfit(rng, person, pose.yaw_deg), lighting)
    return Face(
        number, box, pose.yaw_deg, pose.roll_deg, pose.smile, pose.glasses, reaches_beyond(view.canvas, box), False
    )


def reaches_beyond(canvas: Floats, box: tuple[float, float, float, float]) -> bool:
    """Whether a box (left, top, width, height) is not wholly in the picture."""
    height, width = canvas.shape[:2]
    left, top, box_width, box_height = box
    return left < 0 or top < 0 or left + box_width > width or top + box_height > height
