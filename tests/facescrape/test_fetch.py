"""The fetcher: each URL ends once and rightly, nothing known is asked again, and hosts are treated as they wish."""

import json
import random
import signal
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from helpers import encode, python_process, smooth_picture
from hostile import PICTURE, REFUSING, ROBOTS, TDM, World, answer, in_turn, missing, picture, redirect
from hypothesis import given
from hypothesis import strategies as st

from facescrape.archive import PICTURES, Archive, Outcome
from facescrape.fetch.fetcher import Fetcher, Limits, Politeness
from facescrape.status import Status
from facescrape.web.wire import Replay, Wire
from pipelines.errors import StageError

NO_WAIT = Politeness(requests_per_s_per_host=None, pause_s=0.02, longest_pause_s=0.05)
QUICK = Limits(connect_timeout_s=2, read_timeout_s=1, total_s=3)


@lru_cache
def jpeg(number: int = 0) -> bytes:
    """A JPEG; no two numbers give the same bytes."""
    return encode(smooth_picture(24, 20, number % 50), "JPEG")[:-2] + b"%08d\xff\xd9" % number


def fetch(
    folder: Path,
    wire: Wire,
    urls: Iterable[str],
    politeness: Politeness = NO_WAIT,
    limits: Limits = QUICK,
    **options: Any,
) -> dict[str, Outcome]:
    """Fetch, and read from the archive what became of each URL."""
    urls = list(urls)
    with Archive(folder) as archive:
        Fetcher(archive, wire, "cleanshards/1 (test)", limits, politeness, workers=8, **options).run(urls)
        known = archive.known(urls)
    assert set(known) == set(urls)
    return known


def fetch_one(folder: Path, sites: Mapping[str, Any], url: str, **options: Any) -> tuple[Outcome, World]:
    with World(sites) as world:
        return fetch(folder, world, [url], **options)[url], world


def test_a_picture_is_fetched_as_it_is(tmp_path: Path) -> None:
    site = {PICTURE: picture(jpeg())}
    outcome, _ = fetch_one(tmp_path, {"a.example": site}, f"https://A.example{PICTURE}#there")
    assert (outcome.status, outcome.http_status) == (Status.OK, 200)
    assert outcome.final_url == f"https://a.example{PICTURE}"
    assert (outcome.size_bytes, outcome.format, outcome.width, outcome.height) == (len(jpeg()), "jpeg", 24, 20)
    assert outcome.fetched_at is not None and outcome.seconds is not None
    (stored,) = (path for path in (tmp_path / PICTURES).rglob("*") if path.is_file())
    assert stored.name == outcome.sha256
    assert stored.read_bytes() == jpeg()


@pytest.mark.parametrize(
    ("code", "status", "asked"),
    [
        ("404 Not Found", Status.NOT_FOUND, 1),
        ("410 Gone", Status.NOT_FOUND, 1),
        ("403 Forbidden", Status.FORBIDDEN, 1),
        ("418 Teapot", Status.REFUSED, 1),
        ("204 No Content", Status.NOT_AN_IMAGE, 1),
        ("304 Not Modified", Status.REFUSED, 1),
        ("500 Oops", Status.SERVER_ERROR, 3),
        ("429 Too Many", Status.RATE_LIMITED, 3),
        ("999 Odd", Status.SERVER_ERROR, 3),
    ],
)
def test_each_answer_has_its_status(tmp_path: Path, code: str, status: Status, asked: int) -> None:
    outcome, world = fetch_one(tmp_path, {"a.example": {PICTURE: answer(status=code)}}, f"http://a.example{PICTURE}")
    assert (outcome.status, outcome.http_status) == (status, int(code[:3]))
    assert world.count("a.example", PICTURE) == asked
    assert outcome.sha256 is None


@pytest.mark.parametrize(
    "url",
    ["", "a.jpg", "file:///etc/passwd", "gopher://a.example/", "http://u:p@a.example/", "http://:80/", "http://a:b/c"],
)
def test_what_is_no_url_of_the_web_is_not_asked_for(tmp_path: Path, url: str) -> None:
    outcome, world = fetch_one(tmp_path, {}, url)
    assert outcome.status is Status.BAD_URL
    assert outcome.final_url is None
    assert world.connects == []


