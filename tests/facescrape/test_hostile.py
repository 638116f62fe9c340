"""Every way in which a host can misbehave: the run ends, each URL has its row, nothing private is reached."""

import gzip
import random
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers import jpeg
from hostile import (
    PICTURE,
    REFUSING,
    ROBOTS,
    TDM,
    Answer,
    Site,
    World,
    answer,
    dripping,
    endless,
    gzip_bomb,
    in_turn,
    missing,
    picture,
    png,
    raw,
    redirect,
    silent,
)

from facescrape.archive import Archive, Outcome
from facescrape.fetch.fetcher import Fetcher, Limits, Politeness
from facescrape.status import Status

GOOD = jpeg()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIMITS = Limits(
    max_bytes=300_000,
    max_pixels=100_000_000,
    connect_timeout_s=2.0,
    read_timeout_s=1.5,
    total_s=3.0,
    redirects=4,
)
POLITE = Politeness(tries=2, pause_s=0.01, requests_per_s_per_host=None, longest_retry_after_s=10.0)
AGENT = "cleanshards/0.1 (test)"


def fetch(
    world: World,
    urls: Iterable[str],
    folder: Path,
    limits: Limits = LIMITS,
    *,
    clock: Callable[[], float] | None = None,
) -> dict[str, Outcome]:
    """The outcomes of a run, which must end and must not reach anything private."""
    told: list[Outcome] = []
    wanted = list(urls)
    options = {} if clock is None else {"clock": clock}
    with Archive(folder / "archive") as archive:
        fetcher = Fetcher(archive, world, AGENT, limits, POLITE, workers=48, today=lambda: NOW, **options)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                fetcher.run(wanted, told.append)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(90)
        assert not thread.is_alive(), "the run does not end"
        assert not errors, errors
        outcomes = archive.known(wanted)
    assert sorted(outcome.url for outcome in told) == sorted(set(wanted)), "one row each"
    assert outcomes == {outcome.url: outcome for outcome in told}
    assert world.private_connects() == []
    return outcomes


def offering(what: Answer, robots: Answer = missing, tdm: Answer = missing) -> Site:
    return {PICTURE: what, ROBOTS: robots, TDM: tdm}


def rules(text: str) -> Answer:
    return answer(text.encode(), headers=[("Content-Type", "text/plain")])


def tagged(*values: str) -> Site:
    return offering(picture(GOOD, *(("X-Robots-Tag", value) for value in values)))


