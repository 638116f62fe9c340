"""Command: ``python -m train.sample RUN``. A run's folder in; pictures that its G draws out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.progress import track

from pipelines.cli import Debug, Quiet, console, error_console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError
from pipelines.store import published
from train.device import Device, choose_device
from train.randomness import Stream, seeded_generator
from train.runs import OpenedRun, Weights, open_run
from train.samples import GRID_COLUMNS, Pixels, draw_many, encode_png, lay_out, plan_grid, save_png, stream_inputs
from train.statistics import Statistics, prepare, stream_calibration, usual_statistics

DRAWN = "drawn"  # the folder of pictures below a run's

app = new_app("Draw images with a trained G.")


@app.command()
def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: DATA_ROOT/DATASET/train/NAME.")],
    *,
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Decides every z.")] = 0,
    truncate: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="Draw components of z outside [-T, T] anew: fewer kinds, each more typical.",
            show_default="none",
        ),
    ] = math.inf,
    labels: Annotated[
        str | None,
        typer.Option(help="Of a conditional run: classes to draw in turn, as 3 or 0,1,2.", show_default="all"),
    ] = None,
    weights: Annotated[
        Weights, typer.Option(help="auto: the moving average (ema) where the run keeps one.")
    ] = Weights.AUTO,
    statistics: Annotated[
        Statistics | None, typer.Option(help="Batch norm's, see docs/sampling.md.", show_default="as in training")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, or a name in the run.", show_default="the last")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The PNG to write.", show_default=f"RUN/{DRAWN}/seed_SEED.png")
    ] = None,
    columns: Annotated[int, typer.Option(min=1, help="Images in a row of the grid.")] = GRID_COLUMNS,
    each: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Make this folder and write each image there, in place of a grid."),
    ] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw images with the G of RUN: a grid, or each into a file.

    The same command draws the same images, on a CPU to the byte. The
    run's own seed gives the z of its samples.png.

    Examples:

      python -m train.sample data/demo/train/demo

      python -m train.sample data/demo/train/demo --n 1000 --seed 7 --each drawn

      python -m train.sample data/demo/train/demo --truncate 0.7 --statistics recalibrated
    """
    set_up_output(quiet=quiet)
    if not truncate > 0:
        raise ConfigError(f"--truncate is {truncate}", hint="give more than 0; of a uniform z, less than 1")
    if out is not None and each is not None:
        raise ConfigError("--out names a grid, and --each writes none", hint="give one of them")
    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"--out is {out}, and what is written is a PNG", hint=f"give {out.with_suffix('.png')}")
    if each is not None and each.exists():
        raise ConfigError(f"{each} exists already", hint="give the name of a folder to be made")

    opened = open_run(run, weights=weights, named=checkpoint, device=choose_device(device))
    config = opened.config
    chosen = statistics or usual_statistics(config)
    classes = parse_labels(labels, config.model.classes)
    if each is None:
        plan_grid(n, columns, config.model.resolution)  # refuses before the work, not after it
    drawn = track(
        draw_from(opened, chosen, n, seed, truncate, classes),
        "  drawing",
        total=-(-n // config.batch_size),
        console=error_console,
        transient=True,
        disable=quiet or not error_console.is_terminal,
    )
    if each is not None:
        target = each
        write_each(drawn, each)
    else:
        target = out or run / DRAWN / f"seed_{seed}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        save_png(target, lay_out(np.concatenate(list(drawn)), columns))
    console.print(
        f"{n:,} images by {opened.checkpoint.name} ({opened.images_seen:,} images seen, {opened.weights} weights, "
        f"{chosen} statistics): [b]{escape(str(target))}[/b]",
        soft_wrap=True,
    )


def parse_labels(text: str | None, classes: int) -> list[int]:
    """The labels in ``3`` or ``0,1,2``; none of None. Raises ConfigError where one is no class of the run's."""
    if text is None:
        return []
    if not classes:
        raise ConfigError("--labels is for conditional runs, and this one has no classes", hint="leave it out")
    labels = [int(label) if label.strip().isdecimal() else -1 for label in text.split(",")]
    if not all(0 <= label < classes for label in labels):
        raise ConfigError(f"--labels is {text}", hint=f"give numbers from 0 to {classes - 1}, as 0,1,2")
    return labels


def draw_from(
    opened: OpenedRun, statistics: Statistics, count: int, seed: int, limit: float, labels: list[int]
) -> Iterator[Pixels]:
    """Draw ``count`` images by an opened run's G, a minibatch of training's size at a time: uint8 RGB (B, R, R, 3)."""
    config = opened.config
    on = next(opened.generator.parameters()).device
    generator = prepare(opened.generator, config.model, statistics, stream_calibration(config, on, limit=limit))
    noise = seeded_generator(seed, Stream.SAMPLES)
    inputs = stream_inputs(config.model, config.batch_size, noise, limit=limit, labels=labels, device=on)
    return draw_many(generator, inputs, count, keeps_companions=statistics is Statistics.BATCH)


def write_each(drawn: Iterable[Pixels], folder: Path) -> None:
    """Write images as ``000000.png`` and on into a new folder, which is there when all of them are."""
    with published(folder) as filling:
        for index, image in enumerate(chain.from_iterable(drawn)):
            (filling / f"{index:06d}.png").write_bytes(encode_png(image))


if __name__ == "__main__":
    run_app(app, "python -m train.sample")
