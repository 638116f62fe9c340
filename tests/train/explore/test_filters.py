"""Filters next to the pixels as pictures."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch

from train.config import ModelConfig
from train.dcgan import Discriminator, Generator, initialise
from train.explore.filters import as_tiles, correlate_neighbours, critic_filters, generator_filters

CONDITIONAL = ModelConfig(resolution=32, generator_width=4, discriminator_width=6, classes=3)


def test_filters_are_those_of_images_alone() -> None:
    discriminator, generator = Discriminator(CONDITIONAL), Generator(CONDITIONAL)
    weight = discriminator.get_parameter("layers.0.0.weight")
    assert weight.shape == (6, 6, 5, 5)
    assert torch.equal(critic_filters(discriminator), weight[:, :3])
    weight = generator.get_parameter("layers.2.0.weight")
    assert weight.shape == (7, 3, 5, 5)
    assert torch.equal(generator_filters(generator), weight[:4])


def test_filters_are_scaled_jointly() -> None:
    filters = torch.zeros(2, 3, 1, 2)
    filters[0, :, 0, 0] = torch.tensor([0.4, -0.4, 0.2])
    filters[1, 1, 0, 1] = 0.1
    assert as_tiles(filters).tolist() == [[[[255, 0, 191], [128, 128, 128]]], [[[128, 128, 128], [128, 159, 128]]]]


def test_neighbours_correlate_in_edges_and_not_in_noise() -> None:
    noise = torch.randn(64, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert abs(correlate_neighbours(noise)) < 0.1
    ramps = torch.linspace(-1, 1, 5).expand(64, 3, 5, 5)
    assert correlate_neighbours(ramps) > 0.7
    assert correlate_neighbours(-ramps.mT) == pytest.approx(correlate_neighbours(ramps))
    assert correlate_neighbours(torch.ones(2, 3, 5, 5)) == 0


def test_a_run_shows_its_filters(explore: Callable[..., int], run_folder: Path) -> None:
    assert explore("filters", run_folder) == 0
    folder = run_folder / "evidence" / "filters"
    figures = json.loads((folder / "finding.json").read_text())["figures"]
    assert [figure["name"].partition(":")[0] for figure in figures] == ["D's first layer", "G's last layer"]
    assert cv2.imread(str(folder / "filters.png")) is not None
    fresh = Discriminator(CONDITIONAL)
    initialise(fresh, CONDITIONAL, torch.Generator().manual_seed(0))
    assert abs(correlate_neighbours(critic_filters(fresh))) < 0.2
