import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import SLOW_NUMBERS, SumNumbers, WriteNumbers, hashes_below, jpeg, private_mounts, python_process
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import CleanshardsError, ConfigError, DatasetLocked, DiskFull, IntegrityError, StageError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.progress import Advance
from pipelines.record import Record
from pipelines.shards import ShardWriter
from pipelines.sources import open_source
from pipelines.stage import Stage, Task, busy_seconds, dataset_lock, fingerprint_of, plan_stage, run_stage

ONE = LocalExecutor(1)


def run(stage: Stage, root: Path, upstream: Sequence[Manifest] = (), workers: int = 1) -> Manifest:
    return run_stage(stage, upstream, root, LocalExecutor(workers))


def outputs(folder: Path) -> dict[str, str]:
    """What a stage leaves for others; its entries hold times, which differ."""
    return hashes_below(folder, leave_out=["tasks"])


def mtimes(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_run_leaves_its_files_entries_and_manifest_alone(tmp_path: Path) -> None:
    manifest = run(WriteNumbers(), tmp_path)
    names = {f"{number:05d}.{suffix}" for number in range(6) for suffix in ("bin", "txt")}
    assert set(outputs(tmp_path / "numbers")) == names | {"manifest.json"}
    assert {path.name for path in (tmp_path / "numbers" / "tasks").iterdir()} == {f"{n:05d}.json" for n in range(6)}
    assert manifest == Manifest.load(tmp_path / "numbers")
    assert manifest.records == sum(range(1, 7))
    assert [shard.name for shard in manifest.shards] == [f"{number:05d}" for number in range(6)]


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    manifest = run(WriteNumbers(), tmp_path)
    before = mtimes(tmp_path)
    assert run(WriteNumbers(), tmp_path) == manifest
    assert mtimes(tmp_path) == before
    assert plan_stage(WriteNumbers(), [], tmp_path).to_run == []


def test_the_workers_do_not_matter(tmp_path: Path) -> None:
    manifests = [run(WriteNumbers(count=9), tmp_path / str(workers), workers=workers) for workers in (1, 3)]
    assert outputs(tmp_path / "1") == outputs(tmp_path / "3")
    assert len({manifest.digest for manifest in manifests}) == 1


@pytest.mark.parametrize("changed", [WriteNumbers(factor=2), WriteNumbers(count=4), WriteNumbers(count=8)])
def test_a_changed_field_runs_again_and_leaves_nothing_of_before(tmp_path: Path, changed: WriteNumbers) -> None:
    run(WriteNumbers(), tmp_path / "a")
    run(changed, tmp_path / "a")
    run(changed, tmp_path / "b")
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    assert sorted(p.name for p in (tmp_path / "a/numbers/tasks").iterdir()) == sorted(
        p.name for p in (tmp_path / "b/numbers/tasks").iterdir()
    )


def test_a_new_version_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(WriteNumbers(), tmp_path)
    monkeypatch.setattr(WriteNumbers, "version", 2)
    assert len(plan_stage(WriteNumbers(), [], tmp_path).to_run) == 6


def test_the_bytes_of_upstream_decide_and_not_its_history(tmp_path: Path) -> None:
    numbers = run(WriteNumbers(), tmp_path)
    total = run(SumNumbers(), tmp_path, [numbers])
    before = mtimes(tmp_path / "sum")
    # The same bytes, made anew by a stage of another fingerprint: nothing below has to run.
    again = run(WriteNumbers(pause_s=0.001), tmp_path)
    assert again.fingerprint != numbers.fingerprint
    assert run(SumNumbers(), tmp_path, [again]) == total
    assert mtimes(tmp_path / "sum") == before
    changed = run(WriteNumbers(factor=3), tmp_path)
    assert run(SumNumbers(), tmp_path, [changed]) != total
    assert (tmp_path / "sum" / "sum.txt").read_text() == str(3 * sum(range(6)))


@dataclass(frozen=True)
class Options:
    radius: int = 16


@dataclass(frozen=True)
class OtherOptions:
    radius: int = 16


@dataclass(frozen=True)
class Configured:
    name: ClassVar[str] = "configured"
    version: ClassVar[int] = 1
    value: Any = None

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return []

    def run(self, task: Task, out: Path) -> int:
        raise AssertionError


def test_fingerprints_tell_configurations_apart(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    (tmp_path / "n01440764" / "a.jpg").write_bytes(jpeg())
    values = [
        *(None, 1, 2, "1", 1.5, (1, 2), (2, 1), ((1,), 2), Options(), Options(3), OtherOptions(), {"a": 1}, {"a": 2}),
        open_source(f"folder:{tmp_path}"),
        open_source(f"imagenet:{tmp_path}"),
    ]
    fingerprints = [fingerprint_of(Configured(value), []) for value in values]
    assert len(set(fingerprints)) == len(values)
    assert fingerprints == [fingerprint_of(Configured(value), []) for value in values]


def test_a_stage_without_tasks_is_finished_at_once(tmp_path: Path) -> None:
    assert run(Configured(), tmp_path).records == 0
    assert Manifest.load(tmp_path / "configured").shards == ()


@pytest.mark.parametrize("damage", ["remove", "cut", "no entry", "bad entry", "other entry"])
def test_what_is_missing_is_made_again_and_no_more(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "numbers"
    manifest = run(WriteNumbers(), tmp_path)
    before, times = outputs(folder), mtimes(folder)
    entry = folder / "tasks" / "00002.json"
    match damage:
        case "remove":
            (folder / "00002.bin").unlink()
        case "cut":
            (folder / "00002.bin").write_bytes(b"short")
        case "no entry":
            entry.unlink()
        case "bad entry":
            entry.write_text('{"name": "00002", "rec')
        case "other entry":
            entry.write_text(json.dumps({"name": "00002", "records": 3, "files": []}))
    assert [task.name for task in plan_stage(WriteNumbers(), [], tmp_path).to_run] == ["00002"]
    assert run(WriteNumbers(), tmp_path) == manifest
    assert outputs(folder) == before
    kept = [path for path in times if "0000" in path and "00002" not in path]
    assert {path: mtimes(folder)[path] for path in kept} == {path: times[path] for path in kept}


def test_a_missing_file_is_found_by_readers_too(tmp_path: Path) -> None:
    run(WriteNumbers(), tmp_path)
    (tmp_path / "numbers" / "00002.bin").unlink()
    with pytest.raises(IntegrityError):
        Manifest.load(tmp_path / "numbers")


@given(st.binary(max_size=30) | st.sampled_from([b"{}", b"[]", b"null", b'{"name":1,"records":2,"files":[{}]}']))
@settings(max_examples=15)
def test_any_damage_of_an_entry_is_an_unfinished_task(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.mktemp("root")
    stage = WriteNumbers(count=2)
    run(stage, root)
    (root / "numbers" / "tasks" / "00001.json").write_bytes(content)
    assert [task.name for task in plan_stage(stage, [], root).to_run] == ["00001"]


def test_strays_are_swept_before_a_stage_runs(tmp_path: Path) -> None:
    folder = tmp_path / "numbers"
    run(WriteNumbers(), tmp_path)
    expected = hashes_below(tmp_path, leave_out=["tasks"])
    (folder / "00001.txt").unlink()
    (folder / "stray.tar").write_bytes(b"x")
    (folder / ".tmp-00003-123").mkdir()
    (folder / ".tmp-00003-123" / "half.tar").write_bytes(b"x")
    (folder / "tasks" / ".tmp-00003.json-123").write_bytes(b"{")
    (folder / "tasks" / "00077.json").write_bytes(b"{}")
    run(WriteNumbers(), tmp_path)
    assert {name: sha for name, sha in hashes_below(tmp_path).items() if "tasks" not in name} == expected
    assert len(list((folder / "tasks").iterdir())) == 6


def test_a_folder_of_somebody_else_is_not_swept(tmp_path: Path) -> None:
    pictures = tmp_path / "numbers"
    pictures.mkdir()
    (pictures / "holiday.jpg").write_bytes(jpeg())
    with pytest.raises(ConfigError, match="numbers") as caught:
        run(WriteNumbers(), tmp_path)
    assert "--data-root" in caught.value.hint
    assert [path.name for path in pictures.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_keeps_finished_tasks(tmp_path: Path, workers: int) -> None:
    stage = WriteNumbers(count=8, fails_at=5)
    with pytest.raises(StageError, match=r"00005 .*numbers.* ValueError: number 5 is unlucky") as caught:
        run(stage, tmp_path, workers=workers)
    assert caught.value.hint
    finished = plan_stage(stage, [], tmp_path).finished
    assert set(finished) >= {f"{number:05d}" for number in range(5)}
    assert "00005" not in finished
    assert not list((tmp_path / "numbers").glob(".tmp-*"))
    with pytest.raises(FileNotFoundError):
        Manifest.load(tmp_path / "numbers")


@dataclass(frozen=True)
class Raising:
    """Raises once a file says so: the same stage can fail and then go on."""

    name: ClassVar[str] = "raising"
    version: ClassVar[int] = 1
    flag: str = ""

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task("0"), Task("1")]

    def run(self, task: Task, out: Path) -> int:
        if task.name == "1" and Path(self.flag).exists():
            raise IntegrityError("the accounts do not balance", hint="count again")
        (out / f"{task.name}.txt").write_text(task.name)
        return 1


@pytest.mark.parametrize("workers", [1, 2])
def test_our_own_errors_come_through_with_their_hint_and_the_run_goes_on_later(tmp_path: Path, workers: int) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    with pytest.raises(IntegrityError, match="balance") as caught:
        run(Raising(str(flag)), tmp_path, workers=workers)
    assert caught.value.hint == "count again"
    flag.unlink()
    assert run(Raising(str(flag)), tmp_path, workers=workers).records == 2


class Recorded:
    def __init__(self) -> None:
        self.calls: list[object] = []

    @contextmanager
    def stage(self, name: str, *, total: int, done: int) -> Iterator[Advance]:
        self.calls.append((name, total, done))
        yield self.calls.append


def test_progress_is_told_of_every_task(tmp_path: Path) -> None:
    with pytest.raises(StageError):
        run(WriteNumbers(count=4, fails_at=2), tmp_path)
    progress = Recorded()
    run_stage(WriteNumbers(count=4), [], tmp_path, ONE, progress)
    assert progress.calls == [("numbers", 4, 0), 1, 2, 3, 4]
    (tmp_path / "numbers" / "00001.txt").unlink()
    progress = Recorded()
    run_stage(WriteNumbers(count=4), [], tmp_path, ONE, progress)
    assert progress.calls == [("numbers", 4, 3), 2]


def test_planning_touches_nothing(tmp_path: Path) -> None:
    plan = plan_stage(WriteNumbers(), [], tmp_path)
    assert len(plan.to_run) == 6
    assert not list(tmp_path.iterdir())


def test_busy_seconds_counts_time_that_tasks_share_once(tmp_path: Path) -> None:
    assert busy_seconds(tmp_path, "numbers") == 0
    (tmp_path / "numbers" / "tasks").mkdir(parents=True)
    for number, (start, seconds) in enumerate([(100.0, 10.0), (105.0, 2.0), (108.0, 4.0), (200.0, 1.0)]):
        entry = {"started_at": start, "seconds": seconds}
        (tmp_path / "numbers" / "tasks" / f"{number}.json").write_text(json.dumps(entry))
    assert busy_seconds(tmp_path, "numbers") == 13.0


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_at_random_instants_leave_the_same_bytes(tmp_path: Path, workers: int) -> None:
    run(SLOW_NUMBERS, tmp_path / "undisturbed")
    root = tmp_path / "killed"
    instants = random.Random(workers)
    for _ in range(4):
        process = python_process("import sys, helpers; helpers.make_numbers(*sys.argv[1:])", root, workers)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(instants.uniform(0.0, 0.35 + 0.5 * (workers - 1)))
        process.kill()
        process.communicate(timeout=30)
        for entry in (root / "numbers" / "tasks").glob("*.json"):
            json.loads(entry.read_bytes())
        try:
            manifest = Manifest.load(root / "numbers")
        except FileNotFoundError:
            continue
        assert len(manifest.shards) == SLOW_NUMBERS.count
    with dataset_lock(root, "the last run"):
        run(SLOW_NUMBERS, root, workers=workers)
    assert outputs(root / "numbers") == outputs(tmp_path / "undisturbed" / "numbers")
    assert not list((root / "numbers").rglob(".tmp-*"))


HOLD = """
import sys, time
from pathlib import Path
from pipelines.stage import dataset_lock
with dataset_lock(Path(sys.argv[1]), "python -m dedup.run schlafräume"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_fails_at_once_and_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "data" / "rooms"
    process = python_process(HOLD, root)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(DatasetLocked) as caught, dataset_lock(root, "another"):
            pass
        for part in (str(root), f"process {process.pid}", "python -m dedup.run schlafräume"):
            assert part in caught.value.message
        assert caught.value.hint
    finally:
        process.kill()
        process.communicate(timeout=30)
    with dataset_lock(root, "another"):
        pass


def test_the_lock_holds_within_a_process_and_ends_with_its_block(tmp_path: Path) -> None:
    with (
        dataset_lock(tmp_path, "first"),
        pytest.raises(DatasetLocked, match="first"),
        dataset_lock(tmp_path, "second"),
    ):
        pass
    with pytest.raises(KeyError), dataset_lock(tmp_path, "third"):
        raise KeyError
    with dataset_lock(tmp_path, "fourth"):
        (tmp_path / ".lock-holder").unlink()
        with pytest.raises(DatasetLocked, match="another run"), dataset_lock(tmp_path, "fifth"):
            pass


@dataclass(frozen=True)
class FillDisk:
    """Writes more than a small disk holds, in the ways in which stages write."""

    name: ClassVar[str] = "fill"
    version: ClassVar[int] = 1
    way: str = "file"

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task(str(number), number) for number in range(6)]

    def run(self, task: Task, out: Path) -> int:
        noise = np.random.default_rng(task.payload).integers(0, 256, 300_000, np.uint8)
        path = out / f"{task.name}.bin"
        match self.way:
            case "file":
                path.write_bytes(noise.tobytes())
            case "numpy":
                with path.open("wb") as file:
                    np.save(file, noise)
            case "parquet":
                pq.write_table(pa.table({"noise": noise}), path)
            case "shard":
                with ShardWriter(out, task.name) as writer:
                    writer.add(Record("a", noise.tobytes()))
        return 1


FILL = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_stage import FillDisk, run
from pipelines.errors import DiskFull
root = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(root)], check=True)
stage = FillDisk(sys.argv[2])
try:
    run(stage, root)
except DiskFull as error:
    print(error.message, "/", error.hint)
    print(sum(1 for _ in (root / "fill" / "tasks").iterdir()), "finished")
subprocess.run(["mount", "-o", "remount,size=4m", str(root)], check=True)
print(run(stage, root).records, "records")
"""


@pytest.mark.parametrize("way", ["file", "numpy", "parquet", "shard"])
def test_a_full_disk_is_said_and_a_resume_finishes(tmp_path: Path, way: str) -> None:
    prefix = private_mounts()
    if not prefix:
        pytest.skip("this system lets no test mount a small disk")
    out, err = python_process(FILL, tmp_path, way, Path(__file__).parent, prefix=prefix).communicate(timeout=60)
    full, finished, records = out.splitlines() or [err, "", ""]
    assert "no space left" in full
    assert str(tmp_path) in full
    assert "--data-root" in full
    assert finished == "3 finished"
    assert records == "6 records"


def test_a_full_disk_is_told_from_other_trouble(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), dataset_lock(tmp_path, "x"):
        raise OSError(28, os.strerror(28))
    with pytest.raises(PermissionError), dataset_lock(tmp_path, "x"):
        raise PermissionError(13, "denied")
    assert issubclass(DiskFull, CleanshardsError)


@dataclass(frozen=True)
class CopyNumbers:
    """A stage whose every task says what it reads: one number of the stage before."""

    name: ClassVar[str] = "copies"
    version: ClassVar[int] = 1
    suffix: str = ".copy"

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        return [Task(shard.name, shard, inputs=shard.files[0].sha256) for shard in upstream[0].shards]

    def run(self, task: Task, out: Path) -> int:
        (out / f"{task.name}{self.suffix}").write_text(task.payload.files[0].sha256)
        return 1


def test_tasks_that_say_what_they_read_survive_growth(tmp_path: Path) -> None:
    small = run_stage(WriteNumbers(count=3), [], tmp_path, LocalExecutor(1))
    run_stage(CopyNumbers(), [small], tmp_path, LocalExecutor(1))
    grown = run_stage(WriteNumbers(count=5), [], tmp_path, LocalExecutor(1))
    assert [task.name for task in plan_stage(CopyNumbers(), [grown], tmp_path).to_run] == ["00003", "00004"]
    before = mtimes(tmp_path / "copies")
    manifest = run_stage(CopyNumbers(), [grown], tmp_path, LocalExecutor(2))
    assert manifest.records == 5
    assert Manifest.load(tmp_path / "copies") == manifest
    after = mtimes(tmp_path / "copies")
    assert {path: after[path] for path in before if path.endswith(".copy")} == {
        path: before[path] for path in before if path.endswith(".copy")
    }
    assert len(plan_stage(CopyNumbers(".other"), [grown], tmp_path).to_run) == 5, "a changed field runs all of them"
