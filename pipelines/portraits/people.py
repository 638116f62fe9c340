"""People of rendered photographs: what stays with a person, and what changes from shot to shot."""

from dataclasses import dataclass

import numpy as np

from pipelines.rooms.materials import F, Floats, Rng, pick

_SKIN_TONES = np.array(  # displayed, from the fairest to the darkest
    [(246, 214, 194), (236, 194, 166), (222, 174, 140), (200, 148, 112), (164, 112, 80), (134, 90, 66), (102, 68, 53)],
    F,
)
_HAIR_TONES = {  # displayed: a colour, and how often it goes with fair skin and with dark skin
    (22, 18, 17): (0.14, 0.75),
    (44, 30, 22): (0.26, 0.2),
    (78, 52, 34): (0.24, 0.05),
    (120, 84, 52): (0.14, 0.0),
    (186, 148, 96): (0.12, 0.0),
    (214, 184, 138): (0.05, 0.0),
    (128, 58, 28): (0.05, 0.0),
}
_IRIS_TONES = {(84, 50, 28): 0.42, (112, 78, 40): 0.18, (96, 104, 62): 0.1, (84, 118, 142): 0.2, (110, 122, 126): 0.1}
_SHORT = {"short": 0.34, "side part": 0.24, "swept": 0.14, "buzz": 0.1, "curly": 0.1, "bald": 0.08}
_LONG = {"long": 0.3, "parted": 0.2, "bob": 0.15, "fringe": 0.12, "tied": 0.13, "curls": 0.1}
_BEARDS = {"none": 0.52, "stubble": 0.22, "full": 0.12, "goatee": 0.07, "moustache": 0.07}


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """What stays. Shapes are factors around 1, or shares of 0 to 1; colours are displayed RGB, 0 to 1, (3,)."""

    seed: int
    male: float
    age: float
    skin: Floats
    dark: float
    hair: Floats
    grey: float
    iris: Floats
    style: str
    hairline: float
    beard: str
    parting: float
    width: float
    jaw: float
    chin: float
    cheeks: float
    brow_ridge: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_hook: float
    eye_size: float
    eye_gap: float
    eye_tilt: float
    lids: float
    mouth_width: float
    lips: float
    ears: float
    brow_weight: float
    brow_arch: float
    freckles: float
    makeup: float
    build: float
    wears_glasses: float
    frame: int


