import itertools
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, truncnorm, uniform

from pipelines.errors import ConfigError
from train.config import ModelConfig, Prior
from train.dcgan import Generator, draw_z
from train.samples import draw, draw_many, lay_out, plan_grid, save_png, stream_inputs, truncate

CONFIG = ModelConfig(resolution=32, generator_width=4)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_images_are_laid_out_row_by_row() -> None:
    images = np.arange(6, dtype=np.uint8).repeat(64 * 64 * 3).reshape(6, 64, 64, 3)
    grid = lay_out(images, columns=3)
    assert grid.shape == (128, 192, 3)
    assert grid[::64, ::64, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_small_images_are_enlarged_without_new_colours() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    grid = lay_out(images, columns=2)
    assert grid.shape == (64, 128, 3)
    np.testing.assert_array_equal(grid[::2, :64:2], images[0])


@given(count=st.integers(1, 40), columns=st.integers(1, 12))
def test_any_number_of_images_fills_a_grid(count: int, columns: int) -> None:
    images = np.arange(count, dtype=np.uint8).repeat(64 * 64 * 3).reshape(count, 64, 64, 3)
    tiles = lay_out(images, columns)[::64, ::64, 0]
    assert tiles.shape[1] == min(columns, count)
    assert tiles.size - count < tiles.shape[1]
    assert tiles.ravel().tolist() == [*range(count), *[255] * (tiles.size - count)]


def test_a_grid_that_no_png_can_hold_is_refused() -> None:
    assert plan_grid(1_000_000, 1000, 64) == (1000, 1000, 1)
    with pytest.raises(ConfigError, match="1,000,000 rows"):
        plan_grid(1_000_000, 1, 64)


def test_drawing_changes_nothing_in_the_generator() -> None:
    generator = Generator(CONFIG)
    z = draw_z(4, CONFIG, noise())
    generator(z)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    images = draw(generator, z)
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert generator.training
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


@pytest.mark.parametrize("keeps_companions", [True, False])
@pytest.mark.parametrize("count", [1, 8, 11])
def test_just_as_many_images_are_drawn_as_asked_for(count: int, keeps_companions: bool) -> None:
    inputs = stream_inputs(CONFIG, 4, noise())
    drawn = list(draw_many(Generator(CONFIG), inputs, count, keeps_companions=keeps_companions))
    assert sum(map(len, drawn)) == count


def test_labels_are_dealt_in_turn_and_z_does_not_depend_on_them() -> None:
    conditional = ModelConfig(resolution=32, classes=3)
    given_labels = itertools.islice(stream_inputs(conditional, 4, noise(), labels=[2, 0]), 2)
    every = itertools.islice(stream_inputs(conditional, 4, noise()), 2)
    (z, first), (_, second) = given_labels
    assert [*first.tolist(), *second.tolist()] == [2, 0] * 4
    (other_z, first), (_, second) = every
    assert [*first.tolist(), *second.tolist()] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert torch.equal(z, other_z)
    assert torch.equal(z, next(stream_inputs(CONFIG, 4, noise()))[0])


@given(limit=st.floats(1e-6, 10), prior=st.sampled_from(Prior))
def test_truncated_components_are_inside_and_the_others_as_they_were(limit: float, prior: Prior) -> None:
    z = draw_z(16, ModelConfig(z_prior=prior), noise())
    limited = truncate(z, limit, prior, noise(1))
    inside = z.abs() <= limit
    assert limited.dtype == z.dtype
    assert float(limited.abs().max()) <= np.float32(limit)
    assert torch.equal(limited[inside], z[inside])


@pytest.mark.parametrize(
    ("prior", "inside"), [(Prior.UNIFORM, uniform(-0.7, 1.4)), (Prior.NORMAL, truncnorm(-0.7, 0.7))]
)
def test_truncation_draws_from_what_the_prior_has_inside(prior: Prior, inside: Any) -> None:
    z = draw_z(200, ModelConfig(z_prior=prior), noise())
    limited = truncate(z, 0.7, prior, noise(1)).flatten().double().numpy()
    assert kstest(limited, inside.cdf).pvalue > 0.01


def test_no_limit_draws_nothing_more() -> None:
    z, source = draw_z(2, CONFIG, noise()), noise(1)
    assert truncate(z, math.inf, Prior.NORMAL, source) is z
    assert torch.equal(source.get_state(), noise(1).get_state())


def test_a_png_shows_red_as_red(tmp_path: Path) -> None:
    save_png(tmp_path / "red.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 255]  # OpenCV reads BGR
