"""Stage, Task, run_stage: the only code that knows resumption.

A stage turns finished manifests into a new one, task by task. Its folder holds the files of all tasks, an entry per
finished task below ``tasks/``, and, once all are finished, ``manifest.json``. A task runs in a temporary folder; its
files are synced and renamed, then its entry is written: a kill at any instant costs at most the tasks in flight. What
no valid entry names is swept away before a stage starts.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import filelock

from pipelines.errors import (
    CleanshardsError,
    ConfigError,
    DatasetLocked,
    IntegrityError,
    StageError,
    disk_full,
    is_disk_full,
)
from pipelines.executors import Executor
from pipelines.manifest import (
    MANIFEST_NAME,
    File,
    Manifest,
    Shard,
    digest_of,
    hash_file,
    sync_folder,
    write_atomically,
)
from pipelines.progress import Progress, SilentProgress

ENTRIES = "tasks"


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of a stage's work. Its files' names begin with ``name``; ``payload`` is the stage's own, picklable.

    ``inputs`` is the digest of what this task reads, for a stage that knows: the task then stays finished as long as
    it and the stage's fields stay the same, whatever else changes upstream, so that a data set can grow.
    """

    name: str
    payload: Any = None
    inputs: str | None = None


class Stage(Protocol):
    """A frozen dataclass: its fields are its configuration, and so its fingerprint.

    ``version`` goes up when the code changes what it writes.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """The work to be done, in order; depends on the fields and the upstream manifests alone."""
        ...

    def run(self, task: Task, out: Path) -> int:
        """Do one task: write files only below ``out``; returns the number of records written."""
        ...


@runtime_checkable
class Digestible(Protocol):
    """A field that is known by its content and not by its attributes: a source, a table."""

    def digest(self) -> str:
        """SHA-256 (hex) of what the value stands for: content, never paths or the clock."""
        ...


def fingerprint_of(stage: Stage, inputs: Sequence[str]) -> str:
    """SHA-256 (hex) of a stage's name, version and fields and of the digests of its inputs."""
    config = {field.name: _identity(getattr(stage, field.name)) for field in fields(stage)}  # type: ignore[arg-type]
    return digest_of([stage.name, stage.version, config, list(inputs)])