def draw_person(seed: int, person: int) -> Person:
    """The person of a number; always the same."""
    rng = np.random.default_rng([seed, person, 0xFACE])
    is_male = rng.random() < 0.5
    male = float(np.clip(rng.normal(0.85 if is_male else 0.15, 0.12), 0, 1))
    age = float(np.clip(18 + 62 * rng.beta(1.6, 2.6), 19, 78))
    dark = float(rng.random() ** 1.25)
    tone = np.array([np.interp(dark * 6, range(7), _SKIN_TONES[:, i]) for i in range(3)]) / 255
    tone = tone * (1 + rng.normal(0, 0.025)) * (1 + np.array([0.02, -0.005, -0.035]) * rng.normal(0, 1))
    share = float(np.clip((dark - 0.25) / 0.35, 0, 1))
    hair = pick(rng, {colour: (1 - share) * fair + share * deep for colour, (fair, deep) in _HAIR_TONES.items()})
    grey = float(np.clip((age - rng.uniform(38, 75)) / 16, 0, 1))
    iris = pick(rng, _IRIS_TONES if share < 0.4 else {(58, 36, 22): 1.0})
    style = pick(rng, _SHORT if is_male else _LONG if rng.random() < 0.88 else _SHORT | {"bald": 0.0})
    if is_male and rng.random() < 0.07:
        style = pick(rng, {"long": 0.5, "tied": 0.3, "curls": 0.2})
    if dark > 0.65 and rng.random() < 0.5:
        style = pick(
            rng, {"buzz": 0.5, "afro": 0.25, "bald": 0.25} if is_male else {"afro": 0.4, "curls": 0.35, "tied": 0.25}
        )
    shape = np.clip(rng.normal(0, 1, 20), -2, 2)
    return Person(
        seed=int(rng.integers(1 << 31)),
        male=male,
        age=age,
        skin=np.clip(tone, 0.05, 1).astype(F),
        dark=dark,
        hair=np.array(hair, F) / 255 * F(rng.uniform(0.8, 1.2)),
        grey=grey,
        iris=np.array(iris, F) / 255 * F(rng.uniform(0.8, 1.2)),
        style=style,
        hairline=float(np.clip(rng.uniform(-0.3, 0.6) + (age - 35) / 40 * male, -0.3, 2.2)),
        beard=pick(rng, _BEARDS) if is_male else "none",
        parting=float(rng.choice([-1, 1]) * rng.uniform(0.4, 1)),
        width=1 + 0.045 * shape[0] + 0.02 * (male - 0.5),
        jaw=float(np.clip(0.25 + 0.5 * male + 0.22 * shape[1], 0, 1.2)),
        chin=1 + 0.035 * shape[2] + 0.03 * (male - 0.5),
        cheeks=float(np.clip(0.5 + 0.3 * shape[3], -0.1, 1.1)),
        brow_ridge=float(np.clip(0.1 + 0.7 * male + 0.2 * shape[4], 0, 1.2)),
        nose_length=1 + 0.06 * shape[5],
        nose_width=1 + 0.09 * shape[6] + 0.16 * max(dark - 0.35, 0) + 0.06 * (male - 0.5),
        nose_height=1 + 0.13 * shape[7] - 0.2 * max(dark - 0.4, 0),
        nose_hook=float(0.5 * shape[8]),
        eye_size=1 + 0.06 * shape[9] - 0.07 * (male - 0.5),
        eye_gap=1 + 0.03 * shape[10],
        eye_tilt=float(0.05 + 0.06 * shape[11]),
        lids=float(np.clip(0.35 + 0.3 * shape[12] + (age - 45) / 70, 0, 1)),
        mouth_width=1 + 0.07 * shape[13],
        lips=float(
            np.clip(1 + 0.2 * shape[14] - 0.22 * (male - 0.5) + 0.5 * max(dark - 0.35, 0) - (age - 40) / 150, 0.5, 1.7)
        ),
        ears=1 + 0.15 * shape[15],
        brow_weight=float(np.clip(0.75 + 0.55 * male + 0.2 * shape[16], 0.5, 1.6)),
        brow_arch=float(np.clip(0.45 - 0.3 * male + 0.25 * shape[17], -0.2, 1.1)),
        freckles=float(max(0, rng.normal(-0.3, 0.6))) if dark < 0.35 else 0.0,
        makeup=0.0 if is_male else float(np.clip(rng.normal(0.35, 0.35), 0, 1)),
        build=1 + 0.05 * shape[18] + 0.12 * (male - 0.5),
        wears_glasses=0.85 if rng.random() < 0.16 + 0.2 * (age > 50) else 0.06,
        frame=int(rng.integers(4)),
    )


@dataclass(frozen=True, slots=True)
class Pose:
    """What changes. Angles in degrees; the rest shares of 0 to 1, or a gaze of about -1 to 1 (right, down)."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    smile: float
    mouth_open: float
    eyes_open: float
    gaze: tuple[float, float]
    brows_up: float
    glasses: bool


def draw_pose(rng: Rng, person: Person) -> Pose:
    """Mostly towards the camera, mostly friendly."""
    yaw = float(np.clip(rng.normal(0, 13), -35, 35))
    smile = pick(rng, {0.0: 0.28, 0.35: 0.24, 0.7: 0.26, 1.0: 0.22})
    smile = float(np.clip(smile + rng.normal(0, 0.1), 0, 1))
    talks = rng.random() < 0.22
    opened = float(rng.uniform(0.15, 0.55)) if talks else float(rng.uniform(0.05, 0.3)) if smile > 0.55 else 0.0
    return Pose(
        yaw_deg=yaw,
        pitch_deg=float(np.clip(rng.normal(0, 5), -12, 12)),
        roll_deg=float(np.clip(rng.normal(0, 4), -12, 12)),
        smile=smile,
        mouth_open=opened,
        eyes_open=float(rng.uniform(0.9, 1.1) - 0.14 * smile) if rng.random() < 0.97 else 0.1,
        gaze=(float(rng.normal(-yaw / 60, 0.14)), float(rng.normal(0, 0.06))),
        brows_up=float(np.clip(rng.normal(0.1, 0.3), -0.5, 1)),
        glasses=bool(rng.random() < person.wears_glasses),
    )
