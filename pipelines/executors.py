"""Executor: where tasks run. The local pool and other engines differ here and nowhere else."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from pipelines.errors import ConfigError, StageError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT_PER_WORKER = 2  # enough that no worker waits; few enough that memory does not grow with the task count
ATTEMPTS = 3  # of an item whose worker dies; what an item raises is never tried again


class Executor(Protocol):
    """Runs a function over items, anywhere; ``fn`` and the items must be picklable."""

    def map(self, fn: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Yield ``fn(item)`` for each item, in the items' order; the first exception ends it.

        An item whose worker dies is tried again: ``fn`` must bear to be broken off, and to be called again.

        Raises:
            StageError: the workers of an item died `ATTEMPTS` times.
        """
        ...


def worker_died(item: object) -> StageError:
    """The error to raise where an item takes every worker with it."""
    return StageError(
        f"a worker process died {ATTEMPTS} times on {item} (most often: the system ran out of memory)",
        hint="run the same command again with fewer --workers: finished tasks are kept",
    )


@dataclass(slots=True)
class _Run(Generic[T, R]):
    """An item in flight, and how many workers died while it was."""

    item: T
    future: Future[R]
    deaths: int = 0

    @property
    def is_broken(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), BrokenProcessPool)


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
        """See `Executor`. When a worker dies, who of those in flight killed it is not known.

        So all of them are tried again, and at their last attempt each alone, with the memory to itself.
        """
        workers = min(self.workers, len(items))
        if workers <= 1:
            yield from (fn(item) for item in items)
            return
        pool = _new_pool(workers)
        try:
            waiting = iter(items)
            with _interrupts_wait():  # the first submit starts all workers
                first = islice(waiting, IN_FLIGHT_PER_WORKER * workers)
                runs = deque(_Run(item, _submit(pool, fn, item)) for item in first)
            while runs:
                try:
                    result = runs[0].future.result()
                except BrokenProcessPool:
                    pool.shutdown(wait=True, cancel_futures=True)
                    pool = _new_pool(workers)
                    _try_again(fn, [run for run in runs if run.is_broken], pool)
                    continue
                runs.popleft()
                yield result
                runs.extend(_Run(item, _submit(pool, fn, item)) for item in islice(waiting, 1))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _try_again(fn: Callable[[T], R], broken: Sequence[_Run[T, R]], pool: ProcessPoolExecutor) -> None:
    """Give the broken runs new futures; one that is given up fails when its turn comes, after the results before it."""
    with _interrupts_wait():
        for run in broken:
            run.deaths += 1
            if run.deaths < ATTEMPTS - 1:
                run.future = _submit(pool, fn, run.item)
    for run in broken:
        if run.deaths == ATTEMPTS - 1:
            with _new_pool(1) as alone:
                with _interrupts_wait():
                    run.future = _submit(alone, fn, run.item)
                if isinstance(run.future.exception(), BrokenProcessPool):
                    run.future = _failed(worker_died(run.item))


def _new_pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)


def _submit(pool: ProcessPoolExecutor, fn: Callable[[T], R], item: T) -> Future[R]:
    """Submit an item; to a pool that has just broken, as if it had broken afterwards."""
    try:
        return pool.submit(fn, item)
    except BrokenProcessPool as error:
        return _failed(error)


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


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


ENGINES = ("local", "ray")


def choose_executor(engine: str, workers: int | None, ray_address: str | None = None) -> Executor:
    """The executor that ``--executor``, ``--workers`` and ``--ray-address`` name; None: a worker per core.

    Raises:
        ConfigError: no such engine, or it is not installed, or an address goes with another one.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--executor is {engine!r}", hint=f"give one of: {', '.join(ENGINES)}")
    if engine == "ray":
        if find_spec("ray") is None:
            raise ConfigError("--executor ray needs Ray, which is not installed", hint="pip install 'cleanshards[ray]'")
        from pipelines.ray_executor import RayExecutor

        return RayExecutor(workers, ray_address)
    if ray_address is not None:
        raise ConfigError("--ray-address goes with --executor ray", hint="give both, or neither")
    return LocalExecutor(workers or os.cpu_count() or 1)
