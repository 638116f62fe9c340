import contextlib
import gzip
import itertools
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from answers import HANG_UP, FakeTime, Say, in_turn, play
from hypothesis import given
from hypothesis import strategies as st

from facescrape.web import client as client_module
from facescrape.web.client import Answer, ApiClient, Limit, Service, TimedOut, TryAgain
from facescrape.web.wire import Internet
from pipelines.errors import CleanshardsError, ConfigError, DownloadError

URL = "https://api.example.org/things"
SERVICE = Service("The Library", (), if_unanswered="bring your own books", if_refused="show your card")
OK = Say({"books": 3})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def error_of(*answers: Say, tries: int, service: Service = SERVICE) -> CleanshardsError:
    """How asking ends, after how many requests."""
    with play(in_turn(*answers)) as services:
        with pytest.raises(CleanshardsError) as caught:
            services.client(service).get_json(URL, {})
        assert len(services.asked) == tries
    assert "\n" not in caught.value.message
    return caught.value


def test_asks_with_parameters_headers_and_an_honest_name() -> None:
    with play(in_turn(OK)) as services:
        got = services.client(SERVICE).get_json(URL, {"q": '"Ann & Bob"', "page": 2}, headers={"X-Key": "k"})
    assert got == {"books": 3}
    (asked,) = services.asked
    assert asked.url == "api.example.org/things"
    assert asked.query == {"q": '"Ann & Bob"', "page": "2"}
    assert (asked.headers["X-Key"], asked.headers["User-Agent"]) == ("k", "tests/1 (nobody)")
    assert "gzip" in asked.headers["Accept-Encoding"]


