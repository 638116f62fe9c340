"""One run of the effect of de-duplication: a set in; a G trained on it, its samples, and all measures of them, out."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.effect_sets import Images, Pool, pack
from benchmarks.tables import console
from pipelines.store import write_atomically
from train.config import ModelConfig, TrainConfig, to_toml
from train.data import PackedImages, Pixels, count_minibatches
from train.evaluation.evaluate import Sampling, evaluate
from train.evaluation.extractors import Extractor, RandomExtractor
from train.evaluation.inception import InceptionExtractor
from train.evaluation.memorisation import find_memorised
from train.evaluation.reference import Reference, Split
from train.evaluation.self_trained import SelfTrainedExtractor
from train.loop import Running, train
from train.randomness import Stream, seeded_generator
from train.runs import CONFIG_NAME
from train.samples import draw_many, stream_inputs
from train.state import TrainingState
from train.statistics import Statistics, prepare, stream_calibration

RESOLUTION = 32
MOST_COPIED = 0.01  # of the pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What figures depend on; those of other settings are not continued.

    Attributes:
        source: URI of the pictures; None: rendered rooms.
        pictures: different ones that are trained on.
        held_out: pictures to compare with, and samples drawn.
        shares: of all images of a set that are copies.
        kinds: of copies.
        images_seen: by each run.
        width: maps of the networks' layers nearest to the image.
        batch_size: images in a minibatch.
        ema_decay: of the moving average of G.
        extractor: see `open_extractor`.
    """

    source: str | None
    pictures: int
    held_out: int
    shares: Sequence[float]
    kinds: Sequence[str]
    images_seen: int
    width: int
    batch_size: int
    ema_decay: float
    extractor: str


@dataclass(frozen=True, slots=True)
class World:
    """What all sets of a seed are measured with.

    Attributes:
        seed: of pictures, copies, weights and z.
        images: pictures and copies, of the largest share.
        bank: all of them, packed in their order.
        reference: of the held-out pictures, by the extractor.
        held_out: these pictures.
        extractor: makes features.
    """

    seed: int
    images: Images
    bank: PackedImages
    reference: Reference
    held_out: Split
    extractor: Extractor

    def measure(self, samples: Pixels) -> dict[str, float]:
        """All measures of uint8 RGB (N, R, R, 3)."""
        sampling = Sampling("ema", Statistics.RECALIBRATED, self.seed)
        evaluation = evaluate(
            lambda _: iter([samples]), self.reference, self.extractor, count=len(samples), sampling=sampling
        )
        known = Split.whole("pictures and copies", self.bank)
        found = find_memorised(samples, known, self.held_out)
        shown = np.array([image.picture for image in self.images.values()])
        is_most_copied = shown[found.nearest.place] < max(1, round(MOST_COPIED * (1 + shown.max())))
        low, high = found.verdict.interval
        return {
            "memorised": found.verdict.share,
            "memorised_low": low,
            "memorised_high": high,
            "memorised_most_copied": float((found.verdict.nearer & is_most_copied).mean()),
            "most_copied": float(is_most_copied.mean()),
            "precision": evaluation.precision,
            "recall": evaluation.recall,
            "density": evaluation.density,
            "coverage": evaluation.coverage,
            "kernel_distance": evaluation.kernel_distance,
            "frechet_distance": evaluation.frechet_distance,
        }


def train_on(images: PackedImages, settings: Settings, seed: int, folder: Path, device: torch.device) -> TrainingState:
    """Train on some images, from the beginning, until as many are seen as is settled.

    ``folder`` is made anew, and then a run's as others are: ``python -m train.sample`` draws from it.
    """
    model = ModelConfig(resolution=RESOLUTION, generator_width=settings.width, discriminator_width=settings.width)
    seen_per_epoch = settings.batch_size * (len(images) // settings.batch_size)
    config = TrainConfig(
        model=model,
        batch_size=settings.batch_size,
        epochs=-(-settings.images_seen // max(1, seen_per_epoch)),
        ema_decay=settings.ema_decay,
        seed=seed,
    )
    count_minibatches(images, config.batch_size)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "samples").mkdir(parents=True)
    write_atomically(folder / CONFIG_NAME, to_toml(config).encode())
    state = TrainingState.begin(config, images.digest, device)
    train(
        state,
        images,
        folder,
        Running(device, kept=1),
        should_stop=lambda: state.images_seen >= settings.images_seen,
    )
    return state


def draw_samples(state: TrainingState, count: int, device: torch.device) -> Pixels:
    """Draw by the moving average of G, with recalibrated statistics: uint8 RGB (count, R, R, 3)."""
    assert state.average is not None
    config = state.config
    calibration = stream_calibration(config, device)
    generator = prepare(state.average.generator, config.model, Statistics.RECALIBRATED, calibration)
    noise = seeded_generator(config.seed, Stream.EVALUATION)
    inputs = stream_inputs(config.model, config.batch_size, noise, device=device)
    return np.concatenate(list(draw_many(generator, inputs, count)))


def open_extractor(kind: str, pool: Pool, folder: Path, device: torch.device) -> Extractor:
    """The extractor: ``random``, ``self_trained`` (kept in ``folder``), or Inception by the path of its weights."""
    if kind == RandomExtractor.name:
        return RandomExtractor(device=device)
    if kind != SelfTrainedExtractor.name:
        return InceptionExtractor(Path(kind), device)
    path = folder / "extractor.safetensors"
    if not path.exists():
        console.print("fitting the extractor")
        SelfTrainedExtractor.fit(pack(pool.fitted, RESOLUTION), "other pictures", device=device).save(path)
    return SelfTrainedExtractor.open(path, device)
