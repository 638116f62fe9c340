"""Command: ``python -m train.explore forget RUN``. A run and boxes around an object in; G without that object out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from pipelines.cli import Debug, Quiet
from pipelines.errors import ConfigError
from train.device import Device
from train.explore.boxes import BoxFile, Mask, outline
from train.explore.cli import (
    Checkpoint,
    DeviceOption,
    Label,
    Out,
    Run,
    Seed,
    Session,
    StatisticsOption,
    WeightsOption,
)
from train.explore.exploration import Exploration, number_z
from train.explore.forget import (
    FREE,
    Drawn,
    Judge,
    Regression,
    choose_by_chance,
    draw_all,
    fit_regression,
    look,
    measure_change,
    measure_effect,
    shows_object,
)
from train.explore.layout import below, caption, enlarge, frame, tile
from train.explore.windows import SURE, WindowFinder
from train.findings import Figure
from train.runs import Weights
from train.samples import Inputs, Pixels, encode_png

SAMPLES = 150  # that boxes are drawn on, as in the paper
FRESH = 500  # samples on which the effect is measured
CHANCES = 5  # times that as many maps are dropped by chance
COLUMNS, BANDS = 8, 3  # pairs in a row of the picture, and rows of pairs
TILE = 96  # pixels
SHOWN_BOXES = 64  # samples
BOXES_NAME = "boxes.json"
FINDER, ABOVE, ITSELF = "the finder", "a regression on the highest layer", "the regression itself"


def forget(
    run: Run,
    *,
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", metavar="JSON", help="Boxes around an object in samples, see docs/explore.md."),
    ] = None,
    finder: Annotated[
        Path | None,
        typer.Option("--finder", metavar="FILE", help="Of train.explore windows: draws the boxes, and judges."),
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Drop so many maps at most.", show_default="all above zero")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples that the finder draws boxes on.")] = SAMPLES,
    fresh: Annotated[int, typer.Option(min=1, help="Others, on which the effect is measured.")] = FRESH,
    seed: Seed = 0,
    weights: WeightsOption = Weights.AUTO,
    statistics: StatisticsOption = None,
    checkpoint: Checkpoint = None,
    label: Label = 0,
    out: Out = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make G forget an object: drop the feature maps that draw it.

    Logistic regression tells the insides of boxes from outsides, on the
    features of G's second highest layer; maps whose weights are above zero
    are dropped. Fresh samples are drawn with and without them.

    Examples:

      python -m train.explore forget data/demo/train/demo --finder data/demo/raw/windows_32px.safetensors

      python -m train.explore forget data/rooms/train/rooms --boxes lamps.json --top 100
    """
    session = Session(
        "forget",
        run,
        out=out,
        seed=seed,
        weights=weights,
        statistics=statistics,
        checkpoint=checkpoint,
        label=label,
        device=device,
        quiet=quiet,
    )
    exploration = session.exploration
    resolution, generator = exploration.model.resolution, exploration.generator
    with session.busy("forgetting"):
        found = None if finder is None else WindowFinder.open(finder, exploration.device)
        listed, boxed, z = find_boxes(exploration, boxes, found, samples)
        regression = fit_regression(boxed.second, listed.boxes, resolution, seed)
        above = fit_regression(boxed.highest, listed.boxes, resolution, seed, FREE)
        judges = name_judges(regression, above, found, resolution)
        judged_by = next(iter(judges))
        dropped = regression.choose(top)

        z_fresh = exploration.draw_z(listed.count + fresh)[listed.count :]
        minibatches = deal(exploration, z_fresh)
        before, seen = look(generator, minibatches, judges)
        if not shows_object(seen[judged_by]).any():
            raise ConfigError(
                f"by {judged_by}, none of {fresh:,} fresh samples shows it", hint="give more with --fresh"
            )
        after, still_seen = look(generator, minibatches, judges, dropped)
        by_chance = [
            measure_effect(seen[judged_by], look(generator, minibatches, judges, maps)[1][judged_by]).area_left
            for maps in choose_by_chance(len(regression.weights), len(dropped), CHANCES, seed)
        ]
    effects = {name: measure_effect(seen[name], still_seen[name]) for name in judges}
    effect = effects[judged_by]
    inside, outside = measure_change(before, after, seen[judged_by])
    listed.save(session.folder / BOXES_NAME)
    session.publish(
        f"What is left of {'windows' if found else 'the object'}, same z with and without {len(dropped)} maps",
        figures=[
            Figure("maps dropped", len(dropped), paper=200, note=f"of {len(regression.weights)} in the layer"),
            *(
                Figure(f"area left, by {name}", 100 * each.area_left, "%", note=describe(name, each.shown))
                for name, each in effects.items()
            ),
            Figure(
                "the same, maps dropped by chance",
                100 * float(np.mean(by_chance)),
                "%",
                note=f"by {judged_by}; {100 * min(by_chance):.3g} to {100 * max(by_chance):.3g}% in {CHANCES} draws",
            ),
            Figure("samples where it is gone", 100 * effect.gone, "%", note=f"of those that showed it, by {judged_by}"),
            Figure("change of pixels inside", 100 * inside, "%", note="of their range, mean"),
            Figure("change of pixels outside", 100 * outside, "%", note="of their range, mean"),
        ],
        pictures={
            "forget.png": encode_png(draw_pairs(before, after, seen[judged_by])),
            "boxes.png": encode_png(draw_boxes(boxed.pixels, listed)),
        },
        settings={
            "boxes": str(boxes) if boxes else BOXES_NAME,
            "boxed_samples": listed.count,
            "box_count": len(listed.boxes),
            "positions_inside": regression.positions,
            "regression_accuracy": round(regression.accuracy, 4),
            "top": top,
            "dropped": dropped.tolist(),
            "fresh_samples": fresh,
            "finder": found and found.describe(),
        },
        differs=(
            "The paper shows pictures alone."
            if boxes
            else "The paper shows pictures alone, of boxes drawn by hand; here a finder of windows draws them."
        ),
        z=torch.cat([z, z_fresh]),
    )


