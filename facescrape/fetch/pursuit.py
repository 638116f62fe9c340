"""Pursuit: URLs on their way, from host to host, until each has an outcome in the archive.

What moves on the arrow "URLs → photographs", within one process. A URL advances by steps, each of which asks one host
for one thing: its rules, the URL, the target of a redirect. Between two steps it waits its turn at the next one's host.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import requests

from facescrape.archive import Archive, Outcome
from facescrape.fetch.consent import opted_out
from facescrape.fetch.crew import Crew, Next
from facescrape.fetch.permits import REMEMBERED_S, Permits, Rules, redirect_of
from facescrape.fetch.politeness import Politeness
from facescrape.fetch.verdict import Picture, check_beginning, check_content_type, decompress, judge, status_of_code
from facescrape.status import Status
from facescrape.web.exchange import FIRST_BYTES, Address, Client, Failed, Limits, parse_address, read_retry_after
from facescrape.web.wire import PRODUCT, Wire

_UNFINISHED_URLS = 20_000
_SHORTLY_S = 0.05

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Manner:
    """How URLs are fetched; see `facescrape.fetch.fetcher.Fetcher`. It can be sent to other processes."""

    wire: Wire
    agent: str
    limits: Limits
    politeness: Politeness
    workers: int
    public_only: bool
    clock: Callable[[], float]
    today: Callable[[], datetime]
    jitter: Callable[[], float]


@dataclass(slots=True)
class Job:
    """A URL on its way. Redirects lead it from host to host."""

    url: str
    start: Address
    address: Address
    tries: int = 0
    redirects: int = 0
    http_status: int | None = None
    was_asked: bool = False
    seconds: float = 0.0
    seconds_of_try: float = 0.0

    def begin_again(self) -> None:
        """Go back to where it began."""
        self.address, self.redirects, self.seconds_of_try = self.start, 0, 0.0


class Pursuit:
    """The URLs of one process on their way. A context: leaving it ends all that is under way."""

    def __init__(
        self,
        archive: Archive,
        manner: Manner,
        tell: Callable[[Outcome], None],
        owns: Callable[[str], bool] = lambda host: True,
        hand_over: Callable[[Job], None] = lambda job: None,
    ) -> None:
        """Make a pursuit, of nothing yet.

        Args:
            archive: what is known, and where all goes.
            manner: how to fetch.
            tell: is told each new outcome, by any thread.
            owns: whether a host is this process's to ask.
            hand_over: takes a URL whose redirect leads to a host that is not.
        """
        self._archive, self._tell, self._owns, self._hand_over = archive, tell, owns, hand_over
        self._limits, self._politeness = manner.limits, manner.politeness
        self._clock, self._today, self._jitter = manner.clock, manner.today, manner.jitter
        self._client = Client(
            manner.wire,
            manner.agent,
            manner.limits,
            connections_per_host=manner.politeness.connections_per_host,
            public_only=manner.public_only,
        )
        self._permits = Permits(self._client)
        self._crew = Crew(self._work, manner.workers, manner.clock)
        self._under_way: set[str] = set()
        self._failures: Counter[str] = Counter()  # by origin, in a row

    def __enter__(self) -> Self:
        self._client.open()
        self._crew.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._crew.stop(self._client.abort)
        self._client.close()
        self._archive.flush()

    def submit(self, items: Sequence[str | Job]) -> int:
        """Begin with URLs, and go on with those that another process has handed over, as soon as there is room.

        Returns:
            How many need nothing, because the archive knows them, or they are under way already.
        """
        jobs = [(item.address.host, item) for item in items if isinstance(item, Job)]
        urls = [item for item in items if isinstance(item, str)]
        # In this order: an outcome is in the archive before its URL is no longer under way.
        idle = [url for url in dict.fromkeys(urls) if url not in self._under_way]
        known = self._archive.known(idle)
        new = [url for url in idle if url not in known]
        for url in new:
            try:
                address = parse_address(url)
            except Failed as failed:
                self._keep(Outcome(url, failed.status, fetched_at=self._today()))
            else:
                jobs.append((address.host, Job(url, address, address)))
        self._under_way.update(job.url for _, job in jobs)
        self._crew.submit(jobs, _UNFINISHED_URLS)
        return len(urls) - len(new)

    def finish(self) -> None:
        """Wait until nothing is under way."""
        self._crew.finish()

    def _work(self, host: str, job: Job) -> Next:
        """One step of a URL: what its origin allows, or itself, or the next redirect."""
        origin = job.address.origin
        rules = self._permits.find(origin, self._clock())
        if rules is None or not rules.are_complete:
            return self._ask_for_rules(host, origin)
        self._keep_to(rules, host)
        if (refused := rules.refuse(job.address)) is not None:
            return self._finish(job, refused, asked=False)
        try:
            target, picture = self._ask(job)
            following = self._finish(job, Status.OK, picture) if target is None else self._follow(job, target)
        except Failed as failed:
            return Next(host) if self._crew.is_stopping else self._bear(failed, host, job)
        self._failures.pop(origin, None)
        return following

    def _ask_for_rules(self, host: str, origin: str) -> Next:
        """Fetch what is missing of an origin's rules; the job then goes on, first of its host."""
        try:
            if not self._permits.ask(origin, self._clock()):  # another thread is at it
                return Next(host, not_before=self._clock() + _SHORTLY_S, asked=False)
        except Failed as failed:
            self._failures[origin] += 1
            now, retry_after_s = self._clock(), failed.retry_after_s or 0.0
            gives_up = self._failures[origin] >= self._politeness.tries or not failed.may_pass
            if gives_up or retry_after_s > self._politeness.longest_retry_after_s:
                self._close(origin, failed.status, now + max(REMEMBERED_S, retry_after_s))
            else:
                pause_s = self._politeness.backoff_s(self._failures[origin], self._jitter())
                self._crew.hold(host, now + max(retry_after_s, pause_s))
        else:
            self._failures.pop(origin, None)
            if (rules := self._permits.find(origin, self._clock())) is not None:
                self._keep_to(rules, host)
        return Next(host, first=True)

    def _keep_to(self, rules: Rules, host: str) -> None:
        if rules.closed is not None:
            self._crew.tune(host, self._politeness.connections_per_host, 0.0)
        else:
            spacing_s = self._politeness.spacing_s(rules.crawl_delay_s)
            self._crew.tune(host, self._politeness.connections_per_host if rules.are_complete else 1, spacing_s)

    def _ask(self, job: Job) -> tuple[str | None, Picture | None]:
        """Ask for a URL once: where it redirects to, or else its picture.

        Raises:
            Failed: neither came.
        """
        began = self._clock()
        try:
            with self._client.get(job.address, self._limits.total_s - job.seconds_of_try) as response:
                job.was_asked, job.http_status = True, response.status_code
                if (target := redirect_of(response)) is not None:
                    self._client.drain(response)
                    return target, None
                body = self._read(response)
                encoding = response.headers.get("Content-Encoding", "")
            return None, judge(decompress(body, encoding, self._limits.max_bytes), self._limits.max_pixels)
        finally:
            seconds = self._clock() - began
            job.seconds += seconds
            job.seconds_of_try += seconds

    def _read(self, response: requests.Response) -> bytes:
        """The body of an answer that may be a picture, as it was sent."""
        code = response.status_code
        if code not in {200, 203}:
            self._client.drain(response)
            may_pass = code == 429 or code >= 500 or code < 200
            retry_after_s = read_retry_after(response) if code in {429, 503} else None
            raise Failed(status_of_code(code), code, may_pass=may_pass, retry_after_s=retry_after_s)
        if (rule := opted_out(response.raw.headers.items(), PRODUCT, self._today())) is not None:
            logger.debug("%s is opted out: %s", response.url, rule)
            raise Failed(Status.OPTED_OUT)
        check_content_type(response.headers.get("Content-Type", ""))
        if (response.raw.length_remaining or 0) > self._limits.max_bytes:
            raise Failed(Status.TOO_LARGE)
        first = self._client.read_beginning(response, FIRST_BYTES)
        if "Content-Encoding" not in response.headers:
            check_beginning(first, self._limits.max_pixels)
        return self._client.read(response, self._limits.max_bytes, first)

    def _follow(self, job: Job, target: str) -> Next:
        """Go on where a redirect leads; its host is asked for its rules, and given its distance, like any other."""
        job.redirects += 1
        if job.redirects > self._limits.redirects:
            return self._finish(job, Status.TOO_MANY_REDIRECTS)
        job.address = parse_address(target, job.address.url)
        return self._go_to(job, first=True)

    def _go_to(self, job: Job, *, not_before: float = 0.0, first: bool = False) -> Next:
        """The next step of a URL; in another process where the host is another's."""
        if self._owns(job.address.host):
            return Next(job.address.host, not_before, first)
        self._under_way.discard(job.url)
        self._hand_over(job)
        return Next()

    def _bear(self, failed: Failed, host: str, job: Job) -> Next:
        """What comes after a failure: another try later, or the end."""
        origin, polite, now = job.address.origin, self._politeness, self._clock()
        job.tries += 1
        job.was_asked |= failed.connected
        if failed.retry_after_s is not None and failed.retry_after_s > polite.longest_retry_after_s:
            self._close(origin, Status.RATE_LIMITED, now + failed.retry_after_s)
            return self._finish(job, Status.RATE_LIMITED)
        if failed.status in _FAILURES_OF_HOSTS:
            self._failures[origin] += 1
            if self._failures[origin] >= polite.failures_in_a_row:
                self._close(origin, failed.status, now + REMEMBERED_S)
                return self._finish(job, failed.status)
        else:
            self._failures.pop(origin, None)
        if not failed.may_pass or job.tries >= polite.tries:
            return self._finish(job, failed.status)
        until = now + max(polite.backoff_s(job.tries, self._jitter()), failed.retry_after_s or 0.0)
        if failed.retry_after_s is not None or failed.status is Status.RATE_LIMITED:
            self._crew.hold(host, until)
        job.begin_again()
        return self._go_to(job, not_before=until)

    def _close(self, origin: str, status: Status, until: float) -> None:
        logger.info("%s is given up: %s", origin, status)
        self._failures.pop(origin, None)
        self._permits.keep(origin, Rules(until, closed=status))

    def _finish(self, job: Job, status: Status, picture: Picture | None = None, *, asked: bool = True) -> Next:
        """Write down what became of a URL."""
        outcome = Outcome(
            job.url,
            status,
            job.http_status,
            job.address.url if job.was_asked else None,
            size_bytes=len(picture.content) if picture else None,
            sha256=picture.sha256 if picture else None,
            format=picture.format if picture else None,
            width=picture.width if picture else None,
            height=picture.height if picture else None,
            fetched_at=self._today(),
            seconds=job.seconds,
        )
        self._keep(outcome, picture)
        self._under_way.discard(job.url)
        return Next(asked=asked)

    def _keep(self, outcome: Outcome, picture: Picture | None = None) -> None:
        self._tell(self._archive.add(outcome, picture.content if picture is not None else None))


_FAILURES_OF_HOSTS = frozenset({Status.UNRESOLVED, Status.UNREACHABLE, Status.TLS_ERROR, Status.TIMEOUT})
