"""RayExecutor: tasks in, their results out, run by Ray on this machine or on a cluster. The only file that imports ray.

An engine under every arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN"
that is made of tasks. Without an address it starts a cluster of its own, which talks to this machine alone.
"""

import logging
import os
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pipelines.errors import ConfigError, StageError
from pipelines.executors import ATTEMPTS, IN_FLIGHT_PER_WORKER, worker_died

T = TypeVar("T")
R = TypeVar("R")

CONNECT_TIMEOUT_S = 10.0
START_ATTEMPTS = 3  # each gives up after 30 s, which a busy machine may need
STOP_TIMEOUT_S = 5.0  # for tasks that are told to stop to remove what they had begun
OBJECT_STORE_BYTES = 100 << 20  # what tasks hand over is names of files, not their content

# Ray reads these when it is imported, and its processes when they start. It reports nothing to anybody; and a task that
# asks for no GPU sees those there are, as it does in a local worker.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# For a cluster on this machine; named for systems on which it is the default. Ray then takes 127.0.0.1 for its address
# and listens there alone, where otherwise it looks for the address that reaches the Internet.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True, slots=True)
class RayExecutor:
    """Tasks of Ray, one core each.

    Attributes:
        workers: the most tasks that run at once; None: one per core of the cluster.
        address: of a cluster, whose nodes have cleanshards installed and reach sources and data root by the same names;
            None: a cluster on this machine, which ends with this process.
    """

    workers: int | None = None
    address: str | None = None

    def map(self, fn: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """See `pipelines.executors.Executor`.

        Raises:
            ConfigError: no cluster answers at the address.
            StageError: also where no cluster could be started.
        """
        if not items:
            return
        ray = self._connect()
        attempt = ray.remote(_attempt).options(max_retries=ATTEMPTS - 1, retry_exceptions=False)
        shared, folder, waiting = ray.put(fn), Path.cwd(), iter(items)
        runs: deque[tuple[T, Any]] = deque()
        try:
            while True:
                room = self._count_in_flight(ray) - len(runs)
                runs.extend((item, attempt.remote(shared, item, folder)) for item in islice(waiting, max(0, room)))
                if not runs:
                    return
                item, run = runs.popleft()
                try:
                    result, error, trace = ray.get(run)
                except (
                    ray.exceptions.WorkerCrashedError,
                    ray.exceptions.NodeDiedError,
                    ray.exceptions.OutOfMemoryError,
                ) as death:
                    raise worker_died(item) from death
                if error is not None:
                    error.add_note(trace)
                    raise error
                yield result
        finally:
            _stop(ray, [run for _, run in runs])

    def _count_in_flight(self, ray: Any) -> int:
        """A cluster may grow while it works: it does when tasks wait."""
        if self.address is not None and self.workers is not None:
            return self.workers
        return max(1, IN_FLIGHT_PER_WORKER * int(ray.cluster_resources().get("CPU", 1)))

    def _connect(self) -> Any:
        """Import ray and join or start a cluster, unless this process has; returns the module."""
        is_here = self.address is None or self.address.startswith("127.")
        os.environ.update(ENVIRONMENT | (LOOPBACK if is_here else {}))
        ray: Any = import_module("ray")
        if ray.is_initialized():
            return ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if is_here:
            options["_node_ip_address"] = "127.0.0.1"
            constants: Any = import_module("ray._private.ray_constants")
            constants.ENABLE_RAY_CLUSTER = False  # as `LOOPBACK` says, where somebody has imported ray before
        if self.address is not None:
            _join(ray, self.address, options)
            return ray
        options |= {"num_cpus": self.workers or os.cpu_count() or 1, "object_store_memory": OBJECT_STORE_BYTES}
        with _without_api_server(), _python_path():
            _start(ray, options)
        return ray


def _start(ray: Any, options: dict[str, Any]) -> None:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init("local", include_dashboard=False, **options)
            return
        except Exception as error:  # Ray has no other class for it
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise StageError(
                    f"Ray does not start on this machine ({error})",
                    hint="try again when it is less busy, or give --executor local",
                ) from error


def _join(ray: Any, address: str, options: dict[str, Any]) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # where nobody listens Ray tries for minutes
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        ray.init(address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Ray's cluster at {address} cannot be joined ({error})",
            hint="--ray-address is HOST:PORT of its head, which `ray start --head` prints, or auto on a node of it",
        ) from error


def _attempt(fn: Callable[[T], R], item: T, folder: Path) -> tuple[R | None, Exception | None, str]:
    """Run an item in a worker of Ray; what it raises comes back as a value, for Ray would wrap it in its own."""
    # Relative paths mean the same as in the process that asks; where its folder is missing, they lead nowhere.
    os.chdir(folder if folder.is_dir() else folder.anchor)
    try:
        return fn(item), None, ""
    except Exception as error:
        return None, error, traceback.format_exc()


def _stop(ray: Any, runs: list[Any]) -> None:
    """End tasks in flight, and wait for it: nobody writes once the run that started them has ended."""
    for run in runs:
        ray.cancel(run, force=False)
    _, still = ray.wait(runs, num_returns=len(runs), timeout=STOP_TIMEOUT_S) if runs else ((), ())
    for run in still:
        ray.cancel(run, force=True)


@contextmanager
def _without_api_server() -> Iterator[None]:
    """A cluster that is started in this block has no API server, which nobody would ask anything.

    Even with the dashboard and usage statistics off it asks the metadata services of three clouds where it runs.
    """
    node: Any = import_module("ray._private.node").Node
    start = node.start_api_server
    node.start_api_server = lambda *_, **__: None
    try:
        yield
    finally:
        node.start_api_server = start


@contextmanager
def _python_path() -> Iterator[None]:
    """Processes started in this block import what this one can."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
