"""Does the search for near codes stay linear, how much memory does it take, and how much does it find?

    python -m benchmarks.match [--sizes 100000 1000000 3000000] [--radius 16]

Codes: a tenth of the items are neighbours planted at 1 to RADIUS flipped bits from another item, the others are drawn
around a mixture of prototypes, so that codes crowd as real ones do. Each size runs in a process of its own, whose peak
memory is its own. At the smallest size every pair within the radius is known from an exhaustive search with
faiss.IndexBinaryFlat; at all sizes the planted pairs are known by construction.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.tables import console, print_machine, print_table
from dedup.match import find_pairs

Codes = npt.NDArray[np.uint8]
EXHAUSTIVE_UP_TO = 100_000


@dataclass(frozen=True)
class Result:
    """One size: seconds of the search, peak bytes beyond the codes, recall of planted and of all pairs."""

    size: int
    seconds: float
    extra_bytes: int
    pairs: int
    planted_recall: tuple[float, ...]
    exhaustive_recall: float | None
    exhaustive_seconds: float | None


def make_codes(size: int, radius: int, seed: int) -> tuple[Codes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Codes (size, 16); of the planted tenth, which stands last, the originals and the distances to them."""
    rng = np.random.default_rng(seed)
    planted = size // 10
    prototypes = rng.integers(0, 2, (max(1, size // 50), 128), dtype=np.uint8)
    bits = prototypes[rng.integers(len(prototypes), size=size - planted)]
    bits ^= rng.random(bits.shape, np.float32) < 0.25  # unrelated items of one prototype: 48 bits apart on average
    originals = rng.choice(size - planted, planted, replace=False)
    distances = rng.integers(1, radius + 1, planted)
    flips = np.argsort(rng.random((planted, 128), np.float32), axis=1) < distances[:, None]
    copies = bits[originals] ^ flips
    return np.packbits(np.concatenate([bits, copies]), axis=1), originals, distances


def save_codes(size: int, radius: int, path: Path) -> None:
    """Make codes in a process of their own: its memory is not the search's."""
    codes, originals, distances = make_codes(size, radius, seed=size)
    np.savez(path, codes=codes, originals=originals, distances=distances)


def measure(size: int, radius: int, path: Path) -> Result:
    """Search codes of one size and compare with what is there."""
    saved = np.load(path)
    codes, originals, distances = saved["codes"], saved["originals"], saved["distances"]
    find_pairs(codes[:2000], radius)
    before = _peak_bytes()
    start = time.perf_counter()
    pairs = find_pairs(codes, radius)
    seconds = time.perf_counter() - start
    extra = _peak_bytes() - before
    found = np.unique(pairs.a * size + pairs.b)
    wanted = originals * size + np.arange(size - len(originals), size)
    hit = np.isin(wanted, found)
    edges = np.linspace(0, radius, 5).astype(int)
    bands = [hit[(distances > low) & (distances <= high)].mean() for low, high in pairwise(edges)]
    exhaustive = _exhaustive(codes, radius) if size <= EXHAUSTIVE_UP_TO else None
    recall = None if exhaustive is None else float(np.isin(exhaustive[0], found).mean())
    return Result(size, seconds, extra, len(pairs), tuple(bands), recall, exhaustive and exhaustive[1])


def _exhaustive(codes: Codes, radius: int) -> tuple[npt.NDArray[np.int64], float]:
    """All pairs within the radius as a * N + b with a < b, and the seconds that took."""
    start = time.perf_counter()
    index = faiss.IndexBinaryFlat(128)
    index.add(codes)
    limits, _, neighbours = index.range_search(codes, radius + 1)  # faiss: strictly below
    queries = np.repeat(np.arange(len(codes)), limits[1:].astype(np.int64) - limits[:-1].astype(np.int64))
    ordered = queries < neighbours
    return queries[ordered] * len(codes) + neighbours[ordered], time.perf_counter() - start


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _run_apart(function: Callable[..., Any], *arguments: object) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Measure each size in a fresh process and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 3_000_000])
    parser.add_argument("--radius", type=int, default=16)
    options = parser.parse_args()
    rows = []
    smallest: Result | None = None
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "codes.npz"
            _run_apart(save_codes, size, options.radius, path)
            result = _run_apart(measure, size, options.radius, path)
        smallest = smallest or result
        growth = result.seconds / smallest.seconds / (size / smallest.size)
        exhaustive = "" if result.exhaustive_seconds is None else f"{result.exhaustive_seconds:,.1f} s"
        recall = "" if result.exhaustive_recall is None else f"{result.exhaustive_recall:.4f}"
        bands = [f"{band:.4f}" for band in result.planted_recall]
        rows.append(
            (
                f"{size:,}",
                f"{result.seconds:,.1f}",
                f"{growth:.2f}",
                f"{result.extra_bytes / 2**20:,.0f}",
                f"{result.pairs:,}",
                recall,
                exhaustive,
                *bands,
            )
        )
    edges = np.linspace(0, options.radius, 5).astype(int)
    bands = [f"planted {low + 1}-{high}" for low, high in pairwise(edges)]
    print_machine("numpy", "faiss-cpu")
    columns = ("codes", "seconds", "of linear", "peak MB", "pairs", "recall of all", "exhaustive", *bands)
    print_table(f"Pairs within {options.radius} of 128 bits", columns, rows)
    console.print("of linear: seconds per code, relative to the smallest size; peak MB: beyond codes and imports")


if __name__ == "__main__":
    main()
