"""Command: ``python -m train.explore sheet RUN``. A run's folder in; samples with their numbers out, to choose from."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli import Debug, Quiet, console
from pipelines.errors import ConfigError
from pipelines.store import published
from train.device import Device
from train.explore.cli import Checkpoint, DeviceOption, Label, Run, Seed, Session, StatisticsOption, WeightsOption
from train.explore.exploration import Exploration
from train.explore.layout import draw_sheet, frame
from train.runs import Weights
from train.sample import DRAWN
from train.samples import encode_png, save_png

SHEET_NAME = "sheet.json"  # what the samples in a folder are


def sheet(
    run: Run,
    *,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="How many.")] = 120,
    seed: Seed = 0,
    weights: WeightsOption = Weights.AUTO,
    statistics: StatisticsOption = None,
    checkpoint: Checkpoint = None,
    label: Label = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The PNG to write.", show_default=f"RUN/{DRAWN}/sheet_SEED.png")
    ] = None,
    each: Annotated[
        Path | None,
        typer.Option(
            "--each",
            metavar="FOLDER",
            help=f"Make this folder and write each sample there as drawn, and {SHEET_NAME}, in place of a sheet.",
        ),
    ] = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw samples with their numbers, by which arithmetic and turn take exemplars.

    A number means the same z in all commands of train.explore with the
    same --seed, however many are drawn.

    Examples:

      python -m train.explore sheet data/faces/train/faces --n 240
    """
    if out is not None and each is not None:
        raise ConfigError("--out names a sheet, and --each writes none", hint="give one of them")
    if each is not None and each.exists():
        raise ConfigError(f"{each} exists already", hint="give the name of a folder to be made")
    session = Session(
        "sheet",
        run,
        out=out,
        seed=seed,
        weights=weights,
        statistics=statistics,
        checkpoint=checkpoint,
        label=label,
        device=device,
        quiet=quiet,
    )
    exploration = session.exploration
    if each is not None:
        target = each
        write_each(exploration, n, each)
    else:
        target = out or run / DRAWN / f"sheet_{seed}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(target, frame(draw_sheet(exploration.draw(exploration.draw_z(n)))))
    console.print(f"{n:,} numbered images: [b]{escape(str(target))}[/b]", soft_wrap=True)


def write_each(exploration: Exploration, count: int, folder: Path) -> None:
    """Write samples as ``000000.png`` and on, and what drew them, into a new folder, which is there when all are."""
    note = {
        "seed": exploration.seed,
        "count": count,
        "resolution": exploration.model.resolution,
        "drawn_by": exploration.drawn_by(),
    }
    with published(folder) as filling:
        for number, image in enumerate(exploration.draw(exploration.draw_z(count))):
            (filling / f"{number:06d}.png").write_bytes(encode_png(image))
        (filling / SHEET_NAME).write_text(json.dumps(note, indent=1), encoding="utf-8")
