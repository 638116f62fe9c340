"""ApiClient: how facescrape asks services that answer in JSON. A URL and its parameters go in, the JSON comes out.

Stands under the first two arrows of "names → URLs → photographs → boxes → crops", DBpedia and the search providers. It
asks in series, never above a service's published rate, tries again what may pass, waits as long as it is asked to
(Retry-After), and gives up with an error of one line. Redirects are not followed: they could take a key elsewhere.
"""

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from facescrape.web.exchange import read_retry_after
from facescrape.web.failures import CONNECT_TIMEOUT_S, QUICK_TRIES, Failure, explain
from facescrape.web.wire import Wire, open_session
from pipelines.errors import CleanshardsError, ConfigError, DownloadError

MAX_BYTES = 64 << 20  # of an answer, decompressed; 10,000 rows of DBpedia have about 10 MB
PAUSE_S = 1.0  # before the second try; each further pause is about twice as long
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 900.0  # who asks to be left alone for longer is asked again by another run
_CHUNK_BYTES = 1 << 14

Sleep = Callable[[float], None]
Clock = Callable[[], float]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests within any ``per_s`` seconds."""

    requests: int
    per_s: float

    def __post_init__(self) -> None:
        if self.requests < 1 or self.per_s <= 0:
            raise ValueError(f"a limit must allow something: {self}")


@dataclass(frozen=True, slots=True)
class Service:
    """What is to be known of a service before it is asked.

    Attributes:
        name: as messages call it.
        limits: how often it may be asked; all of them hold.
        if_unanswered: what to do, besides trying later, where it does not answer.
        if_refused: what to do where it answers 401 or 403.
        timeout_s: for an answer, from the request to its last byte.
    """

    name: str
    limits: tuple[Limit, ...]
    if_unanswered: str
    if_refused: str
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.timeout_s <= 0:
            raise ValueError(f"the timeout must be positive: {self}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came. Names of headers are found in any case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def first_line(self) -> str:
        """What a person can read of a body that is plain text; empty for web pages and JSON."""
        if not self.headers.get("Content-Type", "").startswith("text/plain"):
            return ""
        line = self.body[:400].decode("utf-8", "replace").strip().partition("\n")[0]
        return "".join(c for c in line if c.isprintable())[:160]


Examine = Callable[[Answer], None]


class TimedOut(DownloadError):
    """A service took too long."""


class TryAgain(Exception):
    """Raised by an `Examine`: the answer says that the same request may be answered later."""


class ApiClient:
    """Asks one service. To be used by one thread."""

    def __init__(
        self,
        wire: Wire,
        user_agent: str,
        service: Service,
        *,
        sleep: Sleep = time.sleep,
        clock: Clock = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Open no connection yet.

        Args:
            wire: how the service is reached. Private addresses are fine: the user names the service.
            user_agent: says who asks, and whom to write to.
            service: who is asked.
            sleep: waits between requests; one that returns at once lifts the service's limits.
            clock: seconds of any one clock.
            jitter: a number in [0, 1), which takes up to a half off each pause between tries.
        """
        self.service = service
        self._session = open_session(wire, user_agent, public_only=False)
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._asked_at: deque[float] = deque(maxlen=max((limit.requests for limit in service.limits), default=1))

    def get_json(
        self,
        url: str,
        parameters: Mapping[str, str | int],
        *,
        headers: Mapping[str, str] | None = None,
        examine: Examine | None = None,
    ) -> dict[str, Any]:
        """Ask for a JSON object, by GET.

        Args:
            url: without its query.
            parameters: become the query.
            headers: sent besides our own.
            examine: sees each answer before its status is judged, and may raise what it means: `TryAgain`, or an error.

        Raises:
            TimedOut: it took too long, each time.
            DownloadError: it could not be reached, or did not answer with JSON.
            ConfigError: it refuses us, or the URL is none.
        """
        number = 0
        while True:
            number += 1
            self._wait_for_turn()
            try:
                return self._ask(url, parameters, headers or {}, examine)
            except Failure as failure:
                pause_s = min(PAUSE_S * 2 ** (number - 1), LONGEST_PAUSE_S) * (1 - self._jitter() / 2)
                pause_s = max(pause_s, failure.retry_after_s or 0.0)
                if number >= failure.tries or pause_s > LONGEST_RETRY_AFTER_S:
                    raise self._give_up(url, failure, number, pause_s) from failure
                logger.warning("%s: %s; trying again in %.0f s", self.service.name, failure.reason, pause_s)
                self._sleep(pause_s)

    @contextmanager
    def reading(self, url: str) -> Iterator[None]:
        """For the block that picks an answer apart.

        Raises:
            DownloadError: something in the answer is not what the service documents.
        """
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DownloadError(
                f"{self.service.name} answered at {url} in a form that it does not document"
                f" ({type(error).__name__}: {error})",
                hint=f"check the address; {self.service.if_unanswered}",
            ) from error

    def _wait_for_turn(self) -> None:
        now = self._clock()
        wait_s = 0.0
        for limit in self.service.limits:
            if len(self._asked_at) >= limit.requests:
                wait_s = max(wait_s, self._asked_at[-limit.requests] + limit.per_s - now)
        if wait_s > LONGEST_PAUSE_S:
            logger.warning("%s may be asked again in %.0f minutes; waiting", self.service.name, wait_s / 60)
        if wait_s > 0:
            self._sleep(wait_s)
        self._asked_at.append(self._clock())

    def _ask(
        self, url: str, parameters: Mapping[str, str | int], headers: Mapping[str, str], examine: Examine | None
    ) -> dict[str, Any]:
        with explain(url, self.service.timeout_s):
            answer, retry_after_s = self._receive(url, parameters, headers)
        if examine is not None:
            try:
                examine(answer)
            except TryAgain as error:
                raise Failure(str(error), retry_after_s=retry_after_s) from error
        says = f"it answered {answer.status} {answer.reason}".rstrip()
        if answer.first_line:
            says += f": {answer.first_line}"
        if answer.status == requests.codes.too_many_requests or answer.status >= 500:
            raise Failure(says, retry_after_s=retry_after_s)
        if answer.status in {requests.codes.unauthorized, requests.codes.forbidden}:
            raise ConfigError(f"{self.service.name} refuses us at {url} ({says})", hint=self.service.if_refused)
        if 300 <= answer.status < 400:
            target = answer.headers.get("Location", "somewhere else")
            raise DownloadError(f"{self.service.name} is not at {url} but at {target}", hint="give that address")
        if not 200 <= answer.status < 300:
            raise self._error(f"{self.service.name} does not answer what it is asked at {url} ({says})")
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            what = "a web page" if answer.body.lstrip().startswith(b"<") else "something else"
            raise Failure(f"it sent {what} instead of JSON", tries=QUICK_TRIES) from error
        if not isinstance(value, dict):
            raise Failure("it sent JSON, but no object", tries=QUICK_TRIES)
        return value

    def _receive(
        self, url: str, parameters: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> tuple[Answer, float | None]:
        begun_at = self._clock()
        timeouts_s = (CONNECT_TIMEOUT_S, self.service.timeout_s)
        with self._session.get(
            url, params=parameters, headers=headers, timeout=timeouts_s, stream=True, allow_redirects=False
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise self._error(f"{self.service.name} sends more than {MAX_BYTES >> 20} MiB from {url}")
                if self._clock() - begun_at > self.service.timeout_s:
                    raise requests.ReadTimeout
            answer = Answer(response.status_code, response.reason or "", response.headers, bytes(body))
            return answer, read_retry_after(response)

    def _give_up(self, url: str, failure: Failure, tries: int, pause_s: float) -> CleanshardsError:
        name = self.service.name
        if not failure.connected:
            return self._error(f"{name} could not be reached at {url} ({failure.reason})", "check the network, ")
        if pause_s > LONGEST_RETRY_AFTER_S:
            return self._error(f"{name} at {url} wants to be left alone for {pause_s / 60:.0f} minutes")
        message = f"{name} gave no answer at {url} ({failure.reason}; {tries} tries)"
        return self._error(message, kind=TimedOut if failure.timed_out else DownloadError)

    def _error(self, message: str, before: str = "", kind: type[DownloadError] = DownloadError) -> DownloadError:
        return kind(message, hint=f"{before}try later, or {self.service.if_unanswered}")


ClientFactory = Callable[[Service], ApiClient]