def test_every_url_is_told_once(tmp_path: Path) -> None:
    sites = {f"h{host}.example": {f"/{n}.jpg": picture(jpeg(n)) for n in range(20)} for host in range(4)}
    urls = [f"http://h{host}.example/{n}.jpg" for n in range(22) for host in range(4)] * 2
    told: list[Outcome] = []
    with World(sites) as world, Archive(tmp_path) as archive:
        Fetcher(archive, world, "me/1", QUICK, NO_WAIT, workers=16).run(urls, told.append)
        assert sorted(outcome.url for outcome in told) == sorted(set(urls))
        assert archive.counts() == {Status.OK: 80, Status.NOT_FOUND: 8}
    stored = [path for path in (tmp_path / PICTURES).rglob("*") if path.is_file()]
    assert len(stored) == 20  # four hosts with the same pictures
    assert set(Counter(world.asked).values()) == {1}


def test_nothing_known_is_asked_for_again(tmp_path: Path) -> None:
    sites = {"a.example": {"/1.jpg": picture(jpeg(1)), "/2.jpg": in_turn(answer(status="500 Oops"), picture(jpeg(2)))}}
    urls = [f"http://a.example/{n}.jpg" for n in (1, 2, 3)]
    once = Politeness(requests_per_s_per_host=None, tries=1)
    with World(sites) as world:
        first = fetch(tmp_path, world, urls, once)
        assert [first[url].status for url in urls] == [Status.OK, Status.SERVER_ERROR, Status.NOT_FOUND]
        asked = len(world.asked)
        assert fetch(tmp_path, world, urls, once) == first
        assert len(world.asked) == asked
        with Archive(tmp_path) as archive:
            assert archive.drop_failed() == 1
        second = fetch(tmp_path, world, urls, once)
        assert [second[url].status for url in urls] == [Status.OK, Status.OK, Status.NOT_FOUND]
        assert world.count("a.example", "/1.jpg") == world.count("a.example", "/3.jpg") == 1


def test_redirects_are_followed_to_other_hosts_and_their_rules_obeyed(tmp_path: Path) -> None:
    sites = {
        "a.example": {"/1": redirect("/2"), "/2": redirect("//b.example/3"), "/4": redirect("http://b.example/no/4")},
        "b.example": {ROBOTS: answer(b"User-agent: *\nDisallow: /no/"), "/3": picture(jpeg())},
    }
    urls = ["http://a.example/1", "http://a.example/4"]
    with World(sites) as world:
        known = fetch(tmp_path, world, urls)
    assert (known[urls[0]].status, known[urls[0]].final_url) == (Status.OK, "http://b.example/3")
    assert (known[urls[1]].status, known[urls[1]].http_status) == (Status.ROBOTS, 302)
    assert world.count("b.example", "/no/4") == 0
    assert world.count("b.example", ROBOTS) == 1


def test_redirects_without_end_end(tmp_path: Path) -> None:
    outcome, world = fetch_one(tmp_path, {"a.example": {"/": redirect("/")}}, "http://a.example/")
    assert outcome.status is Status.TOO_MANY_REDIRECTS
    assert world.count("a.example", "/") == 6


def test_robots_is_asked_once_for_many_urls(tmp_path: Path) -> None:
    site = {f"/{n}.jpg": picture(jpeg(n)) for n in range(30)}
    with World({"a.example": site}) as world:
        fetch(tmp_path, world, [f"http://a.example/{n}.jpg" for n in range(30)])
    assert world.count("a.example", ROBOTS) == world.count("a.example", TDM) == 1
    assert world.asked[:2] == [("a.example", ROBOTS), ("a.example", TDM)]


@pytest.mark.parametrize(
    ("robots", "status"),
    [
        (missing, Status.OK),
        (answer(status="403 Forbidden"), Status.OK),
        (answer(b""), Status.OK),
        (answer(b"User-agent: *\nDisallow: /"), Status.ROBOTS),
        (answer(b"User-agent: cleanshards\nDisallow: /p\n\nUser-agent: *\nAllow: /"), Status.ROBOTS),
        (answer(b"User-agent: other\nDisallow: /"), Status.OK),
        (answer(status="500 Oops"), Status.ROBOTS_UNREACHABLE),
        (answer(status="429 Too Many"), Status.ROBOTS_UNREACHABLE),
        (in_turn(answer(status="503 Busy"), answer(b"")), Status.OK),
        (redirect("http://a.example/rules"), Status.ROBOTS),
        (redirect("http://127.0.0.1/rules"), Status.ROBOTS_UNREACHABLE),
        (redirect(ROBOTS), Status.OK),  # for ever: RFC 9309, 2.3.1.2
        (answer(b"User-agent: *\nDisallow: /\n" + b"#" * 5_000_000), Status.ROBOTS),
    ],
)
def test_robots_decides(tmp_path: Path, robots: Any, status: Status) -> None:
    site = {ROBOTS: robots, PICTURE: picture(jpeg()), "/rules": answer(b"User-agent: *\nDisallow: /")}
    outcome, world = fetch_one(tmp_path, {"a.example": site}, f"http://a.example{PICTURE}")
    assert outcome.status is status
    assert world.count("a.example", PICTURE) == (status is Status.OK)
    assert world.private_connects() == []


