"""Command: ``python -m train.explore arithmetic RUN``. A run's folder and exemplars in; A - B + C out."""

from typing import Annotated

import numpy as np
import torch
import typer

from pipelines.cli import Debug, Quiet
from pipelines.errors import ConfigError
from train.device import Device
from train.explore.arithmetic import COLUMNS, NOISE, Terms, calculate, find_change, lay_out, measure
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
from train.explore.concepts import LEAST_EXEMPLARS, choose_exemplars, parse_equation, read_exemplars
from train.explore.layout import WIDE_GAP, below, caption, enlarge, frame, tile
from train.randomness import Stream, seeded_generator
from train.runs import Weights
from train.samples import encode_png

CONCEPTS = ("A", "B", "C")
TRIAL_COLUMNS = 5
DIFFERS = "The paper chose exemplars by eye, and gives no figures."


def arithmetic(
    run: Run,
    *,
    exemplars: Exemplars = None,
    concepts: Annotated[
        str | None,
        typer.Option(help='A - B + C by attributes, as "smile, not male - not smile, not male + not smile, male".'),
    ] = None,
    attributes: AttributesOption = None,
    judge: Judge = None,
    candidates: Annotated[int, typer.Option(min=1, help="Samples to choose exemplars from, by attributes.")] = 4_000,
    trials: Annotated[
        int, typer.Option(min=1, help="Times that it is done, with other exemplars, by attributes.")
    ] = 10,
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
    """Calculate with concepts: A - B + C of the mean z of three or more exemplars of each.

    Exemplars are numbers of the sheet, in a JSON file: {"A": [3, 14, 15],
    "B": [...], "C": [...], "names": {"A": "smiling woman", ...}}. Or a
    classifier of attributes chooses them, and scores what comes out.

    Examples:

      python -m train.explore sheet data/faces/train/faces

      python -m train.explore arithmetic data/faces/train/faces --exemplars smiling_men.json
    """
    session = Session(
        "arithmetic",
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
    scorer, change = None, {}
    if exemplars is not None:
        if attributes is not None or concepts is not None or judge is not None:
            raise ConfigError("--exemplars says who they are already", hint="leave --attributes and the like out")
        numbers, named = read_exemplars(exemplars, CONCEPTS)
        z = exploration.draw_z(1 + max(map(max, numbers.values())))
        dealt = [[numbers[concept] for concept in CONCEPTS]]
        names = [named[concept] for concept in CONCEPTS]
    else:
        if attributes is None or concepts is None:
            raise ConfigError("there are no exemplars", hint="give --exemplars, or --attributes and --concepts")
        classifier = Attributes.open(attributes, exploration.device)
        wishes = parse_equation(concepts, classifier.names)
        z = exploration.draw_z(candidates)
        with session.busy(f"drawing {candidates:,} images to choose from"):
            scores = classifier.score(exploration.draw(z))
        ratings = (wish.rate(scores, classifier.names) for wish in wishes)
        chosen = np.stack([choose_exemplars(rating, LEAST_EXEMPLARS, trials) for rating in ratings], axis=1)
        dealt, names = chosen.tolist(), list(map(str, wishes))
        change = find_change(wishes[0], wishes[1])
        scorer = classifier if judge is None else Attributes.open(judge, exploration.device)

    noise = seeded_generator(seed, Stream.VARIANTS)
    found = []
    with session.busy("calculating"):
        for trial in dealt:
            terms = Terms(*(z[rows] for rows in trial))
            averaged = calculate(terms, exploration.draw, noise)
            found.append((averaged, calculate(terms.first, exploration.draw, noise), averaged.in_pixels()))
    ways = (f"means of {len(dealt[0][0])} exemplars", "single exemplars", "pixels of the exemplars")
    panels = [
        caption(lay_out(each, names, shows_exemplars=way == ways[0]), way)
        for each, way in zip(found[0], ways, strict=True)
    ]
    pictures = {"arithmetic.png": encode_png(frame(below(*panels, gap=2 * WIDE_GAP)))}
    if len(found) > 1:
        results = [tile(enlarge(averaged.results), COLUMNS) for averaged, _, _ in found]
        pictures["trials.png"] = encode_png(frame(tile(np.stack(results), TRIAL_COLUMNS, WIDE_GAP)))
    figures, judged_by = [], {}
    if scorer is not None:
        judged_by = {"attributes": str(attributes), "judge": str(judge or attributes), "judge_sha256": scorer.sha256}
        for way, calculations in zip(ways, zip(*found, strict=True), strict=True):
            figures += measure(calculations, scorer, change, way)
    session.publish(
        f"{names[0]} - {names[1]} + {names[2]}",
        figures=figures,
        pictures=pictures,
        settings={"exemplars": dealt, "concepts": names, "noise": NOISE, "trials": len(dealt), **judged_by},
        differs=DIFFERS,
        z=torch.cat([z[rows] for trial in dealt for rows in trial]),
    )
