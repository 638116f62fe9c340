"""Extractors: ``uint8`` images in, features out; each says what it is, so that no two are mistaken for one another.

Stands between the images of "clean shards → DCGAN" and the metrics. Here are what an extractor is, and the one that
needs no file; `train.evaluation.inception` has that of the literature, `train.evaluation.self_trained` one that is
fitted to the images at hand. Numbers of different extractors do not compare, not even in their order.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d

from pipelines.errors import IntegrityError
from train.data import Pixels
from train.dcgan import from_pixels
from train.evaluation.features import CPU, Features
from train.weights import digest_weights

BLOCK_IMAGES = 64  # that go through a network at a time
AS_STORED = "none: images as they are"


class Extractor(Protocol):
    """Turns images into features.

    Attributes:
        name: of its kind, short: what scalars are named by; ``inception`` is Inception with the known weights alone.
        label: what it is, in words, with what tells it from others of its kind.
        sha256: of its weights.
        resizer: what brings images to the size that its network takes.
        dimensions: D.
    """

    name: str
    label: str
    sha256: str
    resizer: str
    dimensions: int

    def features(self, pixels: Pixels) -> Features:
        """Features of each image: uint8 RGB (N, R, R, 3) → float32 or float64 (N, D)."""
        ...


def extract(blocks: Iterable[Pixels], extractor: Extractor) -> Features:
    """Features of all images, blocks of uint8 RGB (B, R, R, 3) of any sizes: float32 (N, D).

    Raises:
        IntegrityError: a feature is not finite.
    """
    rows = [np.empty((0, extractor.dimensions), np.float32)]
    for block in blocks:
        parts = (block[start : start + BLOCK_IMAGES] for start in range(0, len(block), BLOCK_IMAGES))
        rows.extend(extractor.features(part).astype(np.float32) for part in parts)
    features = np.concatenate(rows)
    if not np.isfinite(features).all():
        raise IntegrityError(f"features of {extractor.label} are not finite", hint="its weights are damaged")
    return features


@contextmanager
def whole_precision() -> Iterator[None]:
    """Convolutions on a GPU in plain float32, whatever training runs in: TF32 would cut features to 10 bits."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


class SmallNetwork(nn.Module):
    """Four convolutions, each of which halves the side; images of any side that 16 divides.

    Its weights start as He's (uniform, variance 2 / fan-in), from the bits of numpy's RandomState, whose numbers never
    change: they are the same on every machine. What it computes is, as far as float32's sums.
    """

    widths = (3, 32, 64, 64, 64)
    dimensions = sum(widths[1:]) + 4 * widths[-1]

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.RandomState(seed)
        self.kernels = nn.ParameterList()
        for maps, wider in pairwise(self.widths):
            drawn = (2 * rng.random_sample((wider, maps, 3, 3)) - 1) * math.sqrt(6 / (9 * maps))
            self.kernels.append(nn.Parameter(torch.from_numpy(drawn.astype(np.float32))))

    def forward(self, images: Tensor) -> Tensor:
        """Means of each layer's maps, and those of the last one's quarters: (B, 3, R, R) in [-1, 1] → (B, 480)."""
        means = []
        for kernel in self.kernels:
            images = conv2d(images, kernel, stride=2, padding=1).relu()
            means.append(images.mean((2, 3)))
        return torch.cat([*means, adaptive_avg_pool2d(images, 2).flatten(1)], 1)


class RandomExtractor:
    """A frozen `SmallNetwork` whose weights are drawn: needs no file, and no image either.

    Random features tell sets apart less finely than trained ones, but have no leaning to the classes of ImageNet (Naeem
    et al. 2020 use them for that).
    """

    name = "random"
    resizer = AS_STORED
    dimensions = SmallNetwork.dimensions

    def __init__(self, seed: int = 0, device: torch.device = CPU) -> None:
        self.label = f"random, seed {seed}"
        self._network = SmallNetwork(seed).to(device)
        self._device = device
        self.sha256 = digest_weights(self._network)

    def features(self, pixels: Pixels) -> Features:
        """Features of each image: uint8 RGB (N, R, R, 3) → float32 (N, 480)."""
        return run_network(self._network, pixels, self._device)


def run_network(network: nn.Module, pixels: Pixels, device: torch.device) -> Features:
    """What a network of images in [-1, 1] gives for each image: uint8 RGB (N, R, R, 3) → float32 (N, D)."""
    with whole_precision():
        features: Features = (
            network(from_pixels(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))).cpu().numpy()
        )
        return features
