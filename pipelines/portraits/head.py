"""Heads: a person's face and an expression in, a star-shaped surface out, and the places of its features.

Seen from the front, x and y in centimetres from between the eyes; proportions as drawing books give them: eyes at half
the head's height, about one eye's width apart.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.portraits.fields import bump, curve, mix, step
from pipelines.portraits.hairstyles import style_of
from pipelines.portraits.people import Person, Pose
from pipelines.portraits.surface import directions, longitudes
from pipelines.rooms.materials import F, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Where features are, in the head's centimetres; see `Mouth` and `Eye` for the curves."""

    eye_x: float
    eye_width: float
    lid_up: float
    lid_down: float
    nose_y: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    gap: float
    smile: float
    upper_lip: float
    lower_lip: float
    chin_y: float

    def lid_lines(self, x: Floats, tilt: float) -> tuple[Floats, Floats]:
        """The y of the upper and lower lid at ``x`` outwards from an eye's middle; they meet at its corners."""
        t = np.clip(x * F(1 / self.eye_width), -1, 1)
        across = F(-tilt) * x
        upper = across - F(self.lid_up) * np.maximum(1 - np.abs(t + F(0.08)) ** F(2.3), 0)
        lower = across + F(self.lid_down) * np.maximum(1 - np.abs(t - F(0.12)) ** F(2.1), 0)
        return upper, lower

    def lip_lines(self, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """The y, at ``x``, of the upper lip's top and bottom and the lower lip's top and bottom."""
        t = np.clip(np.abs(x) * F(1 / self.mouth_width), 0, 1)
        line = F(self.mouth_y) + F(0.16) - F(0.16 + 0.66 * self.smile) * t ** F(2.4) - F(0.1) * bump(x, 0.35)
        arch = np.maximum(1 - t**2, 0)
        bow = arch ** F(0.8) * (1 + F(0.22) * bump(np.abs(x) - F(0.6), 0.4) - F(0.22) * bump(x, 0.3))
        upper, lower = line - F(0.22 * self.gap) * arch, line + F(0.78 * self.gap) * arch
        return upper - F(self.upper_lip) * bow, upper, lower, lower + F(self.lower_lip) * arch ** F(0.95)


def locate(person: Person, pose: Pose) -> Anatomy:
    """Where this person's features are in this expression."""
    opened = pose.mouth_open
    return Anatomy(
        eye_x=3.2 * person.eye_gap * person.width,
        eye_width=1.62 * person.eye_size,
        lid_up=0.66 * person.eye_size * pose.eyes_open * (1 - 0.2 * person.lids),
        lid_down=0.44 * person.eye_size * (1 - 0.35 * pose.smile) * min(1.0, pose.eyes_open + 0.15),
        nose_y=4.35 * person.nose_length,
        nose_width=1.0 * person.nose_width,
        mouth_y=7.15 + 0.12 * opened,
        mouth_width=(2.3 + 0.55 * pose.smile) * person.mouth_width,
        gap=1.5 * opened,
        smile=pose.smile,
        upper_lip=0.56 * person.lips * (1 - 0.25 * pose.smile),
        lower_lip=0.86 * person.lips * (1 - 0.12 * pose.smile),
        chin_y=11.0 * person.chin + 0.7 * opened,
    )


def shape_head(person: Person, pose: Pose, at: Anatomy) -> Floats:
    """The map of radii of a head without hair."""
    dx, dy, dz = directions()
    radius = _skull(person, at, dx, dy, dz)
    front = step(dz, 0.05, 0.5)
    radius = radius + F(0.85) * bump(radius * dx, 3.3, radius * dy - F(6.7), 3.1) * front  # the muzzle
    x, y = radius * dx, radius * dy
    side = np.abs(x)
    old = float(np.clip((person.age - 32) / 40, 0, 1))
    relief = F(0.2 + 0.4 * person.brow_ridge) * bump(side - F(2.4), 1.9, y + F(1.9), 0.65)
    relief -= F(0.35) * bump(side - F(6.4), 1.1, y + F(2.6), 2.2)  # temples
    relief += _eye_relief(person, at, side, y)
    relief += F(0.5) * bump(side - F(4.9 * person.width), 1.3, y - F(3.1), 1.2)  # cheekbones
    relief += F(0.5 * at.smile) * bump(side - F(3.9), 1.15, y - F(4.2), 1.0)
    relief -= F(0.55 * (1 - person.cheeks)) * bump(side - F(5.0), 1.0, y - F(7.0), 1.7)
    relief += F(0.45 * person.cheeks) * bump(side - F(4.4), 1.6, y - F(6.6), 2.0)
    relief += _nose_relief(person, at, x, side, y) + _mouth_relief(at, x, y)
    relief += F(0.5 + 0.25 * person.male) * bump(x, 1.5, y - F(at.chin_y - 1.1), 0.9)
    fold = side - curve(y, [(4.2, 1.85), (5.6, 2.5), (7.4, at.mouth_width + 0.75), (9, at.mouth_width + 0.85)])
    depth = F(0.04 + 0.16 * old + 0.2 * at.smile) * bump(y - F(6.1), 1.25)
    relief += depth * (F(0.8) * bump(fold - F(0.55), 0.5) - bump(fold, 0.17))
    if old > 0.2:
        wave = np.sin(y * F(5.2) + F(0.5) * np.cos(x * F(0.9) + person.seed % 7))
        relief += F(0.035 * old) * wave * bump(x, 3.2, y + F(5), 1.3)
        feet = np.sin((y + F(0.25) * side) * F(9))
        relief += F(0.03 * old + 0.03 * at.smile * old) * feet * bump(side - F(5.4), 0.6, y - F(0.4), 0.7)
    ears = _ear_relief(person, radius * dy) * F(0.2 if style_of(person).falls else 1.0)
    return radius + relief * front + ears


def _skull(person: Person, at: Anatomy, dx: Floats, dy: Floats, dz: Floats) -> Floats:
    lower = step(dy, -0.1, 0.75)
    power = F(2.15) + F(0.15 + 0.5 * person.jaw) * lower
    wide = mix(F(7.75), F(6.75 + 0.35 * person.jaw + 0.2 * person.cheeks), lower) * F(person.width)
    high = np.where(dy < 0, F(11.3), F(at.chin_y))
    deep = np.where(dz > 0, F(9.0), F(9.6))
    inverse = (np.abs(dx) / wide) ** power + (np.abs(dy) / high) ** power + (np.abs(dz) / deep) ** power
    radius: Floats = inverse ** (-1 / power)
    return radius


def _eye_relief(person: Person, at: Anatomy, side: Floats, y: Floats) -> Floats:
    from_eye = side - F(at.eye_x)
    relief = F(-0.85) * bump(from_eye, 1.5, y - F(0.1), 1.05)
    relief -= F(0.55) * bump(side - F(1.75), 0.6, y + F(0.1), 0.8)
    relief += F(0.62) * bump(from_eye, 1.0, y, 0.66)
    upper, lower = at.lid_lines(from_eye, person.eye_tilt)
    inside = step(np.abs(from_eye), at.eye_width + 0.3, at.eye_width - 0.3)
    crease = y - (upper - F(0.34 - 0.14 * person.lids))
    relief += inside * (F(0.1) * bump(crease - F(0.2), 0.13) - F(0.1) * bump(crease, 0.09))  # the lid and its crease
    relief += inside * F(0.1) * bump(y - lower - F(0.16), 0.14)
    old = max(0.0, (person.age - 40) / 40)
    bag = y - F(0.95) - F(0.03) * from_eye**2
    return relief + F(0.06 + 0.16 * old) * bump(from_eye, 1.0) * (bump(bag, 0.22) - bump(bag - F(0.4), 0.2))


def _nose_relief(person: Person, at: Anatomy, x: Floats, side: Floats, y: Floats) -> Floats:
    k, high, wide = at.nose_y / 4.55, person.nose_height, at.nose_width
    hook = 0.25 * person.nose_hook
    profile = [(-2.2, 0), (-0.9, 0.3), (0.4, 0.62), (1.6, 1.15 + hook), (2.8, 1.62 + hook), (3.7, 1.98), (4.15, 2.08)]
    profile += [(4.5, 1.85), (4.85, 1.15), (5.2, 0.45), (5.6, 0.12), (6.2, 0)]
    ridge = curve(y, [(at_y * k, rise * high) for at_y, rise in profile])
    spread = curve(y, [(-1, 0.85), (0.6, 0.62), (2.4, 0.72), (4.0 * k, 0.86 * wide), (5.2 * k, 0.8 * wide)])
    relief = ridge * np.exp(-((side / spread) ** F(2.3)) * F(0.62))
    relief += F(0.16) * bump(x, 0.55 * wide, y - F(4.1 * k), 0.4)
    relief += F(0.85) * bump(side - F(1.14 * wide), 0.4, y - F(4.42 * k), 0.42)  # wings
    relief -= F(0.22) * bump(side - F(1.78 * wide), 0.24, y - F(4.5 * k), 0.55)
    return relief - F(0.5) * bump(side - F(0.66 * wide), 0.27, y - F(4.98 * k), 0.16)


def _mouth_relief(at: Anatomy, x: Floats, y: Floats) -> Floats:
    top, upper, lower, bottom = at.lip_lines(x)
    inside = step(np.abs(x), at.mouth_width + 0.15, at.mouth_width - 0.9)
    relief = F(0.22) * bump(y - (top + upper) * F(0.5), max(0.18, 0.36 * at.upper_lip))
    relief += F(0.25) * bump(y - (lower + bottom) * F(0.5), max(0.2, 0.34 * at.lower_lip))
    relief -= F(0.24) * bump(y - (upper + lower) * F(0.5), 0.12 + 0.3 * at.gap)
    relief *= inside
    relief -= F(0.12) * bump(x, 0.22, y - F(at.mouth_y - 1.15), 0.45)  # the groove below the nose, with its two rims
    relief += F(0.08) * bump(np.abs(x) - F(0.5), 0.2, y - F(at.mouth_y - 1.0), 0.45)
    relief -= F(0.16) * bump(np.abs(x) - F(at.mouth_width + 0.25), 0.4, y - F(at.mouth_y - 0.55 * at.smile), 0.5)
    return relief - F(0.4) * bump(x, 1.7, y - bottom - F(0.55), 0.42)


def _ear_relief(person: Person, y: Floats) -> Floats:
    longitude = np.abs(longitudes())[None]
    tall = F(2.9 * person.ears)
    rim = step(np.hypot((longitude - F(97)) / F(10), (y - F(1.6)) / tall), 1.1, 0.7)
    bowl = bump(longitude - F(93), 4.5, y - F(1.6), 1.1)
    ear: Floats = rim * F(1.15 * person.ears) - F(0.3) * bowl
    return ear
