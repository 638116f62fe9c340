"""K-means features against a slow reference, and what must not matter to them."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.svm import LinearSVC

from pipelines.errors import ConfigError
from train.probe.kmeans import KMeansFeatures, draw_patches, fit_kmeans, pool_answers

MAPS = 20
SIDE = 18
Pixels = npt.NDArray[np.uint8]


def draw_stripes(count: int, seed: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Discs of stripes at random places, phases and colours on grey noise: their direction is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    rows, columns = np.mgrid[:SIDE, :SIDE]
    along = np.where(labels[:, None, None] == 0, rows, columns)
    waves = np.sin(along * 2 * np.pi / 4 + rng.uniform(0, 2 * np.pi, (count, 1, 1)))
    centres = rng.integers(4, SIDE - 4, (2, count, 1, 1))
    inside = (rows - centres[0]) ** 2 + (columns - centres[1]) ** 2 < 25
    colours = rng.uniform(20, 60, (count, 1, 1, 3))
    pixels = 128 + (inside * waves)[..., None] * colours + rng.normal(0, 3, (count, SIDE, SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def fit(pixels: Pixels, seed: int = 0, maps: int = MAPS) -> KMeansFeatures:
    return fit_kmeans(pixels, maps=maps, seed=seed, patches=2_000, iterations=5)


@pytest.fixture(scope="module")
def images() -> Pixels:
    return draw_stripes(200, seed=1)[0]


@pytest.fixture(scope="module")
def fitted(images: Pixels) -> KMeansFeatures:
    return fit(images)


def pool_slowly(fitted: KMeansFeatures, image: Pixels) -> npt.NDArray[np.float64]:
    """The sums of one image by the paper's own words, patch by patch, in float64."""
    mean, matrix, centroids = (
        tensor.numpy().astype(np.float64)
        for tensor in (fitted.codebook.whitening.mean, fitted.codebook.whitening.matrix, fitted.codebook.centroids)
    )
    places = SIDE - 6 + 1
    sums = np.zeros((2, 2, len(centroids)))
    for top in range(places):
        for left in range(places):
            patch = np.concatenate([image[top : top + 6, left : left + 6, c].ravel() for c in range(3)]).astype(float)
            patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 10)
            distances = np.linalg.norm((patch - mean) @ matrix - centroids, axis=1)
            sums[int(top >= 7), int(left >= 7)] += np.maximum(0, distances.mean() - distances)
    return sums.ravel()


def test_features_are_those_of_a_slow_reference(images: Pixels, fitted: KMeansFeatures) -> None:
    fresh, _ = draw_stripes(16, seed=4)
    sums = np.stack([pool_slowly(fitted, image) for image in fresh])
    fitted_sums = torch.cat(list(pool_answers(fitted.codebook, images))).double().numpy()
    mean, deviation = fitted_sums.mean(0), np.sqrt(fitted_sums.var(0, ddof=1) + 0.01)

    np.testing.assert_allclose(torch.cat(list(pool_answers(fitted.codebook, fresh))), sums, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fitted.features(fresh), (sums - mean) / deviation, rtol=1e-4, atol=1e-4)


def test_patches_are_whitened_as_in_the_paper(images: Pixels, fitted: KMeansFeatures) -> None:
    patches = draw_patches(images, 2_000, np.random.default_rng([0, 24])).astype(np.float64)
    patches = (patches - patches.mean(1, keepdims=True)) / np.sqrt(patches.var(1, ddof=1, keepdims=True) + 10)
    variances, axes = np.linalg.eigh(np.cov(patches.T))
    expected = axes @ np.diag(1 / np.sqrt(variances + 0.1)) @ axes.T

    np.testing.assert_allclose(fitted.codebook.whitening.mean.numpy(), patches.mean(0), atol=1e-5)
    np.testing.assert_allclose(fitted.codebook.whitening.matrix.numpy(), expected, atol=1e-4)


def test_patches_are_cut_out_of_the_images_at_all_places() -> None:
    numbered = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)  # no two values of an image are the same
    patches = draw_patches(numbered, 500, np.random.default_rng(0))

    found = {patch.tobytes() for patch in patches}
    cuts = {
        np.ascontiguousarray(image[top : top + 6, left : left + 6].transpose(2, 0, 1)).tobytes()
        for image in numbered
        for top in range(3)
        for left in range(3)
    }
    assert found == cuts


def test_a_feature_is_a_map_of_a_quadrant(fitted: KMeansFeatures, images: Pixels) -> None:
    features = fitted.features(images)

    assert features.dtype == np.float32
    assert features.shape == (len(images), fitted.dimensions) == (200, 4 * MAPS)
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
    assert features.std(0).max() < 1.01  # much less where a map seldom answers


def test_a_seed_decides_all(images: Pixels, fitted: KMeansFeatures) -> None:
    again, other = fit(images), fit(images, seed=1)

    assert again.digest == fitted.digest != other.digest
    assert again.features(images[:5]).tobytes() == fitted.features(images[:5]).tobytes()


def test_an_image_has_its_features_whatever_its_companions(images: Pixels, fitted: KMeansFeatures) -> None:
    features = fitted.features(images)
    order = np.random.default_rng(0).permutation(len(images))

    np.testing.assert_allclose(fitted.features(images[order]), features[order], rtol=1e-4, atol=1e-4)
    for block in (1, 7, 300):
        blocks = KMeansFeatures(
            fitted.name, fitted.digest, SIDE, fitted.codebook, fitted.mean, fitted.scale, block=block
        )
        np.testing.assert_allclose(blocks.features(images), features, rtol=1e-4, atol=1e-4)
    assert fitted.features(images[:0]).shape == (0, 4 * MAPS)


def test_texture_is_told_where_pixels_are_not_enough() -> None:
    (train, labels), (test, expected) = draw_stripes(300, seed=2), draw_stripes(300, seed=3)
    by_pixels = LinearSVC(C=0.01).fit(train.reshape(300, -1) / 127.5 - 1, labels)
    maps = fit(train)
    by_maps = LinearSVC(C=0.01).fit(maps.features(train), labels)

    of_pixels = by_pixels.score(test.reshape(300, -1) / 127.5 - 1, expected)
    of_maps = by_maps.score(maps.features(test), expected)
    assert of_pixels < 0.7
    assert of_maps > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_finds_the_same(images: Pixels, fitted: KMeansFeatures) -> None:
    there = fit_kmeans(images, maps=MAPS, device=torch.device("cuda"), patches=2_000, iterations=5)

    np.testing.assert_allclose(there.features(images), fitted.features(images), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_fitted_says_why(images: Pixels, fitted: KMeansFeatures) -> None:
    with pytest.raises(ConfigError, match="11 px are too small"):
        fit(images[:, :11, :11])
    with pytest.raises(ConfigError, match="too few for 3000 maps"):
        fit(images, maps=3000)
    with pytest.raises(ConfigError, match="fitted to images of 18 px"):
        fitted.features(images[:, :16, :16])
