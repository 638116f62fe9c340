"""Does the search for near codes stay linear to 100 million, how much memory does it take, and how much does it find?

    python -m benchmarks.scale [--sizes 1000000 10000000] [--radius N] [--workers 2]
    python -m benchmarks.scale --real parquet:/data/imagenet32/train.parquet parquet:/data/cifar10/train.parquet

Codes lie on disk in shards of a million. Nine tenths are signs of 128 random projections of 32 numbers, whose distances
spread as those of 150,000 small real pictures do; one tenth are copies of others, half of them mirrored, with 1 bit to
the radius flipped. Each size has processes of its own, two workers that each run one part of the plan at a time, as the
pipeline's do; their memory is sampled. The radius is the one that the tool would choose for the size, or `--radius`.

Beside it, on a million codes: brute force and faiss's binary indexes, timed on a sample of queries and extrapolated.

`--real` searches the codes of real pictures instead, by the shipped encoder, and compares with an exhaustive search.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.tables import console, print_machine, print_table
from dedup.codes import mirror_codes
from dedup.matching.match import Pairs, SearchPart, SearchPlan, choose_radius, merge_pairs, plan_search, search_part

Codes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

SHARD = 1_000_000
DIRECTIONS = 32
CANDIDATES = 1.0  # unrelated pairs per image that the radius is chosen for
MOST = 24
BANDS = 3
MERGED_AT_A_TIME = 1 << 24
MEGABYTE = 2**20


@dataclass(frozen=True)
class Result:
    """One size: what the search took, and the share of planted pairs found in each band of distances."""

    size: int
    plan: SearchPlan
    seconds: float
    cpu_seconds: float
    merge_seconds: float
    anonymous_bytes: int
    resident_bytes: int
    pairs: int
    found: tuple[float, ...]


def draw_codes(count: int, rng: np.random.Generator) -> Codes:
    """Codes that crowd as those of real pictures."""
    projection = np.random.default_rng(0).standard_normal((DIRECTIONS, 128), np.float32)
    pieces = [
        np.packbits(rng.standard_normal((len(piece), DIRECTIONS), np.float32) @ projection > 0, axis=1)
        for piece in np.array_split(np.empty(count), -(-count // 100_000))
    ]
    return np.concatenate(pieces)


def flip_bits(codes: Codes, distance: Indices, rng: np.random.Generator) -> Codes:
    """Flip so many random bits of each code."""
    order = rng.random((len(codes), 128), np.float32).argsort(axis=1)
    return codes ^ np.packbits(order < distance[:, None], axis=1)


def write_codes(folder: Path, size: int) -> None:
    """Shards of codes, and what their copies are copied from; the flips come when the radius is known."""
    for start in range(0, size, SHARD):
        rng = np.random.default_rng([1, start])
        np.save(folder / f"{start // SHARD:05d}.codes.npy", draw_codes(min(SHARD, size - start), rng))


def plant_copies(folder: Path, radius: int) -> None:
    """Overwrite a tenth of each shard by copies of others: ``NNNNN.planted.npy`` has (original, copy, distance)."""
    first = 0
    for path in sorted(folder.glob("*.codes.npy")):
        rng = np.random.default_rng([2, first])
        codes = np.load(path, mmap_mode="r+")
        planted = len(codes) // 10
        originals = rng.choice(len(codes) - planted, planted, replace=False)
        distance = rng.integers(1, radius + 1, planted)
        copies = flip_bits(codes[originals], distance, rng)
        copies[::2] = mirror_codes(copies[::2])
        codes[-planted:] = copies
        codes.flush()
        number = np.arange(len(codes) - planted, len(codes))
        truth = np.stack([first + originals, first + number, distance], axis=1)
        np.save(path.with_name(path.name.replace("codes", "planted")), truth)
        first += len(codes)


def load_codes(folder: Path) -> tuple[list[Codes], list[npt.NDArray[np.bool_]]]:
    """The shards, mapped, and masks that leave nothing out."""
    codes = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("*.codes.npy"))]
    return codes, [np.ones(len(array), np.bool_) for array in codes]


def run_part(folder: Path, plan: SearchPlan, part: SearchPart) -> None:
    """A task as the pipeline runs it: search, and leave the pairs on disk."""
    pairs = search_part(*load_codes(folder), plan, part)
    stem = folder / f"{part.group:03d}-{part.range:03d}"
    for name in ("a", "b", "distance", "mirrored"):
        np.save(f"{stem}.{name}.npy", getattr(pairs, name))


def prepare(size: int, radius: int | None, folder: Path) -> int:
    """Write codes of one size, in a process whose memory is not the search's: the radius that they are searched at."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(write_codes, (folder, size))
        if radius is None:
            radius = int(pool.apply(_choose_radius, (folder,)))
        pool.apply(plant_copies, (folder, max(1, radius)))
    return radius


