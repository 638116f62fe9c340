"""Checkpoints: all that training's future depends on, to one file and back.

A checkpoint is what `torch.load` reads with ``weights_only=True``: tensors, numbers and strings, no code. It is copied
while training waits, written behind its back, published by a rename, and never with a number that is not finite. There
is no loss scaler in it, for none is needed: bf16 has the range of float32. Of several ranks the first one's state is
saved, and all go on from it; only batch norm's running averages differ between ranks, which no training depends on.
"""

import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Adam

from pipelines.errors import IntegrityError, TrainingError
from pipelines.store import write_atomically
from train.config import ModelConfig, TrainConfig
from train.convolutions import choose_layout
from train.dcgan import Discriminator, Generator, initialise
from train.ema import MovingAverage
from train.randomness import Stream, seeded_generator
from train.stats import Measures
from train.watch import Watcher

CHECKPOINTS = "checkpoints"
BEST_NAME = "best.pt"
KEPT_CHECKPOINTS = 3
FORMAT = 2

OF_NETWORKS = frozenset(field.name for field in fields(ModelConfig)) | {"ema_decay"}


@dataclass(slots=True)
class TrainingState:
    """Where training stands.

    Attributes:
        config: what is trained, and how.
        data_digest: SHA-256 of the images that it is trained on.
        generator, discriminator: the networks.
        generator_optimiser, discriminator_optimiser: their Adams.
        noise: where every z of training comes from; nothing draws from torch's global generators.
        epoch: epochs finished.
        minibatch: minibatches finished of the epoch after those.
        images_seen: images in all minibatches so far.
        measures: what was measured since the last row of statistics.
        average: the moving average of G's weights, where the configuration asks for one.
        watcher: what collapse is told by; made when real images are at hand.
        rollbacks: images seen at each checkpoint that training went back to; see `train.rollback`.
        best: "name" and "value" of the best metric so far, where one has been measured.
    """

    config: TrainConfig
    data_digest: str
    generator: Generator
    discriminator: Discriminator
    generator_optimiser: Adam
    discriminator_optimiser: Adam
    noise: torch.Generator
    epoch: int = 0
    minibatch: int = 0
    images_seen: int = 0
    measures: Measures = field(default_factory=Measures)
    average: MovingAverage | None = None
    watcher: Watcher | None = None
    rollbacks: list[int] = field(default_factory=list)
    best: dict[str, Any] | None = None

    @classmethod
    def begin(cls, config: TrainConfig, data_digest: str, device: torch.device) -> Self:
        """The state before the first minibatch; decided by the seed, whatever the device."""
        weights = seeded_generator(config.seed, Stream.WEIGHTS)
        generator, discriminator = Generator(config.model), Discriminator(config.model)
        for network in (generator, discriminator):
            initialise(network, config.model, weights)
            network.to(device=device, memory_format=choose_layout(device))  # type: ignore[call-overload]
        return cls(
            config,
            data_digest,
            generator,
            discriminator,
            _make_optimiser(generator, config),
            _make_optimiser(discriminator, config),
            seeded_generator(config.seed, Stream.NOISE),
            average=MovingAverage(generator, config.ema_decay) if config.ema_decay else None,
        )

    def pack(self) -> dict[str, Any]:
        """Everything, as tensors, numbers and strings. Raises TrainingError where a measure is not finite."""
        return {
            "format": FORMAT,
            "version": version("cleanshards"),
            "torch": str(torch.__version__),
            "config": self.config.to_json(),
            "data_digest": self.data_digest,
            "epoch": self.epoch,
            "minibatch": self.minibatch,
            "images_seen": self.images_seen,
            "measures": self.measures.fetch(),
            **{name: getattr(self, name).state_dict() for name in _STATEFUL},
            "noise": self.noise.get_state(),
            "watcher": None if self.watcher is None else self.watcher.to_json(),
            "rollbacks": list(self.rollbacks),
            "best": self.best,
            **({} if self.average is None else {"ema": self.average.state_dict()}),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `pack` gave."""
        self.epoch, self.minibatch = content["epoch"], content["minibatch"]
        self.images_seen = content["images_seen"]
        self.measures = Measures(content["measures"])
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(content[name])
        self.noise.set_state(content["noise"])
        if self.average is not None:
            self.average.load_state_dict(content["ema"])
        self.watcher = None if content["watcher"] is None else Watcher.from_json(content["watcher"])
        self.rollbacks = list(content["rollbacks"])
        self.best = content["best"]

    def roll_back(self, content: dict[str, Any]) -> None:
        """Take over an earlier state, but for the noise, as the same z would lead to the same end, and the best."""
        rollbacks, best = self.rollbacks, self.best
        self.restore(content)
        self.rollbacks, self.best = [*rollbacks, self.images_seen], best
        self.noise = seeded_generator(self.config.seed, Stream.ROLLBACK + len(rollbacks))


def _make_optimiser(network: nn.Module, config: TrainConfig) -> Adam:
    return Adam(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.gradient_l2,  # Adam's is L2 added to the gradient, as wanted; AdamW's would not be
        fused=True,
    )


_STATEFUL = ("generator", "discriminator", "generator_optimiser", "discriminator_optimiser")


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
