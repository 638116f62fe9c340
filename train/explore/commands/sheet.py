"""Command: ``python -m train.explore sheet RUN``. A run's folder in; samples with their numbers out, to choose from."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli import Debug, Quiet, console
from train.device import Device
from train.explore.cli import Checkpoint, DeviceOption, Label, Run, Seed, Session, StatisticsOption, WeightsOption
from train.explore.layout import draw_sheet, frame
from train.runs import Weights
from train.sample import DRAWN
from train.samples import save_png


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
    target = out or run / DRAWN / f"sheet_{seed}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    save_png(target, frame(draw_sheet(exploration.draw(exploration.draw_z(n)))))
    console.print(f"{n:,} numbered images: [b]{escape(str(target))}[/b]", soft_wrap=True)
