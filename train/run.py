"""Train the DCGAN: a finished clean set in; a run's folder of samples, statistics and checkpoints out.

The last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from pipelines.cli import (
    INTERRUPTED,
    DataRoot,
    Debug,
    DryRun,
    Quiet,
    Verbose,
    Workers,
    console,
    error_console,
    new_app,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError, TrainingError
from pipelines.executors import LocalExecutor
from pipelines.stage import dataset_lock
from pipelines.store import write_atomically
from train import checkpoint
from train.checkpoint import TrainingState
from train.config import Loss, NormStatistics, Prior, TrainConfig, Updates, choose
from train.data import PackedImages, Packing, count_minibatches, pack, plan_packing
from train.loop import train
from train.stats import Row

CONFIG_NAME = "config.json"

HELP = (
    "Train the DCGAN of Radford et al. (2016) on a clean data set.\n\n"
    "Makes DATA_ROOT/DATASET/train/NAME with samples.png (and a grid for each epoch in samples/), stats.jsonl, "
    "TensorBoard's events and checkpoints. Ctrl-C saves, and --resume goes on as if nothing had happened. "
    "Options that are not given are the preset's."
)

app = new_app(HELP)


class Device(StrEnum):
    """Where the networks are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


NETWORKS, OPTIMISATION, SOURCES = "Networks", "Optimisation", "Images"


