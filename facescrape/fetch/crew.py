"""Crew: threads that work on the jobs of a `facescrape.fetch.hosts.HostQueue`, each as soon as its host allows.

A part of the arrow "URLs → photographs". A job is worked on step by step; between two steps it stands in the queue of
the host that the next one is for, so no thread ever waits for anything but the network.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic

from facescrape.fetch.hosts import HostQueue, Job

_ROOM_EVERY = 100  # whoever waits for room is woken after so many jobs


@dataclass(frozen=True, slots=True)
class Next:
    """What comes after a step of a job.

    Attributes:
        host: where it goes on; None: it is finished.
        not_before: when, at the earliest.
        first: whether before the others of that host.
        asked: whether this step asked its host for anything; if not, the next one need not keep its distance.
    """

    host: str | None = None
    not_before: float = 0.0
    first: bool = False
    asked: bool = True


class Crew(Generic[Job]):
    """A number of threads. An error in any of them stops all, and is raised by whichever method is called next."""

    def __init__(self, work: Callable[[str, Job], Next], workers: int, clock: Callable[[], float]) -> None:
        """Make a crew that does not work yet.

        Args:
            work: does one step of a job, of which it is told the host.
            workers: threads.
            clock: seconds.
        """
        self._work, self._workers, self._clock = work, workers, clock
        self._queue: HostQueue[Job] = HostQueue()
        lock = threading.Lock()
        self._changed = threading.Condition(lock)  # the queue may have something for a thread that waits
        self._fewer = threading.Condition(lock)  # there is room for new jobs
        self._alarm = math.inf  # when a thread that waits wakes up by itself
        self._open = 0
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self.is_stopping = False

    def start(self) -> None:
        """Begin to work."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._serve, name=f"fetch-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, jobs: Sequence[tuple[str, Job]], most: int) -> None:
        """Add jobs with their hosts, as soon as fewer than ``most`` are unfinished."""
        with self._changed:
            self._wait_for(most - 1)
            for host, job in jobs:
                self._queue.push(host, job)
            self._open += len(jobs)
            self._changed.notify(len(jobs))

    def finish(self) -> None:
        """Wait until all jobs are finished."""
        with self._changed:
            self._wait_for(0)

    def stop(self, abort: Callable[[], None], timeout_s: float = 5.0) -> None:
        """End all threads; ``abort`` wakes those that wait for the network."""
        with self._changed:
            self.is_stopping = True
            self._changed.notify_all()
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < end:
                abort()
                thread.join(0.1)

    def hold(self, host: str, until: float) -> None:
        """Begin nothing more at a host until a time."""
        with self._changed:
            self._queue.hold(host, until)

    def tune(self, host: str, connections: int, spacing_s: float) -> None:
        """Allow a host so many jobs at once, and their beginnings so far apart."""
        with self._changed:
            self._queue.tune(host, connections, spacing_s)

    def _wait_for(self, most: int) -> None:
        while self._open > most and self._error is None:
            self._fewer.wait()
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        try:
            while (taken := self._take()) is not None:
                host, job, since = taken
                self._put_back(host, job, since, self._work(host, job))
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self.is_stopping = True
                self._changed.notify_all()
                self._fewer.notify_all()

    def _take(self) -> tuple[str, Job, float] | None:
        """The next job that may begin, with the time; None: there will be none.

        Of the threads that wait, one sets the alarm for when the next host is ready; the others sleep until woken.
        """
        with self._changed:
            while not self.is_stopping:
                now = self._clock()
                popped = self._queue.pop(now)
                wait_s = self._queue.wait_s(now)
                if popped is not None:
                    if wait_s is not None and now + wait_s < self._alarm:
                        self._changed.notify()  # somebody else shall see to what is left
                    return *popped, now
                if wait_s is None or now + wait_s >= self._alarm:
                    self._changed.wait()
                else:
                    mine = self._alarm = now + wait_s
                    self._changed.wait(wait_s)
                    if self._alarm == mine:
                        self._alarm = math.inf
            return None

    def _put_back(self, host: str, job: Job, since: float, following: Next) -> None:
        with self._changed:
            if following.host is not None:
                self._queue.push(following.host, job, not_before=following.not_before, first=following.first)
            else:
                self._open -= 1
                if self._open == 0 or self._open % _ROOM_EVERY == 0:
                    self._fewer.notify_all()
            self._queue.done(host, self._clock(), unused=None if following.asked else since)
            # Whatever this has made ready, the same thread sees next.
