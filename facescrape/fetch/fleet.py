"""Fleet: several processes fetch, and each host belongs to one of them.

A part of the arrow "URLs → photographs", for more images per second than one interpreter brings. What politeness needs
to know of a host is known in one place, the process that owns it: a redirect to the host of another is handed over to
that one, by way of this. Every process writes into the same archive, by a connection of its own.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

from facescrape.archive import Archive, Outcome
from facescrape.fetch.pursuit import Job, Manner, Pursuit
from facescrape.web.exchange import Failed, parse_address
from pipelines.errors import StageError

_ENDING_S = 60.0

# What a process reports: an outcome, a URL to be handed over, so many URLs that needed nothing; an error is its last.
_Report = Outcome | Job | int | BaseException


class Fleet:
    """The processes. A context: leaving it ends them."""

    def __init__(self, folder: Path, manner: Manner, processes: int, tell: Callable[[Outcome], None]) -> None:
        """Make a fleet that is not under way.

        Args:
            folder: the archive's.
            manner: how to fetch.
            processes: how many.
            tell: is told each new outcome, by any thread.
        """
        self._folder, self._manner, self._tell = folder, manner, tell
        self._processes = range(processes)
        self._changed = threading.Condition()
        self._open = 0
        self._handed_over: list[str | Job] = []
        self._error: BaseException | None = None
        self._is_ending = False

    def __enter__(self) -> Self:
        context = get_context("spawn")
        pipes = [context.Pipe() for _ in self._processes]
        self._pipes = [ours for ours, _ in pipes]
        self._members = [
            context.Process(target=_serve, args=(theirs, self._folder, self._manner, number, len(pipes)), daemon=True)
            for number, (_, theirs) in enumerate(pipes)
        ]
        for member, (_, theirs) in zip(self._members, pipes, strict=True):
            member.start()
            theirs.close()
        self._listeners = [threading.Thread(target=self._listen, args=(pipe,), daemon=True) for pipe in self._pipes]
        for listener in self._listeners:
            listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_ending = True
        for pipe, member in zip(self._pipes, self._members, strict=True):
            if kind is None:
                with suppress(OSError):
                    pipe.send(None)
            else:
                member.terminate()
        for member, listener in zip(self._members, self._listeners, strict=True):
            member.join(_ENDING_S)
            member.kill()
            member.join()
            listener.join()
        if kind is None:
            self._raise_error()
            if any(member.exitcode for member in self._members):
                raise _death()

    def submit(self, items: Sequence[str | Job]) -> None:
        """Send URLs to the processes that own their hosts, as soon as these have room.

        Raises:
            StageError: a process died; or whatever ended one.
        """
        with self._changed:
            self._open += sum(isinstance(item, str) for item in items)
            more, self._handed_over = self._handed_over, []
        shares: list[list[str | Job]] = [[] for _ in self._processes]
        for item in [*more, *items]:
            shares[_owner(_host_of(item), len(shares))].append(item)
        for pipe, share in zip(self._pipes, shares, strict=True):
            if share:
                try:
                    pipe.send(share)
                except OSError:  # it has ended; `_listen` knows why
                    with self._changed:
                        self._changed.wait_for(lambda: self._error is not None, _ENDING_S)
        self._raise_error()

    def finish(self) -> None:
        """Wait until nothing is under way, and hand over what is to be handed over until then.

        Raises:
            StageError: a process died; or whatever ended one.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._open == 0 or self._handed_over or self._error)
                if self._open == 0 and not self._error:
                    return
            self.submit([])

    def _raise_error(self) -> None:
        with self._changed:
            if self._error is not None:
                raise self._error

    def _listen(self, pipe: Connection) -> None:
        try:
            while True:
                for report in pipe.recv():
                    self._take(report)
        except (EOFError, OSError):
            self._fail(None if self._is_ending else _death())
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _take(self, report: _Report) -> None:
        if isinstance(report, BaseException):
            raise report
        if isinstance(report, Outcome):
            self._tell(report)
        with self._changed:
            if isinstance(report, Job):
                self._handed_over.append(report)
            else:
                self._open -= report if isinstance(report, int) else 1
            self._changed.notify_all()


def _death() -> StageError:
    return StageError("a process that fetches died", hint="run the same command again: it goes on from there")


def _owner(host: str, processes: int) -> int:
    return crc32(host.encode()) % processes


def _host_of(item: str | Job) -> str:
    if isinstance(item, Job):
        return item.address.host
    try:
        return parse_address(item).host
    except Failed:  # anybody's
        return ""


def _serve(pipe: Connection, folder: Path, manner: Manner, number: int, processes: int) -> None:
    """What each process does: pursue what comes in through the pipe until None comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process at the other end of the pipe decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # keeps what there is
    reports: queue.SimpleQueue[_Report | None] = queue.SimpleQueue()
    reporting = threading.Thread(target=_report, args=(pipe, reports), daemon=True)
    reporting.start()
    try:
        with (
            Archive(folder) as archive,
            Pursuit(
                archive, manner, reports.put, lambda host: _owner(host, processes) == number, reports.put
            ) as pursuit,
        ):
            while (items := pipe.recv()) is not None:
                reports.put(pursuit.submit(items))
    except (EOFError, SystemExit):  # there is nobody any more to fetch for
        return
    except BaseException as error:
        reports.put(error)
    reports.put(None)
    reporting.join()


def _report(pipe: Connection, reports: "queue.SimpleQueue[_Report | None]") -> None:
    """Send what there is to report, as much at once as has come together."""
    while True:
        together = [reports.get()]
        while not reports.empty():
            together.append(reports.get())
        try:
            pipe.send([report for report in together if report is not None])
        except OSError:  # as after a kill; the thread that waits for room would not notice
            os._exit(1)
        if together[-1] is None:
            return
