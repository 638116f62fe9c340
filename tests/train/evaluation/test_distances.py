import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from train.evaluation.distances import Gaussian, fit_gaussian, frechet_distance, kernel_distance
from train.evaluation.features import Features


def draw(seed: int, count: int, dimensions: int, shift: float = 0.0) -> Features:
    """Correlated, skewed, never negative: as pooled activations are."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(dimensions, dimensions)) / dimensions**0.5
    return np.abs(rng.normal(size=(count, dimensions)) @ mixing + shift)


@pytest.mark.parametrize(("count", "dimensions"), [(400, 48), (60, 200)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frechet_distance_is_that_of_torch_fidelity(count: int, dimensions: int, dtype: type) -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", reason="torch-fidelity is not installed")
    one, other = draw(1, count, dimensions).astype(dtype), draw(2, count - 7, dimensions, 0.2).astype(dtype)
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(features)) for features in (one, other)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
    assert frechet_distance(fit_gaussian(one), fit_gaussian(other)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [50, 200])
def test_kernel_distance_is_that_of_torch_fidelity_with_the_same_seed(size: int) -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    one, other = draw(1, 200, 32), draw(2, 230, 32, 0.2)
    expected = kid.kid_features_to_metric(
        torch.from_numpy(one),
        torch.from_numpy(other),
        kid_subsets=7,
        kid_subset_size=size,
        rng_seed=2020,
        verbose=False,
    )
    found = kernel_distance(one, other, seed=2020, subsets=7, subset_size=size)
    assert found.mean == pytest.approx(expected[kid.KEY_METRIC_KID_MEAN], rel=1e-9)
    assert found.std == pytest.approx(expected[kid.KEY_METRIC_KID_STD], rel=1e-6, abs=1e-12)


def test_the_distance_of_two_known_gaussians() -> None:
    one = Gaussian(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    other = Gaussian(np.array([3.0, 4.0, 0.0]), np.diag([4.0, 4.0, 0.0]))
    # |m|² = 25; (1 - 2)² + (2 - 2)² + (3 - 0)² of the standard deviations.
    assert frechet_distance(one, other) == pytest.approx(25 + 1 + 0 + 9, rel=1e-12)


def test_covariances_that_do_not_commute() -> None:
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    one, other = np.diag([1.0, 9.0]), turn @ np.diag([4.0, 16.0]) @ turn.T
    # Of two dimensions, tr(M^½)² = tr M + 2 √det M.
    root = np.sqrt(np.trace(one @ other) + 2 * np.sqrt(np.linalg.det(one @ other)))
    expected = np.trace(one) + np.trace(other) - 2 * root
    assert frechet_distance(Gaussian(np.zeros(2), one), Gaussian(np.zeros(2), other)) == pytest.approx(expected)


@pytest.mark.parametrize("count", [2, 30, 500])
def test_a_set_is_at_distance_0_from_itself_however_few_it_has(count: int) -> None:
    gaussian = fit_gaussian(draw(3, count, 64))
    assert frechet_distance(gaussian, gaussian) == pytest.approx(0, abs=1e-10)


def test_features_that_do_not_vary() -> None:
    still = fit_gaussian(np.ones((5, 8), np.float32))
    assert frechet_distance(still, still) == 0
    assert frechet_distance(still, fit_gaussian(np.full((5, 8), 3, np.float32))) == pytest.approx(32)


def test_kernel_distance_of_like_sets_is_about_0_and_grows_with_what_sets_them_apart() -> None:
    distances = [kernel_distance(draw(1, 300, 16), draw(2, 300, 16, shift), seed=0) for shift in (0, 0.5, 1.0)]
    means = [distance.mean for distance in distances]
    assert abs(means[0]) < 0.02
    assert means[0] < means[1] < means[2]


def test_a_kernel_distance_says_what_it_was_computed_from() -> None:
    distance = kernel_distance(draw(1, 30, 4), draw(2, 20, 4), seed=0, subsets=3)
    assert (distance.subsets, distance.subset_size) == (3, 20)


def test_the_seed_decides_the_subsets_alone() -> None:
    one, other = draw(1, 60, 4), draw(2, 60, 4)
    torch.manual_seed(1)
    first = kernel_distance(one, other, seed=5, subsets=4, subset_size=20)
    torch.manual_seed(2)
    assert kernel_distance(one, other, seed=5, subsets=4, subset_size=20) == first
    assert kernel_distance(one, other, seed=6, subsets=4, subset_size=20) != first


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(1, 12), st.integers(1, 50))
def test_neither_order_nor_block_size_matters(seed: int, count: int, dimensions: int, block_rows: int) -> None:
    one, other = draw(seed, count, dimensions), draw(seed + 1, count + 3, dimensions, 0.3)
    shuffled = one[np.random.default_rng(seed).permutation(count)]
    reference = fit_gaussian(other)
    expected = frechet_distance(fit_gaussian(one), reference)
    assert frechet_distance(fit_gaussian(shuffled, block_rows=block_rows), reference) == pytest.approx(
        expected, rel=1e-6, abs=1e-8
    )
    assert frechet_distance(reference, fit_gaussian(one)) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 30))
def test_a_kernel_distance_of_whole_sets_has_no_order(seed: int, count: int) -> None:
    one, other = draw(seed, count, 5), draw(seed + 1, count, 5, 0.3)
    shuffled = one[np.random.default_rng(seed).permutation(count)]
    expected = kernel_distance(one, other, seed=0, subsets=2).mean
    assert kernel_distance(shuffled, other, seed=0, subsets=2).mean == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_features_are_summed_in_float64() -> None:
    far = (draw(1, 500, 3) + 3000).astype(np.float32)
    np.testing.assert_allclose(fit_gaussian(far).covariance, np.cov(far.astype(np.float64).T), rtol=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_are_one_line(count: int) -> None:
    with pytest.raises(ConfigError, match=f"{count} images are too few for a covariance"):
        fit_gaussian(draw(0, count, 3))
    with pytest.raises(ConfigError, match=f"{count} images are too few for an unbiased kernel distance"):
        kernel_distance(draw(0, 5, 3), draw(0, count, 3), seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_subset_can_be_drawn_by_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match="seed"):
        kernel_distance(draw(0, 5, 3), draw(0, 5, 3), seed=seed)
