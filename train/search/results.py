"""Results: the trials of a search in; a table of the best, and a finding with the paper's figure beside ours, out."""

from dataclasses import asdict

from rich.table import Table

from train.findings import Conditions, Figure, Finding
from train.probe.published import MEASURED_BY_ERROR, Kind, find_published
from train.search.trials import Search, Trial

PAPER_TRIALS = 64
SHOWN = 5  # trials in the table
DIFFERS = (
    "The paper says neither what was searched nor in which ranges. A trial is validated up to eight times, and the "
    "best of these counts."
)


def describe(search: Search, best: Trial, test_error: float, test_images: int, conditions: Conditions) -> Finding:
    """What a search found, the paper's figure beside ours; in per cent, of error where the paper reports that."""
    assert best.error is not None
    settings, trials = search.settings, len(search.trials)
    dataset, labels = settings["dataset"], settings["labels"]
    by_error = dataset in MEASURED_BY_ERROR
    published = find_published(dataset, labels, Kind.SUPERVISED)
    figures = (
        Figure(
            "CNN of D's architecture, supervised",
            100 * (best.error if by_error else 1 - best.error),
            "%",
            None if published is None else published.value,
            note=f"on {settings['held_out']:,} images held out; trial {best.number}, after {best.epoch} epochs",
        ),
        Figure(
            "the same network, tested",
            100 * (test_error if by_error else 1 - test_error),
            "%",
            note=f"on {test_images:,} images",
        ),
    )
    return Finding(
        experiment=f"{dataset}_supervised",
        title=f"{dataset}: {'error' if by_error else 'accuracy'}, {labels:,} labels, best of {trials} trials",
        figures=figures,
        settings={
            **settings,
            "kind": str(Kind.SUPERVISED),
            "trials": trials,
            "diverged": sum(trial.diverged for trial in search.trials),
            "best": best.number,
            **asdict(best.options),
        },
        differs=DIFFERS if trials >= PAPER_TRIALS else f"{DIFFERS} It took the best of {PAPER_TRIALS} trials.",
        conditions=conditions,
    )


def lay_out_trials(trials: list[Trial]) -> Table:
    """A table of the best."""
    table = Table(title=f"the best of {len(trials)} trials", title_justify="left", caption_justify="left")
    for name in ("trial", "error", "after", "of", "rate", "beta1", "L2", "batch", "dropout"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in sorted(trials, key=lambda trial: trial.rank)[:SHOWN]:
        error, options = "diverged" if trial.error is None else f"{trial.error:.2%}", trial.options
        numbers = (options.learning_rate, options.beta1, options.weight_decay, options.batch_size, options.dropout)
        table.add_row(
            str(trial.number), error, str(trial.epoch), str(options.epochs), *(f"{number:g}" for number in numbers)
        )
    if diverged := sum(trial.diverged for trial in trials):
        table.caption = f"{diverged} diverged"
    return table
