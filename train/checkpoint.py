"""Checkpoints: a state of training in; one file, which can be gone on from, out.

Stands beside "clean shards → DCGAN". A checkpoint is what `torch.load` reads with ``weights_only=True``: tensors,
numbers and strings, no code. It is copied while training waits, written behind its back, published by a rename, and
never with a number that is not finite. Of several ranks the first one's state is saved, and all go on from it; only
batch norm's running averages differ between ranks, which no training depends on.
"""

import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from pipelines.errors import IntegrityError, TrainingError
from pipelines.store import write_atomically
from train.config import ModelConfig, TrainConfig
from train.state import FORMAT, TrainingState
from train.watch import Watcher

CHECKPOINTS = "checkpoints"
BEST_NAME = "best.pt"
KEPT_CHECKPOINTS = 3

OF_NETWORKS = frozenset(field.name for field in fields(ModelConfig)) | {"ema_decay"}


class Saver:
    """Writes a run's checkpoints, one at a time, in a thread; use as a context manager, which waits for the last.

    A folder of None: this process writes nothing, another one does.
    """

    def __init__(self, run_folder: Path | None, kept: int = KEPT_CHECKPOINTS) -> None:
        self._run_folder = run_folder
        self._kept = kept
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[Path] | None = None

    def save(self, state: TrainingState, *, is_best: bool = False) -> None:
        """Copy a state, and begin to write the copy once the one before is written.

        Raises:
            TrainingError, OSError: what went wrong with the one before; or a measure is not finite, which all ranks
                find alike.
        """
        self.wait()
        if self._run_folder is None:
            state.measures.fetch()
            return
        content = _copy_to_cpu(state.pack())
        self._pending = self._thread.submit(write, content, self._run_folder, self._kept, is_best=is_best)

    def wait(self) -> None:
        """Wait for what is being written. Raises what went wrong with it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._thread.shutdown()


def write(content: dict[str, Any], run_folder: Path, kept: int = KEPT_CHECKPOINTS, *, is_best: bool = False) -> Path:
    """Write what `TrainingState.pack` gave; the best one has a name of its own.

    The last ``kept`` stay, and as many of the last when training was well. Those that come after this one go: they are
    of a course that training has gone back from, or damaged.

    Raises:
        TrainingError: it holds a number that is not finite; nothing is written.
    """
    for name, tensor in _tensors(content, ""):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise TrainingError(
                f"training diverged: {name} is not finite after {content['images_seen']:,} images",
                hint="the last good checkpoint is kept; start another run with a lower --learning-rate",
            )
    folder = run_folder / CHECKPOINTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{content['images_seen']:012d}.pt"
    for later in find_checkpoints(run_folder):
        if later.name > path.name:
            later.unlink()
    buffer = io.BytesIO()  # torch would turn a full disk into a RuntimeError
    torch.save(content, buffer)
    if is_best:  # first: what the checkpoint says of it is then true
        write_atomically(folder / BEST_NAME, buffer.getvalue())
    write_atomically(path, buffer.getvalue())
    found = find_checkpoints(run_folder)
    stale = {*found[:-kept]}
    if stale:
        stale.difference_update(find_well(run_folder)[-kept:])
    for leftover in [*stale, *folder.glob(".tmp-*")]:
        leftover.unlink()
    return path


def _copy_to_cpu(value: Any) -> Any:
    """Nested dicts and lists with their tensors copied, so that training may go on."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(item) for key, item in value.items()}
    return [_copy_to_cpu(item) for item in value] if isinstance(value, list) else value


def find_checkpoints(run_folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run_folder / CHECKPOINTS).glob("[0-9]*.pt"))


def find_well(run_folder: Path) -> list[Path]:
    """The checkpoints of a run that were written when nothing looked wrong, oldest first; see `Watcher.is_well`."""
    return [path for path in find_checkpoints(run_folder) if _was_well(path)]


def _was_well(path: Path) -> bool:
    try:
        watcher = read(path, mapped=True)["watcher"]
    except IntegrityError:
        return False
    return watcher is None or Watcher.from_json(watcher).is_well


def read(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Args:
        path: the file.
        mapped: leave the tensors in the file, and unchecked; for a look at the rest.

    Raises:
        IntegrityError: it is damaged, no checkpoint, or of another format.
    """
    hint = "give another one with --checkpoint"
    try:
        if not mapped:
            _require_sound(path)
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        of_format = content["format"]
    except OSError as error:
        raise IntegrityError(f"checkpoint {path} cannot be read ({error.strerror})", hint=hint) from error
    except _NO_CHECKPOINT as error:  # of what torch says, nothing is of use: it advises to run the file's code
        raise IntegrityError(f"checkpoint {path} is damaged, or no checkpoint", hint=hint) from error
    if of_format != FORMAT:
        raise IntegrityError(f"checkpoint {path} cannot be read: its format is {of_format}, not {FORMAT}", hint=hint)
    return content


_NO_CHECKPOINT = (
    *(RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, IndexError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)


def _require_sound(path: Path) -> None:
    """Check the sum of every file in a checkpoint's archive, which torch does not; BadZipFile where one is wrong."""
    with zipfile.ZipFile(path) as archive:
        if name := archive.testzip():
            raise zipfile.BadZipFile(name)


def read_last(run_folder: Path, tell: Callable[[str], None] = lambda warning: None) -> dict[str, Any] | None:
    """Read the last checkpoint of a run that can be read; None where there is none.

    To go on from the one before a damaged one costs time and nothing else: training from there leads to the same.

    Args:
        run_folder: the run's.
        tell: called with a warning for each later one, which cannot be read.

    Raises:
        IntegrityError: there are some, and none can be read.
    """
    damage: list[str] = []
    for path in reversed(find_checkpoints(run_folder)):
        try:
            content = read(path)
        except IntegrityError as error:
            damage.append(error.message)
            continue
        for message in damage:
            tell(f"{message}; going on from {path.name}")
        return content
    if damage:
        raise IntegrityError(f"{damage[0]}, and there is no earlier one", hint="begin another run with --name NAME")
    return None


def require_same_run(
    content: dict[str, Any], config: TrainConfig, data_digest: str, *, allow_changes: bool = False
) -> None:
    """Refuse to go on from a checkpoint with other options or other images; more epochs are welcome.

    Args:
        content: the checkpoint's, see `read`.
        config: the options that are given now.
        data_digest: of the images that are there now.
        allow_changes: let other options of optimisation and other images be; the networks must be the same always.

    Raises:
        TrainingError: names each field that differs.
    """
    stored, given = content["config"], config.to_json()
    changes = [
        f"{name} was {stored.get(name)} and is {given.get(name)}"
        for name in sorted(stored.keys() | given.keys())
        if name != "epochs" and stored.get(name) != given.get(name)
        if name in OF_NETWORKS or not allow_changes
    ]
    if changes:
        raise TrainingError(
            f"the run cannot be resumed with other options: {', '.join(changes)}",
            hint="resume with the options it began with, --allow-changes, or begin another run with --name",
        )
    if content["data_digest"] != data_digest and not allow_changes:
        raise TrainingError(
            "the run cannot be resumed: its images are not those that are packed now",
            hint="the clean set was made anew; give --allow-changes, or begin another run with --name",
        )


def _tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """All tensors in nested dicts, with their places."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}" if name else str(key))
