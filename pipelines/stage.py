"""Stage, Task, run_stage: the only code that knows resumption.

A stage turns finished manifests into a new one, task by task. Its folder holds the files of all tasks, an entry per
finished task below ``tasks/``, and, once all are finished, ``manifest.json``. A task runs in a temporary folder; its
files are published, then its entry is written: a kill at any instant costs at most the tasks in flight. What no valid
entry names is swept away before a stage starts.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pipelines.errors import CleanshardsError, ConfigError, IntegrityError, StageError, disk_full_is_ours
from pipelines.executors import Executor
from pipelines.manifest import MANIFEST_NAME, Manifest, Shard, digest_of
from pipelines.progress import Progress, SilentProgress
from pipelines.store import Folder, open_root

ENTRIES = "tasks"

# Metadata of a stage's field that its tasks read in parts, such as a source: `Task.inputs` stand for it.
READ_IN_PARTS = {"read_in_parts": True}
# Metadata of a stage's field that changes how soon files are written, and not what stands in them, such as a cache.
WITHOUT_EFFECT = {"without_effect": True}


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


def fingerprint_of(stage: Stage, inputs: Sequence[str], *, of_task: bool = False) -> str:
    """SHA-256 (hex) of a stage's name, version and fields and of the digests of its inputs.

    ``of_task``: the inputs are those of one task, and stand for the fields marked `READ_IN_PARTS` too.
    """
    left_out = {"without_effect", "read_in_parts"} if of_task else {"without_effect"}
    known = (field for field in fields(stage) if not left_out & field.metadata.keys())  # type: ignore[arg-type]
    config = {field.name: _identity(getattr(stage, field.name)) for field in known}
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


def plan_stage(stage: Stage, upstream: Sequence[Manifest], root: Folder | Path) -> Plan:
    """Look, without touching anything, at what `run_stage` with the same arguments would skip and run."""
    fingerprint = fingerprint_of(stage, [manifest.digest for manifest in upstream])
    tasks = tuple(stage.tasks(*upstream))
    own = {
        task.name: fingerprint_of(stage, [task.inputs], of_task=True) if task.inputs else fingerprint for task in tasks
    }
    folder = open_root(root) / stage.name
    entries, sizes = (folder / ENTRIES).read_all(_entry_name(task.name) for task in tasks), folder.sizes()
    finished = {}
    for task in tasks:
        shard = _read_entry(entries.get(_entry_name(task.name), b""), own[task.name], sizes)
        if shard is not None:
            finished[task.name] = shard
    return Plan(fingerprint, finished, tasks, own)


def plan_stages(
    stages: Sequence[tuple[Stage, Sequence[str]]], root: Folder | Path, done: dict[str, Manifest]
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
        done[stage.name] = Manifest(open_root(root) / stage.name, stage.name, plan.fingerprint, shards)
        yield stage.name, "done already"


def run_stage(
    stage: Stage,
    upstream: Sequence[Manifest],
    root: Folder | Path,
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
    folder = open_root(root) / stage.name
    _refuse_foreign(folder)
    with disk_full_is_ours(folder):
        (folder / ENTRIES).make()
        if plan.to_run or _stored_fingerprint(folder) != plan.fingerprint:
            folder.remove(MANIFEST_NAME)
            _sweep(folder, plan.finished)
        with progress.stage(stage.name, total=len(plan.tasks), done=len(plan.finished)) as advance:
            run = partial(_run_task, stage, folder)
            shards = dict(plan.finished)
            work = [_Work(stage.name, task, plan.task_fingerprints[task.name]) for task in plan.to_run]
            for shard in executor.map(run, work):
                shards[shard.name] = shard
                advance(shard.records)
        lineage = {name: digest for manifest in upstream for name, digest in manifest.lineage.items()}
        lineage |= {manifest.stage: manifest.digest for manifest in upstream}
        finished = tuple(shards[task.name] for task in plan.tasks)
        manifest = Manifest(folder, stage.name, plan.fingerprint, finished, lineage)
        if plan.to_run or not _is_saved(manifest):
            manifest.save()
    return manifest


def busy_seconds(root: Folder | Path, stage: str) -> float:
    """Wall-clock seconds during which at least one task of a stage ran, over all the runs that made it."""
    entries = open_root(root) / stage / ENTRIES
    spans = []
    for content in entries.read_all(sorted(entries.sizes())).values():
        entry = json.loads(content)
        spans.append((entry["started_at"], entry["started_at"] + entry["seconds"]))
    busy, until = 0.0, 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy


def dataset_lock(root: Folder | Path, holder: str) -> AbstractContextManager[None]:
    """Hold a data set's folder; a second run on it fails at once.

    Args:
        root: the data set's folder; made if missing.
        holder: what the other run will be told, such as the command line.

    Raises:
        DatasetLocked: another run holds it; says who.
    """
    return open_root(root).lock(holder)


@dataclass(frozen=True, slots=True)
class _Work:
    """What an executor carries to a worker; its text names it where the worker dies."""

    stage: str
    task: Task
    fingerprint: str

    def __str__(self) -> str:
        return f"task {self.task.name} of stage {self.stage}"


def _run_task(stage: Stage, folder: Folder, work: _Work) -> Shard:
    """Run one task in a temporary folder and commit it under its fingerprint; runs inside the executor's worker.

    It may run twice, one after the other or at once on two machines: the bytes are the same, and so is what is seen.
    """
    task = work.task
    started_at, clock = time.time(), time.perf_counter()
    try:
        with disk_full_is_ours(folder), folder.workspace(task.name) as out:
            records = stage.run(task, out)
            shard = Shard(task.name, records, folder.publish(sorted(out.iterdir())))
            entry = {
                "fingerprint": work.fingerprint,
                **asdict(shard),
                "started_at": started_at,
                "seconds": time.perf_counter() - clock,
            }
            (folder / ENTRIES).write(_entry_name(task.name), json.dumps(entry).encode())
    except (CleanshardsError, OSError):
        raise
    except Exception as error:
        raise StageError(
            f"{work} failed: {type(error).__name__}: {error}",
            hint="finished tasks are kept; --debug shows the traceback",
        ) from error
    return shard


def _entry_name(task: str) -> str:
    return f"{task}.json"


def _read_entry(content: bytes, fingerprint: str, sizes: Mapping[str, int]) -> Shard | None:
    """The committed shard of a task; None where it is damaged, or of another fingerprint, or a file of it is gone."""
    try:
        entry = json.loads(content)
        shard = Shard.from_json(entry)
        return shard if entry["fingerprint"] == fingerprint and shard.is_complete(sizes) else None
    except (ValueError, KeyError, TypeError):
        return None


def _is_saved(manifest: Manifest) -> bool:
    try:
        return Manifest.load(manifest.folder) == manifest
    except (FileNotFoundError, IntegrityError):
        return False


def _stored_fingerprint(folder: Folder) -> str | None:
    try:
        return str(json.loads(folder.read(MANIFEST_NAME))["fingerprint"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _refuse_foreign(folder: Folder) -> None:
    """A stage sweeps its folder, so it must be the stage's own: new, empty, or with entries of tasks."""
    names = folder.names()
    if names and ENTRIES not in names:
        raise ConfigError(
            f"{folder} holds files that no run of ours wrote, and would be swept",
            hint="move them away, or choose another folder with --data-root",
        )


def _sweep(folder: Folder, finished: dict[str, Shard]) -> None:
    """Remove what no finished entry names: stale entries first, then files, leftovers of killed tasks among them."""
    (folder / ENTRIES).keep_only({_entry_name(task) for task in finished})
    folder.keep_only({file.name for shard in finished.values() for file in shard.files} | {ENTRIES})
