"""How fast do photographs come from 200 hosts, beside img2dataset on the same URLs?

    python -m benchmarks.fetch [--images N] [--peer-python PATH]

The second column of programs needs img2dataset (pip install img2dataset), in this Python or in the one of
``--peer-python``. One server on the loopback interface plays 200 hosts, 127.1.0.1 and so on, and answers each request
after 0, 50 or 500 ms; it is a process of its own and uses the same cores. Both programs store the bytes as they came:
ours in an archive, with robots.txt obeyed and two connections a host, but as many requests per second as they answer;
img2dataset in tars (webdataset), without resizing, with the better of two thread counts; each in two processes. "as it
comes" is img2dataset with resizing switched off, which still decodes and encodes each image; the other row keeps it
from that. Images per second are from the first request to the last answer, as the server saw them; CPU time and peak
memory (resident, all processes) are of the whole command. Files go where Python's tempfile puts them: TMPDIR=/dev/shm
leaves the disk out of it, which takes a file per picture from us, and a file per thousand from img2dataset.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.tables import console, print_machine, print_table
from facescrape.archive import Archive
from facescrape.fetch.fetcher import Fetcher, Politeness
from facescrape.status import Status
from facescrape.web.wire import Internet, user_agent

HOSTS = 200
LATENCIES_MS = (0, 50, 500)
COLUMNS = ("latency", "program", "images/s", "times img2dataset", "CPU s per 1,000", "peak MiB", "whole command, s")

OURS, PEER, PEER_ENCODES = "facescrape", "img2dataset", "img2dataset, as it comes"

PEER_PROGRAM = """
import json, sys
from img2dataset import download
if __name__ == "__main__":
    download(**json.loads(sys.argv[1]))
"""


class Host(asyncio.Protocol):
    """Speaks just enough HTTP, so that the server costs little."""

    def __init__(self, pictures: list[bytes], latency_s: float, times: list[float]) -> None:
        self._pictures, self._latency_s, self._times = pictures, latency_s, times
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete, after a while."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            request, _, self._received = self._received.partition(b"\r\n\r\n")
            self._times.append(time.monotonic())
            asyncio.get_running_loop().call_later(self._latency_s, self._answer, request)

    def _answer(self, request: bytes) -> None:
        path = request.split(b" ", 2)[1]
        if path.endswith(b".jpg"):
            number = int(path[1:-4])
            body = _with_comment(self._pictures[number % len(self._pictures)], number)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body)
        else:
            head, body = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""
        self._transport.writelines([head, body])
        if b"connection: close" in request.lower():
            self._transport.close()
        self._times.append(time.monotonic())


def _with_comment(jpeg: bytes, number: int) -> bytes:
    """The same picture in bytes of its own (ITU-T T.81, B.2.4.5)."""
    return jpeg[:2] + b"\xff\xfe\0\x0a%08d" % number + jpeg[2:]


def serve(pipe: Connection, pictures: list[bytes], latency_s: float) -> None:
    """Play all hosts until told to stop; then tell when the first request came and the last answer went."""

    async def play() -> None:
        times: list[float] = []
        loop = asyncio.get_running_loop()
        hosts = [f"127.1.{number}.1" for number in range(HOSTS)]
        server = await loop.create_server(lambda: Host(pictures, latency_s, times), hosts, PORT, backlog=1024)
        pipe.send("ready")
        await loop.run_in_executor(None, pipe.recv)
        pipe.send((times[0], times[-1]))
        server.close()

    asyncio.run(play())


PORT = 18_080


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run took."""

    images_per_s: float
    cpu_s: float
    peak_mib: float
    wall_s: float


NOTHING = Measurement(0.0, 0.0, 0.0, 0.0)