HTML = b"<!DOCTYPE html><html><body>no picture</body></html>"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
OPEN = offering(picture(GOOD))
START = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
WHOLE = START + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
CUT = GOOD[: len(GOOD) // 2]
FORBID_LATE = b"# wait\n" * 200 + b"Disallow: /\n"
HUGE_ROBOTS = b"User-agent: *\nDisallow: /private\n" + b"Disallow: /very/long/path/of/no/interest\n" * 125_000

CASES: Mapping[str, tuple[Site, Status]] = {
    "good": (OPEN, Status.OK),
    "redirect-followed": (offering(redirect("http://good.example/picture.jpg")), Status.OK),
    # Bodies
    "endless-body": (offering(endless(START + b"\r\n" + GOOD, bytes(1 << 14))), Status.TOO_LARGE),
    "endless-chunked": (
        offering(endless(START + b"Transfer-Encoding: chunked\r\n\r\n", b"4000\r\n" + GOOD.ljust(1 << 14) + b"\r\n")),
        Status.TOO_LARGE,
    ),
    "gzip-bomb": (offering(picture(gzip_bomb(200), ("Content-Encoding", "gzip"))), Status.TOO_LARGE),
    "gzip-within-gzip": (
        offering(picture(gzip.compress(gzip.compress(GOOD)), ("Content-Encoding", "gzip, gzip"))),
        Status.NOT_AN_IMAGE,
    ),
    "gzip-that-is-none": (offering(picture(GOOD, ("Content-Encoding", "gzip"))), Status.NOT_AN_IMAGE),
    "gzip-not-asked-for": (offering(picture(gzip.compress(GOOD), ("Content-Encoding", "gzip"))), Status.OK),
    "900-megapixels": (offering(picture(png(30_000, 30_000), kind="image/png")), Status.TOO_MANY_PIXELS),
    "900-megapixels-in-gzip": (
        offering(picture(gzip.compress(png(30_000, 30_000)), ("Content-Encoding", "gzip"), kind="image/png")),
        Status.TOO_MANY_PIXELS,
    ),
    "html-called-jpeg": (offering(picture(HTML)), Status.NOT_AN_IMAGE),
    "html": (offering(picture(HTML, kind="text/html")), Status.NOT_AN_IMAGE),
    "jpeg-called-html": (offering(picture(GOOD, kind="text/html")), Status.NOT_AN_IMAGE),
    "truncated-jpeg": (offering(picture(CUT)), Status.TRUNCATED),
    "svg": (offering(picture(SVG, kind="image/svg+xml")), Status.UNSUPPORTED_FORMAT),
    "svg-called-png": (offering(picture(SVG, kind="image/png")), Status.UNSUPPORTED_FORMAT),
    "empty": (offering(picture(b"")), Status.NOT_AN_IMAGE),
    # Slowness
    "drips-body": (offering(dripping(WHOLE, at_once=len(WHOLE) - 300)), Status.TIMEOUT),
    "drips-headers": (offering(dripping(WHOLE, at_once=9)), Status.TIMEOUT),
    "drips-redirect": (
        offering(dripping(b"HTTP/1.1 302 Found\r\nLocation: /" + b"x" * 2000 + b"\r\n\r\n", at_once=20)),
        Status.TIMEOUT,
    ),
    "says-nothing": (offering(silent), Status.TIMEOUT),
    "continues-for-ever": (offering(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)), Status.TIMEOUT),
    # HTTP
    "no-http": (offering(raw(b"SSH-2.0-OpenSSH_9.6\r\n")), Status.SERVER_ERROR),
    "no-http-at-all": (offering(raw(random.Random(0).randbytes(5000))), Status.SERVER_ERROR),
    "hangs-up": (offering(raw()), Status.UNREACHABLE),
    "breaks-off-headers": (offering(raw(START)), Status.NOT_AN_IMAGE),
    "endless-header": (offering(endless(START + b"X: ", b"x" * (1 << 14))), Status.SERVER_ERROR),
    "endless-headers": (offering(endless(START, b"X: x\r\n" * 1000)), Status.SERVER_ERROR),
    "length-too-long": (offering(answer(GOOD, length="100000")), Status.UNREACHABLE),
    "length-too-short": (offering(answer(GOOD, length=str(len(CUT)))), Status.TRUNCATED),
    "length-beyond-limit": (offering(answer(GOOD, length="9" * 15)), Status.TOO_LARGE),
    "length-beyond-numbers": (offering(answer(GOOD, length="9" * 5000)), Status.OK),
    "length-negative": (offering(answer(GOOD, length="-7")), Status.OK),
    "length-garbage": (offering(answer(GOOD, length="many")), Status.OK),
    "lengths-that-differ": (offering(answer(GOOD, headers=[("Content-Length", "9")])), Status.SERVER_ERROR),
    "chunks-broken": (
        offering(raw(START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD)),
        Status.UNREACHABLE,
    ),
    "chunks-break-off": (
        offering(raw(START + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc")),
        Status.UNREACHABLE,
    ),
    "status-0": (offering(answer(GOOD, "000 What")), Status.SERVER_ERROR),
    "status-999": (offering(answer(GOOD, "999 Linked")), Status.SERVER_ERROR),
    "no-content": (offering(answer(b"", "204 No Content")), Status.NOT_AN_IMAGE),
    "partial": (offering(answer(CUT, "206 Partial Content")), Status.NOT_AN_IMAGE),
    "gone": (offering(answer(b"", "410 Gone")), Status.NOT_FOUND),
    "legal-reasons": (offering(answer(b"", "451 Unavailable For Legal Reasons")), Status.FORBIDDEN),
    "teapot": (offering(answer(b"", "418 I'm a teapot")), Status.REFUSED),
    "server-error": (offering(answer(b"", "500 Oops")), Status.SERVER_ERROR),
    # Redirects
    "redirect-loop": (offering(redirect(PICTURE)), Status.TOO_MANY_REDIRECTS),
    "redirect-without-target": (offering(redirect("")), Status.TOO_MANY_REDIRECTS),
    "redirect-no-location": (offering(answer(b"", "302 Found")), Status.REFUSED),
    "redirect-ping": (offering(redirect("http://redirect-pong.example/picture.jpg")), Status.TOO_MANY_REDIRECTS),
    "redirect-pong": (offering(redirect("http://redirect-ping.example/picture.jpg")), Status.TOO_MANY_REDIRECTS),
    "redirect-to-forbidden": (offering(redirect("http://robots-forbid.example/picture.jpg")), Status.ROBOTS),
    "redirect-to-no-name": (offering(redirect("http://nowhere.example/")), Status.UNRESOLVED),
    "cookies": (
        offering(in_turn(answer(b"", "302 Found", [("Location", PICTURE), ("Set-Cookie", "id=7")]), picture(GOOD))),
        Status.OK,
    ),
    # Patience
    "rate-limited-shortly": (
        offering(in_turn(answer(b"", "429 Too Many", [("Retry-After", "1")]), picture(GOOD))),
        Status.OK,
    ),
    "rate-limited-for-long": (
        offering(answer(b"", "429 Too Many", [("Retry-After", "3600")])),
        Status.RATE_LIMITED,
    ),
    "rate-limited-until": (
        offering(answer(b"", "429 Too Many", [("Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT")])),
        Status.RATE_LIMITED,
    ),
    "rate-limited-for-garbage": (offering(answer(b"", "429 Too Many", [("Retry-After", "soon")])), Status.RATE_LIMITED),
    "busy-for-long": (offering(answer(b"", "503 Busy", [("Retry-After", "3600")])), Status.RATE_LIMITED),
    "busy-once": (offering(in_turn(answer(b"", "503 Busy"), picture(GOOD))), Status.OK),
    # Consent: robots.txt
    "robots-forbid": (offering(picture(GOOD), rules("User-agent: *\nDisallow: /")), Status.ROBOTS),
    "robots-forbid-us": (
        offering(picture(GOOD), rules("User-agent: CleanShards\nDisallow: /\n\nUser-agent: *\nAllow: /")),
        Status.ROBOTS,
    ),
    "robots-forbid-others": (offering(picture(GOOD), rules("User-agent: clean\nDisallow: /")), Status.OK),
    "robots-time-out": (offering(picture(GOOD), silent), Status.ROBOTS_UNREACHABLE),
    "robots-drip": (offering(picture(GOOD), dripping(WHOLE, at_once=9)), Status.ROBOTS_UNREACHABLE),
    "robots-5-mb": (offering(picture(GOOD), answer(HUGE_ROBOTS)), Status.OK),
    "robots-5-mb-forbid": (
        offering(picture(GOOD), answer(b"User-agent: *\nDisallow: /\n" + HUGE_ROBOTS)),
        Status.ROBOTS,
    ),
    "robots-endless": (
        offering(picture(GOOD), endless(b"HTTP/1.1 200 OK\r\n\r\nUser-agent: *\nDisallow: /\n", b"# more\n" * 1000)),
        Status.ROBOTS,
    ),
    "robots-bomb": (
        offering(picture(GOOD), answer(gzip_bomb(200), headers=[("Content-Encoding", "gzip")])),
        Status.ROBOTS_UNREACHABLE,
    ),
    "robots-500": (offering(picture(GOOD), answer(b"", "500 Oops")), Status.ROBOTS_UNREACHABLE),
    "robots-403": (offering(picture(GOOD), answer(b"", "403 Forbidden")), Status.OK),
    "robots-429-for-long": (
        offering(picture(GOOD), answer(b"", "429 Too Many", [("Retry-After", "3600")])),
        Status.ROBOTS_UNREACHABLE,
    ),
    "robots-html": (offering(picture(GOOD), answer(HTML)), Status.OK),
    "robots-drip-body": (
        offering(picture(GOOD), dripping(b"HTTP/1.1 200 OK\r\n\r\nUser-agent: *\n" + FORBID_LATE, at_once=40)),
        Status.ROBOTS_UNREACHABLE,
    ),
    "robots-break-off-headers": (offering(picture(GOOD), raw(START)), Status.ROBOTS_UNREACHABLE),
    "robots-break-off-body": (
        offering(picture(GOOD), answer(b"User-agent: *", length="99")),
        Status.ROBOTS_UNREACHABLE,
    ),
    "robots-no-http": (offering(picture(GOOD), raw(b"220 ftp.example\r\n")), Status.ROBOTS_UNREACHABLE),
    "robots-hang-up": (offering(picture(GOOD), raw()), Status.ROBOTS_UNREACHABLE),
    "robots-redirect": (offering(picture(GOOD), redirect("http://robots-forbid.example/robots.txt")), Status.ROBOTS),
    "robots-redirect-loop": (offering(picture(GOOD), redirect(ROBOTS)), Status.OK),
    "robots-redirect-inside": (
        offering(picture(GOOD), redirect("http://10.0.0.1/robots.txt")),
        Status.ROBOTS_UNREACHABLE,
    ),
    "robots-redirect-file": (offering(picture(GOOD), redirect("file:///etc/passwd")), Status.ROBOTS_UNREACHABLE),
    # Consent: headers and tdmrep.json
    "tag-noindex-preview": (tagged("noindex, max-image-preview: none"), Status.OPTED_OUT),
    "tag-preview": (tagged("max-image-preview: none"), Status.OK),
    "tag-later-noai": (tagged("unavailable_after: 25 Jun 2030 15:00:00 PST, noai"), Status.OPTED_OUT),
    "tag-later": (tagged("unavailable_after: Fri, 25-Jun-2030 15:00:00 GMT"), Status.OK),
    "tag-earlier": (tagged("unavailable_after: Fri, 25-Jun-2010 15:00:00 GMT"), Status.OPTED_OUT),
    "tag-other": (tagged("otherbot: noindex, noai"), Status.OK),
    "tag-two-lines": (tagged("otherbot: nofollow", "noai"), Status.OPTED_OUT),
    "tag-endless-body": (
        offering(endless(START + b"X-Robots-Tag: noai\r\n\r\n" + GOOD, bytes(1 << 14))),
        Status.OPTED_OUT,
    ),
    "tdm-header": (offering(picture(GOOD, ("TDM-Reservation", "1"))), Status.OPTED_OUT),
    "tdm-header-0": (offering(picture(GOOD, ("TDM-Reservation", "0"))), Status.OK),
    "tdm-file": (
        offering(picture(GOOD), tdm=answer(b'[{"location": "/", "tdm-reservation": 1}]')),
        Status.OPTED_OUT,
    ),
    "tdm-garbage": (offering(picture(GOOD), tdm=answer(b"[" * 100_000)), Status.OK),
    "tdm-endless": (offering(picture(GOOD), tdm=endless(b"HTTP/1.1 200 OK\r\n\r\n[", b"[0],\n" * 1000)), Status.OK),
    "tdm-silent": (offering(picture(GOOD), tdm=silent), Status.OK),
    "tdm-redirect-inside": (offering(picture(GOOD), tdm=redirect("http://127.0.0.1/")), Status.OK),
}

PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "2130706433",  # 127.0.0.1
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0.0.0.0",
    "0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "2852039166",  # 169.254.169.254
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "[fd00::1]",
    "[ff02::1]",
    "inside.example",
    "inside-and-outside.example",
    "inside6.example",
]
ADDRESSES = {
    "inside.example": [["10.0.0.5"]],
    "inside-and-outside.example": [["93.184.216.34", "10.0.0.5"]],
    "inside6.example": [["::ffff:10.0.0.5"]],
    "refuses.example": [[REFUSING]],
    "no-address.example": [[]],
    "turns-inside.example": [["93.184.216.35"], ["93.184.216.35"], ["127.0.0.1"]],
    "turns-inside-after-robots.example": [["93.184.216.36"], ["10.0.0.1"]],
}
BAD_URLS = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "gopher://good.example/picture.jpg",
    "ftp://good.example/picture.jpg",
    "data:image/gif;base64,R0lGODlhAQABAAAAACw=",
    "javascript:alert(1)",
    "http://user:pass@good.example/picture.jpg",
    "http://user@good.example/picture.jpg",
    "http://good.example@127.0.0.1/picture.jpg",
    "http://[half/picture.jpg",
    "http://[::1/picture.jpg",
    "http://good.example:99999/picture.jpg",
    "http://good.example:port/picture.jpg",
]


