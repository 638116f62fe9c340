import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from helpers import SumNumbers, WriteNumbers, python_process, wait_until
from s3_server import s3, s3_root

from pipelines.errors import ConfigError, IntegrityError, StageError
from pipelines.executors import LocalExecutor, choose_executor
from pipelines.stage import Task, run_stage
from pipelines.store import open_root

__all__ = ["s3", "s3_root"]

pytest.importorskip("ray")
from pipelines.ray_executor import RayExecutor


@pytest.fixture(scope="module")
def cluster(s3: str) -> Iterator[RayExecutor]:
    """One cluster for all tests of this module; its workers know the S3 server."""
    import ray

    executor = RayExecutor(workers=2)
    list(executor.map(square, [1]))
    yield executor
    ray.shutdown()


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3 == 0))  # so that results are ready out of order
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise IntegrityError("three", hint="not three")
    return number


def die_at_three(item: tuple[int, str]) -> int:
    number, folder = item
    if number == 3:
        (Path(folder) / f"{time.time_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def touch(item: tuple[str, int]) -> str:
    folder, number = item
    (Path(folder) / str(number)).touch()
    return str(Path.cwd())


def test_results_come_in_the_order_of_the_items(cluster: RayExecutor) -> None:
    assert list(cluster.map(square, range(20))) == [number * number for number in range(20)]
    assert list(cluster.map(square, [])) == []


def test_the_first_exception_ends_it_and_keeps_its_hint(cluster: RayExecutor) -> None:
    results = cluster.map(fail_at_three, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IntegrityError, match="three") as caught:
        next(results)
    assert caught.value.hint == "not three"
    assert "fail_at_three" in "".join(caught.value.__notes__)


def test_few_items_are_in_flight_however_many_there_are(cluster: RayExecutor, tmp_path: Path) -> None:
    results = cluster.map(touch, [(str(tmp_path), number) for number in range(50)])
    assert next(results) == str(Path.cwd()), "relative paths mean the same"
    results.close()
    assert len(list(tmp_path.iterdir())) <= 6


def test_an_item_that_kills_its_worker_each_time_is_named(cluster: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"worker process died 3 times on \(3, ") as caught:
        list(cluster.map(die_at_three, [(number, str(tmp_path)) for number in range(6)]))
    assert "--workers" in caught.value.hint
    assert len(list(tmp_path.iterdir())) == 3


@dataclass(frozen=True)
class DyingOnce(WriteNumbers):
    """Takes its worker along at the first attempt at one of its tasks, its files half written."""

    deaths: ClassVar[str] = "CLEANSHARDS_TEST_DEATHS"
    folder: str = ""

    def run(self, task: Task, out: Path) -> int:
        if task.payload == 2 and not (Path(self.folder) / "died").exists():
            (out / f"{task.name}.bin").write_bytes(b"half")
            (Path(self.folder) / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(task, out)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_task_whose_worker_is_killed_is_run_again(engine: str, cluster: RayExecutor, tmp_path: Path) -> None:
    executor = cluster if engine == "ray" else LocalExecutor(2)
    manifest = run_stage(DyingOnce(folder=str(tmp_path)), [], tmp_path / "killed", executor)
    assert (tmp_path / "died").exists()
    undisturbed = run_stage(WriteNumbers(), [], tmp_path / "undisturbed", LocalExecutor(1))
    assert manifest.digest == undisturbed.digest


def test_the_bytes_are_those_of_the_local_executor_on_disk_and_on_s3(
    cluster: RayExecutor, tmp_path: Path, s3_root: str
) -> None:
    digests = set()
    for root, executor in ((tmp_path, LocalExecutor(1)), (tmp_path / "ray", cluster), (s3_root, cluster)):
        numbers = run_stage(WriteNumbers(), [], open_root(root), executor)
        digests.add((numbers.digest, run_stage(SumNumbers(), [numbers], open_root(root), executor).digest))
    assert len(digests) == 1


RUN = """
import sys, helpers
from pathlib import Path
from pipelines.ray_executor import RayExecutor
from pipelines.stage import dataset_lock, run_stage
if __name__ == "__main__":
    with dataset_lock(Path(sys.argv[1]), "ray"):
        run_stage(helpers.WriteNumbers(count=400, pause_s=0.02), [], Path(sys.argv[1]), RayExecutor(2))
"""


def descendants(pid: int) -> set[int]:
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listing.splitlines())}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_working(pid: int) -> bool:
    """Whether a process runs; not one of Ray's two agents, which look a minute long for the head of a killed run."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and b"Agent" not in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes where Linux shows them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nobody_works_for_a_run_that_was_stopped(number: int, tmp_path: Path) -> None:
    process = python_process(RUN, tmp_path)
    entries = tmp_path / "numbers" / "tasks"
    try:
        assert wait_until(lambda: entries.is_dir() and len(list(entries.iterdir())) > 3, timeout_s=60)
        started = descendants(process.pid)
        assert any(map(is_working, started))
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert wait_until(lambda: not any(map(is_working, started)))
    finished = len(list(entries.glob("*.json")))
    assert finished < 400
    if number == signal.SIGINT:
        assert not list((tmp_path / "numbers").glob(".tmp-*")), "tasks in flight removed what they had begun"


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    code = "import sys; from pipelines.ray_executor import RayExecutor; list(RayExecutor(1, sys.argv[1]).map(abs, [1]))"
    _, err = python_process(code, "127.0.0.1:9").communicate(timeout=60)
    assert "ConfigError: Ray's cluster at 127.0.0.1:9 cannot be joined" in err


def test_an_engine_is_chosen_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_executor("ray", 3) == RayExecutor(3)
    assert choose_executor("ray", None, "10.0.0.1:6379") == RayExecutor(None, "10.0.0.1:6379")
    assert choose_executor("local", 2) == LocalExecutor(2)
    with pytest.raises(ConfigError, match="--ray-address"):
        choose_executor("local", 2, "10.0.0.1:6379")
    with pytest.raises(ConfigError, match="'spark'"):
        choose_executor("spark", 2)
    monkeypatch.setattr("pipelines.executors.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        choose_executor("ray", 2)
    assert caught.value.hint == "pip install 'cleanshards[ray]'"