@pytest.mark.parametrize(
    "site",
    [
        {TDM: answer(json.dumps([{"location": "/*", "tdm-reservation": 1}]).encode())},
        {PICTURE: picture(jpeg(), ("X-Robots-Tag", "otherbot: noindex"), ("X-Robots-Tag", "noai"))},
        {PICTURE: picture(jpeg(), ("TDM-Reservation", "1"))},
    ],
)
def test_an_opt_out_is_heard(tmp_path: Path, site: Mapping[str, Any]) -> None:
    whole = {PICTURE: picture(jpeg())} | dict(site)
    assert fetch_one(tmp_path, {"a.example": whole}, f"http://a.example{PICTURE}")[0].status is Status.OPTED_OUT


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_the_whole_host(tmp_path: Path, form: str) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    value = "1" if form == "seconds" else format_datetime(until.replace(microsecond=0), usegmt=True)
    times: list[float] = []

    def note(visit: int) -> Iterator[bytes]:
        times.append(time.monotonic())
        yield from picture(jpeg())(visit)

    busy = answer(status="429 Too Many", headers=[("Retry-After", value)])
    site = {"/1.jpg": in_turn(busy, note), "/2.jpg": note}
    one_by_one = Politeness(requests_per_s_per_host=None, connections_per_host=1, pause_s=0.01)
    began = time.monotonic()
    with World({"a.example": site}) as world:
        known = fetch(tmp_path, world, ["http://a.example/1.jpg", "http://a.example/2.jpg"], one_by_one)
    assert {outcome.status for outcome in known.values()} == {Status.OK}
    assert min(times) - began > 0.9
    assert world.count("a.example", "/1.jpg") == 2


def test_a_host_that_asks_for_too_long_a_rest_is_given_up(tmp_path: Path) -> None:
    busy = answer(status="503 Busy", headers=[("Retry-After", "86400")])
    site = {f"/{n}.jpg": busy for n in range(50)}
    with World({"a.example": site, "b.example": {PICTURE: picture(jpeg())}}) as world:
        urls = [f"http://a.example/{n}.jpg" for n in range(50)]
        known = fetch(tmp_path, world, [*urls, f"http://b.example{PICTURE}"])
    assert {known[url].status for url in urls} == {Status.RATE_LIMITED}
    assert known[f"http://b.example{PICTURE}"].status is Status.OK
    assert sum(host == "a.example" for host, _ in world.asked) <= 4  # two connections were under way


@pytest.mark.parametrize(
    ("addresses", "status"),
    [([], Status.UNRESOLVED), ([REFUSING], Status.UNREACHABLE), (["10.0.0.1"], Status.PRIVATE_ADDRESS)],
)
def test_a_dead_host_is_given_up_soon(tmp_path: Path, addresses: list[str], status: Status) -> None:
    urls = [f"http://dead.example/{n}.jpg" for n in range(200)]
    with World({}, {"dead.example": [addresses]}) as world:
        known = fetch(tmp_path, world, urls)
    assert {outcome.status for outcome in known.values()} == {status}
    assert {outcome.final_url for outcome in known.values()} == {None}
    assert len(world.connects) <= NO_WAIT.tries


def test_a_host_that_dies_is_given_up_soon(tmp_path: Path) -> None:
    site = {ROBOTS: answer(b""), TDM: missing} | {f"/{n}.jpg": (lambda visit: [b""]) for n in range(200)}
    with World({"a.example": site}) as world:
        known = fetch(tmp_path, world, [f"http://a.example/{n}.jpg" for n in range(200)])
    assert {outcome.status for outcome in known.values()} == {Status.UNREACHABLE}
    assert len(world.asked) <= 2 + NO_WAIT.failures_in_a_row + NO_WAIT.connections_per_host


