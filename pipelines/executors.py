"""Executor: where tasks run. The local pool and other engines differ here and nowhere else."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from pipelines.errors import ConfigError, StageError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT_PER_WORKER = 2  # enough that no worker waits; few enough that memory does not grow with the task count


class Executor(Protocol):
    """Runs a function over items, anywhere; ``fn`` and the items must be picklable."""

    def map(self, fn: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield ``fn(item)`` for each item, in the items' order; the first exception ends it."""
        ...


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Processes on this machine. One worker, or one item, runs in the calling process.

    Workers are spawned, not forked (a forked torch or OpenCV can deadlock), and die with their parent.
    """

    workers: int = os.cpu_count() or 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"--workers is {self.workers}", hint="give 1 or more")

    def map(self, fn: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield ``fn(item)`` for each item, in the items' order.

        Raises:
            StageError: a worker process died.
        """
        workers = min(self.workers, len(items))
        if workers <= 1:
            yield from (fn(item) for item in items)
            return
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
        try:
            waiting = iter(items)
            with _interrupts_wait():  # the first submit starts all workers
                futures: deque[Future[R]] = deque(
                    pool.submit(fn, item) for item in islice(waiting, IN_FLIGHT_PER_WORKER * workers)
                )
            while futures:
                yield futures.popleft().result()
                futures.extend(pool.submit(fn, item) for item in islice(waiting, 1))
        except BrokenProcessPool as error:
            raise StageError(
                "a worker process died (most often: the system ran out of memory)",
                hint="run the same command again with fewer --workers: finished tasks are kept",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits until the block is done, and processes started in it never see one: each would print a traceback."""
    if threading.current_thread() is not threading.main_thread() or os.name != "posix":
        yield
        return
    requests: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: requests.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a new process inherits
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if requests:
        raise KeyboardInterrupt


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does: a killed run must leave nobody writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


ENGINES: Mapping[str, Callable[[int], Executor]] = {"local": LocalExecutor}


def choose_executor(engine: str, workers: int | None) -> Executor:
    """The executor that ``--executor`` and ``--workers`` name; None: a worker per core.

    Raises:
        ConfigError: no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--executor is {engine!r}", hint=f"give one of: {', '.join(ENGINES)}")
    return ENGINES[engine](workers or os.cpu_count() or 1)
