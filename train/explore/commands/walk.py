"""Command: ``python -m train.explore walk RUN``. A run's folder in; walks through z, and how smooth they are, out."""

from typing import Annotated

import numpy as np
import torch
import typer

from pipelines.cli import Debug, Quiet
from train.device import Device
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
from train.explore.exploration import as_pixels
from train.explore.layout import CLIP_QUALITY, enlarge, frame, tile
from train.explore.walk import (
    LEVELS,
    POINTS,
    SHARP,
    STEPS,
    STILL_LEVELS,
    WALKS,
    Smoothness,
    draw_rows,
    measure_changes,
    measure_spread,
    see,
    walk_around,
)
from train.findings import Figure
from train.runs import Weights
from train.samples import encode_png, encode_webp

FRAME_MS = 80
CALIBRATION_MINIBATCHES = 10  # of drawn images, for D's statistics where the run keeps none


def walk(
    run: Run,
    *,
    walks: Annotated[int, typer.Option(min=1, help="Walks that are measured; the first is shown in rows.")] = WALKS,
    points: Annotated[
        int, typer.Option(min=3, help="Random z that a walk leads through, and back to the first.")
    ] = POINTS,
    steps: Annotated[int, typer.Option(min=2, help="From one to the next.")] = STEPS,
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
    """Walk from one random z to the next, and look for sharp transitions.

    A row for each way from one to the next, a clip of all walks, and the
    largest change of a step over the median one, in pixels and in D's
    features. Steps of more than 5 times the median are marked red.

    Examples:

      python -m train.explore walk data/demo/train/demo

      python -m train.explore walk data/demo/train/demo --walks 20 --steps 32 --seed 7
    """
    session = Session(
        "walk",
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
    z = exploration.draw_z(walks * points).reshape(walks, points, -1)
    with session.busy(f"drawing {walks * points * steps:,} images"):
        batch_size = exploration.opened.config.batch_size
        fresh = torch.split(exploration.draw_z(batch_size * CALIBRATION_MINIBATCHES), batch_size)
        discriminator = exploration.prepare_critic(
            exploration.condition(exploration.draw_images(rows).to(exploration.device)) for rows in fresh
        )
        films, in_pixels, in_features = [], [], []
        for of_walk in z:
            path = walk_around(of_walk, steps, exploration.model.z_prior)
            images = exploration.draw_images(path)
            features = torch.cat(
                [
                    see(discriminator, *exploration.condition(part.to(exploration.device)))
                    for part in torch.split(images, batch_size)
                ]
            )
            films.append(as_pixels(images))
            in_pixels.append(measure_changes(images * LEVELS, path))
            in_features.append(measure_changes(features, path))
        differences = [measure_spread(film[::steps]) for film in films]

    def describe(name: str, found: list[Smoothness]) -> Figure:
        ratios = [each.ratio for each in found]
        return Figure(
            f"largest over median change in {name}", max(ratios), note=f"{min(ratios):.3g} in the smoothest walk"
        )

    sharp = [np.union1d(a.sharp, b.sharp) for a, b in zip(in_pixels, in_features, strict=True)]
    spread = min(differences)
    session.publish(
        "Walks from one random z to the next",
        figures=[
            describe("pixels", in_pixels),
            describe("D's features", in_features),
            Figure("sharp transitions", sum(map(len, sharp)), paper=0, note=f"of {walks * points * steps:,} steps"),
            Figure(
                "difference of the points' pictures",
                spread,
                "levels of 255",
                note="collapsed: they are all the same" if spread < STILL_LEVELS else "of the walk where it is least",
            ),
        ],
        pictures={
            "walk.png": encode_png(frame(draw_rows(enlarge(films[0]), steps, sharp[0]))),
            "walks.webp": encode_webp(
                [tile(enlarge(np.stack(images)), -(-walks // 2)) for images in zip(*films, strict=True)],
                FRAME_MS,
                quality=CLIP_QUALITY,
            ),
        },
        settings={"walks": walks, "points": points, "steps": steps, "sharp": SHARP},
        differs="The paper judges by eye that there are no sharp transitions; the score is ours.",
        z=z,
    )
