"""The camera of photographs: from linear light to the bytes of a picture."""

from functools import lru_cache

import cv2
import numpy as np

from pipelines.portraits.light import GAMMA
from pipelines.rooms.materials import F, Floats, Pixels, Rng, to_bytes, triple

_GRAIN_SIDE = 1024


def develop(light: Floats, rng: Rng, *, studio: bool = False) -> Pixels:
    """Exposure, white balance, highlights that roll off, contrast, vignette, the lens's softness and grain.

    ``studio``: always in focus and in colour.
    """
    h, w = light.shape[:2]
    gains = np.exp(rng.normal(0, 0.035, 3)) * np.exp(rng.normal(0.02, 0.13))
    image = np.maximum(light, 0) * gains.astype(F)
    y, x = np.linspace(-1, 1, h, dtype=F)[:, None], np.linspace(-1, 1, w, dtype=F)
    image *= triple(1 - F(rng.uniform(0, 0.16)) * (x * x + y * y))
    knee = F(0.6)
    over = np.maximum(image - knee, 0)
    image += (1 - knee) * over / (over + (1 - knee)) - over
    image = np.power(image, F(1 / GAMMA))
    image += F(rng.uniform(0.0, 0.3)) * image * (image - 1) * (1 - 2 * image)
    softness = rng.uniform(0.0, 0.9)
    if softness > 0.3 and not studio:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), softness), F)
    saturation = F(rng.uniform(0.75, 1.0)) if rng.random() < 0.93 or studio else F(0)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), F)
    image = triple(grey) * (1 - saturation) + image * saturation
    image += _grain(h, w, rng) * F(rng.uniform(0.002, 0.014))
    return to_bytes(image)


def _grain(height: int, width: int, rng: Rng) -> Floats:
    """Noise (height, width, 3), mostly of brightness."""
    top, left = rng.integers(0, _GRAIN_SIDE, 2)
    rows, columns = (top + np.arange(height)) % _GRAIN_SIDE, (left + np.arange(width)) % _GRAIN_SIDE
    grain: Floats = _film()[rows[:, None], columns]
    return grain


@lru_cache(maxsize=1)
def _film() -> Floats:
    rng = np.random.default_rng(2017_1706)
    grain = rng.standard_normal((_GRAIN_SIDE, _GRAIN_SIDE, 3)).astype(F) * F(0.5)
    grain += rng.standard_normal((_GRAIN_SIDE, _GRAIN_SIDE, 1)).astype(F)
    return np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.55), F) * F(1.4)
