"""Command: ``python -m train.import_theano DIR --out RUN``. Arrays that DCGAN's authors published in; a run out.

Stands at the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN": in
the place of training. The authors of Radford et al. 2016 published parameters of their Theano models, of SVHN and of
ImageNet-1k at 32 px, as lists of arrays, in the order in which our networks name their parameters. Here is what
differs:

- Convolutions. Theano's turns each kernel by 180°, torch's does not. Those of G are gradients of such convolutions with
  respect to what they take in, so theirs are turned too. Axes have the same order in both, of D (out, in, height,
  width) and of G (in, out, height, width).
- Products. Theirs are z·W, with W as (in, out); torch's weights are (out, in). Maps are flattened alike.
- Kernels of 3×3, of the ImageNet-32 model, become 5×5 with zeros around, which is the same convolution.
- Batch norm keeps no running averages, adds 1e-8 to variances, and has gain and bias; no other layer has a bias.

The G of the ImageNet-32 model has six layers, as its D has, and ours of 32 px has three: of that model D alone is read.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.markup import escape
from torch import nn

from pipelines.cli import Debug, Quiet, console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError, IntegrityError
from pipelines.store import hash_file, published, write_atomically
from train import checkpoint
from train.arrays import Array, read_arrays
from train.config import TrainConfig, choose, to_toml
from train.dcgan import Discriminator, Generator
from train.runs import CONFIG_NAME, NOTE_NAME
from train.state import TrainingState

KERNEL = 5  # pixels
# How a D of so many arrays was trained: our preset, and images of an epoch, as the authors' code loads them.
MODELS = {8: ("svhn", 63_257), 11: ("faces", 350_000), 17: ("imagenet32", 1_281_167)}
WHOLE = re.compile(r"(?P<epoch>\d+)_(?P<of>gen|discrim)_params\.(jl|npz)")
PART = re.compile(r"(?P<epoch>\d+)_(?P<of>gen|discrim)_params.*_(?P<number>\d+)\.npy")
UNKNOWN_IMAGES = "not known"  # in the place of their digest: training cannot go on from an imported run

app = new_app("Read the models that DCGAN's authors published.")


@app.command()
def main(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds EPOCH_discrim_params.jl, EPOCH_gen_params.jl and their .npy.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run's folder to be made.")],
    epoch: Annotated[
        int | None, typer.Option(min=0, help="Which, where there are several.", show_default="the last")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a run of the arrays of a Theano model.

    DIR holds what the authors published: folders of models/ in
    github.com/Newmu/dcgan_code. Arrays saved by numpy.savez as
    EPOCH_discrim_params.npz will do. No code in the files is run.
    Afterwards train.sample and train.probe open RUN.

    Examples:

      python -m train.import_theano models/svhn_unsup_all_conv_dcgan_100z_gaussian_lr_0.0005_64mb --out svhn
    """
    set_up_output(quiet=quiet)
    if out.exists():
        raise ConfigError(f"{out} exists already", hint="give the name of a folder to be made")
    found = find_parameters(folder, epoch)
    discriminator = found.read("discrim")
    generator = found.read("gen") if holds_generator(discriminator) else None
    state = convert(discriminator, generator, found.epoch)
    write_run(out, state, found)
    read = "D" if generator is None else "G and D"
    console.print(f"{read} of epoch {found.epoch}: [b]{escape(str(out))}[/b]", soft_wrap=True)
    if generator is None:
        console.print("Their G has six layers and ours three: G was not read, and draws noise.")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The files of a model.

    Attributes:
        folder: theirs.
        epoch: after which they were saved.
        files: those with all arrays of "gen" or of "discrim", or with one each, in order.
    """

    folder: Path
    epoch: int
    files: dict[str, list[Path]]

    def read(self, of: str) -> list[Array]:
        """The arrays of "gen" or "discrim". Raises IntegrityError where there are none, or they cannot be read."""
        if of not in self.files:
            raise IntegrityError(
                f"{self.folder} holds no {self.epoch}_{of}_params.jl", hint="give a folder with all of its files"
            )
        return [array for path in self.files[of] for array in read_arrays(path)]


def find_parameters(folder: Path, epoch: int | None = None) -> Parameters:
    """Find a model's files. Raises ConfigError where there are none, or none of ``epoch``."""
    wholes: dict[int, dict[str, list[Path]]] = {}
    parts: dict[int, dict[str, list[Path]]] = {}
    for pattern, found in ((WHOLE, wholes), (PART, parts)):
        matches = [(match, path) for path in folder.glob("*") if (match := pattern.fullmatch(path.name))]
        for match, path in sorted(matches, key=lambda pair: int(pair[0].groupdict().get("number", 0))):
            found.setdefault(int(match["epoch"]), {}).setdefault(match["of"], []).append(path)
    epochs = sorted({*wholes, *parts})
    if not epochs:
        raise ConfigError(
            f"there is no model in {folder}", hint="give a folder that holds 200_discrim_params.jl, or of another epoch"
        )
    chosen = epochs[-1] if epoch is None else epoch
    if chosen not in epochs:
        raise ConfigError(f"{folder} holds nothing of epoch {chosen}", hint=f"it has {', '.join(map(str, epochs))}")
    return Parameters(folder, chosen, {**parts.get(chosen, {}), **wholes.get(chosen, {})})