def measure(command: list[str], folder: Path, count: int, pictures: list[bytes], latency_s: float) -> Measurement:
    """Run a command that fetches ``count`` images from a server of its own; it may leave what it likes in a folder."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, pictures, latency_s))
    server.start()
    ours.recv()
    before, start, peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    # Albumentations, which img2dataset imports, asks the internet for its newest version otherwise.
    environment = {**os.environ, "TMPDIR": str(folder), "NO_ALBUMENTATIONS_UPDATE": "1"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            peak_bytes = max(peak_bytes, sum(_resident_bytes(process.pid)))
            time.sleep(0.05)
        wall_s = time.monotonic() - start
        output.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command[:4])} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours.send("stop")
    first, last = ours.recv()
    server.join()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measurement(count / (last - first), cpu_s, peak_bytes / 2**20, wall_s)


def _resident_bytes(pid: int) -> Iterator[int]:
    """Of a process and of those below it (proc(5))."""
    try:
        yield int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _resident_bytes(int(child))
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return


def fetch_ours(folder: str, urls: str, workers: str) -> None:
    """What the measured process of ours does."""
    listed = Path(urls).read_text(encoding="utf-8").splitlines()
    politeness = Politeness(requests_per_s_per_host=None)
    with Archive(Path(folder)) as archive:
        Fetcher(
            archive,
            Internet(),
            user_agent(None),
            politeness=politeness,
            workers=int(workers),
            processes=2,
            public_only=False,
        ).run(listed)
        if archive.counts() != {Status.OK: len(listed)}:
            sys.exit(f"not all came: {archive.counts()}")


def measure_ours(count: int, pictures: list[bytes], latency_ms: int) -> Measurement:
    """Our fetcher, as a command."""
    with _scratch(count) as (folder, urls):
        code = "import sys; from benchmarks.fetch import fetch_ours; fetch_ours(*sys.argv[1:])"
        command = [sys.executable, "-c", code, str(folder / "archive"), str(urls), "200" if latency_ms > 100 else "64"]
        return measure(command, folder, count, pictures, latency_ms / 1000)


def measure_peer(
    python: str, threads: int, keeps_bytes: bool, count: int, pictures: list[bytes], latency_ms: int
) -> Measurement:
    """img2dataset, as a command."""
    with _scratch(count) as (folder, urls):
        options: dict[str, Any] = {
            "url_list": str(urls),
            "input_format": "txt",
            "output_folder": str(folder / "tars"),
            "output_format": "webdataset",
            "processes_count": 2,
            "thread_count": threads,
            "resize_mode": "no",
            "number_sample_per_shard": 1000,
            "disable_all_reencoding": keeps_bytes,
        }
        program = folder / "peer.py"
        program.write_text(PEER_PROGRAM, encoding="utf-8")
        result = measure([python, str(program), json.dumps(options)], folder, count, pictures, latency_ms / 1000)
        stats = [json.loads(path.read_text()) for path in (folder / "tars").glob("*_stats.json")]
        if sum(shard["successes"] for shard in stats) != count:
            sys.exit(f"img2dataset did not bring all: {stats}")
        return result


@contextmanager
def _scratch(count: int) -> Iterator[tuple[Path, Path]]:
    """A folder that goes afterwards, and in it the list of URLs."""
    with tempfile.TemporaryDirectory() as folder:
        urls = Path(folder) / "urls.txt"
        lines = (f"http://127.1.{number % HOSTS}.1:{PORT}/{number}.jpg" for number in range(count))
        urls.write_text("\n".join(lines), encoding="utf-8")
        yield Path(folder), urls


def draw_pictures(count: int = 32) -> list[bytes]:
    """Encoded pictures of 50 to 100 kB."""
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(count)]
    drawn = [cv2.resize(small, (800, 600), interpolation=cv2.INTER_CUBIC) for small in coarse]
    return [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 75])[1].tobytes() for image in drawn]


def _find_peer(python: str | None) -> str | None:
    """A Python that has img2dataset."""
    if python is None:
        return sys.executable if find_spec("img2dataset") else None
    found = subprocess.run([python, "-c", "import img2dataset"], check=False, capture_output=True).returncode == 0
    return python if found else None


def _row(latency_ms: int, name: str, count: int, result: Measurement, peer: Measurement | None) -> tuple[str, ...]:
    ratio = f"{result.images_per_s / peer.images_per_s:.1f}x" if peer else ""
    return (
        f"{latency_ms} ms",
        name,
        f"{result.images_per_s:,.0f}",
        ratio,
        f"{1000 * result.cpu_s / count:.2f}",
        f"{result.peak_mib:,.0f}",
        f"{result.wall_s:.1f}",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="per run")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many runs of each program counts")
    parser.add_argument("--latency", type=int, action="append", help="in ms; more than once for several")
    parser.add_argument("--peer-python", help="the Python that has img2dataset")
    options = parser.parse_args()
    peer_python, count, pictures = _find_peer(options.peer_python), options.images, draw_pictures()
    rows = []
    for latency_ms in options.latency or LATENCIES_MS:
        runs: list[tuple[str, Callable[[], Measurement]]] = [
            (OURS, partial(measure_ours, count, pictures, latency_ms)),
        ]
        if peer_python is not None:
            runs += [
                (PEER, partial(measure_peer, peer_python, threads, True, count, pictures, latency_ms))
                for threads in (64, 256)
            ]
            if latency_ms == 50:
                runs.append((PEER_ENCODES, partial(measure_peer, peer_python, 64, False, count, pictures, latency_ms)))
        best: dict[str, Measurement] = {}
        for name, run in runs * options.rounds:  # in turn, so that a busy moment of the machine hits none alone
            best[name] = max(best.get(name, NOTHING), run(), key=lambda result: result.images_per_s)
        rows += [_row(latency_ms, name, count, result, best.get(PEER)) for name, result in best.items()]
    print_machine("requests", "urllib3")
    mean_kb = sum(map(len, pictures)) / len(pictures) / 1000
    print_table(f"Fetching {count:,} images of {mean_kb:.0f} kB from {HOSTS} hosts", COLUMNS, rows)
    if peer_python is None:
        console.print("img2dataset is not installed: pip install img2dataset, or name its Python with --peer-python")


if __name__ == "__main__":
    main()
