"""Light on rendered people: a few distant lamps and a sky, in linear RGB; and skin as something light enters.

After Jensen et al., "A practical model for subsurface light transport" (SIGGRAPH 2001), red light leaves skin farther
from where it came in than green and blue; here that is a softer edge of shadow for red.
"""

from dataclasses import dataclass

import numpy as np

from pipelines.portraits.fields import mix, vector
from pipelines.rooms.materials import F, Floats, Rng, pick

GAMMA = 2.2


@dataclass(frozen=True, slots=True, eq=False)
class Lamp:
    """Far away in ``direction`` (3,), a unit vector in the camera's axes; ``colour`` is linear, (3, 1, 1)."""

    direction: Floats
    colour: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """The first lamp is the strongest, and alone casts shadows; ``above`` and ``below`` are the sky's, (3, 1, 1)."""

    lamps: tuple[Lamp, ...]
    above: Floats
    below: Floats

    def seen_from(self, turn: Floats) -> "Lighting":
        """The same light in the axes of something turned (3, 3) to the camera."""
        lamps = tuple(Lamp(turn.T @ lamp.direction, lamp.colour) for lamp in self.lamps)
        return Lighting(lamps, self.above, self.below)

    def diffuse(self, normals: Floats, shadow: Floats | float, openness: Floats | float, softness: Floats) -> Floats:
        """Light that a matt surface sends back, (3, h, w).

        Args:
            normals: (3, h, w).
            shadow: share of the first lamp's light that arrives, (h, w) or per colour (3, h, w).
            openness: share of the sky's light that arrives.
            softness: how far light goes round each edge, per colour, (3, 1, 1).
        """
        total = mix(self.above, self.below, normals[1][None] * F(0.5) + F(0.5)) * openness
        for i, lamp in enumerate(self.lamps):
            facing = np.einsum("i,ihw->hw", lamp.direction, normals)[None]
            soft = np.maximum((facing + softness) / (1 + softness), 0)
            received = soft if i else soft * shadow
            total = total + received * lamp.colour
        return total

    def highlights(self, normals: Floats, view: Floats, shadow: Floats | float, sharpness: float) -> Floats:
        """Light that a glossy surface mirrors towards ``view`` (3,), (3, h, w)."""
        total = np.zeros_like(normals)
        for i, lamp in enumerate(self.lamps):
            half = lamp.direction + view
            half /= np.linalg.norm(half)
            shine = np.maximum(np.einsum("i,ihw->hw", half.astype(F), normals), 0) ** F(sharpness)
            total += (shine * (shadow if i == 0 else 1))[None] * lamp.colour
        return total


def draw_lighting(rng: Rng, mood: str) -> Lighting:
    """Light as found in a ``mood``: "studio", "daylight", "sun", "indoor" or "stage"."""
    side = rng.choice([-1.0, 1.0])
    key, fill, sky = {
        "studio": (0.8, 0.22, 0.24),
        "daylight": (0.5, 0.15, 0.44),
        "sun": (0.9, 0.12, 0.32),
        "indoor": (0.72, 0.2, 0.28),
        "stage": (0.85, 0.2, 0.22),
    }[mood]
    warm = {"studio": 0.0, "daylight": -0.03, "sun": 0.07, "indoor": 0.09, "stage": 0.05}[mood] + rng.normal(0, 0.025)
    tint = np.array([1 + warm, 1, 1 - 1.3 * warm])
    aim = np.array([side * rng.uniform(0.15, 0.85), -rng.uniform(0.25, 0.75), rng.uniform(0.6, 1.0)])
    lamps = [_lamp(aim, key * tint), _lamp(np.array([-0.8 * side, -0.1, 0.7]), fill * np.array([0.98, 1, 1.03]))]
    if rng.random() < {"stage": 0.8, "studio": 0.4, "sun": 0.3}.get(mood, 0.15):
        glow = pick(rng, {(1.0, 1.0, 1.0): 0.6, (1.0, 0.5, 0.3): 0.2, (0.4, 0.6, 1.2): 0.2})
        lamps.append(_lamp(np.array([-side, -0.5, -0.45]), np.array(glow) * rng.uniform(0.4, 1.0)))
    cool = np.array([0.95, 1.0, 1.08]) if mood in {"daylight", "sun"} else np.array([1.03, 1.0, 0.95])
    return Lighting(tuple(lamps), vector(*(sky * cool * 1.15)), vector(*(sky * tint * rng.uniform(0.35, 0.65))))


def _lamp(direction: Floats, colour: Floats) -> Lamp:
    return Lamp((direction / np.linalg.norm(direction)).astype(F), vector(*colour.tolist()))


def to_linear(displayed: Floats) -> Floats:
    """Displayed colours to amounts of light."""
    linear: Floats = np.power(displayed, F(GAMMA))
    return linear
