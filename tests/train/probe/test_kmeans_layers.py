"""Layers of K-means: fields that hold what belongs together, and features that depend on the image alone."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipelines.errors import ConfigError
from train.probe.kmeans_layers import FieldSizes, LayeredFeatures, choose_fields, fit_kmeans_layers, rate_similarity

SMALL = FieldSizes(fields=3, inputs=5, maps=6)
Pixels = npt.NDArray[np.uint8]


def fit(pixels: Pixels, seed: int = 0, upper: tuple[FieldSizes, ...] = (SMALL, SMALL)) -> LayeredFeatures:
    return fit_kmeans_layers(pixels, maps=12, upper=upper, seed=seed, patches=500, iterations=3, windows=120)


@pytest.fixture(scope="module")
def images() -> Pixels:
    coarse = np.random.default_rng(0).integers(0, 256, (30, 9, 9, 3), dtype=np.uint8)
    return coarse.repeat(2, 1).repeat(2, 2)


@pytest.fixture(scope="module")
def fitted(images: Pixels) -> LayeredFeatures:
    return fit(images)


def test_maps_that_are_strong_together_are_similar() -> None:
    rng = np.random.default_rng(0)
    signs, strengths = rng.choice([-1, 1], (20_000, 8)), rng.exponential(size=(20_000, 2))
    together = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    values = torch.from_numpy((signs * strengths[:, together]).astype(np.float32))  # none of them are correlated

    for field in choose_fields(values, 8, 4, rng):
        assert len(set(together[field])) == 1


def test_similarity_is_the_correlation_of_squares_of_a_whitened_pair() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) * rng.exponential(size=(500, 1))
    values = (values - values.mean(0)) / values.std(0)

    similarity = rate_similarity(torch.from_numpy(values), 1)
    for other in (0, 2, 3):
        pair = values[:, [1, other]]
        variances, axes = np.linalg.eigh(pair.T @ pair / len(pair))
        squares = (pair @ axes @ np.diag(variances**-0.5) @ axes.T) ** 2
        assert similarity[other] == pytest.approx(np.corrcoef(squares.T)[0, 1], abs=1e-6)
    assert similarity[1] == torch.inf


def test_features_are_quadrants_of_all_layers(images: Pixels, fitted: LayeredFeatures) -> None:
    features = fitted.features(images)

    assert fitted.name == "K-means, 3 layers, 12 + 3×6 + 3×6 maps"
    assert features.dtype == np.float32
    assert features.shape == (len(images), fitted.dimensions) == (30, 4 * (12 + 18 + 18))
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)


def test_an_upper_layer_sees_only_its_window_and_its_field(fitted: LayeredFeatures) -> None:
    layer = fitted.upper[0]
    below = torch.rand(1, 9, 9, 12, generator=torch.Generator().manual_seed(0))
    changed = below.clone()
    changed[0, 4, 5, layer.inputs[1, 0]] += 1
    moved = (layer.answer(below) - layer.answer(changed)).abs()[0]

    places = {tuple(place) for place in moved.sum(2).nonzero().tolist()}
    assert places <= {(3, 4), (3, 5), (4, 4), (4, 5)}
    sees = [int(layer.inputs[1, 0]) in field.tolist() for field in layer.inputs]
    assert [bool(part.any()) for part in moved.split(SMALL.maps, 2)] == sees


def test_layers_are_decided_by_a_seed_and_images_by_themselves(images: Pixels, fitted: LayeredFeatures) -> None:
    again = fit(images)
    assert again.digest == fitted.digest != fit(images, seed=1).digest
    assert again.features(images).tobytes() == fitted.features(images).tobytes()

    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_allclose(fitted.features(images[order]), fitted.features(images)[order], rtol=1e-4, atol=1e-4)


def test_images_may_be_of_any_size_from_16_pixels_on(images: Pixels) -> None:
    small = images[:, :16, :16]
    assert np.isfinite(fit(small, upper=(SMALL,)).features(small[:3])).all()
    large = images[:8].repeat(2, 1).repeat(2, 2)
    assert fit(large).features(large[:1]).shape == (1, 4 * (12 + 18 + 18))


def test_what_cannot_be_fitted_says_why(images: Pixels, fitted: LayeredFeatures) -> None:
    with pytest.raises(ConfigError, match="15 px are too small"):
        fit(images[:, :15, :15])
    with pytest.raises(ConfigError, match="3 receptive fields of 13 out of 12 maps"):
        fit(images, upper=(replace(SMALL, inputs=13),))
    with pytest.raises(ConfigError, match="fitted to images of 18 px"):
        fitted.features(images[:, :16, :16])
