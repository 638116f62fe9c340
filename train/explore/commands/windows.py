"""Command: ``python -m train.explore windows ROOMS``. Rendered rooms in; a finder of windows in such pictures out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli import Debug, Quiet, console, error_console, set_up_output
from train.config import RESOLUTIONS
from train.device import Device, choose_device
from train.explore.cli import DeviceOption
from train.explore.rooms import read_rooms
from train.explore.windows import STEPS, WindowFinder


def windows(
    rooms: Annotated[
        Path,
        typer.Argument(metavar="ROOMS", help="The folder of rendered rooms, as DATA_ROOT/demo/raw/bedroom_train_lmdb."),
    ],
    *,
    resolution: Annotated[int, typer.Option(help="Side of the pictures, in pixels: a run's.")] = RESOLUTIONS[0],
    steps: Annotated[int, typer.Option(min=1, help="Minibatches of 64 pictures.")] = STEPS,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides weights, and which rooms are held out.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", show_default="windows_RESOLUTIONpx.safetensors beside ROOMS")
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a finder of windows to rendered rooms, for forget --finder.

    A tenth of the rooms is held out: the finder's overlap, precision and
    recall are measured on these, pixel by pixel.

    Examples:

      python -m train.explore windows data/demo/raw/bedroom_train_lmdb
    """
    set_up_output(quiet=quiet)
    target = out or rooms.resolve().parent / f"windows_{resolution}px.safetensors"
    with nullcontext() if quiet else error_console.status("  fitting", spinner="line"):
        finder = WindowFinder.fit(read_rooms(rooms, resolution), seed=seed, steps=steps, device=choose_device(device))
    finder.save(target)
    note = finder.note
    console.print(
        f"a finder of windows at {resolution} px, fitted to {note.rooms:,} rooms; of {note.held_out:,} others: overlap "
        f"{note.overlap:.0%}, precision {note.precision:.0%}, recall {note.recall:.0%}: [b]{escape(str(target))}[/b]",
        soft_wrap=True,
    )
