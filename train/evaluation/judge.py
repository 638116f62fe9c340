"""Judge: a run's images and what is to be measured in; at any time, what its G draws measured against them, out.

Stands beside "clean shards → DCGAN": training asks it every so many images, `train.evaluate` of a run that is there.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch

from pipelines.errors import ConfigError
from train.config import TrainConfig
from train.data import Pixels
from train.dcgan import Generator
from train.evaluation.evaluate import Evaluation, Sampling, evaluate
from train.evaluation.extractors import Extractor, RandomExtractor
from train.evaluation.inception import InceptionExtractor
from train.evaluation.manifold import NEIGHBOURS
from train.evaluation.memorisation import Memorisation, find_memorised
from train.evaluation.reference import Split, open_reference
from train.evaluation.self_trained import SelfTrainedExtractor
from train.randomness import Stream, seeded_generator
from train.samples import GRID_COLUMNS, draw_many, lay_out, stream_inputs
from train.statistics import Statistics, prepare, stream_calibration

PICTURED_ROWS = 4  # of samples in the picture of the nearest training images


class ExtractorKind(StrEnum):
    """Whose features are compared, beside Inception's where its weights are given."""

    RANDOM = "random"
    SELF_TRAINED = "self_trained"  # on the training images


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What is measured; changes nothing of what is trained.

    Attributes:
        extractors: whose features are compared.
        inception: the file of Inception's weights: its features come first then. What comes first decides which
            checkpoint is the best.
        samples: images drawn.
        reference_images: real images at most, by chance.
        every_images: images seen between evaluations; 0: only `train.evaluate` evaluates.
        seed: of z and of subsets.
    """

    extractors: tuple[ExtractorKind, ...] = (ExtractorKind.RANDOM,)
    inception: Path | None = None
    samples: int = 2_000
    reference_images: int = 50_000
    every_images: int = 100_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples <= NEIGHBOURS:
            raise ConfigError(f"--samples is {self.samples}", hint=f"give more than {NEIGHBOURS}")
        if self.every_images < 0:
            raise ConfigError(f"--evaluate-every is {self.every_images}", hint="give 0 for never, or more")


USUAL = Measuring()


class Judge:
    """Measures what a G draws.

    Args:
        measuring: what is measured.
        training: the images that G was trained on.
        held_out: real images that it was not: the reference, unless there are none; then the training images are.
        cache: the folder where features of real images are kept, and a self-trained extractor.
        device: where G draws, features are made and distances computed.

    Raises:
        ConfigError: an extractor's file or package is not there, or there are too few images.
        IntegrityError: a file is damaged.
    """

    def __init__(
        self, measuring: Measuring, training: Split, held_out: Split, cache: Path, device: torch.device
    ) -> None:
        self.measuring = measuring
        self._training = training
        self._held_out = held_out
        self._device = device
        real = (held_out or training).sample(measuring.reference_images)
        extractors = [self._open(kind, cache) for kind in dict.fromkeys(measuring.extractors)]
        if measuring.inception is not None:
            extractors.insert(0, InceptionExtractor(measuring.inception, device))
        self._compared = [(each, open_reference(cache, real, each, device=device)) for each in extractors]

    def is_due(self, images_seen: int, batch_size: int) -> bool:
        """Whether a minibatch that ended at ``images_seen`` reached a multiple of ``measuring.every_images``."""
        return images_seen % self.measuring.every_images < batch_size

    def _open(self, kind: ExtractorKind, cache: Path) -> Extractor:
        if kind is ExtractorKind.RANDOM:
            return RandomExtractor(device=self._device)
        path = cache / f"self_trained_{self._training.digest[:16]}.safetensors"
        if not path.exists():
            SelfTrainedExtractor.fit(self._training.alone, self._training.name, device=self._device).save(path)
        return SelfTrainedExtractor.open(path, self._device)

    def draw(self, generator: Generator, config: TrainConfig, statistics: Statistics) -> Pixels:
        """Draw the images that are to be measured: uint8 RGB (``measuring.samples``, R, R, 3), the same z each time."""
        seed, count = self.measuring.seed, self.measuring.samples
        ready = prepare(generator, config.model, statistics, stream_calibration(config, self._device))
        noise = seeded_generator(seed, Stream.EVALUATION)
        inputs = stream_inputs(config.model, config.batch_size, noise, device=self._device)
        return np.concatenate(list(draw_many(ready, inputs, count, keeps_companions=statistics is Statistics.BATCH)))

    def compare(self, samples: Pixels, weights: str, statistics: Statistics) -> list[Evaluation]:
        """Compare drawn images with the reference, by each extractor.

        Args:
            samples: uint8 RGB (N, R, R, 3), as `draw` gives them.
            weights: whose they are: as trained, or the moving average.
            statistics: batch norm's when they were drawn.
        """
        sampling = Sampling(weights, statistics, self.measuring.seed)
        return [
            evaluate(
                lambda count: iter([samples]),
                reference,
                extractor,
                count=len(samples),
                sampling=sampling,
                device=self._device,
            )
            for extractor, reference in self._compared
        ]

    def find_memorised(self, samples: Pixels) -> Memorisation:
        """Find the nearest training image of each drawn one, uint8 RGB (N, R, R, 3), and how many are by heart."""
        return find_memorised(
            samples, self._training, self._held_out or None, seed=self.measuring.seed, device=self._device
        )

    def picture(self, samples: Pixels, found: Memorisation) -> Pixels:
        """A grid of the samples that come nearest to training images, each above the one that it comes nearest to."""
        columns = min(GRID_COLUMNS, len(samples))
        rows = min(len(samples) // columns, PICTURED_ROWS)
        order = np.argsort(-found.nearest.similarity, kind="stable")[: rows * columns]
        real = self._training.images.take(found.nearest.place[order])
        mirrored = found.nearest.mirrored[order]
        real[mirrored] = real[mirrored, :, ::-1]
        one_above_other = np.stack([each.reshape(rows, columns, *each.shape[1:]) for each in (samples[order], real)], 1)
        return lay_out(one_above_other.reshape(-1, *real.shape[1:]), columns)
