"""Command: ``python -m train.explore turn RUN``. A run's folder and exemplars in; samples that turn out."""

from typing import Annotated

import torch
import typer

from pipelines.cli import Debug, Quiet
from pipelines.errors import ConfigError
from train.device import Device
from train.explore.attributes import Attributes
from train.explore.cli import (
    AttributesOption,
    Checkpoint,
    DeviceOption,
    Exemplars,
    Judge,
    Label,
    Out,
    Run,
    Seed,
    Session,
    StatisticsOption,
    WeightsOption,
)
from train.explore.concepts import Wish, choose_exemplars, read_exemplars
from train.explore.layout import CLIP_QUALITY, enlarge, frame, tile
from train.explore.turn import COLUMNS, Turned, draw_direction, find_direction, judge_rows, lay_out_rows, move
from train.findings import Figure
from train.randomness import Stream, seeded_generator
from train.runs import Weights
from train.samples import encode_png, encode_webp

SIDES = ("left", "right")
AVERAGED = 4  # samples of each side, section 6.3.2
BETWEEN = 3  # frames of the clip between two pictures of a row
CLIP_COLUMNS = 4
FRAME_MS = 60


def turn(
    run: Run,
    *,
    exemplars: Exemplars = None,
    attributes: AttributesOption = None,
    judge: Judge = None,
    attribute: Annotated[str, typer.Option(help="The attribute that goes, by --attributes.")] = SIDES[0],
    candidates: Annotated[int, typer.Option(min=1, help="Samples to choose exemplars from, by attributes.")] = 4_000,
    rows: Annotated[int, typer.Option(min=1, help="Other samples that are turned.")] = 100,
    shown: Annotated[int, typer.Option(min=1, help="How many of them the picture shows.")] = 8,
    reach: Annotated[float, typer.Option(help="How far to either side, in lengths of the vector.")] = 1.0,
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
    """Turn samples from left to right, by a vector between the mean z of both.

    Exemplars are numbers of the sheet, in a JSON file: {"left": [3, 14,
    15, 92], "right": [...]}. Or a classifier of attributes chooses them,
    four of each, and scores the rows. What it does for left it does for
    any attribute: --attribute smile.

    Examples:

      python -m train.explore turn data/faces/train/faces --exemplars sides.json

      python -m train.explore turn data/faces/train/faces --attributes attributes.pt
    """
    session = Session(
        "turn",
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
    if exemplars is None and attributes is None:
        raise ConfigError("there are no exemplars", hint="give --exemplars, or --attributes")
    if not reach > 0:
        raise ConfigError(f"--reach is {reach}", hint="give more than 0")
    classifier = None if attributes is None else Attributes.open(attributes, exploration.device)
    going = None if classifier is None else Wish.parse(attribute, classifier.names)
    if exemplars is not None:
        numbers, named = read_exemplars(exemplars, SIDES)
        names = [named[side] for side in SIDES]
        known = 1 + max(map(max, numbers.values()))
        z = exploration.draw_z(known + rows)
    else:
        assert classifier is not None and going is not None
        known, names = candidates, [str(going), f"not {going}"]
        z = exploration.draw_z(known + rows)
        with session.busy(f"drawing {candidates:,} images to choose from"):
            rating = going.rate(classifier.score(exploration.draw(z[:known])), classifier.names)
        chosen = (choose_exemplars(each, AVERAGED)[0].tolist() for each in (rating, 1 - rating))
        numbers = dict(zip(SIDES, chosen, strict=True))

    direction = find_direction(*(z[numbers[side]] for side in SIDES))
    noise = seeded_generator(seed, Stream.VARIANTS)
    ways = {"by the vector": direction, "in a direction by chance, as far": draw_direction(direction, noise)}
    figures, judged_by = [], {}
    if classifier is not None and going is not None:
        scorer = classifier if judge is None else Attributes.open(judge, exploration.device)
        judged_by = {"attributes": str(attributes), "judge": str(judge or attributes), "judge_sha256": scorer.sha256}
        for way, along in ways.items():
            with session.busy(f"moving {rows:,} samples {way}"):
                drawn = exploration.draw(move(z[known:], along, reach).flatten(0, 1))
                likely = going.rate(scorer.score(drawn), scorer.names).reshape(rows, COLUMNS)
            figures += describe_rows(judge_rows(likely), names[0], way)
    moved = move(z[known:][:shown], direction, reach, COLUMNS + (COLUMNS - 1) * BETWEEN)
    images = exploration.draw(moved.flatten(0, 1)).reshape(*moved.shape[:2], *2 * [exploration.model.resolution], 3)
    films = [tile(enlarge(each), CLIP_COLUMNS) for each in images.swapaxes(0, 1)]
    session.publish(
        f"From {names[0]} to {names[1]}",
        figures=figures,
        pictures={
            "turn.png": encode_png(frame(lay_out_rows(images[:, :: BETWEEN + 1], names))),
            "turn.webp": encode_webp([*films, *films[-2:0:-1]], FRAME_MS, quality=CLIP_QUALITY),
        },
        settings={"exemplars": numbers, "concepts": names, "rows": rows, "reach": reach, **judged_by},
        differs="The paper judges by eye, and does not say how far it goes along the vector.",
        z=torch.cat([z[numbers["left"]], z[numbers["right"]], z[known:]]),
    )


def describe_rows(turned: Turned, name: str, way: str) -> list[Figure]:
    """How many rows have turned, in percent."""
    rows = f"of {len(turned.through)} samples"
    return [
        Figure(f"{name} at first and not at last, {way}", 100 * float(turned.through.mean()), "%", note=rows),
        Figure(f"and less so with every picture, {way}", 100 * float(turned.steadily.mean()), "%", note=rows),
    ]
