from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError
from train.config import ModelConfig, NormStatistics, TrainConfig
from train.data import PackedImages, Pixels
from train.dcgan import Generator
from train.evaluation.judge import ExtractorKind, Judge, Measuring
from train.evaluation.reference import Split
from train.evaluation.self_trained import SelfTrainedExtractor
from train.statistics import Statistics

Paint = Callable[..., Pixels]
Pack = Callable[..., PackedImages]

CPU = torch.device("cpu")
CONFIG = TrainConfig(model=ModelConfig(resolution=32, z_size=8, generator_width=4), batch_size=8)


@pytest.fixture
def training(paint: Paint, pack: Pack) -> Split:
    return Split.whole("waves/clean", pack(paint(60, 0)))


def open_judge(training: Split, cache: Path, share: float = 0.0, **measuring: object) -> Judge:
    kept, held_out = training.part(share)
    return Judge(Measuring(samples=16, **measuring), kept, held_out, cache, CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("statistics", Statistics)
def test_the_same_images_are_drawn_each_time(training: Split, tmp_path: Path, statistics: Statistics) -> None:
    judge = open_judge(training, tmp_path)
    generator = Generator(CONFIG.model)
    state = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    torch.rand(3)
    first, second = (judge.draw(generator, CONFIG, statistics) for _ in range(2))
    assert first.shape == (16, 32, 32, 3)
    assert np.array_equal(first, second)
    assert all(torch.equal(tensor, state[name]) for name, tensor in generator.state_dict().items())


def test_each_extractor_is_compared_by_once_and_says_what_it_is(training: Split, tmp_path: Path, paint: Paint) -> None:
    kinds = (ExtractorKind.RANDOM, ExtractorKind.RANDOM)
    (evaluation,) = open_judge(training, tmp_path, extractors=kinds).compare(paint(16, 9), "ema", Statistics.RUNNING)
    assert evaluation.extractor_name == "random"
    assert (evaluation.samples, evaluation.reference_images) == (16, 60)
    assert (evaluation.weights, evaluation.norm_statistics) == ("ema", "running")
    assert evaluation.reference_split == "waves/clean"


def test_held_out_images_are_the_reference_where_there_are_any(training: Split, tmp_path: Path, paint: Paint) -> None:
    judge = open_judge(training, tmp_path, share=0.25)
    (evaluation,) = judge.compare(paint(16, 9), "raw", Statistics.RUNNING)
    assert (evaluation.reference_split, evaluation.reference_images) == ("waves/clean, held out", 15)
    found = judge.find_memorised(training.images.take(np.arange(16)))
    assert (found.training_images, found.held_out_images) == (45, 15)


def test_a_self_trained_extractor_is_fitted_once(
    training: Split, tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SelfTrainedExtractor, "fit", partial(SelfTrainedExtractor.fit, steps=2))
    kinds = (ExtractorKind.SELF_TRAINED,)
    first = open_judge(training, tmp_path, extractors=kinds).compare(paint(16, 9), "raw", Statistics.RUNNING)
    (file,) = tmp_path.glob("self_trained_*")
    written = file.stat().st_mtime_ns
    assert open_judge(training, tmp_path, extractors=kinds).compare(paint(16, 9), "raw", Statistics.RUNNING) == first
    assert file.stat().st_mtime_ns == written


def test_the_picture_shows_each_sample_above_its_training_image(training: Split, tmp_path: Path) -> None:
    judge = open_judge(training, tmp_path)
    copies = training.images.take(np.arange(16))
    copies[3] = copies[3, :, ::-1]  # mirrored: the training image is shown as it was found
    grid = judge.picture(copies, judge.find_memorised(copies))
    rows = grid.reshape(4, -1, *grid.shape[1:])
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[2], rows[3])


def test_evaluations_are_due_at_every_multiple(training: Split, tmp_path: Path) -> None:
    judge = open_judge(training, tmp_path, every_images=100)
    assert [seen for seen in range(32, 400, 32) if judge.is_due(seen, 32)] == [128, 224, 320]


@pytest.mark.parametrize(
    ("fields", "option"), [({"samples": 5}, "--samples"), ({"every_images": -1}, "--evaluate-every")]
)
def test_what_cannot_be_measured_is_refused(fields: dict[str, int], option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        Measuring(**fields)  # type: ignore[arg-type]


def test_networks_without_running_averages_are_drawn_by_their_minibatch(training: Split, tmp_path: Path) -> None:
    config = TrainConfig(
        model=ModelConfig(resolution=32, z_size=8, generator_width=4, norm_statistics=NormStatistics.BATCH),
        batch_size=8,
    )
    drawn = open_judge(training, tmp_path).draw(Generator(config.model), config, Statistics.BATCH)
    assert drawn.std() > 0