def measure(size: int, radius: int, workers: int, folder: Path) -> Result:
    """Search codes in processes of their own, and look for what was planted."""
    context = multiprocessing.get_context("spawn")
    plan = plan_search(size, radius, mirrored=True)
    cpu_before = _children_cpu_s()
    start = time.perf_counter()
    with context.Pool(workers) as pool, _MemorySampler() as memory:
        pool.starmap(run_part, [(folder, plan, part) for part in plan.parts], chunksize=1)
        pool.close()
        pool.join()
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        count, found = _merge(folder, size, radius)
    merge_seconds = time.perf_counter() - start
    cpu = _children_cpu_s() - cpu_before
    return Result(size, plan, seconds, cpu, merge_seconds, memory.anonymous, memory.resident, count, found)


def _choose_radius(folder: Path) -> int:
    return choose_radius(*load_codes(folder), CANDIDATES, most=MOST, mirrored=True)


def _merge(folder: Path, size: int, radius: int) -> tuple[int, tuple[float, ...]]:
    """How many pairs the parts have together, and the share of planted ones by band and at the radius itself."""
    names = ("a", "b", "distance", "mirrored")
    stems = sorted(str(path)[: -len(".a.npy")] for path in folder.glob("*.a.npy"))
    parts = [Pairs(*(np.load(f"{stem}.{name}.npy", mmap_mode="r") for name in names)) for stem in stems]
    planted = np.concatenate([np.load(path) for path in sorted(folder.glob("*.planted.npy"))])
    planted = planted[np.argsort(planted[:, 0], kind="stable")]
    hit = np.zeros(len(planted), np.bool_)
    count = 0
    for start in range(0, size, MERGED_AT_A_TIME):
        pairs = merge_pairs(parts, start, start + MERGED_AT_A_TIME)
        count += len(pairs)
        piece = slice(*np.searchsorted(planted[:, 0], [start, start + MERGED_AT_A_TIME]))
        hit[piece] = np.isin(planted[piece, 0] << 32 | planted[piece, 1], pairs.a << 32 | pairs.b)
    distance = planted[:, 2]
    edges = np.linspace(0, radius, BANDS + 1).astype(int)
    bands = [float(hit[(distance > low) & (distance <= high)].mean()) for low, high in pairwise(edges)]
    return count, (*bands, float(hit[distance == radius].mean()))


class _MemorySampler:
    """The most memory that this process and its children held at once, looked at every half second."""

    def __init__(self) -> None:
        self.anonymous = self.resident = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(0.5):
            children = [child.pid for child in multiprocessing.active_children() if child.pid]
            rows = [_memory(pid) for pid in [os.getpid(), *children]]
            self.anonymous = max(self.anonymous, sum(row.get("Anonymous", 0) for row in rows))
            self.resident = max(self.resident, sum(row.get("Pss", 0) for row in rows))


def _memory(pid: int) -> dict[str, int]:
    """Bytes by kind of a process; Pss counts what processes share once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # it has just ended
        return {}
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_sizes(results: list[Result]) -> None:
    """One row per size."""
    rows = []
    for result in results:
        plan, smaller = result.plan, results[max(0, results.index(result) - 1)]
        rows.append(
            (
                f"{result.size / 1e6:g} M",
                f"{plan.radius}",
                f"{plan.groups * plan.tables}",
                f"{len(plan.parts)}",
                f"{result.seconds:,.0f}",
                f"{result.cpu_seconds:,.0f}",
                f"{result.merge_seconds:,.0f}",
                "" if result is smaller else f"{result.seconds / smaller.seconds:.1f}",
                "" if result is smaller else f"{result.cpu_seconds / smaller.cpu_seconds:.1f}",
                f"{result.anonymous_bytes / MEGABYTE:,.0f}",
                f"{result.resident_bytes / MEGABYTE:,.0f}",
                f"{result.pairs / 1e6:,.2f}",
                *(f"{share:.4f}" for share in result.found),
            )
        )
    bands = [f"found: {name}" for name in ("near", "middle", "far")]
    columns = (
        "codes",
        "radius",
        "tables",
        "parts",
        "s",
        "CPU s",
        "merge s",
        "s grow",
        "CPU s grow",
        "MB",
        "+ mapped",
        "M pairs",
    )
    print_table("Search", (*columns, *bands, "at radius"), rows)
    console.print("found: of planted pairs, by thirds of the radius, and those at it")
    console.print("s: of all parts; grow: as many times the row above; MB: all processes together, anonymous at most")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--radius", type=int)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--real", nargs="+", metavar="SOURCE")
    options = parser.parse_args()
    print_machine("numpy", "faiss-cpu")
    if options.real:
        from benchmarks.scale_real import print_real  # brings torch, which would count as the search's memory

        print_real(options.real)
        return
    results = []
    for size in sorted(options.sizes):
        with tempfile.TemporaryDirectory() as folder:
            radius = prepare(size, options.radius, Path(folder))
            results.append(measure(size, radius, options.workers, Path(folder)))
        print_sizes(results)
    from benchmarks.scale_peers import print_peers

    print_peers(results[0].plan.radius)


if __name__ == "__main__":
    main()
