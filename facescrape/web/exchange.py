"""Exchange: one request and its answer, within limits. A URL goes in; an answer, or the status that says why not, out.

A part of the arrow "URLs → photographs". Nothing is followed, retried or decoded here. However a server behaves, an
exchange ends: timeouts bound each wait for it, and a watchdog, which shuts the socket down, bounds all of them
together, so that one that drips its handshake, headers or body byte by byte gains nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from urllib.parse import urljoin

import requests
import urllib3.exceptions
from urllib3.util import parse_url

from facescrape.status import Status
from facescrape.web.watchdog import Watchdog
from facescrape.web.wire import PrivateAddress, Unresolved, Wire, open_session
from pipelines.images import MAX_PIXELS

FIRST_BYTES = 1 << 16
_LARGE_BYTES = 4 << 20
_LARGE_AT_ONCE = 16
_IDLE_CONNECTIONS = 512  # with those in use, below the 1,024 files that a process may usually have open
_DRAINED_BYTES = 1 << 14  # to keep a connection, so much of an answer is read that nobody wants


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of it a URL may take.

    Attributes:
        max_bytes: of a picture, as sent and as decompressed.
        max_pixels: of a picture, by its header.
        connect_timeout_s: for each address of a host.
        read_timeout_s: for the next bytes to come.
        total_s: for a try, from its first request to the last byte, redirects included.
        redirects: followed in a row.
    """

    max_bytes: int = 30_000_000
    max_pixels: int = MAX_PIXELS
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 20.0
    total_s: float = 90.0
    redirects: int = 5

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_pixels, self.connect_timeout_s, self.read_timeout_s, self.total_s) <= 0:
            raise ValueError(f"limits must be positive: {self}")
        if self.redirects < 0:
            raise ValueError(f"redirects must not be negative: {self}")