@app.command(help=HELP)
def main(
    dataset: Annotated[str, typer.Argument(help="A data set that de-duplication has finished with.")],
    *,
    preset: Annotated[
        str,
        typer.Option(help="paper: as published. authors: as their code. tiny: two minutes on a CPU."),
    ] = "paper",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels: 32, 64 or 128.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a minibatch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, every z and the order of images.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    name: Annotated[
        str | None, typer.Option(help="The run's folder below DATA_ROOT/DATASET/train.", show_default="the preset's")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    data_root: DataRoot = Path("data"),
    workers: Workers = None,
    dry_run: DryRun = False,
    allow_duplicates: Annotated[
        bool,
        typer.Option("--allow-duplicates", help="Train on the source as it is, to compare.", rich_help_panel=SOURCES),
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            help="With --allow-duplicates: a source's URI.", show_default="the registry's", rich_help_panel=SOURCES
        ),
    ] = None,
    generator_width: Annotated[
        int | None, typer.Option(help="Maps of G's last hidden layer.", rich_help_panel=NETWORKS)
    ] = None,
    discriminator_width: Annotated[
        int | None, typer.Option(help="Maps of D's first layer.", rich_help_panel=NETWORKS)
    ] = None,
    z_size: Annotated[int | None, typer.Option(help="Dimensions of z.", rich_help_panel=NETWORKS)] = None,
    z_prior: Annotated[Prior | None, typer.Option(help="Distribution of z.", rich_help_panel=NETWORKS)] = None,
    norm_gain_std: Annotated[
        float | None,
        typer.Option(help="Batch norm's gains start as N(1, this). (Authors: 0.02.)", rich_help_panel=NETWORKS),
    ] = None,
    norm_eps: Annotated[
        float | None,
        typer.Option(help="Added to batch norm's variance. (Authors: 1e-8.)", rich_help_panel=NETWORKS),
    ] = None,
    norm_statistics: Annotated[
        NormStatistics | None,
        typer.Option(help="Batch norm's when samples are drawn. (Authors: batch.)", rich_help_panel=NETWORKS),
    ] = None,
    loss: Annotated[Loss | None, typer.Option(help="What G minimises.", rich_help_panel=OPTIMISATION)] = None,
    discriminator_steps: Annotated[
        int | None, typer.Option(help="Steps of D for each step of G (k).", rich_help_panel=OPTIMISATION)
    ] = None,
    updates: Annotated[
        Updates | None,
        typer.Option(
            help="A minibatch trains both networks, or one in turn. (Authors: alternate.)",
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's.", rich_help_panel=OPTIMISATION)] = None,
    beta1: Annotated[float | None, typer.Option(help="Adam's momentum.", rich_help_panel=OPTIMISATION)] = None,
    gradient_l2: Annotated[
        float | None,
        typer.Option(
            help="This times each parameter is added to its gradient. (Authors: 1e-5.)",
            rich_help_panel=OPTIMISATION,
        ),
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Pack what is not packed yet, and train; see `HELP`."""
    progress = set_up_output(verbose=verbose, quiet=quiet)
    config = choose(
        preset,
        {
            "epochs": epochs,
            "resolution": resolution,
            "batch_size": batch_size,
            "seed": seed,
            "generator_width": generator_width,
            "discriminator_width": discriminator_width,
            "z_size": z_size,
            "z_prior": z_prior,
            "norm_gain_std": norm_gain_std,
            "norm_eps": norm_eps,
            "norm_statistics": norm_statistics,
            "loss": loss,
            "discriminator_steps": discriminator_steps,
            "updates": updates,
            "learning_rate": learning_rate,
            "beta1": beta1,
            "gradient_l2": gradient_l2,
        },
    )
    target = choose_device(device)
    run_folder = data_root / dataset / "train" / (name or preset)
    packing = plan_packing(dataset, data_root, config.model.resolution, allow_duplicates, source)
    require_begun_or_new(run_folder, resume)
    if dry_run:
        describe(packing, config, run_folder)
        return

    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    with dataset_lock(packing.root, shlex.join(sys.argv)):
        images = pack(packing, executor, progress)
    count_minibatches(images, config.batch_size)
    with dataset_lock(run_folder, shlex.join(sys.argv)):
        state = open_run(run_folder, config, images, target, resume)
        finished = run(state, images, run_folder, target, verbose)
    if not finished:
        sys.exit(INTERRUPTED)  # not typer.Exit: `run` has said already how to go on


def choose_device(device: Device) -> torch.device:
    """The device to train on; ConfigError where there is no GPU and one is asked for."""
    if device is Device.CUDA and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, and there is no GPU that torch can use", hint="give --device auto")
    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def require_begun_or_new(run_folder: Path, resume: bool) -> None:
    """Refuse to write over a run, and to resume what never began; TrainingError says which."""
    begun = (run_folder / CONFIG_NAME).exists()
    if begun and not resume:
        raise TrainingError(
            f"{run_folder} holds a run already", hint="go on with it: --resume; or begin another: --name NAME"
        )
    if resume and not begun:
        raise TrainingError(f"there is no run to resume in {run_folder}", hint="begin it without --resume")


def describe(packing: Packing, config: TrainConfig, run_folder: Path) -> None:
    """Say what would run and what is done already; touches nothing."""
    plan = packing.plan()
    to_pack, shards = len(plan.to_run), len(plan.tasks)
    console.print(f"pack    {packing.root / packing.stage.name}: {to_pack} of {shards} shards to do")
    checkpoints = checkpoint.find_checkpoints(run_folder)
    done = checkpoint.read(checkpoints[-1])["epoch"] if checkpoints else 0
    to_train = max(config.epochs - done, 0)
    console.print(f"train   {run_folder}: {to_train} of {config.epochs} epochs to do")
    for field, value in config.to_json().items():
        console.print(f"        [dim]{field} = {value}[/dim]")


def open_run(
    run_folder: Path, config: TrainConfig, images: PackedImages, device: torch.device, resume: bool
) -> TrainingState:
    """The state to train from: new, or that of the last checkpoint; notes the configuration in ``config.json``."""
    state = TrainingState.begin(config, images.digest, device)
    checkpoints = checkpoint.find_checkpoints(run_folder) if resume else []
    if checkpoints:
        content = checkpoint.read(checkpoints[-1])
        checkpoint.require_same_run(content, config, images.digest)
        state.restore(content)
    note = {"images": len(images), "data_digest": images.digest, "torch": torch.__version__, **config.to_json()}
    write_atomically(run_folder / CONFIG_NAME, json.dumps(note, indent=1).encode())
    (run_folder / "samples").mkdir(exist_ok=True)
    return state


def run(state: TrainingState, images: PackedImages, run_folder: Path, device: torch.device, verbose: bool) -> bool:
    """Train with progress on the console, a line per epoch or (verbose) per row; whether all epochs are done."""
    config = state.config
    per_epoch = count_minibatches(images, config.batch_size) * config.batch_size
    if state.epoch >= config.epochs:
        console.print(f"finished already: {state.epoch} epochs in {run_folder}; a larger --epochs goes on")
        return True
    console.print(
        f"training on {len(images):,} images of {config.model.resolution} px, {device}, "
        f"epochs {state.epoch + 1} to {config.epochs}"
    )
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} / {task.total:,.0f} images"),
        TextColumn("{task.fields[losses]}", style="cyan"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    has_bar = error_console.is_terminal and not console.quiet
    with Bars(*columns, console=error_console, disable=not has_bar) as bars, stop_requests() as should_stop:
        bar = bars.add_task("training", total=config.epochs * per_epoch, completed=state.images_seen, losses="")

        def watch(images_seen: int, row: Row | None) -> None:
            bars.update(bar, completed=images_seen)
            if row is not None:
                bars.update(bar, losses=describe_row(row))
                if verbose or images_seen % per_epoch == 0:
                    console.print(f"  epoch {int(row['epoch']):>3}/{config.epochs}  {describe_row(row)}")

        finished = train(state, images, run_folder, device=device, watch=watch, should_stop=should_stop)
    if finished:
        console.print(f"samples: [b]{run_folder / 'samples.png'}[/b]", soft_wrap=True)
    else:
        console.print(f"stopped and saved at image {state.images_seen:,}; to go on:", soft_wrap=True)
        console.print(f"  {resume_command(sys.argv)}", markup=False, soft_wrap=True)
    return finished


def describe_row(row: Row) -> str:
    """A row of statistics in one short line."""
    named = {"V": "value", "D(x)": "d_real", "D(G(z))": "d_fake", "G loss": "generator_loss"}
    measures = [f"{label} {row[name]:.2f}" for label, name in named.items() if name in row]
    return "  ".join([*measures, f"{row['images_per_s']:,.0f} images/s"])


def resume_command(argv: Sequence[str]) -> str:
    """The command that goes on with the run that ``argv`` began."""
    program = "python -m train.run" if argv[0].endswith(".py") else Path(argv[0]).name
    resumed = [*argv[1:], *(["--resume"] if "--resume" not in argv else [])]
    return f"{program} {shlex.join(resumed)}"


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM has come. The second one interrupts at once, as it would without this."""
    requested = Event()

    def request(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    run_app(app, "python -m train.run")
