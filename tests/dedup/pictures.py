"""Pictures for the tests of `dedup`: random scenes with coarse and fine structure, and near-duplicates of them."""

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 128


def draw_scenes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """(count, 128, 128, 3) uint8 RGB: a smooth background under a dozen coloured boxes and discs each."""
    rng = np.random.default_rng(seed)
    scenes = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for scene in scenes:
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        canvas = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            x, y, width, height = (int(value) for value in rng.integers(8, SIDE - 20, 4))
            colour = [int(value) for value in rng.integers(0, 256, 3)]
            if rng.random() < 0.5:
                cv2.rectangle(canvas, (x, y), (x + width // 3, y + height // 3), colour, -1)
            else:
                cv2.circle(canvas, (x, y), 4 + width // 6, colour, -1)
        scene[:] = canvas
    return scenes


def shrink(scenes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails, (N, 32, 32, 3), of square pictures."""
    return np.stack([cv2.resize(scene, (32, 32), interpolation=cv2.INTER_AREA) for scene in scenes])


def crop(scenes: NDArray[np.uint8], top: int, left: int, size: int) -> NDArray[np.uint8]:
    """The same square cut out of each picture."""
    return scenes[:, top : top + size, left : left + size]


def frame(scenes: NDArray[np.uint8], width: int, level: int) -> NDArray[np.uint8]:
    """Pictures with a frame of one grey level put around them."""
    edges = ((0, 0), (width, width), (width, width), (0, 0))
    return np.pad(scenes, edges, constant_values=level)


def caption(scenes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures with white words near the lower edge."""
    captioned = scenes.copy()
    for scene in captioned:
        cv2.putText(scene, "FOR SALE", (12, SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
    return captioned


def change_tone(scenes: NDArray[np.uint8], gamma: float, gain: float) -> NDArray[np.uint8]:
    """Pictures of another gamma and brightness."""
    return np.asarray((255 * gain * (scenes / 255) ** gamma).clip(0, 255), np.uint8)


def drop_colour(scenes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures in grey."""
    grey = np.stack([cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY) for scene in scenes])
    return np.repeat(grey[..., None], 3, axis=3)


def add_noise(scenes: NDArray[np.uint8], std_levels: float, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures with Gaussian noise."""
    noise = np.random.default_rng(seed).normal(0, std_levels, scenes.shape)
    return np.asarray((scenes + noise).clip(0, 255), np.uint8)
