"""Fetcher: brings the archive up to date. URLs go in; at the end each has an outcome there, and its picture.

The arrow "URLs → photographs". Polite: each host's robots.txt and opt-outs are obeyed, its connections are few, their
requests spaced, its wishes to be left alone granted. Safe: see `facescrape.web` for addresses and time, `verdict` for
what comes back. Fast: a few hundred threads wait for as many hosts at once, `hosts` tells which may be asked, and where
one process is not enough, `fleet` divides the hosts among several.
"""

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from facescrape.archive import Archive, Outcome
from facescrape.fetch.fleet import Fleet
from facescrape.fetch.politeness import Politeness
from facescrape.fetch.pursuit import Manner, Pursuit
from facescrape.web.exchange import Limits
from facescrape.web.wire import Wire

__all__ = ["Fetcher", "Limits", "Politeness"]

_BATCH_URLS = 500


def tell_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class Fetcher:
    """Fetches what an archive does not know."""

    def __init__(
        self,
        archive: Archive,
        wire: Wire,
        agent: str,
        limits: Limits | None = None,
        politeness: Politeness | None = None,
        *,
        workers: int = 192,
        processes: int = 1,
        public_only: bool = True,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = tell_time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Make a fetcher; nothing is asked for yet.

        Args:
            archive: what is known, and where all goes.
            wire: how hosts are reached.
            agent: the User-Agent, see `facescrape.web.wire.user_agent`.
            limits: how much a URL may take.
            politeness: how a host is treated.
            workers: threads per process, and so requests at once.
            processes: among which the hosts are divided; more than one needs arguments that can be pickled. One serves
                hundreds of images per second, which is more than polite rates usually come to.
            public_only: refuse hosts that are not on the public internet. Only tests and benchmarks say otherwise.
            clock: seconds, for what must wait.
            today: date and time, for what is dated.
            jitter: a number of [0, 1), for the pauses between tries.
        """
        if min(workers, processes) < 1:
            raise ValueError(f"workers and processes must be 1 or more: {workers}, {processes}")
        self._archive, self._processes = archive, processes
        self._manner = Manner(
            wire,
            agent,
            limits or Limits(),
            politeness or Politeness(),
            workers,
            public_only,
            clock,
            today,
            jitter,
        )

    def run(self, urls: Iterable[str], on_outcome: Callable[[Outcome], None] | None = None) -> None:
        """Fetch those of ``urls`` that the archive does not know; at the end all have an outcome there.

        Memory does not grow with the number of URLs, which are drawn as they are needed. An interrupt, or an error of
        the disk, ends the run at once; what has an outcome by then is kept.

        Args:
            urls: each may occur more than once.
            on_outcome: is told each new outcome, by one thread at a time.

        Raises:
            DiskFull: no space was left.
            StageError: one of several processes died.
        """
        telling = threading.Lock()

        def tell(outcome: Outcome) -> None:
            if on_outcome is not None:
                with telling:
                    on_outcome(outcome)

        if self._processes > 1:
            with Fleet(self._archive.folder, self._manner, self._processes, tell) as fleet:
                for some in _batches(urls):
                    fleet.submit(some)
                fleet.finish()
        else:
            with Pursuit(self._archive, self._manner, tell) as pursuit:
                for some in _batches(urls):
                    pursuit.submit(some)
                pursuit.finish()


def _batches(urls: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(urls)
    while some := list(islice(rest, _BATCH_URLS)):
        yield some
