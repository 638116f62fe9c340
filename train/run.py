"""Train the DCGAN: a finished clean set in; a run's folder of samples, statistics and checkpoints out.

The last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
from pipelines.executors import Executor, LocalExecutor
from pipelines.progress import Progress
from pipelines.stage import dataset_lock
from pipelines.store import write_atomically
from train import checkpoint
from train.checkpoint import TrainingState
from train.config import (
    PRESETS,
    Critic,
    Loss,
    NormStatistics,
    Precision,
    Prior,
    TrainConfig,
    Updates,
    choose,
    to_toml,
)
from train.data import PackedImages, Packing, count_minibatches, pack, plan_packing
from train.feed import Residence
from train.loop import Running, train
from train.parallel import Ranks, join_ranks, synchronise_norms
from train.runs import CONFIG_NAME
from train.stats import Row
from train.watch import OnCollapse

CONFIG_TOML = "config.toml"

HELP = (
    "Train the DCGAN of Radford et al. (2016) on a clean data set.\n\n"
    "Makes DATA_ROOT/DATASET/train/NAME with samples.png (and a grid for each epoch in samples/), stats.jsonl, "
    "TensorBoard's events and checkpoints. Ctrl-C saves, and --resume auto goes on as if nothing had happened. "
    "Options that are not given are the preset's."
)

app = new_app(HELP)


class Resume(StrEnum):
    """What to do with a run that is there already."""

    NEVER = "never"  # refuse to write over it
    AUTO = "auto"  # go on with it; begin where there is none
    MUST = "must"  # go on with it; refuse to begin


class Device(StrEnum):
    """Where the networks are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


NETWORKS, OPTIMISATION, SOURCES, SPEED, SAFETY = "Networks", "Optimisation", "Images", "Speed", "Safety"


@app.command(help=HELP)
def main(
    dataset: Annotated[str, typer.Argument(help="A data set that de-duplication has finished with.")],
    *,
    preset: Annotated[
        str,
        typer.Option(help=f"One of {', '.join(PRESETS)}; what to expect of each stands in train/presets."),
    ] = "paper",
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="TOML that says what the preset would; a run leaves one: config.toml."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Side of the images in pixels: 32, 64 or 128.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a minibatch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, every z and the order of images.")] = None,
    resume: Annotated[
        Resume,
        typer.Option(help="Go on from the last checkpoint. auto: begin where there is none. must: begin nothing."),
    ] = Resume.NEVER,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Resume with other options, or on other images, than before.")
    ] = False,
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
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Of convolutions; statistics and losses stay fp32.", show_default="fp32", rich_help_panel=SPEED
        ),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the steps; GPU: record them.", rich_help_panel=SPEED)
    ] = False,
    data_on_gpu: Annotated[
        Residence, typer.Option(help="Whether all images lie on the GPU.", rich_help_panel=SPEED)
    ] = Residence.AUTO,
    sync_bn: Annotated[
        bool,
        typer.Option(
            "--sync-bn", help="With torchrun: batch norm sees the minibatches of all processes.", rich_help_panel=SPEED
        ),
    ] = False,
    keep: Annotated[
        int, typer.Option(min=1, help="Checkpoints that are kept.", rich_help_panel=SAFETY)
    ] = checkpoint.KEPT_CHECKPOINTS,
    on_collapse: Annotated[
        OnCollapse,
        typer.Option(help="Where D is too sure or samples grow alike.", rich_help_panel=SAFETY),
    ] = OnCollapse.WARN,
    ema_decay: Annotated[
        float | None,
        typer.Option(help="Keep a moving average of G's weights, such as 0.999.", rich_help_panel=OPTIMISATION),
    ] = None,
    decay_epochs: Annotated[
        int | None,
        typer.Option(help="The last epochs, in which the learning rate falls.", rich_help_panel=OPTIMISATION),
    ] = None,
    critic: Annotated[Critic | None, typer.Option(help="The architecture of D.", rich_help_panel=NETWORKS)] = None,
    classes: Annotated[
        int | None, typer.Option(help="Tell both networks the label, one of so many.", rich_help_panel=NETWORKS)
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
            "precision": precision,
            "ema_decay": ema_decay,
            "decay_epochs": decay_epochs,
            "critic": critic,
            "classes": classes,
        },
        config_file,
    )
    running = Running(choose_device(device), compiled, data_on_gpu, kept=keep, on_collapse=on_collapse)
    run_folder = data_root / dataset / "train" / (name or (config_file.stem if config_file else preset))
    packing = plan_packing(dataset, data_root, config.model.resolution, allow_duplicates, source)
    if dry_run:
        require_begun_or_new(run_folder, resume)
        describe(packing, config, run_folder)
        return

    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    with join_ranks(running.device) as ranks:
        require_begun_or_new(run_folder, resume)
        ranks.share(config.batch_size)
        images = pack_once(packing, executor, progress, ranks)
        count_minibatches(images, config.batch_size)
        lock = dataset_lock(run_folder, shlex.join(sys.argv)) if ranks.is_first else nullcontext()
        with lock:
            state = open_run(run_folder, config, images, running.device, ranks, allow_changes=allow_changes)
            if sync_bn and ranks.count > 1:
                synchronise_norms(state.generator)
                synchronise_norms(state.discriminator)
            finished = run(state, images, run_folder, running, ranks, verbose)
    if not finished:
        sys.exit(INTERRUPTED)  # not typer.Exit: `run` has said already how to go on


