"""Attributes: the rendered portraits in; a small network that tells what a face shows, and its file, out.

Stands beside "clean shards → DCGAN": it finds exemplars of a concept among samples of G, and judges what arithmetic on
z makes of them (Radford et al. 2016, section 6.3.2), where the paper's authors looked. It learns from pictures of which
everything is known, never from samples; those are softer, so that it sees its pictures blurred, noisy, relit and
shifted. How often it is right is measured on pictures that it has not learned from.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import (
    adaptive_avg_pool2d,
    affine_grid,
    avg_pool2d,
    binary_cross_entropy_with_logits,
    grid_sample,
)

from pipelines.errors import ConfigError, SourceError
from pipelines.record import Record
from pipelines.sources import Source
from train.data import Pixels, shrink
from train.dcgan import from_pixels
from train.evaluation.extractors import whole_precision
from train.randomness import Stream, seeded_generator
from train.weights import digest_weights, load_network, save_network

KIND = "classifier of attributes"
NAMES = ("male", "smile", "glasses", "left")
RESOLUTION = 32  # pixels that the network sees
HELD_OUT = 5  # one picture in so many is only measured by
WIDTHS = (3, 24, 48, 64, 64)
HIDDEN = 128
STEPS = 600
MINIBATCH = 64
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.02
BLOCK = 256  # pictures scored at a time
LARGEST_SHIFT, LARGEST_ZOOM = 0.12, 0.1  # of half the side, of the whole
LARGEST_LIGHT, LARGEST_TINT, LARGEST_NOISE = 0.35, 0.1, 0.15  # in a range of -1 to 1

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPortraits:
    """Pictures, and what each shows.

    Attributes:
        pixels: uint8 RGB (N, 32, 32, 3).
        shown: bool (N, 4): whether each of `NAMES` is there.
        data: the name of their source.
        digest: SHA-256 (hex) of pixels and ``shown``.
    """

    pixels: Pixels
    shown: npt.NDArray[np.bool_]
    data: str
    digest: str


@dataclass(frozen=True, slots=True)
class Origin:
    """What a classifier was fitted to, and how well it did.

    Attributes:
        data: name of the pictures' source.
        data_digest: of the pictures and of what they show.
        pictures: how many it learned from.
        steps: minibatches.
        seed: decides weights, order and views.
        held_out: pictures that it was measured by.
        accuracy: attribute → share of those that it was right about, taking what is more likely than not.
        calibration_error: attribute → how far, on average, the share of those that show it is from what it says (Guo et
            al. 2017, "On Calibration of Modern Neural Networks", equation 3, ten bins).
    """

    data: str
    data_digest: str
    pictures: int
    steps: int
    seed: int
    held_out: int
    accuracy: Mapping[str, float]
    calibration_error: Mapping[str, float]


class AttributeNetwork(nn.Sequential):
    """Four convolutions and two layers of a perceptron: (B, 3, 32, 32) in [-1, 1] → logits (B, 4)."""

    def __init__(self, seed: int = 0) -> None:
        first, second, third, fourth = (
            nn.Sequential(nn.Conv2d(maps, wider, 3, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.ReLU())
            for maps, wider, stride in zip(WIDTHS[:-1], WIDTHS[1:], (1, 2, 2, 2), strict=True)
        )
        features = WIDTHS[-1] * (RESOLUTION // 8) ** 2
        super().__init__(
            *(first, second, third, fourth, nn.Flatten()),
            *(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(NAMES))),
        )
        draws = seeded_generator(seed, Stream.ATTRIBUTES)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=draws)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)


class Attributes:
    """A classifier of the attributes of faces; see `fit` and `open`."""

    names = NAMES

    def __init__(self, network: AttributeNetwork, origin: Origin, device: torch.device = CPU) -> None:
        self.origin = origin
        self._network = network.requires_grad_(False).eval().to(device)
        self._device = device
        self.sha256 = digest_weights(network)

    @classmethod
    def fit(
        cls, portraits: LabelledPortraits, *, seed: int = 0, steps: int = STEPS, device: torch.device = CPU
    ) -> Self:
        """Train on four of every five portraits, in views drawn anew for each step, and measure on the fifth.

        Args:
            portraits: from `read_portraits`.
            seed: decides weights, order and views; on one kind of machine the weights are the same each time.
            steps: minibatches of up to 64 pictures.
            device: where to train.

        Raises:
            ConfigError: there are fewer than 10 portraits.
        """
        count = len(portraits.pixels)
        if count < 2 * HELD_OUT:
            raise ConfigError(f"{count} portraits are too few", hint=f"give {2 * HELD_OUT} or more")
        is_held_out = np.arange(count) % HELD_OUT == 0
        learned = np.flatnonzero(~is_held_out)
        network, views = AttributeNetwork(seed).to(device), seeded_generator(seed, Stream.ATTRIBUTES)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        order = np.random.default_rng([seed, Stream.ATTRIBUTES])
        for _ in range(steps):
            chosen = order.choice(learned, min(MINIBATCH, len(learned)), replace=False)
            batch = from_pixels(torch.from_numpy(portraits.pixels[chosen]).to(device))
            shown = torch.from_numpy(portraits.shown[chosen].astype(np.float32)).to(device)
            loss = binary_cross_entropy_with_logits(network(make_view(batch, views)), shown)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
        fitted = cls(network, Origin(portraits.data, portraits.digest, len(learned), steps, seed, 0, {}, {}), device)
        fitted.origin = measure(fitted, portraits, is_held_out)
        return fitted

    @classmethod
    def open(cls, path: Path, device: torch.device = CPU) -> Self:
        """Read what `save` wrote.

        Raises:
            ConfigError: there is no such file.
            IntegrityError: it is damaged, or no such file.
        """
        network = AttributeNetwork()
        hint = "python -m train.explore attributes makes one"
        return cls(network, Origin(**load_network(path, network, KIND, hint=hint)), device)

    def save(self, path: Path) -> None:
        """Write weights, origin and digest, as a safetensors file."""
        save_network(path, self._network, KIND, asdict(self.origin))

    def score(self, pixels: Pixels) -> Floats:
        """How likely each of `NAMES` is: uint8 RGB (N, R, R, 3), R at least 32 → float32 (N, 4) in [0, 1]."""
        blocks = [np.empty((0, len(NAMES)), np.float32)]
        with whole_precision():
            for start in range(0, len(pixels), BLOCK):
                block = torch.from_numpy(np.ascontiguousarray(pixels[start : start + BLOCK])).to(self._device)
                seen = adaptive_avg_pool2d(from_pixels(block), RESOLUTION)
                blocks.append(self._network(seen).sigmoid().cpu().numpy())
        return np.concatenate(blocks)


def read_portraits(source: Source) -> LabelledPortraits:
    """All pictures of the rendered portraits, or of another source whose metadata name the same attributes.

    Raises:
        SourceError: a picture's metadata do not say what it shows.
        ImageRejected: a picture cannot be decoded.
    """
    pixels, shown = [], []
    for split in source.splits():
        for record in source.read(split):
            pixels.append(shrink(record, RESOLUTION))
            shown.append([_read_attribute(record, name, source) for name in NAMES])
    all_pixels = np.array(pixels, np.uint8).reshape(-1, RESOLUTION, RESOLUTION, 3)
    all_shown = np.array(shown, np.bool_).reshape(-1, len(NAMES))
    digest = sha256(all_pixels.tobytes() + all_shown.tobytes()).hexdigest()
    return LabelledPortraits(all_pixels, all_shown, source.name, digest)


def _read_attribute(record: Record, name: str, source: Source) -> bool:
    value = record.meta.get(name)
    if not isinstance(value, bool):
        raise SourceError(
            f"{source.name} does not say of picture {record.key} whether it shows {name!r}",
            hint="give the rendered portraits: python -m pipelines.run download portraits",
        )
    return value


def measure(fitted: Attributes, portraits: LabelledPortraits, is_held_out: npt.NDArray[np.bool_]) -> Origin:
    """The origin of a classifier with what it gets right on portraits that it has not learned from."""
    shown, scores = portraits.shown[is_held_out], fitted.score(portraits.pixels[is_held_out])
    accuracy = ((scores > 0.5) == shown).mean(0)
    errors = [find_calibration_error(scores[:, i], shown[:, i]) for i in range(len(NAMES))]
    return replace(
        fitted.origin,
        held_out=len(shown),
        accuracy=dict(zip(NAMES, accuracy.tolist(), strict=True)),
        calibration_error=dict(zip(NAMES, errors, strict=True)),
    )


def find_calibration_error(scores: Floats, shown: npt.NDArray[np.bool_], bins: int = 10) -> float:
    """The expected calibration error of scores (N,) in [0, 1] of what is ``shown`` (N,), see `Origin`."""
    places = np.minimum((scores * bins).astype(int), bins - 1)
    said, found = (np.bincount(places, weights, bins) for weights in (scores, shown))
    return float(np.abs(said - found).sum() / len(scores))


def make_view(images: Tensor, draws: torch.Generator) -> Tensor:
    """Shift, zoom, blur and relight each image by chance, and add noise: (B, 3, R, R) in [-1, 1] → the same shape.

    Images are not mirrored: which way a face is turned would change.
    """
    count = len(images)
    shift = LARGEST_SHIFT * (2 * torch.rand(2, count, generator=draws) - 1)
    zoom = 1 + LARGEST_ZOOM * (2 * torch.rand(count, generator=draws) - 1)
    zero = torch.zeros(count)
    maps = torch.stack([zoom, zero, shift[0], zero, zoom, shift[1]], 1).view(count, 2, 3).to(images.device)
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    moved = grid_sample(images, grid, align_corners=False, padding_mode="border")
    blur, contrast, light, noise = torch.rand(4, count, 1, 1, 1, generator=draws).to(images.device)
    blurred = moved + blur * (avg_pool2d(moved, 3, 1, 1, count_include_pad=False) - moved)
    tint = LARGEST_TINT * torch.randn(count, 3, 1, 1, generator=draws).to(images.device)
    lit = blurred * (1 + LARGEST_LIGHT * (2 * contrast - 1)) + LARGEST_LIGHT * (2 * light - 1) + tint
    view: Tensor = lit + LARGEST_NOISE * noise * torch.randn(images.shape, generator=draws).to(images.device)
    return view
