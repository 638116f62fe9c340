"""Exploration: an opened run in; z by number, what G draws from them, and a D ready to look at pictures, out.

Stands after the last word of "clean shards → DCGAN": what every experiment of `train.explore` begins with.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from train.config import ModelConfig, NormStatistics
from train.dcgan import Discriminator, Generator, draw_z, from_pixels, to_pixels
from train.evaluation.reference import Split
from train.randomness import Stream, seeded_generator
from train.runs import OpenedRun
from train.samples import Inputs, Pixels
from train.statistics import Statistics, prepare, stream_calibration

BLOCK_ROWS = 64  # z are drawn so many at a time, so that the number of one does not depend on how many are asked for


@dataclass(frozen=True, eq=False)
class Exploration:
    """A run as one experiment sees it: every picture depends on its z alone.

    Attributes:
        opened: the run.
        seed: decides every z.
        statistics: batch norm's, of G and of D; None: see `chosen`.
        label: the class that a conditional run draws.
    """

    opened: OpenedRun
    seed: int = 0
    statistics: Statistics | None = None
    label: int = 0

    def __post_init__(self) -> None:
        if self.statistics is Statistics.BATCH:
            raise ConfigError(
                "with the batch's statistics a picture depends on its companions too, and not on its z alone",
                hint="give --statistics recalibrated",
            )
        if not 0 <= self.label < max(1, self.model.classes):
            raise ConfigError(
                f"--label is {self.label}, and the run has {self.model.classes} classes",
                hint=f"give a number below {self.model.classes}" if self.model.classes else "leave it out",
            )

    @property
    def chosen(self) -> Statistics:
        """Those asked for; else those that training kept, or recalibrated ones where it kept none."""
        keeps_running = self.model.norm_statistics is NormStatistics.RUNNING
        return self.statistics or (Statistics.RUNNING if keeps_running else Statistics.RECALIBRATED)

    @property
    def model(self) -> ModelConfig:
        """What the networks were made from."""
        return self.opened.config.model

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.opened.generator.parameters()).device

    @cached_property
    def generator(self) -> Generator:
        """G with `chosen` statistics."""
        return prepare(
            self.opened.generator, self.model, self.chosen, stream_calibration(self.opened.config, self.device)
        )

    def prepare_critic(self, calibration: Iterable[Inputs]) -> Discriminator:
        """D with `chosen` statistics, those of ``calibration`` where they are recalibrated: what D is going to see."""
        return prepare(self.opened.discriminator, self.model, self.chosen, calibration)

    def draw_z(self, count: int) -> Tensor:
        """The first ``count`` z of the seed, float32 (count, z_size) on the CPU; more of them begin with these."""
        return number_z(count, self.model, self.seed)

    @torch.inference_mode()
    def draw_images(self, z: Tensor) -> Tensor:
        """What G draws from ``z``, (N, z_size) on any device: float32 (N, 3, R, R) in [-1, 1] on the CPU."""
        images = [
            self.generator(*self.condition(rows.to(self.device))).cpu()
            for rows in torch.split(z, self.opened.config.batch_size)
        ]
        return torch.cat(images)

    def draw(self, z: Tensor) -> Pixels:
        """What G draws from ``z``, (N, z_size) on any device: uint8 RGB (N, R, R, 3)."""
        return as_pixels(self.draw_images(z))

    def condition(self, rows: Tensor) -> Inputs:
        """``rows``, of z or of images, with the label of each where the run is conditional."""
        if not self.model.classes:
            return (rows,)
        return rows, torch.full((len(rows),), self.label, device=rows.device)

    def stream_images(self, split: Split) -> Iterator[Inputs]:
        """Real images as training has them, a minibatch of its size at a time, with their labels if D takes any."""
        labels = torch.from_numpy(split.images.number_labels(self.model.classes)) if self.model.classes else None
        for rows in np.array_split(split.indices, -(-len(split) // self.opened.config.batch_size)):
            images = from_pixels(torch.from_numpy(split.images.take(rows)).to(self.device))
            yield (images,) if labels is None else (images, labels[rows].to(self.device))

    def drawn_by(self) -> dict[str, Any]:
        """What decides the picture of a z, by name: boxes and exemplars are of one such state of a run."""
        settings = self.settings()
        return {name: settings[name] for name in ("images_seen", "weights", "statistics", "label") if name in settings}

    def settings(self) -> dict[str, Any]:
        """All of a run that decides what an experiment finds."""
        opened = self.opened
        of_class = {"label": self.label} if self.model.classes else {}
        return {
            "run": str(opened.folder),
            "checkpoint": opened.checkpoint.name,
            "images_seen": opened.images_seen,
            "weights": str(opened.weights),
            "statistics": str(self.chosen),
            "seed": self.seed,
            **of_class,
        }


def number_z(count: int, model: ModelConfig, seed: int) -> Tensor:
    """The first ``count`` z of a seed, float32 (count, z_size) on the CPU."""
    noise = seeded_generator(seed, Stream.EXPLORATION)
    blocks = [draw_z(BLOCK_ROWS, model, noise) for _ in range(-(-count // BLOCK_ROWS))]
    return torch.cat(blocks)[:count]


def as_pixels(images: Tensor) -> Pixels:
    """Images as drawn, float (N, 3, R, R) in [-1, 1], as uint8 RGB (N, R, R, 3)."""
    pixels: Pixels = to_pixels(images).permute(0, 2, 3, 1).contiguous().numpy()
    return pixels