def find_boxes(
    exploration: Exploration, path: Path | None, finder: WindowFinder | None, samples: int
) -> tuple[BoxFile, Drawn, torch.Tensor]:
    """Boxes read from ``path``, or else drawn by the finder; the samples that they are on, and their z.

    Raises:
        ConfigError: there is neither, or no box, or the file is of samples that another state of a run drew.
    """
    drawn_by = exploration.drawn_by()
    if path is not None:
        listed = BoxFile.read(path, exploration.model.resolution)
        if listed.drawn_by not in (None, drawn_by):
            raise ConfigError(
                f"the boxes in {path} are on samples of {listed.drawn_by}, and this run draws with {drawn_by}",
                hint="give the options of then, such as --checkpoint, --weights and --statistics",
            )
    elif finder is not None:
        listed = BoxFile(exploration.seed, samples, (), drawn_by)
    else:
        raise ConfigError(
            "there are no boxes", hint="give --boxes, or a --finder, which python -m train.explore windows fits"
        )
    z = number_z(listed.count, exploration.model, listed.seed)
    drawn = draw_all(exploration.generator, deal(exploration, z))
    if path is None and finder is not None:
        listed = BoxFile(listed.seed, listed.count, tuple(finder.boxes(drawn.pixels)), drawn_by)
    if not listed.boxes:
        raise ConfigError(
            f"there is no box on {listed.count:,} samples", hint="train longer, or look at more with --samples"
        )
    return listed, drawn, z


def deal(exploration: Exploration, z: torch.Tensor) -> list[Inputs]:
    """What G draws ``z`` from, a minibatch of training's size at a time, where G is."""
    parts = torch.split(z.to(exploration.device), exploration.opened.config.batch_size)
    return [exploration.condition(rows) for rows in parts]


def name_judges(
    regression: Regression, above: Regression, finder: WindowFinder | None, resolution: int
) -> Mapping[str, Judge]:
    """Who says where the object is, the most independent first."""
    judges: dict[str, Judge] = {} if finder is None else {FINDER: lambda drawn: finder.find(drawn.pixels) >= SURE}
    judges[ABOVE] = lambda drawn: above.detect(drawn.highest, resolution)
    judges[ITSELF] = lambda drawn: regression.detect(drawn.second, resolution)
    return judges


def describe(judge: str, shown: float) -> str:
    """What is to be known of a judge's figure."""
    if judge == ITSELF:
        return "on the layer that loses the maps"
    return f"{shown:.0%} of fresh samples showed it"


def draw_pairs(before: Pixels, after: Pixels, seen: Mask) -> Pixels:
    """Figure 6 of the paper: the first samples that showed the object, each above itself without the maps."""
    first = np.flatnonzero(shows_object(seen))[: COLUMNS * BANDS]
    first = first if len(first) else np.arange(min(len(before), COLUMNS))
    bands = [
        tile(np.concatenate([enlarge(pixels[part], TILE) for pixels in (before, after)]), len(part))
        for part in np.split(first, range(COLUMNS, len(first), COLUMNS))
    ]
    return frame(caption(below(*bands), "as drawn, and below from the same z without the maps"))


def draw_boxes(pixels: Pixels, listed: BoxFile) -> Pixels:
    """The first samples that boxes are on, with the boxes."""
    shown = pixels[:SHOWN_BOXES]
    return frame(tile(outline(shown, listed.boxes, -(-TILE // shown.shape[1])), COLUMNS))