def name_of(case: str) -> str:
    return f"{case}.example"


def url_of(case: str) -> str:
    return f"http://{name_of(case)}{PICTURE}"


def expected() -> dict[str, Status]:
    """Every URL of the mixed run with the status that it shall end with."""
    ends = {url_of(case): status for case, (_, status) in CASES.items()}
    for number, host in enumerate(PRIVATE_HOSTS):
        ends[f"http://{host}{PICTURE}"] = Status.PRIVATE_ADDRESS
        ends[url_of(f"to-private-{number}")] = Status.PRIVATE_ADDRESS
    for number, url in enumerate(BAD_URLS):
        ends[url] = Status.BAD_URL
        ends[url_of(f"to-bad-{number}")] = Status.BAD_URL
    return ends | {
        url_of("refuses"): Status.UNREACHABLE,
        url_of("no-address"): Status.UNRESOLVED,
        url_of("nobody"): Status.UNRESOLVED,
        f"http://{'x' * 64}.example/": Status.UNRESOLVED,
        url_of("turns-inside"): Status.PRIVATE_ADDRESS,
        url_of("turns-inside-after-robots"): Status.PRIVATE_ADDRESS,
        "http://127.0.0.1:1/": Status.PRIVATE_ADDRESS,
        "http:///picture.jpg": Status.BAD_URL,
        "no url": Status.BAD_URL,
        "": Status.BAD_URL,
    }


