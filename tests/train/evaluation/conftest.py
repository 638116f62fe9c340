from collections.abc import Callable

import numpy as np
import pytest

from train.data import PackedImages, Pixels


def paint(count: int, seed: int, side: int = 32) -> Pixels:
    """Pictures of a few soft waves of colour each: uint8 RGB (count, side, side, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    images = np.empty((count, side, side, 3))
    for image in images:
        waves = (
            np.sin(rng.uniform(1, 9) * (x * np.cos(angle) + y * np.sin(angle)) + phase)[..., None] * rng.normal(size=3)
            for angle, phase in rng.uniform(0, 2 * np.pi, (4, 2))
        )
        image[:] = 128 + 30 * sum(waves)
    return images.clip(0, 255).astype(np.uint8)


def pack(images: Pixels, digest: str = "0123456789abcdef") -> PackedImages:
    """As two shards."""
    cut = len(images) // 3
    return PackedImages([images[:cut], images[cut:]], images.shape[1], digest)


@pytest.fixture(name="paint")
def paint_fixture() -> Callable[..., Pixels]:
    return paint


@pytest.fixture(name="pack")
def pack_fixture() -> Callable[..., PackedImages]:
    return pack
