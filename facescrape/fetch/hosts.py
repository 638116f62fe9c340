"""Hosts: which job may begin now? Jobs by host go in, and come out such that no host is asked too much or too often.

The schedule of the arrow "URLs → photographs". It does nothing by itself and owns no clock: `crew` says
what the time is, in seconds of any one clock. Hosts with a job that may begin some day stand in a heap by that time,
so thousands of them cost O(log n) a job, and one that is slow, or held, keeps nobody else waiting.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(slots=True)
class _Host(Generic[Job]):
    """One host's state. ``entry`` numbers its valid entry in the heap, for ``entry_at``; 0 where it has none."""

    name: str
    connections: int
    spacing_s: float
    jobs: deque[Job] = field(default_factory=deque)
    active: int = 0
    begun_at: float = -math.inf  # the last job that asked for something
    begun_before: float = -math.inf  # and the one before it
    held_until: float = -math.inf
    entry: int = 0
    entry_at: float = 0.0

    @property
    def not_before(self) -> float:
        """When the next job may begin."""
        return max(self.held_until, self.begun_at + self.spacing_s)


class HostQueue(Generic[Job]):
    """Jobs waiting for their hosts.

    A host begins with one connection: what it allows is known only after its robots.txt, which the first job brings.
    `tune` raises it. A host that has nothing to do and nothing to be remembered is dropped, so memory is that of the
    jobs.
    """

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[Job]] = {}
        self._ready: list[tuple[float, int, _Host[Job]]] = []
        self._later: list[tuple[float, int, str, Job]] = []
        self._idle: list[tuple[float, int, str]] = []
        self._numbers = count(1)
        self._waiting = 0

    def __len__(self) -> int:
        """Jobs that wait."""
        return self._waiting

    @property
    def hosts(self) -> int:
        """Hosts that are remembered."""
        return len(self._hosts)

    def push(self, host: str, job: Job, *, not_before: float = 0.0, first: bool = False) -> None:
        """Add a job; one that must wait until ``not_before`` lets others of its host go before it."""
        self._waiting += 1
        if not_before > 0:
            heapq.heappush(self._later, (not_before, next(self._numbers), host, job))
        else:
            self._enqueue(host, job, first)

    def pop(self, now: float) -> tuple[str, Job] | None:
        """A job that may begin now, with its host, of which it takes one connection until `done`; None: none may."""
        while self._later and self._later[0][0] <= now:
            _, _, host, job = heapq.heappop(self._later)
            self._enqueue(host, job, first=False)
        while self._idle and self._idle[0][0] <= now:
            self._drop_idle(heapq.heappop(self._idle)[2], now)
        while self._ready:
            at, number, state = self._ready[0]
            if state.entry != number:  # a newer entry has taken its place
                heapq.heappop(self._ready)
                continue
            if at > now:
                return None
            heapq.heappop(self._ready)
            state.entry = 0
            job = state.jobs.popleft()
            state.active += 1
            state.begun_before, state.begun_at = state.begun_at, now
            self._waiting -= 1
            self._stand(state)
            return state.name, job
        return None

    def wait_s(self, now: float) -> float | None:
        """Seconds until `pop` may give something, 0 if now; None: not before another `push` or `done`."""
        while self._ready and self._ready[0][2].entry != self._ready[0][1]:
            heapq.heappop(self._ready)
        times = [heap[0][0] for heap in (self._ready, self._later) if heap]
        return max(0.0, min(times) - now) if times else None

    def done(self, host: str, now: float, *, unused: float | None = None) -> None:
        """A job that `pop` gave has ended. ``unused``: when it was given, where it did not ask its host after all."""
        state = self._hosts[host]
        state.active -= 1
        if state.begun_at == unused:
            state.begun_at = state.begun_before
        self._stand(state)
        self._drop_idle(host, now)

    def tune(self, host: str, connections: int, spacing_s: float) -> None:
        """Allow a host so many jobs at once, and their beginnings so far apart."""
        state = self._hosts.get(host)
        if state is not None and (state.connections, state.spacing_s) != (connections, spacing_s):
            state.connections, state.spacing_s = connections, spacing_s
            self._stand(state)

    def hold(self, host: str, until: float) -> None:
        """Begin nothing more at a host until a time."""
        state = self._hosts.get(host)
        if state is not None and until > state.held_until:
            state.held_until = until
            self._stand(state)

    def _enqueue(self, host: str, job: Job, first: bool) -> None:
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host(host, connections=1, spacing_s=0.0)
        if first:
            state.jobs.appendleft(job)
        else:
            state.jobs.append(job)
        self._stand(state)

    def _stand(self, state: _Host[Job]) -> None:
        """Put a host into the heap at the time from which its next job may begin, if one may at all."""
        if not state.jobs or state.active >= state.connections:
            state.entry = 0
        elif not state.entry or state.entry_at != state.not_before:
            state.entry, state.entry_at = next(self._numbers), state.not_before
            heapq.heappush(self._ready, (state.entry_at, state.entry, state))

    def _drop_idle(self, host: str, now: float) -> None:
        """Forget a host without jobs as soon as it may be asked at once again."""
        state = self._hosts.get(host)
        if state is None or state.jobs or state.active:
            return
        if state.not_before <= now:
            del self._hosts[host]
        else:
            heapq.heappush(self._idle, (state.not_before, next(self._numbers), host))
