from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError
from pipelines.images import centre_square
from train.config import TrainConfig, choose
from train.dcgan import from_pixels
from train.probe.data import LabelledImages
from train.probe.features import best_statistics, count_dimensions, draw_random, map_features
from train.statistics import Statistics

CPU = torch.device("cpu")
Draw = Callable[[int, int], LabelledImages]


@pytest.mark.parametrize(("preset", "dimensions"), [("imagenet32", 28_672), ("svhn", 7_168)])
def test_features_have_the_papers_dimensions(preset: str, dimensions: int, draw_images: Draw) -> None:
    config, images = choose(preset, {"batch_size": 2}), draw_images(2, 0)
    mapped = map_features(draw_random(config, 0, CPU), config, "D", Statistics.BATCH, images, 0)
    assert count_dimensions(config.model) == mapped.dimensions == dimensions
    found = mapped.features(images.pixels)
    assert found.shape == (2, dimensions)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_features_are_the_greatest_of_each_map_in_a_grid_of_four(small_config: TrainConfig, draw_images: Draw) -> None:
    images = draw_images(48, 0)
    critic = draw_random(small_config, 3, CPU)
    mapped = map_features(critic, small_config, "D", Statistics.RECALIBRATED, images, 0)
    pixels = images.pixels[5:7]
    rows = mapped.features(pixels)
    for row, maps in zip(
        rows, zip(*mapped.critic.features(from_pixels(torch.from_numpy(pixels))), strict=True), strict=True
    ):
        expected = [
            each[top : top + cell, left : left + cell].max().item()
            for layer in maps
            for each in layer
            for cell in [len(each) // 4]
            for top in range(0, 4 * cell, cell)
            for left in range(0, 4 * cell, cell)
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_recalibrated_features_of_an_image_do_not_depend_on_its_companions(
    small_config: TrainConfig, draw_images: Draw
) -> None:
    images = draw_images(40, 0)
    critic = draw_random(small_config, 0, CPU)
    mapped = map_features(critic, small_config, "D", Statistics.RECALIBRATED, images, 0)
    whole = mapped.features(images.pixels)
    np.testing.assert_allclose(mapped.features(images.pixels[33:]), whole[33:], rtol=1e-4, atol=1e-5)
    again = map_features(critic, small_config, "D", Statistics.RECALIBRATED, images, 0)
    assert again.digest == mapped.digest
    np.testing.assert_array_equal(again.features(images.pixels), whole)
    other = map_features(critic, small_config, "D", Statistics.RECALIBRATED, images, 1)
    assert other.digest != mapped.digest


def test_with_the_batchs_statistics_the_last_minibatch_is_filled_up(
    small_config: TrainConfig, draw_images: Draw
) -> None:
    images = draw_images(20, 0)
    mapped = map_features(draw_random(small_config, 0, CPU), small_config, "D", Statistics.BATCH, images, 0)
    rows = np.arange(16, 32) % 20
    found = mapped.features(images.pixels)
    np.testing.assert_array_equal(found[16:], mapped.features(images.pixels[rows])[:4])
    assert (found[16:] != mapped.features(images.pixels[16:])).any()


def test_images_of_another_size_are_resized(small_config: TrainConfig, draw_images: Draw) -> None:
    images = draw_images(16, 0)
    large = images.pixels.repeat(2, axis=1).repeat(3, axis=2)
    mapped = map_features(draw_random(small_config, 0, CPU), small_config, "D", Statistics.RECALIBRATED, images, 0)
    small = np.stack([centre_square(image, 32) for image in large])
    np.testing.assert_array_equal(mapped.features(large), mapped.features(small))


def test_refusals_say_what_to_try(small_config: TrainConfig, draw_images: Draw) -> None:
    images = draw_images(16, 0)
    conditional = replace(small_config, model=replace(small_config.model, classes=4))
    with pytest.raises(ConfigError, match="is told the class"):
        map_features(draw_random(conditional, 0, CPU), conditional, "D", Statistics.BATCH, images, 0)
    with pytest.raises(ConfigError, match="no running averages"):
        map_features(draw_random(small_config, 0, CPU), small_config, "D", Statistics.RUNNING, images, 0)
    assert best_statistics(small_config) is Statistics.RECALIBRATED
    assert best_statistics(choose("paper", {})) is Statistics.RUNNING
