"""Command: ``python -m train.explore attributes``. The rendered portraits in; a classifier of what faces show out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli import DataRoot, Debug, Quiet, console, error_console, set_up_output
from pipelines.registry import DEFAULT_DATA_ROOT, locate_source
from train.device import Device, choose_device
from train.explore.attributes import STEPS, Attributes, read_portraits
from train.explore.cli import DeviceOption


def attributes(
    dataset: Annotated[
        str, typer.Argument(help="Faces whose metadata say what each shows: male, smile, glasses, left.")
    ] = "portraits",
    *,
    source: Annotated[str | None, typer.Option(help="A source's URI.", show_default="the registry's")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Minibatches of 64 pictures.")] = STEPS,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Decides weights and views: another one is another judge.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default="DATA_ROOT/DATASET/attributes_SEED.safetensors"),
    ] = None,
    device: DeviceOption = Device.AUTO,
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a classifier of attributes to faces, for arithmetic and turn.

    A fifth of the faces is held out: how often the classifier is right
    is measured on these.

    Examples:

      python -m train.explore attributes

      python -m train.explore attributes --seed 1
    """
    set_up_output(quiet=quiet)
    target = out or data_root / dataset / f"attributes_{seed}.safetensors"
    located = locate_source(dataset, source, data_root)
    with nullcontext() if quiet else error_console.status("  fitting", spinner="line"):
        fitted = Attributes.fit(read_portraits(located), seed=seed, steps=steps, device=choose_device(device))
    fitted.save(target)
    origin = fitted.origin
    right = ", ".join(f"{name} {share:.1%}" for name, share in origin.accuracy.items())
    console.print(
        f"a classifier fitted to {origin.pictures:,} faces; of {origin.held_out:,} others it is right about: {right}: "
        f"[b]{escape(str(target))}[/b]",
        soft_wrap=True,
    )
