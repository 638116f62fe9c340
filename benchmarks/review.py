"""How soon is a large set's review there, and how much memory does its server take?

    python -m benchmarks.review [--images 1000000]

Writes the tables of a finished run on as many images (see `benchmarks.review_set`; the source is not at hand), starts
``python -m dedup.review`` on it as people do, and asks for what its pages ask for, for the first time and the next.
Memory is the most that the server ever held (VmHWM of /proc/PID/status, files it maps included); pictures are looked
up by a process of their own, whose memory stands beside. Linux only.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import requests

from benchmarks.review_set import Made, make_set
from benchmarks.tables import console, print_machine, print_table

NAME = "synthetic"
PICTURES = 2_000
Row = tuple[str, ...]


@contextmanager
def serve(data_root: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """The server as a process, the address it prints, and the seconds until it did."""
    command = [sys.executable, "-m", "dedup.review", NAME, "--data-root", str(data_root), "--no-open"]
    start = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"})
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if found := re.search(r"http://\S+", line):
                yield server, found[0], time.perf_counter() - start
                return
        sys.exit("the server ended before it printed an address")
    finally:
        server.terminate()
        server.wait()


class Visitor:
    """A browser's requests, timed."""

    def __init__(self, url: str) -> None:
        self._base = url.partition("/judge")[0]
        self._session = requests.Session()
        self._session.trust_env = False  # loopback needs no proxy
        self._session.headers["origin"] = self._base
        self._session.get(url, timeout=60).raise_for_status()

    def get(self, path: str, **query: Any) -> Any:
        """What an address answers: JSON, or bytes."""
        return _content(self._session.get(self._base + path, params=query, timeout=60))

    def post(self, path: str, content: bytes) -> Any:
        """The same for an upload."""
        return _content(self._session.post(self._base + path, data=content, timeout=120))


def _content(response: requests.Response) -> Any:
    response.raise_for_status()
    return response.json() if "json" in response.headers["content-type"] else response.content


def measure(visitor: Visitor, made: Made) -> list[Row]:
    """Each page: the seconds until what it first asks for is there, and those of what is asked for next."""
    rows = []
    for name, page_name in (("judge", "dropped"), ("near misses", "near_misses")):
        first, progress = _timed(partial(visitor.get, f"/api/samples/{page_name}"))
        place = progress["ahead"][0]["place"]
        rows.append(_row(name, first, _timed(partial(visitor.get, f"/api/samples/{page_name}/{place}"))[0]))
    for name, order in (("groups by size", "size"), ("groups, the least sure first", "score")):
        first, page = _timed(partial(_open_groups, visitor, order))
        for _ in range(3):
            seconds, page = _timed(partial(visitor.get, "/api/groups", order=order, after=page["following"]))
        rows.append(_row(name, first, seconds))
    numbers = np.random.default_rng(0).choice(made.images, min(PICTURES, made.images), replace=False).tolist()
    pictures = [_timed(partial(visitor.get, f"/previews/{number}"))[0] for number in numbers]
    rows.append(_row(f"each of {len(numbers):,} thumbnails", pictures[0], sum(pictures[1:]) / len(pictures[1:])))
    for name, path in (("threshold", "/api/threshold"), ("sources", "/sources")):
        rows.append(_row(name, *(_timed(partial(visitor.get, path))[0] for _ in range(2))))
    first, found = _timed(partial(visitor.get, "/api/rejected"))
    rows.append(_row("rejected", first, _timed(partial(visitor.get, "/api/rejected", after=found["following"]))[0]))
    for name, key in (("search by key: found", made.key[4:30]), ("search by key: not found", "no such key")):
        rows.append(_row(name, *(_timed(partial(visitor.get, "/api/search", key=key))[0] for _ in range(2))))
    by_picture = (_timed(partial(visitor.post, "/api/search", made.picture))[0] for _ in range(2))
    rows.append(_row("search by a picture", *by_picture))
    return rows


def _open_groups(visitor: Visitor, order: str) -> Any:
    visitor.get("/groups")
    return visitor.get("/api/groups", order=order)


def _row(name: str, first: float, following: float) -> Row:
    return name, f"{first:.2f}", f"{following:.3f}"


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that something takes, and what it answers."""
    start = time.perf_counter()
    answer = work()
    return time.perf_counter() - start, answer


def _busy_seconds(pid: int) -> float:
    """Of all its cores so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _most_megabytes(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _children(pid: int) -> list[int]:
    return [
        int(child) for path in Path(f"/proc/{pid}/task").iterdir() for child in (path / "children").read_text().split()
    ]


def main() -> None:
    """Make the set, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = make_set(Path(folder) / NAME, options.images)
        with serve(Path(folder)) as (server, url, started):
            busy = _busy_seconds(server.pid)
            opened, visitor = _timed(partial(Visitor, url))
            rows = measure(visitor, made)
            own, others = _most_megabytes(server.pid), [_most_megabytes(child) for child in _children(server.pid)]
    print_machine("numpy", "pyarrow", "fastapi")
    title = f"Review of {options.images:,} images in {made.groups:,} groups, seconds"
    head: list[Row] = [
        ("until the address is printed", f"{started:.2f}", ""),
        ("  of these busy", f"{busy:.2f}", ""),
        ("the page that opens", f"{opened:.2f}", ""),
    ]
    print_table(title, ("", "first", "next"), head + rows)
    console.print(
        f"most memory of the server: {own:,.0f} MB; of the process that looks pictures up: {max(others):,.0f} MB"
    )


if __name__ == "__main__":
    main()
