"""Runs: the folder that training has left, or is still filling, in; its configuration and a G ready to draw out.

Stands after the last word of "clean shards → DCGAN": what samples, exports or explores a run opens it here.
"""

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

import torch

from pipelines.errors import ConfigError, IntegrityError, TrainingError
from train import checkpoint
from train.config import ModelConfig, TrainConfig
from train.dcgan import Generator

CONFIG_NAME = "config.json"


class Weights(StrEnum):
    """Which weights of G."""

    AUTO = "auto"  # the moving average where the run keeps one
    RAW = "raw"  # those of the last step
    EMA = "ema"  # their moving average, see `train.ema`


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run as it stood at a checkpoint.

    Attributes:
        folder: the run's.
        config: what was trained, and how.
        checkpoint: the file that the weights come from.
        images_seen: images that training had seen by then.
        data_digest: SHA-256 of the images that it was trained on.
        weights: which these are; never `Weights.AUTO`.
        generator: G, in evaluation mode and without gradients.
    """

    folder: Path
    config: TrainConfig
    checkpoint: Path
    images_seen: int
    data_digest: str
    weights: Weights
    generator: Generator


def open_run(
    folder: Path,
    *,
    weights: Weights = Weights.AUTO,
    named: str | None = None,
    device: torch.device | None = None,
) -> OpenedRun:
    """Open a run at one of its checkpoints.

    Args:
        folder: a run's, as `train.run` made it.
        weights: which of G.
        named: the checkpoint: a file, or the name of one of the run's (as ``best``); the last one if None.
        device: where to put G; the CPU if None.

    Raises:
        TrainingError: there is no run there, no such checkpoint, or one of another run.
        ConfigError: a moving average is asked for, and the run keeps none.
        IntegrityError: the configuration or the checkpoint is damaged, or of another format.
    """
    config = read_config(folder)
    path = _find_checkpoint(folder, named)
    content = _read_checkpoint(path)
    if weights is Weights.AUTO:
        weights = Weights.EMA if "ema" in content else Weights.RAW
    if weights is Weights.EMA and "ema" not in content:
        raise ConfigError(f"{path} holds no moving average of G", hint="give --weights raw")

    state = content["ema"]["generator"] if weights is Weights.EMA else content["generator"]
    generator = Generator(config.model)
    try:
        generator.load_state_dict(state)
    except RuntimeError as error:  # torch lists every tensor that does not fit
        raise TrainingError(
            f"checkpoint {path} is not of the networks that {folder / CONFIG_NAME} describes",
            hint="give the folder of the run that made it",
        ) from error
    generator.requires_grad_(False).eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return OpenedRun(folder, config, path, content["images_seen"], content["data_digest"], weights, generator)


def read_config(folder: Path) -> TrainConfig:
    """The configuration in a run's folder; fields that an older version did not write have their defaults.

    Raises:
        TrainingError: there is no run in ``folder``.
        IntegrityError: its configuration is damaged.
    """
    path = folder / CONFIG_NAME
    try:
        return config_from_json(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        runs = sorted(found.parent.name for found in folder.glob(f"*/{CONFIG_NAME}")) if folder.is_dir() else []
        hint = f"one of those in it: {', '.join(runs)}" if runs else "give a folder that train.run has made"
        raise TrainingError(f"there is no run in {folder}", hint=hint) from None
    except (ValueError, TypeError, AttributeError, ConfigError) as error:
        raise IntegrityError(
            f"{path} is damaged ({error})", hint="train.run with --resume auto writes it anew"
        ) from error


def config_from_json(plain: dict[str, Any]) -> TrainConfig:
    """What `TrainConfig.to_json` gave, and notes beside it, back to a configuration.

    Raises:
        ConfigError, ValueError, TypeError: a value is out of range or of the wrong type.
    """
    model = ModelConfig(**_pick(ModelConfig, plain))
    return TrainConfig(model=model, **_pick(TrainConfig, {**plain, "model": None}))


def _pick(kind: type[ModelConfig | TrainConfig], plain: dict[str, Any]) -> dict[str, Any]:
    """The values of a configuration's own fields, choices as members of their enumerations."""
    types = get_type_hints(kind)
    given = {field.name: plain[field.name] for field in fields(kind) if plain.get(field.name) is not None}
    return {name: types[name](value) if _is_choice(types[name]) else value for name, value in given.items()}


def _is_choice(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _find_checkpoint(folder: Path, named: str | None) -> Path:
    found = checkpoint.find_checkpoints(folder)
    if named is None:
        if not found:
            raise TrainingError(f"the run in {folder} has no checkpoint yet", hint="an epoch's end writes one")
        return found[-1]
    own = folder / checkpoint.CHECKPOINTS
    for path in (Path(named), own / f"{named}.pt"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in own.glob("*.pt")))
    raise TrainingError(f"there is no checkpoint {named}", hint=f"the run has {names or 'none yet'}; or give a file")


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        return checkpoint.read(path)
    except (IntegrityError, TypeError, IndexError) as error:  # the last two: torch can read it, and it is no dict
        # Of all that torch says, a line that advises to run the file's code among it, only another format is of use.
        of_format = isinstance(error, IntegrityError) and isinstance(error.__cause__, ValueError)
        message = str(error) if of_format else f"{path} is damaged, or no checkpoint"
        raise IntegrityError(message, hint="give another one with --checkpoint") from error