def holds_generator(discriminator: list[Array]) -> bool:
    """Whether our G is that of a model with this D."""
    return len(discriminator) not in MODELS or MODELS[len(discriminator)][0] != "imagenet32"


def convert(discriminator: list[Array], generator: list[Array] | None, epoch: int) -> TrainingState:
    """Networks with parameters of a Theano model, in a state as if training had brought them there.

    Args:
        discriminator: D's, in the authors' order: of each layer the kernels, then gain and bias of its batch norm.
        generator: G's, likewise; G stays as it begins if None.
        epoch: after which they were saved.

    Raises:
        IntegrityError: there are more or fewer of them, or of other shapes, than such networks have.
    """
    config = describe(discriminator, generator, epoch)
    state = TrainingState.begin(config, UNKNOWN_IMAGES, torch.device("cpu"))
    fill(state.discriminator, "D", discriminator)
    if generator is not None:
        fill(state.generator, "G", generator)
    state.epoch, state.images_seen = epoch, epoch * MODELS[len(discriminator)][1]
    return state


def describe(discriminator: list[Array], generator: list[Array] | None, epoch: int) -> TrainConfig:
    """How a model was trained, and how large it is; see `convert`."""
    if len(discriminator) not in MODELS:
        raise IntegrityError(
            f"D has {len(discriminator)} arrays, and the authors' have {', '.join(map(str, MODELS))}",
            hint="give a folder with all of its files",
        )
    overrides = {"discriminator_width": len(_of_rank(discriminator[0], 4, "D")), "epochs": max(epoch, 1)}
    if generator:
        overrides["z_size"] = len(_of_rank(generator[0], 2, "G"))
        overrides["generator_width"] = len(_of_rank(generator[-1], 4, "G"))
    return choose(MODELS[len(discriminator)][0], overrides)


def fill(network: Generator | Discriminator, name: str, arrays: list[Array]) -> None:
    """Put arrays of a Theano model into a network, in their order; ``name`` is for errors, see `convert`."""
    parameters = list(network.named_parameters())
    if len(arrays) != len(parameters):
        raise IntegrityError(
            f"{name} has {len(arrays)} arrays in place of {len(parameters)}", hint="give a folder with all of its files"
        )
    with torch.no_grad():
        for number, (array, (place, parameter)) in enumerate(zip(arrays, parameters, strict=True), start=1):
            weights = to_torch(array)
            if weights.shape != parameter.shape:
                raise IntegrityError(
                    f"array {number} of {name} ({place}) is of shape {array.shape}, and {_shape_of(parameter)} fits",
                    hint="give the arrays of a DCGAN, in the authors' order",
                )
            parameter.copy_(torch.from_numpy(weights))


def to_torch(array: Array) -> Array:
    """A parameter as Theano has it to what torch's networks compute the same with, see the head of this module.

    Args:
        array: float32: kernels (·, ·, side, side), a matrix (in, out), or gains or biases (maps,).
    """
    if array.ndim == 4:
        ring = max(KERNEL - array.shape[2], 0) // 2
        padded = np.pad(array[:, :, ::-1, ::-1], ((0, 0), (0, 0), (ring, ring), (ring, ring)))
        return np.ascontiguousarray(padded)
    return np.ascontiguousarray(array.T)


def write_run(folder: Path, state: TrainingState, found: Parameters) -> None:
    """Write a run's folder, which appears when all is in it."""
    note = {
        "dataset": found.folder.resolve().name,
        "kind": "imported",
        "files": {path.name: hash_file(path) for path in _every(found)},
        "packed": "packed",  # where the images would be, if they were known
        "cleanshards": version("cleanshards"),
        "torch": torch.__version__,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with published(folder) as filling:
        write_atomically(filling / NOTE_NAME, json.dumps(note, indent=1).encode())
        write_atomically(filling / CONFIG_NAME, to_toml(state.config).encode())
        checkpoint.write(state.pack(), filling)


def _every(found: Parameters) -> Iterator[Path]:
    """Every file of a model; of those of joblib, the arrays' own too."""
    stems = tuple(f"{found.epoch}_{of}_params" for of in ("discrim", "gen"))
    return (path for path in sorted(found.folder.iterdir()) if path.name.startswith(stems))


def _of_rank(array: Array, rank: int, name: str) -> Array:
    """The array, whose first axis is then asked for. For G's last kernels that is the width too: (in, out, ·, ·)."""
    if array.ndim != rank:
        raise IntegrityError(
            f"an array of {name} is of shape {array.shape}, and one of {rank} axes fits",
            hint="give the arrays of a DCGAN, in the authors' order",
        )
    return array


def _shape_of(parameter: nn.Parameter) -> tuple[int, ...]:
    """The shape that a parameter has in Theano."""
    shape = tuple(parameter.shape)
    return shape[::-1] if len(shape) == 2 else shape


if __name__ == "__main__":
    run_app(app, "python -m train.import_theano")
