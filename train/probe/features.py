"""Features of D: its weights in; what all its convolutions say of an image, as one row of numbers, out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 5.1: the output of every
convolution's layer, max-pooled to a 4×4 grid, flattened and joined. That is 28,672 numbers of the `imagenet32` preset,
and 7,168 of `svhn`'s.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import adaptive_max_pool2d

from pipelines.errors import ConfigError
from pipelines.images import centre_square
from train.config import ModelConfig, NormStatistics, TrainConfig
from train.convolutions import choose_layout
from train.dcgan import Discriminator, critic_layers, from_pixels, initialise
from train.probe.data import Features, LabelledImages, Pixels
from train.randomness import Stream, seeded_generator
from train.samples import Inputs
from train.statistics import CALIBRATION_MINIBATCHES, Statistics, prepare
from train.weights import digest_weights

GRID_SIDE = 4  # of what every map is pooled to


@dataclass(frozen=True, slots=True, eq=False)
class CriticFeatures:
    """The features of a D, a `train.probe.data.FeatureMap`.

    Attributes:
        name: as a table says it.
        digest: SHA-256 (hex) of D's weights, and of what its batch norm uses.
        model: what D was made from.
        critic: as `train.statistics.prepare` gives it.
        batch_size: images that pass through it at a time: training's.
        keeps_companions: whether batch norm uses these images' own statistics. The last minibatch is then filled up
            with the first images, so that all are of one size.
    """

    name: str
    digest: str
    model: ModelConfig
    critic: Discriminator
    batch_size: int
    keeps_companions: bool

    @property
    def dimensions(self) -> int:
        """How many numbers there are of an image."""
        return count_dimensions(self.model)

    @torch.inference_mode()
    def features(self, pixels: Pixels) -> Features:
        """Of uint8 RGB (N, R, R, 3) of any size: float32 (N, dimensions)."""
        features = np.empty((len(pixels), self.dimensions), np.float32)
        for start in range(0, len(pixels), self.batch_size):
            wanted = min(self.batch_size, len(pixels) - start)
            rows = np.arange(start, start + (self.batch_size if self.keeps_companions else wanted)) % len(pixels)
            maps = self.critic.features(_to_device(pixels[rows], self.model, self.critic))
            pooled = torch.cat([adaptive_max_pool2d(each, GRID_SIDE).flatten(1) for each in maps], dim=1)
            features[start : start + wanted] = pooled[:wanted].cpu().numpy()
        return features


def count_dimensions(model: ModelConfig) -> int:
    """How many features the D of a model has."""
    return sum(maps for maps, _ in critic_layers(model)) * GRID_SIDE**2


def best_statistics(config: TrainConfig) -> Statistics:
    """What a run is probed with: running averages where it keeps them, those of the probe's images if not."""
    keeps_running = config.model.norm_statistics is NormStatistics.RUNNING
    return Statistics.RUNNING if keeps_running else Statistics.RECALIBRATED


def map_features(
    critic: Discriminator, config: TrainConfig, name: str, statistics: Statistics, images: LabelledImages, seed: int
) -> CriticFeatures:
    """Make a D ready to be probed; it stays as it is.

    Args:
        critic: of any device.
        config: of its run.
        name: as a table is to say it.
        statistics: what its batch norm is to use; `Statistics.RECALIBRATED`: the mean of those of minibatches of
            ``images``, as the authors' code does.
        images: the probe's training images.
        seed: decides which of them.

    Raises:
        ConfigError: D is told its images' classes, or keeps no running averages and is to use them.
    """
    if config.model.classes:
        raise ConfigError(
            f"D of {name} is told the class of each image, which is what a probe is to find out",
            hint="probe a run without --classes",
        )
    calibration = stream_images(images, config, seed, critic) if statistics is Statistics.RECALIBRATED else ()
    digest = hashlib.sha256(f"{digest_weights(critic)} {statistics} {config.model} {config.batch_size}".encode())
    if statistics is Statistics.RECALIBRATED:
        digest.update(f"{images.digest} {seed}".encode())
    return CriticFeatures(
        name,
        digest.hexdigest(),
        config.model,
        prepare(critic, config.model, statistics, calibration),
        config.batch_size,
        statistics is Statistics.BATCH,
    )


def draw_random(config: TrainConfig, seed: int, device: torch.device) -> Discriminator:
    """A D as training would begin with by ``seed``, which has learned nothing."""
    critic = Discriminator(config.model)
    initialise(critic, config.model, seeded_generator(seed, Stream.WEIGHTS))
    critic.requires_grad_(False).to(device=device, memory_format=choose_layout(device))  # type: ignore[call-overload]
    return critic


def stream_images(images: LabelledImages, config: TrainConfig, seed: int, critic: Discriminator) -> Iterator[Inputs]:
    """Minibatches of training's size, by chance, to recalibrate D with."""
    order = np.random.default_rng([seed, Stream.CALIBRATION]).permutation(len(images))
    for start in range(0, len(order), config.batch_size)[:CALIBRATION_MINIBATCHES]:
        rows = order[start : start + config.batch_size]
        if len(rows) == config.batch_size or start == 0:
            yield (_to_device(images.pixels[rows], config.model, critic),)


def _to_device(pixels: Pixels, model: ModelConfig, critic: Discriminator) -> torch.Tensor:
    """Images of any size as D takes them."""
    if pixels.shape[1:3] != (model.resolution, model.resolution):
        pixels = np.stack([centre_square(image, model.resolution) for image in pixels])
    return from_pixels(torch.from_numpy(pixels).to(next(critic.parameters()).device))