class Failed(Exception):
    """An exchange, or a picture, ended otherwise than well.

    Attributes:
        status: how.
        http_status: the answer's, where there was one.
        may_pass: whether it is worth another try, in a while.
        connected: whether the host was reached.
        retry_after_s: how long the host asks to be left alone.
    """

    def __init__(
        self,
        status: Status,
        http_status: int | None = None,
        *,
        may_pass: bool = False,
        connected: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.http_status = http_status
        self.may_pass = may_pass
        self.connected = connected
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Address:
    """A URL that may be asked for, taken apart. Nothing has been resolved."""

    url: str  # percent-encoded, without fragment
    host: str  # lower case
    origin: str  # scheme://host:port, what a robots.txt is for (RFC 9309, 2.3)
    path: str  # with the query


def parse_address(url: str, base: str | None = None) -> Address:
    """Take a URL apart; ``base`` is what it is relative to.

    Raises:
        Failed: bad_url, where it is none of http or https, has no host, or a user.
    """
    try:
        parts = parse_url(urljoin(base, url) if base else url)
    except (urllib3.exceptions.LocationParseError, ValueError) as error:
        raise Failed(Status.BAD_URL) from error
    if parts.scheme not in _PORTS or not parts.host or parts.auth is not None:
        raise Failed(Status.BAD_URL)
    port = parts.port or _PORTS[parts.scheme]
    asked = parts._replace(fragment=None, path=parts.path or "/")
    return Address(asked.url, parts.host, f"{parts.scheme}://{parts.host}:{port}", asked.request_uri)


_PORTS = {"http": 80, "https": 443}


class Client:
    """Sends requests. Any number of threads may use it."""

    def __init__(
        self, wire: Wire, agent: str, limits: Limits, *, connections_per_host: int = 2, public_only: bool = True
    ) -> None:
        self.limits = limits
        self._watchdog = Watchdog()
        self._session = open_session(
            wire,
            agent,
            public_only=public_only,
            connections_per_host=connections_per_host,
            hosts=max(1, _IDLE_CONNECTIONS // connections_per_host),
            on_socket=self._watchdog.use,
        )
        # What a session adds per request, cookies, hooks and redirects, is not wanted and takes longer than the rest.
        self._adapter = self._session.get_adapter("http://")
        self._headers = requests.structures.CaseInsensitiveDict(
            {"User-Agent": agent, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
        )
        self._large = threading.Semaphore(_LARGE_AT_ONCE)

    def open(self) -> None:
        """Begin to watch the time."""
        self._watchdog.start()

    def close(self) -> None:
        """Close idle connections."""
        self._watchdog.stop()
        self._session.close()

    def abort(self) -> None:
        """Make all exchanges under way fail now."""
        self._watchdog.expire_all()

    @contextmanager
    def get(self, address: Address, total_s: float) -> Iterator[requests.Response]:
        """Ask for a URL; the answer's body can be read within the block, by `read`.

        Args:
            address: what to ask for.
            total_s: seconds that the whole block may take.

        Raises:
            Failed: no answer came, or, in the block, the body broke off.
        """
        if total_s <= 0:
            raise Failed(Status.TIMEOUT, may_pass=True)
        request = requests.PreparedRequest()
        request.method, request.url, request.headers = "GET", address.url, self._headers
        timeouts_s = (min(self.limits.connect_timeout_s, total_s), min(self.limits.read_timeout_s, total_s))
        response = None
        with self._watchdog.watch(total_s) as watch:
            try:
                response = self._adapter.send(request, stream=True, timeout=timeouts_s)
                yield response
                if watch.expired:  # what looked like the end was our own doing
                    raise TimeoutError("the time is over")
            except (Failed, *_ERRORS) as error:
                if watch.expired:
                    raise Failed(Status.TIMEOUT, may_pass=True) from error
                raise error if isinstance(error, Failed) else _explain(error) from error
            finally:
                if response is not None:
                    response.close()

    def read(self, response: requests.Response, max_bytes: int, begun: bytes = b"") -> bytes:
        """Read a body as it was sent, after ``begun``.

        Raises:
            Failed: too_large.
        """
        chunks, size, is_large = [begun], len(begun), False
        try:
            while chunk := response.raw.read(min(1 << 20, max_bytes + 1 - size), decode_content=False):
                chunks.append(chunk)
                size += len(chunk)
                if size > max_bytes:
                    raise Failed(Status.TOO_LARGE, response.status_code)
                if size > _LARGE_BYTES and not is_large:
                    is_large = self._large.acquire(timeout=self.limits.total_s)
        finally:
            if is_large:
                self._large.release()
        return b"".join(chunks)

    def read_beginning(self, response: requests.Response, max_bytes: int) -> bytes:
        """Read a body's first bytes, as sent; fewer only where it has no more."""
        body = b""
        while len(body) < max_bytes and (chunk := response.raw.read(max_bytes - len(body), decode_content=False)):
            body += chunk
        return body

    def drain(self, response: requests.Response) -> None:
        """Read what nobody wants, if it is little: the connection can then be used again."""
        if int(response.raw.length_remaining or 0) <= _DRAINED_BYTES:
            response.raw.read(_DRAINED_BYTES, decode_content=False)


def read_retry_after(response: requests.Response) -> float | None:
    """Seconds that an answer asks us to wait (RFC 9110, 10.2.3: a number, or a date); None where it asks for none."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal() and value.isascii():
        return float(value[:9])
    with suppress(ValueError):
        date = parsedate_to_datetime(value)
        return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError)
_NO_HTTP = (HTTPException, urllib3.exceptions.InvalidHeader, urllib3.exceptions.HeaderParsingError)


def _explain(error: BaseException) -> Failed:
    """The status that an error of requests, urllib3 or http.client, which wrap one another, comes to."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if isinstance(error, PrivateAddress):
        return Failed(Status.PRIVATE_ADDRESS, connected=False)
    if isinstance(error, Unresolved):
        return Failed(Status.UNRESOLVED, connected=False, may_pass=error.may_pass)
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return Failed(Status.BAD_URL, connected=False)
    connected = not has(urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError) or has(TimeoutError):
        return Failed(Status.TIMEOUT, connected=connected, may_pass=True)
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return Failed(Status.TLS_ERROR, connected=False)
    if has(*_NO_HTTP) and not has(RemoteDisconnected, IncompleteRead, urllib3.exceptions.IncompleteRead):
        return Failed(Status.SERVER_ERROR, may_pass=True)
    return Failed(Status.UNREACHABLE, connected=connected, may_pass=True)
