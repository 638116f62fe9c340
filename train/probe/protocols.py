"""Protocols: features and labels in; the figure that the paper reports of them out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 5, with what the authors' code adds:
C is chosen among seven, by images held out of the training set, and the test set is looked at once.

=================  ====================================================================================================
all labels         C is chosen by one classifier each, of all training images but those held out; that of the best C is
                   then fitted to all training images. CIFAR-10's 82.8%.
some labels        For each C ten classifiers, each of labelled images that are drawn anew, in equal parts of every
                   class and never of those held out; of the best C then a hundred more such, whose figures on the test
                   set are reported as mean ± 1.96σ. SVHN's 22.48% error, with 1,000.
=================  ====================================================================================================
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch

from pipelines.errors import ConfigError
from train.probe.data import Features, Indices
from train.probe.svm import LinearClassifier, Solver, fit_path
from train.randomness import Stream

AUTHORS_GRID = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
HELD_OUT = 10_000
LARGEST_HELD_OUT = 5  # one in so many of a small training set
NORMAL_95 = 1.96

Report = Callable[[int, int], None]  # called with classifiers fitted and in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a figure is come by.

    Attributes:
        labels: how many labelled images are learned from; None: all.
        held_out: training images that C is chosen by.
        grid: values of C, ascending.
        choice_resamples: draws of labelled images that C is chosen by.
        resamples: draws that the figure is the mean of.
        solver: of the classifier.
        seed: decides which images are held out and drawn.
    """

    labels: int | None = None
    held_out: int = HELD_OUT
    grid: tuple[float, ...] = AUTHORS_GRID
    choice_resamples: int = 10
    resamples: int = 100
    solver: Solver = Solver.AUTO
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """All that decides a figure: of all labels, nothing is drawn."""
        drawn = {"choice_resamples": self.choice_resamples, "resamples": self.resamples} if self.labels else {}
        return {
            "labels": self.labels,
            "held_out": self.held_out,
            "grid": list(self.grid),
            "solver": str(self.solver),
            "protocol_seed": self.seed,
            **drawn,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a protocol gave.

    Attributes:
        accuracy: share of the test images that are classified right.
        spread: 1.96 times its standard deviation over resamples; None of all labels.
        c: the chosen C.
        validation: accuracy on the images held out, of each C of the grid.
    """

    accuracy: float
    spread: float | None
    c: float
    validation: tuple[float, ...]


class Part(IntEnum):
    """What a part of `Stream.PROBE` is for; 1 is `train.probe.data.hold_out`'s. The numbers never change."""

    ORDER = 0
    CHOICE = 2
    FIGURE = 3


def parse_labels(text: str, classes: int) -> int | None:
    """How many labelled images ``1000``, ``400-per-class`` or ``all`` (None) means. Raises ConfigError where none."""
    number, per_class = text.removesuffix("-per-class"), text.endswith("-per-class")
    if text == "all":
        return None
    if not number.isdecimal() or int(number) == 0:
        raise ConfigError(f"--labels is {text}", hint="give a number such as 1000, or 400-per-class, or all")
    return int(number) * (classes if per_class else 1)


def shuffle(count: int, seed: int) -> Indices:
    """The order of training images that a protocol wants their features in: the last ones are those held out."""
    return np.random.default_rng([seed, Stream.PROBE, Part.ORDER]).permutation(count)


def hold_out_at_most(count: int) -> int:
    """How many of ``count`` training images to hold out: the authors' 10,000, or a fifth where there are few."""
    return min(HELD_OUT, count // LARGEST_HELD_OUT)


def draw_balanced(labels: Indices, count: int, rng: np.random.Generator) -> Indices:
    """Places of ``count`` images in ``labels``, as many of each class, ascending: int64 (count,).

    Raises:
        ConfigError: the classes cannot have equal parts, or one has too few images.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    each, left_over = divmod(count, len(classes))
    if left_over or not each:
        raise ConfigError(
            f"--labels is {count}, of {len(classes)} classes",
            hint=f"give a multiple of {len(classes)}, or 400-per-class",
        )
    if each > sizes.min():
        raise ConfigError(
            f"--labels asks for {each:,} images of each class, and one has {sizes.min():,}",
            hint=f"give {int(sizes.min())}-per-class or less",
        )
    drawn = [rng.choice(np.flatnonzero(labels == kind), each, replace=False) for kind in classes]
    return np.sort(np.concatenate(drawn))


def require_possible(labels: Indices, protocol: Protocol) -> None:
    """Refuse, before anything is computed, what a training set of these labels is too small for.

    Raises:
        ConfigError: the protocol asks for more images than there are, or for parts that are not equal.
    """
    if not 0 < protocol.held_out < len(labels):
        raise ConfigError(
            f"{protocol.held_out:,} images are to be held out, and there are {len(labels):,}",
            hint="give less with --held-out",
        )
    if protocol.labels is not None:
        draw_balanced(labels[: len(labels) - protocol.held_out], protocol.labels, np.random.default_rng(0))


def measure(
    features: Features,
    labels: Indices,
    test_features: Features,
    test_labels: Indices,
    protocol: Protocol,
    *,
    device: torch.device | None = None,
    report: Report | None = None,
) -> Outcome:
    """Choose C, then measure on the test set.

    Args:
        features: of the training images in the order of `shuffle`: float32 (N, D).
        labels: theirs, int64 (N,).
        test_features: float32 (M, D).
        test_labels: int64 (M,).
        protocol: how.
        device: of Newton's method; the CPU if None.
        report: is told how many classifiers are fitted.

    Raises:
        ConfigError: the protocol asks for more images than there are.
    """
    require_possible(labels, protocol)
    each = _Measuring(features, labels, test_features, test_labels, protocol, device, report or (lambda *_: None))
    return each.use_all() if protocol.labels is None else each.use_some(protocol.labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Measuring:
    features: Features
    labels: Indices
    test_features: Features
    test_labels: Indices
    protocol: Protocol
    device: torch.device | None
    report: Report

    def use_all(self) -> Outcome:
        total, kept = len(self.protocol.grid) + 1, len(self.labels) - self.protocol.held_out
        validation = []
        path = self.path(self.features[:kept], self.labels[:kept], self.protocol.grid)
        for done, classifier in enumerate(path, 1):
            validation.append(classifier.measure_accuracy(self.features[kept:], self.labels[kept:]))
            self.report(done, total)
        c = self.protocol.grid[int(np.argmax(validation))]
        (final,) = self.path(self.features, self.labels, (c,))
        self.report(total, total)
        accuracy = final.measure_accuracy(self.test_features, self.test_labels)
        return Outcome(accuracy, None, c, tuple(validation))

    def use_some(self, count: int) -> Outcome:
        protocol, kept = self.protocol, len(self.labels) - self.protocol.held_out
        total = protocol.choice_resamples * len(protocol.grid) + protocol.resamples
        found = np.empty((protocol.choice_resamples, len(protocol.grid)))
        for draw in range(protocol.choice_resamples):
            rows = self.draw(count, Part.CHOICE, draw)
            path = self.path(self.features[rows], self.labels[rows], protocol.grid)
            for place, classifier in enumerate(path):
                found[draw, place] = classifier.measure_accuracy(self.features[kept:], self.labels[kept:])
                self.report(draw * len(protocol.grid) + place + 1, total)
        validation = found.mean(axis=0)
        c = protocol.grid[int(np.argmax(validation))]
        accuracies = []
        for draw in range(protocol.resamples):
            rows = self.draw(count, Part.FIGURE, draw)
            (classifier,) = self.path(self.features[rows], self.labels[rows], (c,))
            accuracies.append(classifier.measure_accuracy(self.test_features, self.test_labels))
            self.report(total - protocol.resamples + draw + 1, total)
        spread = NORMAL_95 * float(np.std(accuracies))
        return Outcome(float(np.mean(accuracies)), spread, c, tuple(validation.tolist()))

    def draw(self, count: int, purpose: int, number: int) -> Indices:
        rng = np.random.default_rng([self.protocol.seed, Stream.PROBE, purpose, number])
        return draw_balanced(self.labels[: len(self.labels) - self.protocol.held_out], count, rng)

    def path(self, features: Features, labels: Indices, grid: tuple[float, ...]) -> Iterator[LinearClassifier]:
        classes = int(max(self.labels.max(), self.test_labels.max())) + 1
        return fit_path(
            features,
            labels,
            grid,
            classes=classes,
            solver=self.protocol.solver,
            device=self.device,
            seed=self.protocol.seed,
        )
