"""Permits: may this URL be asked for? Origins go in; what their robots.txt and TDM policy say comes out.

A part of the arrow "URLs → photographs". What these files say is read by `consent`; here they are fetched
once and remembered, as RFC 9309 wants it, 2.3 and 2.4.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

import requests

from facescrape.fetch.consent import ROBOTS_BYTES, Robots, TdmPolicy
from facescrape.fetch.verdict import decompress
from facescrape.status import Status
from facescrape.web.exchange import Address, Client, Failed, parse_address, read_retry_after
from facescrape.web.wire import PRODUCT

REMEMBERED_S = 24 * 3600.0  # RFC 9309, 2.4
_REMEMBERED_ORIGINS = 4096
_REMEMBERED_BYTES = 1 << 24  # of their files, which take some twenty times as much once they are parsed
_TDM_BYTES = 1 << 20
_INFLATED_BYTES = 1 << 24
_REDIRECTS = 5  # RFC 9309, 2.3.1.2
_NO_ROBOTS = Robots.parse(b"")
_NO_POLICY = TdmPolicy.parse(b"[]")


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one origin until ``expires``, a time of the caller's clock.

    ``closed`` is the status that all its URLs end with, where it cannot be asked. ``tdm`` is None until it is fetched.
    ``size_bytes`` is that of the files they were read from.
    """

    expires: float
    robots: Robots = _NO_ROBOTS
    tdm: TdmPolicy | None = None
    closed: Status | None = None
    crawl_delay_s: float | None = None
    size_bytes: int = 0

    @property
    def are_complete(self) -> bool:
        """Whether nothing is left to ask for."""
        return self.tdm is not None or self.closed is not None

    def refuse(self, address: Address) -> Status | None:
        """The status of a URL that must not be asked for; None where it may be."""
        if self.closed is not None:
            return self.closed
        if not self.robots.allows(address.url, PRODUCT):
            return Status.ROBOTS
        if self.tdm is not None and self.tdm.reserves(address.path):
            return Status.OPTED_OUT
        return None


class Permits:
    """The rules of the origins met lately. Any number of threads may use it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._rules: OrderedDict[str, Rules] = OrderedDict()
        self._size_bytes = 0
        self._asking: set[str] = set()

    def find(self, origin: str, now: float) -> Rules | None:
        """What is known of an origin."""
        with self._lock:
            rules = self._rules.get(origin)
            if rules is None or rules.expires <= now:
                return None
            self._rules.move_to_end(origin)
            return rules

    def keep(self, origin: str, rules: Rules) -> None:
        """Remember rules, and forget those that were not wanted for the longest time if they become too many."""
        with self._lock:
            before = self._rules.pop(origin, None)
            self._rules[origin] = rules
            self._size_bytes += rules.size_bytes - (before.size_bytes if before else 0)
            while len(self._rules) > 1 and (
                len(self._rules) > _REMEMBERED_ORIGINS or self._size_bytes > _REMEMBERED_BYTES
            ):
                self._size_bytes -= self._rules.popitem(last=False)[1].size_bytes

    def ask(self, origin: str, now: float) -> bool:
        """Fetch the next thing that is not known of an origin: its robots.txt, or else its TDM policy.

        Returns:
            False where another thread is at it.

        Raises:
            Failed: robots.txt could not be fetched, with robots_unreachable where the host could be reached.
        """
        with self._lock:
            if origin in self._asking:
                return False
            self._asking.add(origin)
        try:
            rules = self.find(origin, now)
            if rules is None:
                robots, size_bytes = self._fetch_robots(origin)
                delay_s = robots.crawl_delay_s(PRODUCT)
                self.keep(origin, Rules(now + REMEMBERED_S, robots, crawl_delay_s=delay_s, size_bytes=size_bytes))
            elif rules.tdm is None:
                policy, size_bytes = self._fetch_policy(origin, rules.robots)
                self.keep(origin, replace(rules, tdm=policy, size_bytes=rules.size_bytes + size_bytes))
        finally:
            with self._lock:
                self._asking.discard(origin)
        return True

    def _fetch_robots(self, origin: str) -> tuple[Robots, int]:
        """RFC 9309, 2.3.1: what cannot be found allows everything, what cannot be reached forbids everything.

        With the size of the file in bytes.
        """
        try:
            body = self._fetch(parse_address(f"{origin}/robots.txt"), ROBOTS_BYTES + 1)
        except Failed as failed:
            if failed.connected:
                raise Failed(
                    Status.ROBOTS_UNREACHABLE, failed.http_status, may_pass=True, retry_after_s=failed.retry_after_s
                ) from failed
            raise
        return (Robots.parse(body), len(body)) if body is not None else (_NO_ROBOTS, 0)

    def _fetch_policy(self, origin: str, robots: Robots) -> tuple[TdmPolicy, int]:
        """TDMRep, 6 (https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/): absent is no policy.

        With the size of the file in bytes.
        """
        address = parse_address(f"{origin}/.well-known/tdmrep.json")
        if not robots.allows(address.url, PRODUCT):
            return _NO_POLICY, 0
        try:
            body = self._fetch(address, _TDM_BYTES)
        except Failed:
            return _NO_POLICY, 0
        return (TdmPolicy.parse(body), len(body)) if body is not None else (_NO_POLICY, 0)

    def _fetch(self, address: Address, max_bytes: int) -> bytes | None:
        """The first ``max_bytes`` of a small file, redirects followed; None where there is none."""
        is_first = True
        for _ in range(_REDIRECTS + 1):
            try:
                with self._client.get(address, self._client.limits.total_s) as response:
                    target = redirect_of(response)
                    if target is None:
                        return self._read(response, max_bytes)
                    self._client.drain(response)
                    address = parse_address(target, address.url)
            except Failed as failed:
                if is_first:
                    raise
                raise Failed(failed.status, failed.http_status, retry_after_s=failed.retry_after_s) from failed
            is_first = False
        return None

    def _read(self, response: requests.Response, max_bytes: int) -> bytes | None:
        code = response.status_code
        if code == 429 or code >= 500 or code < 200:
            raise Failed(Status.SERVER_ERROR, code, retry_after_s=read_retry_after(response))
        if code >= 300:
            self._client.drain(response)
            return None
        body = self._client.read_beginning(response, max_bytes)
        has_end = code == 204 or "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
        if not body and not has_end:
            raise Failed(Status.UNREACHABLE, code)  # no telling it from an answer that broke off in its headers
        return decompress(body, response.headers.get("Content-Encoding", ""), _INFLATED_BYTES)[:max_bytes]


def redirect_of(response: requests.Response) -> str | None:
    """Where an answer sends us, as it is written there; None where it does not."""
    return response.headers.get("Location") if response.status_code in {301, 302, 303, 307, 308} else None