def test_reads_compressed_answers() -> None:
    with play(in_turn(Say(gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"}))) as services:
        assert services.client(SERVICE).get_json(URL, {}) == {"a": 1}


@pytest.mark.parametrize(
    "passing",
    [
        Say(status=500),
        Say(status=502),
        Say(status=503),
        Say(status=429),
        HANG_UP,
        Say(b'{"books"', length=100),
        Say(b"<html>", headers={"Content-Type": "text/html"}),
    ],
    ids=["500", "502", "503", "429", "hangs up", "breaks off", "web page"],
)
def test_tries_again_what_may_pass_with_growing_pauses(passing: Say) -> None:
    with play(in_turn(passing, passing, OK)) as services:
        assert services.client(SERVICE).get_json(URL, {}) == {"books": 3}
    assert services.time.slept == [1.0, 2.0]


def test_the_pauses_are_jittered() -> None:
    with play(in_turn(Say(status=500), Say(status=500), OK)) as services:
        services.client(SERVICE, jitter=iter([0.5, 0.9]).__next__).get_json(URL, {})
    assert services.time.slept == pytest.approx([0.75, 1.1])


def test_gives_up_after_a_while() -> None:
    error = error_of(Say(b"overloaded\nsorry", 503, {"Content-Type": "text/plain"}), tries=5)
    assert isinstance(error, DownloadError)
    assert error.message == (
        f"The Library gave no answer at {URL} (it answered 503 Service Unavailable: overloaded; 5 tries)"
    )
    assert error.hint == "try later, or bring your own books"


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_it_is_asked_to(status: int) -> None:
    busy = Say(status=status, headers={"Retry-After": "7"})
    with play(in_turn(busy, busy, OK)) as services:
        services.client(SERVICE).get_json(URL, {})
    assert services.time.slept == [7.0, 7.0]


def test_waits_until_the_date_it_is_asked_to() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    with play(in_turn(Say(status=429, headers={"Retry-After": until}), OK)) as services:
        services.client(SERVICE).get_json(URL, {})
    (slept,) = services.time.slept
    assert 200 < slept <= 300


def test_is_more_patient_where_it_is_told_how_long() -> None:
    busy = Say(status=503, headers={"Retry-After": "30"})
    with play(in_turn(*[busy] * 11, OK)) as services:
        assert services.client(SERVICE).get_json(URL, {}) == {"books": 3}


def test_does_not_wait_for_hours() -> None:
    error = error_of(Say(status=429, headers={"Retry-After": "7200"}), tries=1)
    assert error.message == f"The Library at {URL} wants to be left alone for 120 minutes"


@pytest.mark.parametrize("value", ["", "soon", "-5", "99999999999999999999", "Fri, 99 Foo"])
def test_an_odd_retry_after_harms_nothing(value: str) -> None:
    with play(in_turn(Say(status=503, headers={"Retry-After": value}), OK)) as services:
        try:
            assert services.client(SERVICE).get_json(URL, {}) == {"books": 3}
        except DownloadError as error:
            assert "left alone" in error.message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_the_users_to_mend(status: int) -> None:
    error = error_of(Say(status=status), tries=1)
    assert isinstance(error, ConfigError)
    assert f"The Library refuses us at {URL}" in error.message
    assert error.hint == "show your card"


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_wrong_request_is_not_sent_again(status: int) -> None:
    assert f"(it answered {status}" in error_of(Say(status=status), tries=1).message


def test_follows_no_redirect() -> None:
    error = error_of(Say(status=302, headers={"Location": "http://169.254.169.254/"}), tries=1)
    assert error.message == f"The Library is not at {URL} but at http://169.254.169.254/"


@pytest.mark.parametrize("body", [b"<!DOCTYPE html>", b"", b"{", b"[1]", b"[" * 100_000], ids=range(5))
def test_what_is_no_json_object_is_an_error(body: bytes) -> None:
    assert "JSON" in error_of(Say(body), tries=3).message


def test_an_answer_has_a_most_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (2 << 20))
    error = error_of(Say(bomb, headers={"Content-Encoding": "gzip"}), tries=1)
    assert error.message == f"The Library sends more than 1 MiB from {URL}"


def test_nobody_there_is_said_after_a_few_quick_tries() -> None:
    time, port = FakeTime(), free_port()
    asking = ApiClient(Internet(), "tests/1", SERVICE, sleep=time.sleep, clock=time.clock)
    url = f"http://127.0.0.1:{port}/sparql"
    with pytest.raises(DownloadError) as caught:
        asking.get_json(url, {})
    assert caught.value.message == f"The Library could not be reached at {url} (connection refused)"
    assert caught.value.hint == "check the network, try later, or bring your own books"
    assert len(time.slept) == 2 and sum(time.slept) <= 3


def test_a_host_without_an_address() -> None:
    with play(in_turn(OK)) as services, pytest.raises(DownloadError) as caught:
        services.client(SERVICE).get_json("https://api.invalid/x", {})
    assert caught.value.message == "The Library could not be reached at https://api.invalid/x (its host has no address)"


@pytest.mark.parametrize("url", ["", "api.example.org/x", "ftp://api.example.org/x", "http://", "http://[::1/x"])
def test_what_is_no_address_is_the_users_to_mend(url: str) -> None:
    with play(in_turn(OK)) as services, pytest.raises(ConfigError, match="cannot be asked for"):
        services.client(SERVICE).get_json(url, {})


def test_a_service_without_tls() -> None:
    with play(in_turn(OK)) as services:
        asking = ApiClient(Internet(), "tests/1", SERVICE)
        url = f"https://127.0.0.1:{services.port}/"
        with pytest.raises(DownloadError) as caught:
            asking.get_json(url, {})
    assert caught.value.message == (
        f"The Library could not be reached at {url} (it speaks no TLS, or with no valid certificate)"
    )


class Far(Internet):
    """A network on which no connection comes about in time."""

    def connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        raise TimeoutError


def test_a_host_that_does_not_react() -> None:
    time = FakeTime()
    asking = ApiClient(Far(), "tests/1", SERVICE, sleep=time.sleep, clock=time.clock)
    with pytest.raises(DownloadError, match=r"could not be reached at http://127.0.0.1/ \(no connection within 10 s\)"):
        asking.get_json("http://127.0.0.1/", {})
    assert len(time.slept) == 2


def test_an_answer_that_stalls_is_a_timeout() -> None:
    is_over = threading.Event()

    def stall(listener: socket.socket) -> None:
        with contextlib.ExitStack() as open_connections:
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection = open_connections.enter_context(listener.accept()[0])
                    connection.recv(1 << 16)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server = threading.Thread(target=stall, args=(listener,))
        server.start()
        service = Service("The Library", (), "", "", timeout_s=0.1)
        asking = ApiClient(Internet(), "tests/1", service, sleep=FakeTime().sleep)
        try:
            with pytest.raises(TimedOut, match="nothing came for 0 s; 2 tries"):
                asking.get_json(f"http://127.0.0.1:{listener.getsockname()[1]}/", {})
        finally:
            is_over.set()
            server.join()


def test_silence_is_a_timeout() -> None:
    service = Service("The Library", (), "", "", timeout_s=0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        time = FakeTime()
        asking = ApiClient(Internet(), "tests/1", service, sleep=time.sleep, clock=time.clock)
        with pytest.raises(TimedOut, match="2 tries"):
            asking.get_json(f"http://127.0.0.1:{silent.getsockname()[1]}/", {})


def test_dripping_is_a_timeout() -> None:
    ticks = itertools.count(0.0, 50.0)
    with play(in_turn(Say(b" " * 100_000))) as services:
        asking = services.client(SERVICE, clock=lambda: next(ticks))
        with pytest.raises(TimedOut, match="it took longer than 60 s; 2 tries"):
            asking.get_json(URL, {})


def test_an_answer_can_be_examined_before_it_is_judged() -> None:
    def examine(answer: Answer) -> None:
        if answer.headers.get("x-busy"):
            raise TryAgain("it is busy")
        if answer.status == 500:
            raise ConfigError("too much")

    with play(in_turn(Say(headers={"X-Busy": "1", "Retry-After": "9"}), OK)) as services:
        assert services.client(SERVICE).get_json(URL, {}, examine=examine) == {"books": 3}
        assert services.time.slept == [9.0]
    with play(in_turn(Say(status=500))) as services:
        with pytest.raises(ConfigError, match="too much"):
            services.client(SERVICE).get_json(URL, {}, examine=examine)
        assert len(services.asked) == 1


def test_reading_says_whose_answer_is_odd() -> None:
    with play(in_turn(OK)) as services:
        asking = services.client(SERVICE)
        odd = r"The Library answered at .* does not document \(KeyError: 'pages'\)"
        with pytest.raises(DownloadError, match=odd), asking.reading(URL):
            asking.get_json(URL, {})["pages"]


def test_never_asks_above_any_limit() -> None:
    with play(in_turn(OK)) as services:

        @given(
            st.lists(st.builds(Limit, st.integers(1, 5), st.floats(0.1, 100)), min_size=1, max_size=3),
            st.lists(st.floats(0, 30), max_size=12),
        )
        def holds(limits: list[Limit], pauses: list[float]) -> None:
            time, asked_at = FakeTime(0.0), []
            service = Service("The Library", tuple(limits), "", "")
            asking = services.client(service, sleep=time.sleep, clock=time.clock)
            for pause in pauses:
                asking.get_json(URL, {})
                asked_at.append(time.now)
                time.now += pause
            for limit in limits:
                for first, later in zip(asked_at, asked_at[limit.requests :], strict=False):
                    assert later - first >= limit.per_s * (1 - 1e-9)

        holds()


@pytest.mark.parametrize("make", [lambda: Limit(0, 1), lambda: Limit(1, 0), lambda: Service("x", (), "", "", 0)])
def test_impossible_options_are_refused(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]
