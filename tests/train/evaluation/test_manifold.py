import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from train.evaluation.features import Features
from train.evaluation.manifold import Agreement, compare, fit_manifold


def agree(real: Features, drawn: Features, neighbours: int = 3, tile_rows: int = 4096) -> Agreement:
    return compare(
        fit_manifold(real, neighbours, tile_rows=tile_rows),
        fit_manifold(drawn, neighbours, tile_rows=tile_rows),
        tile_rows=tile_rows,
    )


def normal(seed: int, count: int, dimensions: int, shift: float = 0.0, scale: float = 1.0) -> Features:
    return np.random.default_rng(seed).normal(shift, scale, (count, dimensions))


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (3.0, 1.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_four_are_those_of_prdc(neighbours: int, shift: float, scale: float, dtype: type) -> None:
    pytest.importorskip("sklearn", reason="prdc needs scikit-learn, which is not installed")
    prdc = pytest.importorskip("prdc", reason="prdc is not installed")
    real, drawn = normal(1, 150, 16).astype(dtype), normal(2, 130, 16, shift, scale).astype(dtype)
    expected = prdc.compute_prdc(real, drawn, neighbours)
    found = agree(real, drawn, neighbours, tile_rows=64)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-6), name


def test_sets_that_have_nothing_in_common() -> None:
    assert agree(normal(1, 50, 4), normal(2, 50, 4, shift=1000)) == Agreement(0, 0, 0, 0)


def test_a_set_and_itself() -> None:
    features = normal(1, 60, 4)
    agreement = agree(features, features)
    assert (agreement.precision, agreement.recall, agreement.coverage) == (1, 1, 1)
    # Each ball of k neighbours holds its own centre and k - 1 others: the k-th lies on the surface.
    assert agreement.density == pytest.approx(1, abs=1e-12)


def test_a_picture_on_a_ruler() -> None:
    # Balls reach 1, 1, 1 and 8 around real ones, and 0.25, 0.25 and 28.25 around drawn ones.
    real, drawn = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[1.5], [1.75], [30.0]])
    agreement = agree(real, drawn, neighbours=1)
    assert agreement.precision == pytest.approx(2 / 3)  # 30 lies in no ball
    assert agreement.recall == pytest.approx(2 / 4)  # 2 and 10 lie in 30's ball; for 1.75's, 2 lies on the surface
    assert agreement.density == pytest.approx((2 + 2 + 0) / 3)  # 1.5 and 1.75 lie in the balls of 1 and 2
    assert agreement.coverage == pytest.approx(2 / 4)


def test_a_collapsed_generator_has_no_recall() -> None:
    real = normal(1, 80, 8)
    collapsed = np.repeat(real[:1], 40, axis=0)
    agreement = agree(real, collapsed)
    assert agreement.precision == 1
    assert agreement.recall == 0
    assert agreement.coverage < 0.2


@pytest.mark.parametrize("tile_rows", [3, 7, 64])
def test_copies_lie_at_distance_0_in_whatever_tile_they_are(tile_rows: int) -> None:
    # Four times each: the third nearest neighbour is a copy, and no ball holds anything.
    features = np.repeat(normal(3, 9, 33, shift=5.0), 4, axis=0)
    assert not fit_manifold(features, 3, tile_rows=tile_rows).squared_radii.any()
    assert agree(features, features, 3, tile_rows) == Agreement(0, 0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(4, 40), st.integers(4, 40), st.integers(1, 50))
def test_neither_order_nor_tile_size_matters(seed: int, reals: int, drawn: int, tile_rows: int) -> None:
    one, other = normal(seed, reals, 6), normal(seed + 1, drawn, 6, 0.3)
    rng = np.random.default_rng(seed)
    assert agree(one[rng.permutation(reals)], other[rng.permutation(drawn)], 3, tile_rows) == agree(one, other)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(-100, 100), st.floats(0.01, 100))
def test_neither_place_nor_unit_of_features_matters(seed: int, shift: float, unit: float) -> None:
    one, other = normal(seed, 25, 6), normal(seed + 1, 30, 6, 0.3)
    assert agree(one * unit + shift, other * unit + shift) == agree(one, other)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_images_are_one_line(count: int) -> None:
    with pytest.raises(ConfigError, match=f"{count} images are too few for 3 neighbours of each") as error:
        fit_manifold(normal(0, count, 4), 3)
    assert error.value.hint == "give 4 or more"
