"""Close-ups: a seed, a person and a sitting in, one face that fills a small square out, and what is known of it.

Where `render_portrait` takes people as it finds them, these are asked to sit in one way: a plain background, soft
light, the eyes always in the same place, a clear smile or none. It is what small networks can learn in minutes.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.portraits.backgrounds import draw_background
from pipelines.portraits.camera import develop
from pipelines.portraits.canvas import View
from pipelines.portraits.clothes import draw_outfit
from pipelines.portraits.figure import paint_figure
from pipelines.portraits.light import draw_lighting, to_linear
from pipelines.portraits.people import Pose, draw_person
from pipelines.portraits.photograph import Face, Photograph, reaches_beyond
from pipelines.rooms.materials import Rng

_SIDE_CM = 20.0  # what the square shows: from the hair to the chin
_EYES_AT = 0.45  # of the square's height, from its top


@dataclass(frozen=True, slots=True)
class Sitting:
    """What somebody is asked for.

    Attributes:
        smiles: a clear smile that shows teeth, or a straight mouth.
        glasses: whether to wear them.
        yaw_deg: how far to turn, to the picture's right.
    """

    smiles: bool
    glasses: bool
    yaw_deg: float


def render_closeup(seed: int, person: int, sitting: Sitting, *, side: int = 64) -> Photograph:
    """Render one face, frontal but for its yaw.

    Args:
        seed: of the whole set.
        person: number of the person, who looks as in `render_portrait`.
        sitting: what they are asked for.
        side: of the square picture in pixels.
    """
    rng = np.random.default_rng([seed, person, 0, 2])  # apart from those of other photographs
    background = draw_background(rng, side, side, kind="studio")
    canvas, lighting = to_linear(background.image), draw_lighting(rng, "daylight")
    who, pose = draw_person(seed, person), _hold(rng, sitting)
    view = View(canvas, side / 2, side * _EYES_AT, side / _SIDE_CM)
    box = paint_figure(view, who, pose, draw_outfit(rng, who, pose.yaw_deg), lighting)
    is_cut = reaches_beyond(canvas, box)
    face = Face(person, box, pose.yaw_deg, pose.roll_deg, pose.smile, pose.glasses, is_cut, blurred=False)
    return Photograph(develop(canvas, rng, studio=True), (face,))


def _hold(rng: Rng, sitting: Sitting) -> Pose:
    smile = float(rng.uniform(0.85, 1.0) if sitting.smiles else rng.uniform(0.0, 0.1))
    return Pose(
        yaw_deg=sitting.yaw_deg,
        pitch_deg=float(np.clip(rng.normal(0, 2.5), -6, 6)),
        roll_deg=float(np.clip(rng.normal(0, 2), -5, 5)),
        smile=smile,
        mouth_open=float(rng.uniform(0.6, 0.9)) if sitting.smiles else 0.0,
        eyes_open=float(rng.uniform(0.95, 1.1) - 0.14 * smile),
        gaze=(float(rng.normal(-sitting.yaw_deg / 60, 0.1)), float(rng.normal(0, 0.05))),
        brows_up=float(np.clip(rng.normal(0.1, 0.2), -0.3, 0.6)),
        glasses=sitting.glasses,
    )
