"""Self-trained: the real images at hand in; an extractor fitted to them, and its file, out.

Stands between the images of "clean shards → DCGAN" and the metrics, where no Inception can be had. A `SmallNetwork`
learns to tell each image from the others whatever its crop, side and light: the contrastive task of Chen et al. 2020,
"A Simple Framework for Contrastive Learning of Visual Representations". That features learned without labels judge
generators well was found of large networks (Morozov et al. 2021, "On Self-Supervised Image Representations for GAN
Evaluation"); this small one is good for comparing runs on one set, and its numbers mean nothing beside another's.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, linear, normalize

from pipelines.errors import ConfigError
from train.data import PackedImages, Pixels
from train.dcgan import from_pixels
from train.evaluation.extractors import AS_STORED, SmallNetwork, run_network
from train.evaluation.features import CPU, Features
from train.weights import digest_weights, load_network, save_network

KIND = "extractor"
STEPS = 200
MINIBATCH = 128
LEARNING_RATE = 1e-3
TEMPERATURE = 0.2
PROJECTED = 64  # dimensions in which views are compared; features are taken before that
SMALLEST_CROP = 0.5  # of the side
LIGHT = 0.3  # brightness and contrast change by up to so much
SHOWN = 2000  # images whose features have mean 0 and standard deviation 1
LEAST_SPREAD = 0.1  # of the median: a feature that hardly varies is not blown up


@dataclass(frozen=True, slots=True)
class Origin:
    """What a network was fitted to.

    Attributes:
        data: name of the set.
        data_digest: of its packed images.
        resolution: of those, in pixels.
        images: how many there were.
        steps: minibatches.
        seed: decides weights, order and views.
    """

    data: str
    data_digest: str
    resolution: int
    images: int
    steps: int
    seed: int


class Directions(nn.Module):
    """Features less their mean, each divided by its standard deviation, and all of an image brought to one length.

    The task compares directions; lengths are left to chance, and a few long ones would rule every distance.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(SmallNetwork.dimensions))
        self.register_buffer("spread", torch.ones(SmallNetwork.dimensions))

    def settle(self, found: Tensor) -> None:
        """Take mean and standard deviation of the features (N, 480) of real images."""
        self.centre.copy_(found.mean(0))
        self.spread.copy_(found.std(0).clamp(min=LEAST_SPREAD * float(found.std(0).median())))

    def forward(self, found: Tensor) -> Tensor:
        """Features (B, 480) → the same shape, each row of length √480."""
        directions: Tensor = normalize((found - self.centre) / self.spread) * SmallNetwork.dimensions**0.5
        return directions


class SelfTrainedExtractor:
    """A `SmallNetwork` that was fitted to real images; see `fit` and `open`."""

    name = "self_trained"
    resizer = AS_STORED
    dimensions = SmallNetwork.dimensions

    def __init__(self, network: nn.Sequential, origin: Origin, device: torch.device = CPU) -> None:
        self.origin = origin
        self.sha256 = digest_weights(network)
        self.label = (
            f"self-trained on {origin.data} at {origin.resolution} px (data {origin.data_digest[:12]}), "
            f"weights {self.sha256[:12]}"
        )
        self._network = network.to(device)
        self._device = device

    @classmethod
    def fit(
        cls, images: PackedImages, data: str, *, seed: int = 0, steps: int = STEPS, device: torch.device = CPU
    ) -> Self:
        """Train on minibatches of the images, drawn anew for each step.

        Args:
            images: real ones.
            data: name of their set, for the label.
            seed: decides weights, order and views; on one kind of machine the weights are the same each time.
            steps: minibatches of up to 128 images.
            device: where to train.

        Raises:
            ConfigError: there are fewer than 2 images.
        """
        if len(images) < 2:
            raise ConfigError(f"{len(images)} images are too few to train an extractor on", hint="give 2 or more")
        origin = Origin(data, images.digest, images.resolution, len(images), steps, seed)
        network = SmallNetwork(seed).to(device)
        views = torch.Generator().manual_seed(seed)
        hidden, projected = (
            nn.Parameter((torch.randn(size, wide, generator=views) / wide**0.5).to(device))
            for size, wide in ((network.dimensions, network.dimensions), (PROJECTED, network.dimensions))
        )
        optimiser = torch.optim.Adam([*network.parameters(), hidden, projected], lr=LEARNING_RATE)
        order = np.random.default_rng(seed)
        for _ in range(steps):
            chosen = order.choice(len(images), min(MINIBATCH, len(images)), replace=False)
            batch = from_pixels(torch.from_numpy(images.take(chosen)).to(device))
            both = torch.cat([make_view(batch, views), make_view(batch, views)])
            loss = contrast(linear(linear(network(both), hidden).relu(), projected))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        shown = images.take(np.sort(order.choice(len(images), min(SHOWN, len(images)), replace=False)))
        directions = Directions().to(device)
        blocks = (shown[start : start + MINIBATCH] for start in range(0, len(shown), MINIBATCH))
        directions.settle(torch.from_numpy(np.concatenate([run_network(network, block, device) for block in blocks])))
        return cls(nn.Sequential(network, directions).requires_grad_(False), origin, device)

    @classmethod
    def open(cls, path: Path, device: torch.device = CPU) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: there is no such file.
            IntegrityError: it is damaged, or no such file.
        """
        network = nn.Sequential(SmallNetwork(seed=0), Directions()).requires_grad_(False)
        hint = "train one, or give another path"
        return cls(network, Origin(**load_network(path, network, KIND, hint=hint)), device)

    def save(self, path: Path) -> None:
        """Write weights, origin and digest, as a safetensors file."""
        save_network(path, self._network, KIND, asdict(self.origin))

    def features(self, pixels: Pixels) -> Features:
        """Features of each image: uint8 RGB (N, R, R, 3) → float32 (N, 480)."""
        return run_network(self._network, pixels, self._device)


def make_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop, mirror and relight each image by chance: (B, 3, R, R) in [-1, 1] → the same shape."""
    count = len(images)
    draws = torch.rand(6, count, generator=generator).to(images.device)
    scale = SMALLEST_CROP + (1 - SMALLEST_CROP) * draws[0]
    shift = (2 * draws[1:3] - 1) * (1 - scale)  # the crop stays inside
    mirror = torch.where(draws[3] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(scale)
    maps = torch.stack([scale * mirror, zero, shift[0], zero, scale, shift[1]], 1).view(count, 2, 3)
    cropped = grid_sample(images, affine_grid(maps, list(images.shape), align_corners=False), align_corners=False)
    contrast_change, brightness = (LIGHT * (2 * draws[4:6] - 1))[:, :, None, None, None]
    relit: Tensor = cropped * (1 + contrast_change) + brightness
    return relit


def contrast(projected: Tensor) -> Tensor:
    """The loss by which each view is to be found by its twin's among all others (Chen et al. 2020, equation 1).

    Args:
        projected: (2 B, D); rows i and B + i are views of one image.
    """
    directions = normalize(projected)
    likeness = directions @ directions.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)
    twins = torch.arange(len(projected), device=projected.device).roll(len(projected) // 2)
    return cross_entropy(likeness, twins)
