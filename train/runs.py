"""Runs: the folder that training has left, or is still filling, in; its configuration and G and D ready for use out.

Stands after the last word of "clean shards → DCGAN": what samples, exports or explores a run opens it here.
"""

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import torch

from pipelines.errors import ConfigError, IntegrityError, TrainingError
from pipelines.manifest import Manifest
from pipelines.store import write_atomically
from train import checkpoint
from train.config import TrainConfig, load, to_toml
from train.convolutions import choose_layout
from train.data import PackedImages, Packing
from train.dcgan import Discriminator, Generator
from train.evaluation.reference import Split

CONFIG_NAME = "config.toml"
REWRITE = "train.run with --resume auto writes it anew"
REPACK = "train.run with --resume auto packs them anew, where the clean set is what it was"
REFERENCES = "references"  # the folder, beside the packed images, of what they are compared by
NOTE_NAME = "run.json"  # what the configuration does not say: data set, images, versions


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
        weights: which of G these are; never `Weights.AUTO`.
        generator: G, in evaluation mode and without gradients.
        discriminator: D, of the last step's weights, likewise.
    """

    folder: Path
    config: TrainConfig
    checkpoint: Path
    images_seen: int
    data_digest: str
    weights: Weights
    generator: Generator
    discriminator: Discriminator


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
    content = checkpoint.read(path)
    if weights is Weights.AUTO:
        weights = Weights.EMA if "ema" in content else Weights.RAW
    if weights is Weights.EMA and "ema" not in content:
        raise ConfigError(f"{path} holds no moving average of G", hint="give --weights raw")

    state = content["ema"]["generator"] if weights is Weights.EMA else content["generator"]
    generator, discriminator = Generator(config.model), Discriminator(config.model)
    try:
        generator.load_state_dict(state)
        discriminator.load_state_dict(content["discriminator"])
    except RuntimeError as error:  # torch lists every tensor that does not fit
        raise TrainingError(
            f"checkpoint {path} is not of the networks that {folder / CONFIG_NAME} describes",
            hint="give the folder of the run that made it",
        ) from error
    on = device or torch.device("cpu")
    for network in (generator, discriminator):
        network.requires_grad_(False).eval().to(device=on, memory_format=choose_layout(on))  # type: ignore[call-overload]
    return OpenedRun(
        folder, config, path, content["images_seen"], content["data_digest"], weights, generator, discriminator
    )


def note_run(run_folder: Path, config: TrainConfig, images: PackedImages, dataset: str, packing: Packing) -> None:
    """Write what the run is of into its folder: the configuration, and a note of all else."""
    note = {
        "dataset": dataset,
        "kind": packing.stage.kind,
        "images": len(images),
        "data_digest": images.digest,
        "packed": os.path.relpath(packing.root / packing.stage.name, run_folder),
        "cleanshards": version("cleanshards"),
        "torch": torch.__version__,
    }
    write_atomically(run_folder / NOTE_NAME, json.dumps(note, indent=1).encode())
    write_atomically(run_folder / CONFIG_NAME, to_toml(config).encode())
    (run_folder / "samples").mkdir(exist_ok=True)


def read_config(folder: Path) -> TrainConfig:
    """The configuration in a run's folder.

    Raises:
        TrainingError: there is no run in ``folder``.
        IntegrityError: its configuration is damaged.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        runs = sorted(found.parent.name for found in folder.glob(f"*/{CONFIG_NAME}")) if folder.is_dir() else []
        hint = f"one of those in it: {', '.join(runs)}" if runs else "give a folder that train.run has made"
        raise TrainingError(f"there is no run in {folder}", hint=hint)
    try:
        return load(path)
    except ConfigError as error:
        raise IntegrityError(f"{path} is damaged ({error})", hint=REWRITE) from error


def open_images(opened: OpenedRun) -> tuple[Split, Split, Path]:
    """The images that a run was trained on, those that it held out (maybe none), and the folder they are packed below.

    Raises:
        TrainingError: they are no longer those that it was trained on.
        IntegrityError: they, or the run's note of them, are damaged.
    """
    path = opened.folder / NOTE_NAME
    try:
        note = json.loads(path.read_bytes())
        packed, name = (opened.folder / note["packed"]).resolve(), f"{note['dataset']}/{note['kind']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error})", hint=REWRITE) from error
    try:
        images = PackedImages.open(Manifest.load(packed), opened.config.model.resolution)
    except FileNotFoundError:
        raise TrainingError(f"the images of the run are no longer in {packed}", hint=REPACK) from None
    training, held_out = Split.whole(name, images).part(opened.config.hold_out)
    if training.alone.digest != opened.data_digest:
        raise TrainingError(f"the images in {packed} are not those that the run was trained on", hint=REPACK)
    return training, held_out, packed.parent


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
