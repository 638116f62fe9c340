"""How long does it take to find a picture's nearest among a million?

    python -m benchmarks.query [--sizes 1000000 10000000]

Random codes in mapped shards of 10,000; the picture is a rendered room. Beside the search of the codes alone: all that
`dedup.query` does for a picture once its process runs, from encoded bytes to the nearest 64 verified (on thumbnails
that are already in memory). faiss's brute force, which wants all codes in memory, searches for the picture and its
mirror image.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import faiss
import numpy as np

from benchmarks.tables import console, print_machine, print_table
from dedup.codes import mirror_codes
from dedup.comparison.neighbours import NEAREST
from dedup.encoder import load_shipped_encoder
from dedup.matching.match import nearest
from dedup.verification.verify import score_pairs
from pipelines.images import make_thumbnail
from pipelines.rooms import render_room

SHARD = 10_000
ROUNDS = 51


def print_latency(size: int, folder: Path) -> None:
    """Time one query, many times."""
    rng = np.random.default_rng(0)
    for index in range(size // SHARD):
        np.save(folder / f"{index:05d}.npy", rng.integers(0, 256, (SHARD, 16), np.uint8))
    paths = sorted(folder.glob("*.npy"))
    parts = [np.load(path, mmap_mode="r") for path in paths]
    encoder = load_shipped_encoder()
    jpeg = cv2.imencode(".jpg", render_room(seed=0, index=0).image)[1].tobytes()
    code = encoder.codes(make_thumbnail(jpeg)[1][None])
    candidates = rng.integers(0, 256, (NEAREST, 32, 32, 3), np.uint8)

    def open_and_search() -> None:
        nearest(code, [np.load(path, mmap_mode="r") for path in paths], NEAREST, mirrored=True)

    def everything() -> None:
        thumbnail = make_thumbnail(jpeg)[1][None]
        nearest(encoder.codes(thumbnail), parts, NEAREST, mirrored=True)
        score_pairs(np.repeat(thumbnail, NEAREST, axis=0), candidates)

    flat = faiss.IndexBinaryFlat(128)
    for part in parts:
        flat.add(np.ascontiguousarray(part))
    both = np.concatenate([code, mirror_codes(code)])
    rows = [
        _time("codes: mapped shards", lambda: nearest(code, parts, NEAREST, mirrored=True)),
        _time("codes: mapped shards, opened anew", open_and_search),
        _time("codes: faiss.IndexBinaryFlat", lambda: flat.search(both, NEAREST)),
        _time("all of a query, from the picture's bytes", everything),
    ]
    print_table(f"One query among {size:,}, milliseconds", ("", "median", "95 of 100", "CPU, median"), rows)


def _time(name: str, work: Callable[[], object]) -> tuple[str, ...]:
    work()
    took, worked = [], []
    for _ in range(ROUNDS):
        start, cpu_start = time.perf_counter(), time.process_time()
        work()
        took.append((time.perf_counter() - start) * 1000)
        worked.append((time.process_time() - cpu_start) * 1000)
    return name, f"{np.median(took):.1f}", f"{np.percentile(took, 95):.1f}", f"{np.median(worked):.1f}"


def main() -> None:
    """Time each size and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000])
    options = parser.parse_args()
    print_machine("numpy", "faiss-cpu", "torch")
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print_latency(size, Path(folder))
    console.print("CPU: of all threads; on a busy machine the other columns hold waiting too")


if __name__ == "__main__":
    main()
