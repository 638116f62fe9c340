"""Command: ``python -m train.evaluate RUN``. A run's folder in; every metric of what its G draws out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
training measures as it goes, this measures once more, with more images, Inception's features or another checkpoint.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.cli import Debug, Quiet, console, error_console, new_app, run_app, set_up_output
from train.device import Device, choose_device
from train.evaluation.evaluate import Evaluation
from train.evaluation.judge import USUAL, ExtractorKind, Judge, Measuring
from train.evaluation.memorisation import Memorisation
from train.runs import REFERENCES, Weights, open_images, open_run
from train.samples import save_png
from train.statistics import Statistics, usual_statistics

EVALUATIONS_NAME = "evaluations.jsonl"
PICTURED = "nearest_{images_seen}.png"

app = new_app("Measure what a trained G draws.")


@app.command()
def main(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: DATA_ROOT/DATASET/train/NAME.")],
    *,
    samples: Annotated[int, typer.Option(help="Images drawn; the literature's FID takes 50,000.")] = 10_000,
    extractor: Annotated[
        list[ExtractorKind] | None,
        typer.Option(help="Whose features are compared; may be given twice.", show_default="random"),
    ] = None,
    inception: Annotated[
        Path | None, typer.Option(help="Inception's weights, for FID and KID; see docs/metrics.md.")
    ] = None,
    reference_images: Annotated[
        int, typer.Option(min=2, help="Real images compared with, at most.")
    ] = USUAL.reference_images,
    seed: Annotated[int, typer.Option(min=0, help="Decides every z, and the subsets of KID.")] = USUAL.seed,
    weights: Annotated[
        Weights, typer.Option(help="auto: the moving average (ema) where the run keeps one.")
    ] = Weights.AUTO,
    statistics: Annotated[
        Statistics | None, typer.Option(help="Batch norm's, see docs/sampling.md.", show_default="as in training")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, or a name in the run: best.", show_default="the last")
    ] = None,
    device: Annotated[Device, typer.Option(help="auto: a GPU where there is one.")] = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure what the G of RUN draws against real images.

    Prints every metric with all that it depends on, adds it as a line
    to RUN/evaluations.jsonl, and leaves the samples that come nearest
    to training images, with these, in RUN/nearest_IMAGES_SEEN.png.

    Examples:

      python -m train.evaluate data/demo/train/demo

      python -m train.evaluate data/rooms/train/paper --checkpoint best --samples 50000 --inception weights.pth
    """
    set_up_output(quiet=quiet)
    measuring = Measuring(
        extractors=tuple(extractor or USUAL.extractors),
        inception=inception,
        samples=samples,
        reference_images=reference_images,
        seed=seed,
    )
    opened = open_run(run, weights=weights, named=checkpoint, device=choose_device(device))
    training, held_out, folder = open_images(opened)
    chosen = statistics or usual_statistics(opened.config)
    with error_console.status("  reading what samples are compared with", spinner="line") as status:
        on = next(opened.generator.parameters()).device
        judge = Judge(measuring, training, held_out, folder / REFERENCES, on)
        status.update(f"  drawing {samples:,} images")
        drawn = judge.draw(opened.generator, opened.config, chosen)
        status.update("  comparing")
        evaluations = judge.compare(drawn, opened.weights, chosen)
        found = judge.find_memorised(drawn)
    picture = run / PICTURED.format(images_seen=opened.images_seen)
    save_png(picture, judge.picture(drawn, found))
    record = {
        "checkpoint": opened.checkpoint.name,
        "images": opened.images_seen,
        "evaluations": [each.to_json() for each in evaluations],
        "memorisation": found.to_json(),
    }
    with (run / EVALUATIONS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    for evaluation in evaluations:
        console.print(lay_out_evaluation(evaluation))
    console.print(describe_memorisation(found))
    console.print(f"nearest training images: [b]{escape(str(picture))}[/b]", soft_wrap=True)


def lay_out_evaluation(evaluation: Evaluation) -> Table:
    """A table of the metrics, under a caption of what they depend on."""
    table = Table(title=evaluation.extractor, title_justify="left", caption_justify="left")
    for name in evaluation.scalars():
        table.add_column(name.partition("/")[2], justify="right")
    table.add_row(*(f"{value:.4g}" for value in evaluation.scalars().values()))
    settings: dict[str, Any] = {
        "samples": f"{evaluation.samples:,} by {evaluation.weights} weights, {evaluation.norm_statistics} statistics",
        "reference": f"{evaluation.reference_images:,} of {evaluation.reference_split}",
        "resizer": evaluation.resizer,
        "k": evaluation.neighbours,
        "seed": evaluation.seed,
    }
    table.caption = "; ".join(f"{name}: {value}" for name, value in settings.items())
    return table


def describe_memorisation(found: Memorisation) -> str:
    """What is by heart, in one line."""
    low, high = found.verdict.interval
    return (
        f"{found.verdict.share:.1%} of samples ({low:.1%} to {high:.1%}) come nearer to a training image than all but "
        f"{found.verdict.expected:.1%} of {found.held_out_images:,} real ones do ({found.held_out_split})"
    )


if __name__ == "__main__":
    run_app(app, "python -m train.evaluate")
