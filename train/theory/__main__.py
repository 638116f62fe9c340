"""Command: ``python -m train.theory``. The one-dimensional GAN of Goodfellow et al. 2014, figure 1, played and drawn.

Stands beside "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN": the same losses
on a density that is known, where what the theory promises can be seen and measured.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.cli import Debug, Quiet, console, error_console, new_app, run_app, set_up_output
from train.config import Loss
from train.theory.experiment import Experiment, run_experiment
from train.theory.game import TheoryConfig
from train.theory.measure import MINUS_LOG_4
from train.theory.report import PAGE_NAME, write_report
from train.theory.target import TARGETS

DEFAULTS = TheoryConfig()

app = new_app("Play Algorithm 1 of the first GAN paper on a line, and draw its figure 1.")


@app.command()
def main(
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the page, pictures and figures go.")] = Path(
        "data/theory"
    ),
    data: Annotated[str, typer.Option(help=f"The density p_data: {', '.join(TARGETS)}.")] = DEFAULTS.data,
    loss: Annotated[Loss, typer.Option(help="What G minimises.")] = DEFAULTS.loss,
    k: Annotated[int, typer.Option("--k", help="Steps of D for each step of G.")] = DEFAULTS.k,
    steps: Annotated[int, typer.Option(help="Steps of G.")] = DEFAULTS.steps,
    seed: Annotated[int, typer.Option(help="Decides weights, every x and every z.")] = DEFAULTS.seed,
    fit_discriminator: Annotated[
        bool,
        typer.Option(
            "--fit-discriminator/--no-fit-discriminator",
            help="Fit a D to the first and to the last G, to compare it with p_data / (p_data + p_g).",
        ),
    ] = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Play Algorithm 1 of Goodfellow et al. (2014) on a line, and draw its figure 1.

    p_g moves onto p_data, D goes to 1/2, and V(D, G) to -log 4. Makes theory.html, a page that holds the
    pictures, an animation and the figures, and these beside it.
    """
    set_up_output(quiet=quiet)
    torch.set_num_threads(1)  # in networks this small threads only wait for one another
    config = TheoryConfig(data=data, loss=loss, k=k, steps=steps, seed=seed)
    out.mkdir(parents=True, exist_ok=True)  # before the work: where it fails, that is soon
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console, disable=quiet or not error_console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        experiment = run_experiment(config, fits=fit_discriminator, watch=show)
    write_report(experiment, out)
    describe(experiment)
    console.print(f"page: [b]{out / PAGE_NAME}[/b]", soft_wrap=True)


def describe(experiment: Experiment) -> None:
    """Print what came out beside what the theory says."""
    figures = experiment.to_json()
    final = figures["final"]
    value, distance = final["value"], final["discriminator_from_half"]
    console.print(f"V(D, G)     {value['mean']:.4f} ± {value['standard_error']:.4f}, -log 4 is {MINUS_LOG_4:.4f}")
    console.print(f"V(D*, G)    {final['value_at_optimum']:.4f}: JSD(p_data, p_g) is {final['jensen_shannon']:.4f}")
    console.print(f"|D - 1/2|   {distance['mean']:.3f} on average, {distance['largest']:.3f} at most on the support")
    for fit in figures["fits"]:
        distance = fit["discriminator_from_optimum"]
        console.print(
            f"|D - D*|    {distance['mean']:.3f} on average, {distance['largest']:.3f} at most, of D fitted to G "
            f"after {fit['generator_steps']:,} steps"
        )


if __name__ == "__main__":
    run_app(app, "python -m train.theory")
