import numpy as np
import pytest

from pipelines.errors import ConfigError
from train.probe import protocols
from train.probe.data import Features, Indices
from train.probe.protocols import Protocol, draw_balanced, hold_out_at_most, measure, parse_labels, shuffle
from train.probe.svm import Solver, fit

GRID = (1e-4, 1e-2, 1.0)


def draw_rows(count: int, seed: int) -> tuple[Features, Indices]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 4)
    features = rng.normal(size=(count, 12)).astype(np.float32)
    features[np.arange(count), labels] += 1.5
    return features, labels


def test_labels_are_drawn_in_equal_parts_and_never_of_those_held_out() -> None:
    labels = np.random.default_rng(0).integers(0, 4, 500)
    drawn = draw_balanced(labels, 80, np.random.default_rng(1))
    assert np.bincount(labels[drawn]).tolist() == [20] * 4
    assert len(set(drawn.tolist())) == 80
    assert drawn.tolist() != draw_balanced(labels, 80, np.random.default_rng(2)).tolist()
    with pytest.raises(ConfigError, match="--labels is 81, of 4 classes"):
        draw_balanced(labels, 81, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="120 images of each class"):
        draw_balanced(labels[:400], 480, np.random.default_rng(0))


def test_numbers_of_labels() -> None:
    assert parse_labels("all", 10) is None
    assert parse_labels("1000", 10) == 1000
    assert parse_labels("400-per-class", 10) == 4000
    for wrong in ("", "0", "-3", "some", "-per-class", "1.5"):
        with pytest.raises(ConfigError, match="--labels"):
            parse_labels(wrong, 10)
    assert hold_out_at_most(50_000) == 10_000
    assert hold_out_at_most(500) == 100


def test_the_order_is_a_permutation_of_the_seed() -> None:
    order = shuffle(1000, 3)
    assert sorted(order.tolist()) == list(range(1000))
    assert (order == shuffle(1000, 3)).all()
    assert (order != shuffle(1000, 4)).any()


def test_of_all_labels_c_is_chosen_by_those_held_out_and_fitted_to_all() -> None:
    features, labels = draw_rows(600, 0)
    test_features, test_labels = draw_rows(400, 1)
    labels[450:] = np.random.default_rng(2).permutation(labels[450:])  # what is held out says nothing of the rest
    protocol = Protocol(held_out=150, grid=GRID)
    reported: list[tuple[int, int]] = []
    outcome = measure(
        features,
        labels,
        test_features,
        test_labels,
        protocol,
        report=lambda done, total: reported.append((done, total)),
    )
    expected = [fit(features[:450], labels[:450], c).measure_accuracy(features[450:], labels[450:]) for c in GRID]
    assert outcome.validation == pytest.approx(expected)
    assert outcome.c == GRID[int(np.argmax(expected))]
    final = fit(features, labels, outcome.c)
    assert outcome.accuracy == final.measure_accuracy(test_features, test_labels)
    assert outcome.spread is None
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("solver", [Solver.NEWTON, Solver.LIBLINEAR])
def test_of_some_labels_the_figure_is_the_mean_of_resamples(solver: Solver) -> None:
    features, labels = draw_rows(600, 0)
    test_features, test_labels = draw_rows(400, 1)
    protocol = Protocol(labels=40, held_out=200, grid=GRID, choice_resamples=3, resamples=8, solver=solver)
    outcome = measure(features, labels, test_features, test_labels, protocol)
    assert outcome == measure(features, labels, test_features, test_labels, protocol)
    assert outcome.spread is not None
    assert 0 < outcome.spread < 0.2
    assert outcome.c == GRID[int(np.argmax(outcome.validation))]
    assert 0.5 < outcome.accuracy < 0.9
    other = Protocol(labels=40, held_out=200, grid=GRID, choice_resamples=3, resamples=8, solver=solver, seed=1)
    assert outcome.accuracy != measure(features, labels, test_features, test_labels, other).accuracy


def test_the_authors_numbers() -> None:
    assert Protocol().grid == (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
    assert (Protocol().held_out, Protocol().choice_resamples, Protocol().resamples) == (10_000, 10, 100)
    assert protocols.NORMAL_95 == 1.96


def test_more_cannot_be_held_out_than_there_is() -> None:
    features, labels = draw_rows(40, 0)
    with pytest.raises(ConfigError, match="40 images are to be held out, and there are 40"):
        measure(features, labels, features, labels, Protocol(held_out=40))
