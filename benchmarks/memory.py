"""Does the memory of a de-duplication run grow with the number of images?

    python -m benchmarks.memory [--sizes 5000 40000]

Runs ``python -m dedup.run`` on LMDBs of both sizes and samples, every 20 ms, the anonymous memory (RssAnon of
/proc/PID/status: what a process has written, not files it maps) of the run and of each of its workers. Thumbnails are
files that are mapped; their size stands beside. Linux only.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import lmdb
import numpy as np
import numpy.typing as npt

from benchmarks.tables import console, print_machine, print_table
from pipelines.rooms import render_room

ROOMS = 200
SIDE = 80  # pixels of a quarter


def write_images(path: Path, count: int) -> None:
    """An LMDB of ``count`` small JPEGs: four crops of rendered rooms each; every tenth comes again, brighter."""
    rooms = [render_room(seed=0, index=index).image for index in range(ROOMS)]
    environment = lmdb.open(str(path), map_size=1 << 34)
    with environment.begin(write=True) as transaction:
        for index in range(count):
            brightness = 1.0 if index % 10 else 1.2
            rng = np.random.default_rng(index if index % 10 else max(index - 5, 0))
            quarters = [_cut(rooms[rng.integers(ROOMS)], rng) for _ in range(4)]
            picture = np.vstack([np.hstack(quarters[:2]), np.hstack(quarters[2:])])
            _, encoded = cv2.imencode(".jpg", cv2.convertScaleAbs(picture, alpha=brightness))
            transaction.put(f"{index:040x}".encode(), encoded.tobytes())
    environment.close()


def _cut(room: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    top, left = (int(rng.integers(0, side - SIDE)) for side in room.shape[:2])
    return room[top : top + SIDE, left : left + SIDE]


def peak_of_run(source: Path, data_root: Path) -> tuple[int, int]:
    """Peak anonymous bytes of the run's own process, and of its largest worker."""
    command = [sys.executable, "-m", "dedup.run", "images", "--source", f"lmdb:{source}", "--data-root", str(data_root)]
    run = subprocess.Popen([*command, "--quiet", "--steps", "50", "--shard-size", "1000", "--workers", "2"])
    own = worker = 0
    while run.poll() is None:
        own = max(own, _anonymous_bytes(run.pid))
        worker = max([worker, *map(_anonymous_bytes, _children(run.pid))])
        time.sleep(0.02)
    if run.returncode:
        sys.exit(f"the run failed with exit code {run.returncode}")
    return own, worker


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _anonymous_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def main() -> None:
    """Measure both sizes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5_000, 40_000])
    rows, peaks, sizes = [], [], sorted(parser.parse_args().sizes)
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "images_lmdb"
            write_images(source, size)
            own, worker = peak_of_run(source, Path(folder) / "data")
        peaks.append(own + worker)
        rows.append((f"{size:,}", f"{size * 3072 / 2**20:,.0f}", f"{own / 2**20:,.0f}", f"{worker / 2**20:,.0f}"))
    print_machine("numpy", "torch")
    print_table("Peak memory of python -m dedup.run", ("images", "thumbnails MB", "run MB", "largest worker MB"), rows)
    growth = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
    console.print(f"growth: {growth:,.0f} bytes an image; a thumbnail is 3,072")


if __name__ == "__main__":
    main()