def choose_device(device: Device) -> torch.device:
    """The device to train on; ConfigError where there is no GPU and one is asked for."""
    if device is Device.CUDA and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, and there is no GPU that torch can use", hint="give --device auto")
    if device is Device.AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def require_begun_or_new(run_folder: Path, resume: Resume) -> None:
    """Refuse to write over a run, and to resume what never began; TrainingError says which."""
    begun = (run_folder / CONFIG_NAME).exists()
    if begun and resume is Resume.NEVER:
        raise TrainingError(
            f"{run_folder} holds a run already", hint="go on with it: --resume auto; or begin another: --name NAME"
        )
    if resume is Resume.MUST and not begun:
        raise TrainingError(f"there is no run to resume in {run_folder}", hint="begin it without --resume")


def pack_once(packing: Packing, executor: Executor, progress: Progress, ranks: Ranks) -> PackedImages:
    """Let the first rank pack what is not packed yet; the others then find all of it done."""
    if ranks.is_first:
        with dataset_lock(packing.root, shlex.join(sys.argv)):
            images = pack(packing, executor, progress)
    ranks.wait()
    return images if ranks.is_first else pack(packing, executor)


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
    run_folder: Path,
    config: TrainConfig,
    images: PackedImages,
    device: torch.device,
    ranks: Ranks,
    *,
    allow_changes: bool = False,
) -> TrainingState:
    """The state to train from: that of the last checkpoint, or new; notes the configuration in the run's folder."""
    state = TrainingState.begin(config, images.digest, device)
    if checkpoints := checkpoint.find_checkpoints(run_folder):
        content = checkpoint.read(checkpoints[-1])
        checkpoint.require_same_run(content, config, images.digest, allow_changes=allow_changes)
        state.restore(content)
    ranks.wait()
    if ranks.is_first:
        note = {"images": len(images), "data_digest": images.digest, "torch": torch.__version__, **config.to_json()}
        write_atomically(run_folder / CONFIG_NAME, json.dumps(note, indent=1).encode())
        write_atomically(run_folder / CONFIG_TOML, to_toml(config).encode())
        (run_folder / "samples").mkdir(exist_ok=True)
    ranks.wait()
    return state


def run(
    state: TrainingState, images: PackedImages, run_folder: Path, running: Running, ranks: Ranks, verbose: bool
) -> bool:
    """Train with progress on the console, a line per epoch or (verbose) per row; whether all epochs are done."""
    config = state.config
    per_epoch = count_minibatches(images, config.batch_size) * config.batch_size
    if state.epoch >= config.epochs:
        console.print(f"finished already: {state.epoch} epochs in {run_folder}; a larger --epochs goes on")
        return True
    console.print(
        f"training on {len(images):,} images of {config.model.resolution} px, {running.device}"
        f"{f', {ranks.count} processes' if ranks.count > 1 else ''}, epochs {state.epoch + 1} to {config.epochs}"
    )
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} / {task.total:,.0f} images"),
        TextColumn("{task.fields[losses]}", style="cyan"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    has_bar = error_console.is_terminal and not console.quiet and ranks.is_first
    with Bars(*columns, console=error_console, disable=not has_bar) as bars, stop_requests() as should_stop:
        bar = bars.add_task("training", total=config.epochs * per_epoch, completed=state.images_seen, losses="")

        def watch(images_seen: int, row: Row | None) -> None:
            bars.update(bar, completed=images_seen)
            if row is not None and ranks.is_first:
                bars.update(bar, losses=describe_row(row))
                for sign in row.get("signs", ()):
                    error_console.print(f"[yellow]warning[/] image {images_seen:,}: {sign}", soft_wrap=True)
                if verbose or images_seen % per_epoch == 0:
                    console.print(f"  epoch {int(row['epoch']):>3}/{config.epochs}  {describe_row(row)}")

        finished = train(state, images, run_folder, running, ranks=ranks, watch=watch, should_stop=should_stop)
    if not ranks.is_first:
        return finished
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
    resumed = [*argv[1:], *(["--resume", "auto"] if "--resume" not in argv else [])]
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
