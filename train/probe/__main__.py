"""Command: ``python -m train.probe [RUN …] --dataset cifar10``. Trained D and labelled images in; a table out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
the evidence of Radford et al. 2016, section 5, with the paper's figures beside ours. See docs/probe.md.
"""

import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.cli import DataRoot, Debug, Quiet, console, error_console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError
from pipelines.registry import DEFAULT_DATA_ROOT
from train.device import Device, choose_device
from train.findings import EVIDENCE, Conditions, Finding, lay_out_finding, note_conditions, write_finding
from train.probe.curve import CURVE_NAME, Point, describe_curve, draw_curve, gather_checkpoints
from train.probe.data import LABEL_COLUMN, ProbeData
from train.probe.loading import Wanted, load_data
from train.probe.methods import BASELINES, Method, list_checkpoints, probe_baseline, probe_run
from train.probe.protocols import HELD_OUT, Protocol, hold_out_at_most, parse_labels, require_possible, shuffle
from train.probe.rows import (
    FOLDER,
    describe_row,
    keep_row,
    lay_out_rows,
    measure_row,
    place_row,
    read_row,
    read_rows,
    read_supervised,
    title_rows,
)
from train.probe.svm import Solver
from train.runs import read_config
from train.samples import encode_png
from train.statistics import Statistics

ALL = "all"

app = new_app("Classify by what a trained D has learned.")


@app.command()
def main(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN…", help="Folders of runs: DATA_ROOT/DATASET/train/NAME.")
    ] = None,
    *,
    dataset: Annotated[
        str, typer.Option(help="What to classify: cifar10, svhn, a name of the registry, or any with --train.")
    ],
    train: Annotated[
        str | None, typer.Option(metavar="URI", help="A source with labels, in place of the data set's own.")
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="URI", help="Likewise, to test with.")] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Where there is no test set: the share of train to make it of."),
    ] = None,
    label_column: Annotated[str, typer.Option(help="What the source calls an image's class.")] = LABEL_COLUMN,
    side: Annotated[
        int | None, typer.Option(min=8, help="Cut the images to centre squares of so many pixels.", show_default="none")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch CIFAR-10 or SVHN where it is missing.")] = False,
    labels: Annotated[
        str, typer.Option(metavar="N|N-per-class|all", help="How many labelled images are learned from.")
    ] = ALL,
    held_out: Annotated[
        int | None,
        typer.Option(min=1, help="Training images that C is chosen by.", show_default=f"{HELD_OUT:,}, a fifth of few"),
    ] = None,
    resamples: Annotated[int, typer.Option(min=2, help="Of some labels: draws that the figure is the mean of.")] = 100,
    statistics: Annotated[
        Statistics | None,
        typer.Option(
            help="Batch norm's, see docs/probe.md.", show_default="running, or recalibrated where the run keeps none"
        ),
    ] = None,
    baseline: Annotated[list[str] | None, typer.Option(help=f"{BASELINES}; may be given again.")] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="A file, a name in the run, or all: a curve.", show_default="the last"),
    ] = None,
    solver: Annotated[Solver, typer.Option(help="Of the SVM; newton runs on the device.")] = Solver.AUTO,
    seed: Annotated[int, typer.Option(min=0, help="Decides which images are held out and drawn.")] = 0,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Classify by the features of D of each RUN, and by baselines: one table.

    What is measured is kept below DATA_ROOT/DATASET/probe: a second
    command measures what is missing. --checkpoint all adds a learning
    curve, in RUN/evidence.

    Examples:

      python -m train.probe data/imagenet32/train/paper --dataset cifar10 --baseline random --baseline pixels

      python -m train.probe data/imagenet32/train/paper --dataset cifar10 --labels 400-per-class --checkpoint all

      python -m train.probe data/svhn/train/paper --dataset svhn --labels 1000 --download
    """
    started_s = time.perf_counter()
    set_up_output(quiet=quiet)
    on, folders = choose_device(device), runs or []
    if not folders and not baseline:
        raise ConfigError("there is no RUN and no --baseline", hint=f"give a run's folder, or --baseline {BASELINES}")
    configs = [read_config(folder) for folder in folders]
    methods = [method for named in baseline or [] for method in probe_baseline(named, configs, statistics, seed, on)]
    methods += [
        probe_run(folder, named, statistics, seed, on)
        for folder in folders
        for named in list_checkpoints(folder, checkpoint)
    ]
    with error_console.status("  reading images", spinner="line"):
        data = load_data(Wanted(dataset, train, test, hold_out, label_column, side, download), data_root, seed)
    protocol = Protocol(
        labels=parse_labels(labels, len(data.train.classes)),
        held_out=held_out or hold_out_at_most(len(data.train)),
        resamples=resamples,
        solver=solver,
        seed=seed,
    )
    require_possible(data.train.labels[shuffle(len(data.train), seed)], protocol)
    root = data_root / dataset / FOLDER
    rows = [find_row(dataset, method, data, protocol, root, on, quiet=quiet) for method in methods]
    supervised = read_supervised(data_root / dataset, data, protocol)
    rows += [] if supervised is None else [supervised]
    for name, count in data.rejected.items():
        console.print(f"{count:,} images could not be decoded: {escape(name)}")
    console.print(lay_out_rows(dataset, protocol, rows, title_rows(dataset, protocol, data.train)))
    for row in rows:
        if row.differs:
            console.print(f"{escape(row.figures[0].name)}: {escape(row.differs)}", soft_wrap=True)
    if checkpoint == ALL:
        for folder in folders:
            picture = keep_curve(folder, rows, read_rows(root), note_conditions("train.probe", on, started_s))
            console.print(f"learning curve: [b]{escape(str(picture))}[/b]", soft_wrap=True)


def find_row(
    dataset: str, method: Method, data: ProbeData, protocol: Protocol, root: Path, device: torch.device, *, quiet: bool
) -> Finding:
    """A row as it was kept, or measured now and kept; says which."""
    folder = place_row(root, method, data, protocol)
    kept = read_row(folder, method, data)
    if kept is not None:
        keep_row(folder, kept)  # its words may be other ones than before
        console.print(f"{escape(method.name)}: kept from before, in {escape(str(folder))}", soft_wrap=True)
        return kept
    started_s = time.perf_counter()
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=error_console, transient=True, disable=quiet or not error_console.is_terminal
    ) as bars:
        bar = bars.add_task(escape(method.name), total=None)
        outcome = measure_row(
            method, data, protocol, device, lambda done, total: bars.update(bar, completed=done, total=total)
        )
    finding = describe_row(dataset, method, data, protocol, outcome, note_conditions("train.probe", device, started_s))
    keep_row(folder, finding)
    return finding


def keep_curve(folder: Path, rows: list[Finding], kept: list[Finding], conditions: Conditions) -> Path:
    """Write a run's learning curve into its folder; returns the picture's path."""
    points = gather_checkpoints(folder, rows, kept)
    levels = {row.figures[0].name: row.figures[0].value for row in rows if "run" not in row.settings}
    finding = describe_curve(points, levels, conditions)
    curve = [Point(row.settings["images_seen"], row.figures[0].value) for row in points]
    labels = finding.settings["protocol"]["labels"]
    target = folder / EVIDENCE / (finding.experiment if labels is None else f"{finding.experiment}_{labels}")
    picture = draw_curve(points[-1].title, points[-1].figures[0].name, curve, levels)
    write_finding(target, finding, {CURVE_NAME: encode_png(picture)})
    console.print(lay_out_finding(finding))
    return target / CURVE_NAME


if __name__ == "__main__":
    run_app(app, "python -m train.probe")