EXPECTED = expected()


def make_world() -> World:
    sites = {name_of(case): site for case, (site, _) in CASES.items()}
    for number, host in enumerate(PRIVATE_HOSTS):
        sites[name_of(f"to-private-{number}")] = offering(redirect(f"http://{host}/latest/meta-data"))
    for number, url in enumerate(BAD_URLS):
        sites[name_of(f"to-bad-{number}")] = offering(redirect(url))
    return World({**sites, **dict.fromkeys(ADDRESSES, OPEN)}, ADDRESSES)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, Outcome]]]:
    """One run of all at once."""
    urls = list(EXPECTED)
    random.Random(1).shuffle(urls)
    with make_world() as world:
        yield world, fetch(world, urls, tmp_path_factory.mktemp("mixed"))


@pytest.mark.parametrize("url", EXPECTED, ids=lambda url: url or "empty")
def test_each_ends_with_its_status(url: str, mixed: tuple[World, dict[str, Outcome]]) -> None:
    outcome = mixed[1][url]
    assert outcome.status is EXPECTED[url], outcome
    assert outcome.fetched_at == NOW
    assert (outcome.sha256 is not None) is (outcome.status is Status.OK)


def test_nothing_private_was_reached(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    assert len(world.connects) > len(CASES)
    assert world.private_connects() == []
    assert "93.184.216.34" not in world.connects, "one private address of several is enough"


def test_consent_is_asked_for_first(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    for case, (_, status) in CASES.items():
        host = name_of(case)
        paths = [path for asked, path in world.asked if asked == host]
        assert paths[0] == ROBOTS
        if status in {Status.ROBOTS, Status.ROBOTS_UNREACHABLE} and not case.startswith("redirect"):
            assert set(paths) <= {ROBOTS, TDM}, case
    assert world.count("tdm-file.example", PICTURE) == 0


def test_what_asks_for_patience_gets_it(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    assert world.count("rate-limited-shortly.example", PICTURE) == 2
    assert world.count("rate-limited-for-long.example", PICTURE) == 1
    assert world.count("rate-limited-until.example", PICTURE) == 1
    assert world.count("busy-for-long.example", PICTURE) == 1
    assert world.count("robots-429-for-long.example", ROBOTS) == 1


def test_what_cannot_change_is_not_asked_for_twice(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    for case, (_, status) in CASES.items():
        if not status.is_transient and not case.startswith(("good", "redirect", "cookies", "rate", "busy")):
            assert world.count(name_of(case), PICTURE) <= 1, case


def test_no_more_is_read_than_is_needed(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    in_buffers = 12 << 20  # what the kernel takes from the server though nobody reads it
    for case in ("endless-body", "endless-chunked", "tag-endless-body", "robots-endless", "tdm-endless"):
        assert world.sent_bytes[name_of(case)] < in_buffers, case


def test_a_host_that_asks_to_be_left_alone_is(tmp_path: Path) -> None:
    site = {f"/{number}.jpg": answer(b"", "429 Too Many", [("Retry-After", "3600")]) for number in range(20)}
    with World({"busy.example": site}) as world:
        outcomes = fetch(world, [f"http://busy.example{path}" for path in site], tmp_path)
        asked = sum(path in site for _, path in world.asked)
    assert {outcome.status for outcome in outcomes.values()} == {Status.RATE_LIMITED}
    assert asked <= POLITE.connections_per_host


@pytest.mark.parametrize("look_ups", range(4))
def test_an_address_that_turns_private_is_not_connected_to(look_ups: int, tmp_path: Path) -> None:
    """Whenever a name changes its address, a connection goes to one that was checked."""
    turning = [["93.184.216.34"]] * look_ups + [["169.254.169.254"]]
    with World({"turns.example": OPEN}, {"turns.example": turning}) as world:
        (outcome,) = fetch(world, [url_of("turns")], tmp_path).values()
        assert world.connects == ["93.184.216.34"] * min(look_ups, 3)
    assert outcome.status is (Status.OK if look_ups >= 3 else Status.PRIVATE_ADDRESS)


def test_an_address_that_flickers_is_not_connected_to(tmp_path: Path) -> None:
    """Public when checked, private at once after: what was checked is what is connected to."""
    flickering = [["93.184.216.34"], ["127.0.0.1"]] * 50
    with World({"flickers.example": OPEN}, {"flickers.example": flickering}) as world:
        fetch(world, [url_of("flickers")], tmp_path)
        assert set(world.connects) == {"93.184.216.34"}


def test_nobody_learns_more_than_who_we_are(mixed: tuple[World, dict[str, Outcome]]) -> None:
    world, _ = mixed
    assert world.count("cookies.example", PICTURE) == 2
    for head in world.heads:
        names = [line.partition(":")[0].lower() for line in head.split("\r\n")[1:]]
        assert not {"cookie", "authorization", "referer", "proxy-authorization"} & set(names)
        assert f"\r\nUser-Agent: {AGENT}\r\n" in head


def test_memory_stays_flat(tmp_path: Path) -> None:
    limits = replace(LIMITS, max_bytes=4_000_000, total_s=60.0, read_timeout_s=20.0)
    bomb = gzip_bomb(2000)
    sites = {
        "bomb.example": offering(picture(bomb, ("Content-Encoding", "gzip"))),
        "robots.example": offering(picture(GOOD), answer(bomb, headers=[("Content-Encoding", "gzip")])),
        "endless.example": offering(endless(START + b"\r\n" + GOOD, bytes(1 << 14))),
        "lines.example": offering(endless(START + b"X: ", b"x" * (1 << 14))),
    }
    with World(sites) as world:
        tracemalloc.start()
        try:
            outcomes = fetch(world, [f"http://{host}{PICTURE}" for host in sites], tmp_path, limits)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(bomb) < limits.max_bytes
    assert peak_bytes < 80_000_000, "of 2 GB"
    assert [outcomes[f"http://{host}{PICTURE}"].status for host in sites] == [
        Status.TOO_LARGE,
        Status.ROBOTS_UNREACHABLE,
        Status.TOO_LARGE,
        Status.SERVER_ERROR,
    ]


def test_time_that_is_used_up_by_redirects_ends_the_try(tmp_path: Path) -> None:
    """A clock that runs fast: the first answer takes longer than all of them may together."""
    moments = iter(range(10_000))
    with World({"slow.example": {PICTURE: redirect("/other"), "/other": picture(GOOD)}}) as world:
        (outcome,) = fetch(world, [url_of("slow")], tmp_path, clock=lambda: next(moments) * 5.0).values()
    assert outcome.status is Status.TIMEOUT
