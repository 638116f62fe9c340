"""Display: a run and two consoles in; the run trained, with progress and warnings as it goes, out.

Stands around the last arrow of "clean shards → DCGAN": `train.loop` trains and says nothing.
"""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from pipelines.errors import IntegrityError
from train.data import PackedImages, count_minibatches
from train.evaluation.judge import Judge
from train.loop import Running, train
from train.page import PAGE_NAME, write_page
from train.parallel import Ranks
from train.state import TrainingState
from train.stats import Row


def train_on(
    state: TrainingState,
    images: PackedImages,
    run_folder: Path,
    running: Running,
    *,
    judge: Judge | None,
    ranks: Ranks,
    console: Console,
    error_console: Console,
    verbose: bool,
) -> bool:
    """Train as `train.loop.train` does, until Ctrl-C or SIGTERM; whether all epochs are done.

    Says a line per epoch or (verbose) per row of statistics, and one per evaluation; a bar and warnings go to the other
    console. The run's page follows.
    """
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
            if row is None or not ranks.is_first:
                return
            if "evaluation" in row:
                console.print(f"  image {images_seen:,}  {describe_evaluation(row)}", soft_wrap=True)
                _update_page(run_folder, error_console)
                return
            bars.update(bar, losses=describe_row(row))
            for sign in () if console.quiet else row.get("signs", ()):
                error_console.print(f"[yellow]warning[/] image {images_seen:,}: {sign}", soft_wrap=True)
            if verbose or images_seen % per_epoch == 0:
                console.print(f"  epoch {int(row['epoch']):>3}/{config.epochs}  {describe_row(row)}")
            if images_seen % per_epoch == 0:
                _update_page(run_folder, error_console)

        finished = train(
            state, images, run_folder, running, ranks=ranks, watch=watch, should_stop=should_stop, judge=judge
        )
    if not ranks.is_first:
        return finished
    _update_page(run_folder, error_console)
    if finished:
        page = run_folder / PAGE_NAME
        console.print(f"samples: [b]{run_folder / 'samples.png'}[/b], and all else: [b]{page}[/b]", soft_wrap=True)
    else:
        console.print(f"stopped and saved at image {state.images_seen:,}; to go on:", soft_wrap=True)
        console.print(f"  {resume_command(sys.argv, ranks.count)}", markup=False, soft_wrap=True)
    return finished


def _update_page(run_folder: Path, error_console: Console) -> None:
    """Write the run's page anew; what it cannot read is no reason to stop training."""
    try:
        write_page(run_folder)
    except IntegrityError as error:
        error_console.print(f"[yellow]warning[/] {error.message}; {error.hint}", soft_wrap=True)


def describe_row(row: Row) -> str:
    """A row of statistics in one short line."""
    named = {"V": "value", "D(x)": "d_real", "D(G(z))": "d_fake", "G loss": "generator_loss"}
    measures = [f"{label} {row[name]:.2f}" for label, name in named.items() if name in row]
    return "  ".join([*measures, f"{row['images_per_s']:,.0f} images/s"])


def describe_evaluation(row: Row) -> str:
    """An evaluation's metrics, and the share of samples that are by heart, in one line."""
    measured = [
        f"{name.partition('/')[2]} {value:.3g}"
        for name, value in row["evaluation"]["metrics"].items()
        if not name.endswith("_std")
    ]
    memorised = [f"nearer than real images {row['memorisation']['share']:.1%}"] if "memorisation" in row else []
    return "  ".join([row["evaluation"]["extractor_name"], *measured, *memorised])


def resume_command(argv: Sequence[str], processes: int) -> str:
    """The command that goes on with the run that ``argv`` began in so many processes."""
    program = "python -m train.run" if argv[0].endswith(".py") else Path(argv[0]).name
    if processes > 1:
        program = f"torchrun --nproc-per-node {processes} -m train.run"
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
