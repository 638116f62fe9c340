import os
import time
from pathlib import Path

import pytest
from helpers import python_process, wait_until

from pipelines.errors import ConfigError, IntegrityError, StageError
from pipelines.executors import LocalExecutor


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3 == 0))  # so that results are ready out of order
    return number * number


def pid_of(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def fail_at_three(number: int) -> int:
    if number == 3:
        raise IntegrityError("three", hint="not three")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os._exit(9)
    time.sleep(0.5 * (number < 3))  # so that it dies while those before it are at work
    return number


def die_twice_at_three(item: tuple[str, int]) -> int:
    folder, number = item
    if number == 3 and len(list(Path(folder).iterdir())) < 2:
        (Path(folder) / str(os.getpid())).touch()
        os._exit(9)
    return number


def touch(item: tuple[str, int]) -> int:
    folder, number = item
    (Path(folder) / str(number)).touch()
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(LocalExecutor(workers).map(square, range(20))) == [number * number for number in range(20)]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_items_are_no_results(workers: int) -> None:
    assert list(LocalExecutor(workers).map(square, [])) == []


def test_one_worker_is_the_calling_process() -> None:
    assert set(LocalExecutor(1).map(pid_of, [1, 2])) == {os.getpid()}
    assert set(LocalExecutor(4).map(pid_of, [1])) == {os.getpid()}
    assert os.getpid() not in set(LocalExecutor(2).map(pid_of, range(4)))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_exception_ends_it_and_keeps_its_hint(workers: int) -> None:
    results = LocalExecutor(workers).map(fail_at_three, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IntegrityError, match="three") as caught:
        next(results)
    assert caught.value.hint == "not three"


def test_an_item_that_kills_its_worker_each_time_is_named() -> None:
    results = LocalExecutor(2).map(die_at_three, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StageError, match="worker process died 3 times on 3 ") as caught:
        next(results)
    assert "--workers" in caught.value.hint


def test_an_item_whose_workers_die_is_tried_again(tmp_path: Path) -> None:
    items = [(str(tmp_path), number) for number in range(8)]
    assert list(LocalExecutor(2).map(die_twice_at_three, items)) == list(range(8))
    assert len(list(tmp_path.iterdir())) == 2


def test_few_items_are_in_flight_however_many_there_are(tmp_path: Path) -> None:
    results = LocalExecutor(2).map(touch, [(str(tmp_path), number) for number in range(50)])
    assert next(results) == 0
    results.close()
    assert len(list(tmp_path.iterdir())) <= 6


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers: int) -> None:
    with pytest.raises(ConfigError, match="--workers"):
        LocalExecutor(workers)


SLEEPERS = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pipelines.executors import LocalExecutor
from test_executors import note_pid_and_sleep
list(LocalExecutor(2).map(note_pid_and_sleep, [sys.argv[1]] * 4))
"""


def note_pid_and_sleep(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(os.name != "posix", reason="asks for processes in the way of POSIX")
def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    process = python_process(SLEEPERS, tmp_path, Path(__file__).parent)
    try:
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        process.kill()
        process.communicate(timeout=30)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert wait_until(lambda: not any(map(is_running, workers)))
