import numpy as np
import pytest

from pipelines.errors import ConfigError
from train.probe.data import Features, Indices
from train.probe.svm import Solver, fit, fit_path

GRID = (1e-4, 1e-3, 1e-2, 1e-1)


def draw_rows(count: int, dimensions: int, classes: int, seed: int) -> tuple[Features, Indices]:
    """Features as D's are: positive for the most part, and far from independent; labels that they tell with noise."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(dimensions // 4, dimensions))
    towards = rng.normal(size=(dimensions // 4, classes))
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, dimensions // 4))
    features = hidden @ mixing + rng.normal(size=(count, dimensions))
    scores = hidden @ towards + 4 * rng.normal(size=(count, classes))
    return np.maximum(features, 0.2 * features).astype(np.float32) / 4, scores.argmax(axis=1)


@pytest.mark.parametrize(("count", "dimensions"), [(1500, 160), (300, 800)], ids=["more images", "more dimensions"])
def test_newton_agrees_with_linear_svc(count: int, dimensions: int) -> None:
    features, labels = draw_rows(count, dimensions, 5, 1)
    test_features, test_labels = draw_rows(8000, dimensions, 5, 2)
    ours = fit_path(features, labels, GRID, solver=Solver.NEWTON)
    peers = fit_path(features, labels, GRID, solver=Solver.LIBLINEAR)
    for c, own, peer in zip(GRID, ours, peers, strict=True):
        assert own.objective(features, labels, c) == pytest.approx(peer.objective(features, labels, c), rel=1e-3)
        accuracies = [each.measure_accuracy(test_features, test_labels) for each in (own, peer)]
        assert accuracies[0] == pytest.approx(accuracies[1], abs=0.001)
        assert accuracies[0] > 0.3


def test_a_path_ends_where_each_c_alone_does() -> None:
    features, labels = draw_rows(600, 80, 3, 1)
    for c, classifier in zip(GRID, fit_path(features, labels, GRID, solver=Solver.NEWTON), strict=True):
        alone = fit(features, labels, c, solver=Solver.NEWTON)
        assert classifier.objective(features, labels, c) == pytest.approx(
            alone.objective(features, labels, c), rel=1e-3
        )


@pytest.mark.parametrize("solver", [Solver.NEWTON, Solver.LIBLINEAR])
def test_a_class_that_is_not_seen_is_never_said(solver: Solver) -> None:
    features, labels = draw_rows(200, 40, 2, 1)
    classifier = fit(features, 2 * labels, 0.01, classes=4, solver=solver)
    assert classifier.weights.shape == (40, 4)
    predicted = classifier.predict(features)
    assert set(predicted.tolist()) == {0, 2}
    assert (predicted == 2 * labels).mean() > 0.6


def test_refusals_say_what_to_try() -> None:
    features, labels = draw_rows(50, 40, 2, 1)
    with pytest.raises(ConfigError, match="of one class"):
        fit(features, np.zeros(50, np.int64), 0.01)
    with pytest.raises(ConfigError, match="C is 0"):
        fit(features, labels, 0.0)
