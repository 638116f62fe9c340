"""Checkpoints: all that training's future depends on, to one file and back.

A checkpoint is what `torch.load` reads with ``weights_only=True``: tensors, numbers and strings, no code. It is copied
while training waits, written behind its back, published by a rename, and never with a number that is not finite.
"""

import io
import pickle
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.optim import Adam

from pipelines.errors import IntegrityError, TrainingError
from pipelines.store import write_atomically
from train.config import ModelConfig, TrainConfig
from train.dcgan import Discriminator, Generator, initialise
from train.ema import MovingAverage
from train.stats import Measures
from train.watch import Watcher

CHECKPOINTS = "checkpoints"
BEST_NAME = "best.pt"
KEPT_CHECKPOINTS = 3
FORMAT = 2

OF_NETWORKS = frozenset(field.name for field in fields(ModelConfig)) | {"ema_decay"}

# Each use of randomness has a stream of its own, so that one more draw in one changes nothing in another.
WEIGHTS_STREAM, NOISE_STREAM, SAMPLES_STREAM, ROLLBACK_STREAMS = range(4)


def seeded_generator(seed: int, stream: int) -> torch.Generator:
    """A generator on the CPU, whatever the device: the same numbers everywhere."""
    return torch.Generator().manual_seed(int(np.random.default_rng([seed, stream]).integers(2**63)))


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
        rollbacks: how often training went back to a checkpoint; each time it goes on with a noise of its own.
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
    rollbacks: int = 0

    @classmethod
    def begin(cls, config: TrainConfig, data_digest: str, device: torch.device) -> Self:
        """The state before the first minibatch; decided by the seed, whatever the device."""
        weights = seeded_generator(config.seed, WEIGHTS_STREAM)
        generator, discriminator = Generator(config.model), Discriminator(config.model)
        for network in (generator, discriminator):
            initialise(network, config.model, weights)
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(
            config,
            data_digest,
            generator,
            discriminator,
            _make_optimiser(generator, config),
            _make_optimiser(discriminator, config),
            seeded_generator(config.seed, NOISE_STREAM),
            average=MovingAverage(generator, config.ema_decay) if config.ema_decay else None,
        )

    def pack(self) -> dict[str, Any]:
        """Everything, as tensors, numbers and strings. Raises TrainingError where a measure is not finite."""
        return {
            "format": FORMAT,
            "version": version("cleanshards"),
            "config": self.config.to_json(),
            "data_digest": self.data_digest,
            "epoch": self.epoch,
            "minibatch": self.minibatch,
            "images_seen": self.images_seen,
            "measures": self.measures.fetch(),
            **{name: getattr(self, name).state_dict() for name in _STATEFUL},
            "noise": self.noise.get_state(),
            "watcher": None if self.watcher is None else self.watcher.to_json(),
            "rollbacks": self.rollbacks,
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
        self.rollbacks = content["rollbacks"]

    def roll_back(self, content: dict[str, Any]) -> None:
        """Take over an earlier state, but for the noise: the same z would lead to the same end."""
        rollbacks = self.rollbacks + 1
        self.restore(content)
        self.rollbacks = rollbacks
        self.noise = seeded_generator(self.config.seed, ROLLBACK_STREAMS + rollbacks)


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
    """Writes a run's checkpoints, one at a time, in a thread; use as a context manager, which waits for the last."""

    def __init__(self, run_folder: Path, kept: int = KEPT_CHECKPOINTS) -> None:
        self._run_folder = run_folder
        self._kept = kept
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[Path] | None = None

    def save(self, state: TrainingState, *, is_best: bool = False) -> None:
        """Copy a state, and begin to write the copy once the one before is written.

        Raises:
            TrainingError, OSError: what went wrong with the one before; or a measure is not finite.
        """
        self.wait()
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
    """Write what `TrainingState.pack` gave, and remove all but the last ``kept``; the best one has a name of its own.

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
    buffer = io.BytesIO()  # torch would turn a full disk into a RuntimeError
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())
    if is_best:
        write_atomically(folder / BEST_NAME, buffer.getvalue())
    for stale in [*find_checkpoints(run_folder)[:-kept], *folder.glob(".tmp-*")]:
        stale.unlink()
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


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU.

    Raises:
        IntegrityError: it is damaged, or of another format.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']}, not {FORMAT}")
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError) as error:
        raise IntegrityError(
            f"checkpoint {path} cannot be read ({error})",
            hint="remove it: --resume auto then goes on from the one before",
        ) from error
    return content


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