def _identity(value: Any) -> Any:
    if isinstance(value, Digestible):
        return [type(value).__qualname__, value.digest()]
    if is_dataclass(value) and not isinstance(value, type):
        config = {field.name: _identity(getattr(value, field.name)) for field in fields(value)}
        return [type(value).__qualname__, config]
    if isinstance(value, tuple | list):
        return [_identity(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Plan:
    """What `run_stage` would do: the tasks that are finished already and those to run."""

    fingerprint: str
    finished: dict[str, Shard]
    tasks: tuple[Task, ...]
    task_fingerprints: dict[str, str]

    @property
    def to_run(self) -> list[Task]:
        """Tasks without a finished entry, in order."""
        return [task for task in self.tasks if task.name not in self.finished]


def plan_stage(stage: Stage, upstream: Sequence[Manifest], root: Path) -> Plan:
    """Look, without touching anything, at what `run_stage` with the same arguments would skip and run."""
    fingerprint = fingerprint_of(stage, [manifest.digest for manifest in upstream])
    tasks = tuple(stage.tasks(*upstream))
    own = {task.name: fingerprint_of(stage, [task.inputs]) if task.inputs else fingerprint for task in tasks}
    finished = {}
    for task in tasks:
        shard = _read_entry(root / stage.name, task.name, own[task.name])
        if shard is not None:
            finished[task.name] = shard
    return Plan(fingerprint, finished, tasks, own)


def plan_stages(
    stages: Sequence[tuple[Stage, Sequence[str]]], root: Path, done: dict[str, Manifest]
) -> Iterator[tuple[str, str]]:
    """Look at stages in a row without touching anything; yields each one's name and, in words, what would be done.

    Args:
        stages: each with the names of the stages whose manifests it reads.
        root: the folder that they lie in.
        done: manifests of finished stages by name; those found here are added.
    """
    for stage, names in stages:
        missing = [name for name in names if name not in done]
        if missing:
            yield stage.name, f"would run, after {missing[-1]}"
            continue
        plan = plan_stage(stage, [done[name] for name in names], root)
        if plan.to_run:
            yield stage.name, f"would run {len(plan.to_run):,} of {len(plan.tasks):,} tasks"
            continue
        shards = tuple(plan.finished[task.name] for task in plan.tasks)
        done[stage.name] = Manifest(root / stage.name, stage.name, plan.fingerprint, shards)
        yield stage.name, "done already"


def run_stage(
    stage: Stage,
    upstream: Sequence[Manifest],
    root: Path,
    executor: Executor,
    progress: Progress | None = None,
) -> Manifest:
    """Bring ``root/<stage.name>`` to the state that ``stage`` and ``upstream`` describe; returns its manifest.

    Tasks whose committed entry carries the stage's fingerprint are skipped. The finished bytes are the same whatever
    the executor, its workers and earlier kills were. The caller holds `dataset_lock`.

    Raises:
        StageError: a task failed with an error that is not ours.
        DiskFull: no space was left.
        CleanshardsError: whatever a task raised of our own tree.
    """
    progress = progress or SilentProgress()
    plan = plan_stage(stage, upstream, root)
    folder = root / stage.name
    _refuse_foreign(folder)
    with _disk_full_is_ours(folder):
        (folder / ENTRIES).mkdir(parents=True, exist_ok=True)
        if plan.to_run or _stored_fingerprint(folder) != plan.fingerprint:
            (folder / MANIFEST_NAME).unlink(missing_ok=True)
            _sweep(folder, plan.finished)
        with progress.stage(stage.name, total=len(plan.tasks), done=len(plan.finished)) as advance:
            run = partial(_run_task, stage, folder)
            shards = dict(plan.finished)
            for shard in executor.map(run, [(task, plan.task_fingerprints[task.name]) for task in plan.to_run]):
                shards[shard.name] = shard
                advance(shard.records)
        lineage = {name: digest for manifest in upstream for name, digest in manifest.lineage.items()}
        lineage |= {manifest.stage: manifest.digest for manifest in upstream}
        finished = tuple(shards[task.name] for task in plan.tasks)
        manifest = Manifest(folder, stage.name, plan.fingerprint, finished, lineage)
        if plan.to_run or not _is_saved(manifest):
            manifest.save()
    return manifest


def busy_seconds(root: Path, stage: str) -> float:
    """Wall-clock seconds during which at least one task of a stage ran, over all the runs that made it."""
    spans = []
    for path in (root / stage / ENTRIES).glob("*.json"):
        entry = json.loads(path.read_bytes())
        spans.append((entry["started_at"], entry["started_at"] + entry["seconds"]))
    busy, until = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy


def _run_task(stage: Stage, folder: Path, work: tuple[Task, str]) -> Shard:
    """Run one task in a temporary folder and commit it under its fingerprint; runs inside the executor's worker."""
    task, fingerprint = work
    out = folder / f".tmp-{task.name}-{os.getpid()}"
    started_at, clock = time.time(), time.perf_counter()
    with _disk_full_is_ours(folder):
        try:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            records = stage.run(task, out)
            shard = Shard(task.name, records, tuple(_publish(path, folder) for path in sorted(out.iterdir())))
            sync_folder(folder)
            entry = {
                "fingerprint": fingerprint,
                **asdict(shard),
                "started_at": started_at,
                "seconds": time.perf_counter() - clock,
            }
            write_atomically(folder / ENTRIES / f"{task.name}.json", json.dumps(entry).encode())
        except (CleanshardsError, OSError):
            raise
        except Exception as error:
            raise StageError(
                f"task {task.name} of stage {stage.name} failed: {type(error).__name__}: {error}",
                hint="finished tasks are kept; --debug shows the traceback",
            ) from error
        finally:
            shutil.rmtree(out, ignore_errors=True)
    return shard


def _publish(path: Path, folder: Path) -> File:
    """Sync one file of a task and rename it into the stage's folder."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    published = File(path.name, path.stat().st_size, hash_file(path))
    path.replace(folder / path.name)
    return published


def _read_entry(folder: Path, task: str, fingerprint: str) -> Shard | None:
    """The committed shard of a task; None where there is none, it is of another fingerprint, or a file is gone."""
    try:
        entry = json.loads((folder / ENTRIES / f"{task}.json").read_bytes())
        shard = Shard.from_json(entry)
        return shard if entry["fingerprint"] == fingerprint and shard.is_complete(folder) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _is_saved(manifest: Manifest) -> bool:
    try:
        return Manifest.load(manifest.root) == manifest
    except (FileNotFoundError, IntegrityError):
        return False


def _stored_fingerprint(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / MANIFEST_NAME).read_bytes())["fingerprint"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _refuse_foreign(folder: Path) -> None:
    """A stage sweeps its folder, so it must be the stage's own: new, empty, or with entries of tasks."""
    if folder.exists() and not (folder / ENTRIES).is_dir() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} holds files that no run of ours wrote, and would be swept",
            hint="move them away, or choose another folder with --data-root",
        )


def _sweep(folder: Path, finished: dict[str, Shard]) -> None:
    """Remove what no finished entry names: stale entries first, then files, leftovers of killed tasks among them."""
    for entry in (folder / ENTRIES).iterdir():
        if entry.suffix != ".json" or entry.stem not in finished:
            entry.unlink()
    named = {file.name for shard in finished.values() for file in shard.files} | {ENTRIES}
    for path in folder.iterdir():
        if path.name not in named:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _disk_full_is_ours(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder) from error
        raise


@contextmanager
def dataset_lock(root: Path, holder: str) -> Iterator[None]:
    """Hold a data set's folder; a second run on it fails at once. Ends with the process, however that ends.

    Args:
        root: the data set's folder; made if missing.
        holder: what the other run will be told, such as the command line.

    Raises:
        DatasetLocked: another run holds it; says who.
    """
    with _disk_full_is_ours(root):
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / ".lock")
        note = root / ".lock-holder"
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise DatasetLocked(
                f"{root} is in use by {_read_note(note) or 'another run'}",
                hint="wait for it to end, or stop it; then run the same command again",
            ) from None
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            note.write_text(f"process {os.getpid()} since {since}: {holder}", encoding="utf-8")
            yield
        finally:
            note.unlink(missing_ok=True)
            lock.release()


def _read_note(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8")
    except FileNotFoundError:  # its holder has just begun, or is about to end
        return ""
