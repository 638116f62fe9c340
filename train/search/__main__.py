"""Command: ``python -m train.search``. Labelled images in; the best of many supervised networks like D out.

Stands beside the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
the baseline of Radford et al. 2016, section 5.2, on labels that `train.probe` learns from. See docs/search.md.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pipelines.cli import DataRoot, Debug, Quiet, console, error_console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError, TrainingError
from pipelines.registry import DEFAULT_DATA_ROOT
from pipelines.store import LocalFolder
from train.config import Critic, ModelConfig
from train.device import Device, choose_device
from train.findings import lay_out_finding, note_conditions, write_finding
from train.probe.data import LABEL_COLUMN, LabelledImages
from train.probe.loading import Wanted, load_data
from train.probe.protocols import HELD_OUT, Part, draw_balanced, hold_out_at_most, parse_labels, shuffle
from train.randomness import Stream
from train.search.results import PAPER_TRIALS, describe, lay_out_trials
from train.search.trial import Classifier, Data, Examples, draw_options, measure_error, run_trial
from train.search.trials import Search, Trial

FOLDER = "supervised"  # below a data set's; "search" is a stage of de-duplication
VERSION = 1  # of what a trial does: a search of another is not gone on with

app = new_app("Search the best supervised network of D's architecture.")


@app.command()
def main(
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
    trials: Annotated[int, typer.Option(min=1, help="How many in all; more adds to a search.")] = PAPER_TRIALS,
    labels: Annotated[
        str, typer.Option(metavar="N|N-per-class", help="How many labelled images are learned from.")
    ] = "1000",
    held_out: Annotated[
        int | None,
        typer.Option(
            min=1, help="Training images that trials are compared by.", show_default=f"{HELD_OUT:,}, a fifth of few"
        ),
    ] = None,
    critic: Annotated[Critic, typer.Option(help="D's architecture.")] = Critic.DCGAN,
    width: Annotated[int, typer.Option(min=1, help="Maps of D's first layer.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the labelled images in a trial, at most.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Decides which images are held out and drawn, and every trial.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write.", show_default=f"DATA_ROOT/DATASET/{FOLDER}")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train networks of D's architecture on labels alone, by options that chance draws.

    The images are those of train.probe: both learn from the same labels
    and choose by the same images. A trial depends on the seed and its
    number alone: a search that was killed goes on by the same command,
    and a larger --trials adds to it.

    Examples:

      python -m train.search --dataset svhn --download

      python -m train.search --dataset cifar10 --train parquet:train.parquet --test parquet:test.parquet --trials 8
    """
    started_s = time.perf_counter()
    set_up_output(quiet=quiet)
    on, folder = choose_device(device), out or data_root / dataset / FOLDER
    with error_console.status("  reading images", spinner="line"):
        images = load_data(Wanted(dataset, train, test, hold_out, label_column, side, download), data_root, seed)
    classes, compared = len(images.train.classes), held_out or hold_out_at_most(len(images.train))
    learned = parse_labels(labels, classes)
    if learned is None:
        raise ConfigError("--labels is all, and a search learns from some", hint="give 1000, or 400-per-class")
    sample, validation = draw_sample(images.train, learned, compared, seed)
    model = ModelConfig(resolution=images.train.pixels.shape[1], discriminator_width=width, critic=critic)
    settings = {
        "version": VERSION,
        "dataset": dataset,
        "train": images.train.digest,
        "test": images.test.digest,
        "labels": learned,
        "held_out": compared,
        "critic": str(critic),
        "width": width,
        "most_epochs": epochs,
        "seed": seed,
    }
    data = Data(_to_tensors(sample, on), _to_tensors(validation, on), classes)
    with LocalFolder(folder).lock("train.search"):
        search = Search(folder, settings)
        started_s -= sum(trial.seconds for trial in search.trials)  # of earlier commands
        run_trials(search, data, model, trials, quiet=quiet)
        best = find_best(search)
        network = Classifier(model, classes)
        network.load_state_dict(search.read_weights(best))
        test_error = measure_error(network.to(on), _to_tensors(images.test, on))
        conditions = note_conditions("train.search", on, started_s)
        finding = describe(search, best, test_error, len(images.test), conditions)
        write_finding(folder, finding, {})
    console.print(lay_out_trials(search.trials))
    console.print(lay_out_finding(finding))
    console.print(f"all trials: [b]{escape(str(folder))}[/b]", soft_wrap=True)


def draw_sample(images: LabelledImages, labels: int, held_out: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """The images that a probe's first figure is learned from, and those that its choices are made by.

    Args:
        images: all training images.
        labels: how many to learn from, in equal parts of each class.
        held_out: how many to choose by.
        seed: the probe's.

    Raises:
        ConfigError: there are too few, or classes cannot have equal parts.
    """
    if not 0 < held_out < len(images):
        raise ConfigError(
            f"{held_out:,} images are to be held out, and there are {len(images):,}", hint="give another --held-out"
        )
    order = shuffle(len(images), seed)
    kept, held = order[: len(images) - held_out], order[len(images) - held_out :]
    rng = np.random.default_rng([seed, Stream.PROBE, Part.FIGURE, 0])  # the probe's first
    return images.choose(kept[draw_balanced(images.labels[kept], labels, rng)]), images.choose(held)


def run_trials(search: Search, data: Data, model: ModelConfig, trials: int, *, quiet: bool) -> None:
    """Run the trials that are missing up to ``trials``, showing how far they are."""
    columns = (
        TextColumn("  trials      "),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = quiet or not error_console.is_terminal
    seed, done = search.settings["seed"], len(search.trials)
    with RichProgress(*columns, console=error_console, transient=True, disable=hidden) as bars:
        bar = bars.add_task("trials", total=trials, completed=done, best="")
        for number in range(done, trials):
            began_s = time.perf_counter()
            options = draw_options(seed, number, search.settings["most_epochs"])

            def show(share: float, done: int = number) -> None:
                bars.update(bar, completed=done + share)

            outcome = run_trial(data, model, options, seed, number, show)
            search.add(options, outcome, time.perf_counter() - began_s)
            if search.best is not None:
                bars.update(bar, best=f"best {search.best.error:.2%}")


def find_best(search: Search) -> Trial:
    """The trial of the least error. Raises TrainingError where all diverged before they were validated."""
    if search.best is None:
        raise TrainingError(
            f"each of {len(search.trials)} trials diverged before it was validated", hint="give more --trials"
        )
    return search.best


def _to_tensors(images: LabelledImages, device: torch.device) -> Examples:
    pixels, labels = (torch.from_numpy(np.ascontiguousarray(array)) for array in (images.pixels, images.labels))
    return Examples(pixels.to(device), labels.to(device))


if __name__ == "__main__":
    run_app(app, "python -m train.search")
