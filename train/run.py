"""Train the DCGAN: a finished clean set in; a run's folder of samples, statistics and checkpoints out.

The last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import shlex
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer

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
from pipelines.errors import TrainingError
from pipelines.executors import Executor, LocalExecutor
from pipelines.progress import Progress
from pipelines.stage import dataset_lock
from pipelines.store import Folder, open_root
from train import checkpoint
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
    load,
)
from train.data import PackedImages, Packing, count_minibatches, pack, plan_packing
from train.device import Device, choose_device
from train.display import train_on
from train.evaluation.judge import USUAL, ExtractorKind, Judge, Measuring
from train.evaluation.reference import Split
from train.feed import Residence
from train.loop import Running
from train.memory import keep_freed_memory
from train.parallel import Ranks, is_first_rank, join_ranks, synchronise_norms
from train.runs import CONFIG_NAME, REFERENCES, note_run
from train.state import TrainingState
from train.watch import OnCollapse

HELP = (
    "Train the DCGAN of Radford et al. (2016) on a clean data set.\n\n"
    "Makes DATA_ROOT/DATASET/train/NAME with a page, run.html; samples.png and a grid for each epoch in samples/; "
    "stats.jsonl and TensorBoard's events; checkpoints. Ctrl-C saves, and --resume auto goes on as if nothing had "
    "happened. "
    "Options that are not given are the preset's."
)

app = new_app(HELP)


class Resume(StrEnum):
    """What to do with a run that is there already."""

    NEVER = "never"  # refuse to write over it
    AUTO = "auto"  # go on with it; begin where there is none
    MUST = "must"  # go on with it; refuse to begin


NETWORKS, OPTIMISATION, METRICS = "Networks", "Optimisation", "Metrics"
SOURCES, SPEED, SAFETY = "Images", "Speed", "Safety"


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
    clean_root: Annotated[
        Folder | None,
        typer.Option(
            parser=open_root,
            metavar="FOLDER|URL",
            help="The data root that holds the clean set, such as s3://BUCKET/PREFIX.",
            show_default="DATA_ROOT",
            rich_help_panel=SOURCES,
        ),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(help="Share of images not trained on: metrics compare with them.", rich_help_panel=SOURCES),
    ] = None,
    evaluate_every: Annotated[
        int, typer.Option(help="Images seen between evaluations, and at the end; 0: never.", rich_help_panel=METRICS)
    ] = USUAL.every_images,
    samples: Annotated[
        int, typer.Option(help="Images drawn for an evaluation.", rich_help_panel=METRICS)
    ] = USUAL.samples,
    extractor: Annotated[
        list[ExtractorKind] | None,
        typer.Option(
            help="Whose features are compared; may be given twice.", show_default="random", rich_help_panel=METRICS
        ),
    ] = None,
    inception: Annotated[
        Path | None,
        typer.Option(help="Inception's weights, for FID and KID; see docs/metrics.md.", rich_help_panel=METRICS),
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
    progress = set_up_output(verbose=verbose, quiet=quiet or not is_first_rank())
    error_console.quiet = not is_first_rank()  # until the ranks know of one another, all meet the same errors
    overrides = {
        "epochs": epochs,
        "resolution": resolution,
        "batch_size": batch_size,
        "seed": seed,
        "hold_out": hold_out,
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
    }
    config = load(config_file, overrides) if config_file else choose(preset, overrides)
    measuring = Measuring(
        extractors=tuple(extractor or USUAL.extractors),
        inception=inception,
        samples=samples,
        every_images=evaluate_every,
    )
    running = Running(choose_device(device), compiled, data_on_gpu, kept=keep, on_collapse=on_collapse)
    if running.device.type == "cpu":
        keep_freed_memory()
    run_folder = data_root / dataset / "train" / (name or (config_file.stem if config_file else preset))
    packing = plan_packing(dataset, data_root, config.model.resolution, allow_duplicates, source, clean_root)
    if dry_run:
        require_begun_or_new(run_folder, resume)
        describe(packing, config, run_folder)
        return

    executor = LocalExecutor() if workers is None else LocalExecutor(workers)
    with join_ranks(running.device) as ranks:
        error_console.quiet = False
        require_begun_or_new(run_folder, resume)
        ranks.share(config.batch_size)
        packed = pack_once(packing, executor, progress, ranks)
        training, held_out = Split.whole(f"{dataset}/{packing.stage.kind}", packed).part(config.hold_out)
        images = training.alone
        count_minibatches(images, config.batch_size)
        lock = dataset_lock(run_folder, shlex.join(sys.argv)) if ranks.is_first else nullcontext()
        with lock:
            state = begin_or_resume(run_folder, config, images, running.device, ranks, allow_changes=allow_changes)
            if ranks.is_first:
                note_run(run_folder, config, images, dataset, packing)
            if sync_bn and ranks.count > 1:
                synchronise_norms(state.generator)
                synchronise_norms(state.discriminator)
            judge = None
            if ranks.is_first and measuring.every_images:
                references = packing.root / REFERENCES
                judge = Judge(measuring, training, held_out, references, running.device)
            finished = train_on(
                state,
                images,
                run_folder,
                running,
                judge=judge,
                ranks=ranks,
                console=console,
                error_console=error_console,
                verbose=verbose,
            )
    if not finished:
        sys.exit(INTERRUPTED)  # not typer.Exit: `train_on` has said already how to go on


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
    content = checkpoint.read_last(run_folder)
    to_train = max(config.epochs - (content["epoch"] if content else 0), 0)
    console.print(f"train   {run_folder}: {to_train} of {config.epochs} epochs to do")
    for field, value in config.to_json().items():
        console.print(f"        [dim]{field} = {value}[/dim]")


def begin_or_resume(
    run_folder: Path,
    config: TrainConfig,
    images: PackedImages,
    device: torch.device,
    ranks: Ranks,
    *,
    allow_changes: bool = False,
) -> TrainingState:
    """The state to train from: that of the last checkpoint, or new."""
    state = TrainingState.begin(config, images.digest, device)

    def warn(warning: str) -> None:
        if ranks.is_first:
            error_console.print(f"[yellow]warning[/] {warning}", soft_wrap=True)

    content = checkpoint.read_last(run_folder, warn)
    if content is not None:
        checkpoint.require_same_run(content, config, images.digest, allow_changes=allow_changes)
        state.restore(content)
    ranks.wait()  # until all have read it: the first may write another
    return state


if __name__ == "__main__":
    run_app(app, "python -m train.run")