def test_one_slow_host_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Three hundred URLs of a host that allows one a minute, then one of another."""
    slow = {ROBOTS: answer(b"User-agent: *\nCrawl-delay: 60"), TDM: missing}
    told: list[str] = []

    class Enough(Exception):
        pass

    def listen(outcome: Outcome) -> None:
        told.append(outcome.url)
        if outcome.url == f"http://quick.example{PICTURE}":
            raise Enough

    urls = [*(f"http://slow.example/{n}.jpg" for n in range(300)), f"http://quick.example{PICTURE}"]
    with World({"slow.example": slow, "quick.example": {PICTURE: picture(jpeg())}}) as world, Archive(tmp_path) as kept:
        with pytest.raises(Enough):
            Fetcher(kept, world, "me/1", QUICK, Politeness(), workers=8).run(urls, listen)
        assert kept.known(urls).keys() == set(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [("connections_per_host", 0), ("requests_per_s_per_host", 0.0), ("tries", 0), ("pause_s", -1.0)],
)
def test_politeness_is_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="must"):
        Politeness(**{name: value})  # type: ignore[arg-type]


@given(st.integers(1, 30), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_up_to_their_limit(tries: int, jitter: float) -> None:
    politeness = Politeness()
    assert 0 <= politeness.backoff_s(tries, jitter) <= politeness.longest_pause_s
    assert politeness.backoff_s(tries, jitter) <= politeness.backoff_s(tries + 1, jitter)


ENOUGH_WITHIN_S = 0.8  # less than QUICK allows


class Server(socketserver.ThreadingTCPServer):
    """Keeps connections open, knows how many requests it answers at once per host, and which it was asked.

    It gives out no picture before a host has seen ``at_least`` requests at once: no slow machine hides that they come.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, pause_s: float, at_least: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pause_s, self.at_least = pause_s, at_least
        self.enough = threading.Event()
        self.lock = threading.Lock()
        self.asked: list[str] = []
        self.began: list[float] = []
        self.at_once: Counter[str] = Counter()
        self.most_at_once = 0
        self.connections = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked is gone: killed."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        host = self.headers["Host"]
        with self.server.lock:
            if self.path.endswith(".jpg") and not self.path.startswith("/to/"):
                self.server.asked.append(f"http://{host}{self.path}")
                self.server.began.append(time.monotonic())
            self.server.at_once[host] += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once[host])
            if self.server.most_at_once >= self.server.at_least:
                self.server.enough.set()
        if self.path.endswith(".jpg"):  # robots.txt comes alone, before all else
            self.server.enough.wait(ENOUGH_WITHIN_S)
        time.sleep(self.server.pause_s)
        with self.server.lock:
            self.server.at_once[host] -= 1
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", f"http://{self.path[4:]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = jpeg(int(self.path[1:-4])) if self.path.endswith(".jpg") else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serving(pause_s: float = 0.0, at_least: int = 1) -> Iterator[tuple[Server, Replay]]:
    with Server(pause_s, at_least) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, Replay(("127.0.0.1", server.server_address[1]))
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("connections", [1, 3])
def test_a_host_sees_no_more_connections_than_it_should(tmp_path: Path, connections: int) -> None:
    politeness = Politeness(connections_per_host=connections, requests_per_s_per_host=None)
    with serving(pause_s=0.01, at_least=connections) as (server, wire):
        fetch(tmp_path, wire, [f"http://h{n % 3}.example/{n}.jpg" for n in range(60)], politeness)
        assert server.most_at_once == connections
        assert server.connections <= 3 * connections  # kept open


def test_requests_to_a_host_keep_their_distance(tmp_path: Path) -> None:
    with serving() as (server, wire):
        fetch(tmp_path, wire, [f"http://a.example/{n}.jpg" for n in range(6)], Politeness(requests_per_s_per_host=20.0))
        assert server.began[-1] - server.began[0] > 5 * 0.05 * 0.9


