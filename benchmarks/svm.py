"""Is our support vector machine LinearSVC's, and from what size on is it quicker?

    python -m benchmarks.svm [--largest 50000] [--device cuda]

Features are drawn: LeakyReLU of mixed noise, as long as D's and as dependent on one another, of ten classes. Both
solvers get the same C and the same tolerance; accuracy is of 2,000 further rows. LIBLINEAR is not asked beyond
`--liblinear-numbers` features: it copies them to sixteen bytes each. Memory is the largest of this process, the
features (4 bytes a number) included; of the largest size, with --newton-only, it says what a probe of D needs.
"""

import argparse
import resource
import time

import numpy as np
import torch

from benchmarks.tables import print_machine, print_table
from train.probe.data import Features, Indices
from train.probe.svm import LinearClassifier, Solver, fit

SIZES = ((1_000, 7_168), (4_000, 7_168), (10_000, 7_168), (4_000, 28_672), (50_000, 7_168), (50_000, 28_672))
CLASSES, HIDDEN, TEST_ROWS, BLOCK = 10, 256, 2_000, 1_000
LENGTH = 90.0  # of a row: D's at 7,168 dimensions


def draw(count: int, dimensions: int, seed: int) -> tuple[Features, Indices]:
    """Features and labels, block by block: nothing larger than the features is ever in memory."""
    fixed = np.random.default_rng(0)
    mixing = fixed.normal(size=(HIDDEN, dimensions)).astype(np.float32)
    towards = fixed.normal(size=(HIDDEN, CLASSES))
    rng = np.random.default_rng([1, seed])
    features, labels = np.empty((count, dimensions), np.float32), np.empty(count, np.int64)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        hidden = rng.normal(size=(rows.stop - start, HIDDEN)).astype(np.float32)
        mixed = hidden @ mixing + 8 * rng.standard_normal((len(hidden), dimensions), np.float32)
        mixed = np.maximum(mixed, 0.2 * mixed)
        features[rows] = mixed * (LENGTH / np.linalg.norm(mixed, axis=1, keepdims=True))
        labels[rows] = (hidden @ towards + 12 * rng.normal(size=(len(hidden), CLASSES))).argmax(1)
    return features, labels


def time_fit(
    features: Features, labels: Indices, c: float, solver: Solver, device: str
) -> tuple[float, LinearClassifier]:
    """Seconds, and what was fitted."""
    started = time.perf_counter()
    classifier = fit(features, labels, c, solver=solver, device=torch.device(device))
    return time.perf_counter() - started, classifier


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=4_000, help="rows, at most")
    parser.add_argument("--c", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu", help="of our solver")
    parser.add_argument("--liblinear-numbers", type=int, default=80_000_000)
    parser.add_argument("--newton-only", action="store_true", help="the largest size alone, for its memory")
    options = parser.parse_args()
    print_machine("torch", "scikit-learn", "numpy")
    rows = []
    sizes = [size for size in SIZES if size[0] <= options.largest]
    for count, dimensions in sizes[-1:] if options.newton_only else sizes:
        features, labels = draw(count, dimensions, 1)
        test_features, test_labels = draw(TEST_ROWS, dimensions, 2)
        seconds, ours = time_fit(features, labels, options.c, Solver.NEWTON, options.device)
        accuracy = 100 * ours.measure_accuracy(test_features, test_labels)
        peer = ["", "", "", ""]
        if features.size <= options.liblinear_numbers and not options.newton_only:
            peer_seconds, theirs = time_fit(features, labels, options.c, Solver.LIBLINEAR, "cpu")
            objectives = [each.objective(features, labels, options.c).sum() for each in (ours, theirs)]
            peer = [
                f"{peer_seconds:.1f}",
                f"{peer_seconds / seconds:.1f}",
                f"{100 * theirs.measure_accuracy(test_features, test_labels):.2f}",
                f"{objectives[0] / objectives[1] - 1:+.1e}",
            ]
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        own = f"{seconds:.1f}", f"{accuracy:.2f}", f"{features.nbytes / 2**30:.2f}", f"{memory:.2f}"
        rows.append((f"{count:,} x {dimensions:,}", peer[0], own[0], peer[1], peer[2], own[1], peer[3], *own[2:]))
        del features, test_features
    timed = ("n x d", "LinearSVC, s", "ours, s", "ratio", "accuracy, %", "ours, %", "objective")
    columns = (*timed, "features, GiB", "memory, GiB")
    print_table(f"Ten classes, C {options.c:g}, {options.device}", columns, rows)


if __name__ == "__main__":
    main()