def test_several_processes_do_what_one_does(tmp_path: Path) -> None:
    direct = [f"http://h{n % 9}.example/{n}.jpg" for n in range(60)]
    urls = [*direct, *(f"http://h{n % 9}.example/to/h{n % 5}.example/{n}.jpg" for n in range(100, 160)), "ftp://a.b/"]
    told: list[Outcome] = []
    with serving(0.002, NO_WAIT.connections_per_host) as (server, wire), Archive(tmp_path) as archive:
        fetcher = Fetcher(archive, wire, "me/1", QUICK, NO_WAIT, workers=8, processes=3)
        fetcher.run([*urls, *direct], told.append)
        known = archive.known(urls)
        assert sorted(outcome.url for outcome in told) == sorted(urls)
        assert {url for url in urls if known[url].status is not Status.OK} == {"ftp://a.b/"}
        assert known[urls[60]].final_url == "http://h0.example/100.jpg"
        assert set(Counter(server.asked).values()) == {1}
        assert server.most_at_once == NO_WAIT.connections_per_host  # though half of the URLs come from elsewhere
        asked = len(server.asked)
        fetcher.run(urls, told.append)
        assert len(server.asked) == asked
        assert len(told) == len(urls)


def test_a_process_that_dies_ends_the_run(tmp_path: Path) -> None:
    def kill(_: Outcome) -> None:
        for process in active_children():
            process.kill()

    with serving(pause_s=0.02) as (_, wire), Archive(tmp_path) as archive:
        fetcher = Fetcher(archive, wire, "me/1", QUICK, NO_WAIT, workers=2, processes=2)
        with pytest.raises(StageError, match="died"):
            fetcher.run(urls_of(200), kill)
    assert active_children() == []


def test_an_error_of_the_listener_ends_all_processes(tmp_path: Path) -> None:
    def fail(_: Outcome) -> None:
        raise KeyError("nobody listens")

    with serving() as (_, wire), Archive(tmp_path) as archive, pytest.raises(KeyError):
        Fetcher(archive, wire, "me/1", QUICK, NO_WAIT, workers=2, processes=2).run(urls_of(200), fail)
    assert active_children() == []


def urls_of(count: int) -> list[str]:
    return [f"http://h{number % 7}.example/{number}.jpg" for number in range(count)]


def fetch_slowly(folder: str, port: str, count: str) -> None:
    """What a subprocess does until it is killed."""
    with Archive(Path(folder)) as archive:
        print("begun", flush=True)
        Fetcher(archive, Replay(("127.0.0.1", int(port))), "me/1", QUICK, NO_WAIT, workers=8).run(urls_of(int(count)))


_FETCH = "import sys; sys.path.insert(0, sys.argv[1]); import test_fetch; test_fetch.fetch_slowly(*sys.argv[2:])"


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_stopped_goes_on(tmp_path: Path, kind: signal.Signals) -> None:
    count, rng = 300, random.Random(kind)
    with serving(pause_s=0.01) as (server, wire):
        for _ in range(3):
            with Archive(tmp_path) as archive:
                done_before = set(archive.known(urls_of(count)))
            server.asked.clear()
            process = python_process(_FETCH, Path(__file__).parent, tmp_path, server.server_address[1], count)
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(rng.uniform(0.05, 0.3))
            process.send_signal(kind)
            process.wait(timeout=20)
            process.communicate()
            assert not done_before & set(server.asked)
            with Archive(tmp_path) as archive:
                assert process.returncode != 0 or len(archive.known(urls_of(count))) == count, "it was not yet done"
        with Archive(tmp_path) as archive:
            done_before = set(archive.known(urls_of(count)))
        server.asked.clear()
        known = fetch(tmp_path, wire, urls_of(count))
        assert sorted(server.asked) == sorted(set(urls_of(count)) - done_before)
    assert {outcome.status for outcome in known.values()} == {Status.OK}
    stored = {path.name: path.read_bytes() for path in (tmp_path / PICTURES).rglob("*") if path.is_file()}
    assert sorted(stored.values()) == sorted(map(jpeg, range(count)))
    assert stored.keys() == {outcome.sha256 for outcome in known.values()}


def test_memory_does_not_grow_with_the_urls(tmp_path: Path) -> None:
    """URLs are drawn as they are needed."""
    drawn = 0

    def draw() -> Iterator[str]:
        nonlocal drawn
        for number in range(1_000_000):
            drawn += 1
            yield f"http://slow.example/{number}.jpg"

    class Enough(Exception):
        pass

    def listen(outcome: Outcome) -> None:
        raise Enough

    with serving(pause_s=0.2) as (_, wire), Archive(tmp_path) as archive, pytest.raises(Enough):
        Fetcher(archive, wire, "me/1", QUICK, NO_WAIT, workers=2).run(draw(), listen)
    assert drawn <= 25_000
