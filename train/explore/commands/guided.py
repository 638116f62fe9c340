"""Command: ``python -m train.explore guided RUN``. A run's folder in; what excites D's last features, out."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated

import torch
import typer
from torch import Tensor

from pipelines.cli import Debug, Quiet
from pipelines.errors import ConfigError
from train.data import Indices
from train.dcgan import Discriminator
from train.device import Device
from train.evaluation.reference import Split
from train.explore.cli import Checkpoint, DeviceOption, Out, Run, Seed, Session, StatisticsOption
from train.explore.exploration import Exploration
from train.explore.guided import (
    as_pictures,
    draw_random_critic,
    draw_row,
    find_excitement,
    guide_back,
    make_guided,
    measure_focus,
)
from train.explore.layout import GAP, WIDE_GAP, below, beside, caption, frame
from train.findings import Figure
from train.runs import open_images
from train.samples import Pixels, encode_png
from train.statistics import Statistics, prepare

CALIBRATION_MINIBATCHES = 50
MEASURED_MAPS = 32


def guided(
    run: Run,
    *,
    images: Annotated[int, typer.Option(min=2, help="Training images that are looked through, by chance.")] = 2_000,
    maps: Annotated[int, typer.Option(min=1, help="Maps that are shown: those with the strongest responses.")] = 6,
    top: Annotated[int, typer.Option(min=1, help="Images of each: those that excite it most.")] = 5,
    seed: Seed = 0,
    statistics: StatisticsOption = None,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: DeviceOption = Device.AUTO,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show what excites the features of D's last layer, by guided backpropagation.

    A row for each map: the training images that excite it most, and
    what in them does. Random filters in the same network beside.

    Examples:

      python -m train.explore guided data/demo/train/demo

      python -m train.explore guided data/demo/train/demo --images 20000 --maps 20
    """
    session = Session(
        "guided", run, out=out, seed=seed, statistics=statistics, checkpoint=checkpoint, device=device, quiet=quiet
    )
    exploration = session.exploration
    training, _, _ = open_images(exploration.opened)
    split = training.sample(images, seed)
    if len(split) < top:
        raise ConfigError(f"--top is {top}, and there are {len(split)} images", hint=f"give {len(split)} or less")
    trained = exploration.prepare_critic(islice(exploration.stream_images(split), CALIBRATION_MINIBATCHES))
    random = prepare(
        draw_random_critic(exploration.model, seed).to(exploration.device),
        exploration.model,
        Statistics.RECALIBRATED,
        islice(exploration.stream_images(split), CALIBRATION_MINIBATCHES),
    )
    panels: list[Pixels] = []
    figures: list[Figure] = []
    with session.busy(f"looking through {len(split):,} images"):
        for name, critic in (("random filters", random), ("trained", trained)):
            excitement = find_excitement(critic, exploration.stream_images(split))
            strongest = excitement.strongest_maps(max(maps, MEASURED_MAPS), top)
            tops = excitement.top_images(strongest, top)
            gradients = guide_maps(exploration, critic, split, strongest, tops)
            rows = [
                draw_row(split.images.take(split.indices[best]), as_pictures(of_map))
                for best, of_map in zip(tops[:maps], gradients[:maps], strict=True)
            ]
            panels.append(caption(below(*rows, gap=GAP), name))
            figures += [
                Figure(
                    f"response to the {top} images that excite a map most, {name}",
                    excitement.measure_strength(top),
                    "deviations",
                    note=f"above the mean response, of {excitement.responses.shape[1]} maps",
                ),
                Figure(
                    f"guided gradient in the tenth of the pixels where it is largest, {name}",
                    100 * measure_focus(torch.cat(gradients)),
                    "%",
                    note=f"of its squares, {len(strongest)} maps",
                ),
            ]
    session.publish(
        "What excites D's last features: guided backpropagation",
        figures=figures,
        pictures={"guided.png": encode_png(frame(beside(*panels, gap=2 * WIDE_GAP)))},
        settings={"images": len(split), "images_from": split.name, "maps": maps, "top": top},
        differs="The paper shows the first six maps, here those with the strongest responses. Leaky units "
        "let back what a ReLU would; their outputs still leak.",
    )


def guide_maps(
    exploration: Exploration, critic: Discriminator, split: Split, maps: Sequence[int], tops: Indices
) -> list[Tensor]:
    """The guided gradients of each map by the images of ``split`` in its row of ``tops``: of each (top, 3, R, R)."""
    guided_critic = make_guided(critic)
    gradients = []
    for which, best in zip(maps, tops, strict=True):
        minibatches = exploration.stream_images(replace(split, indices=split.indices[best]))
        gradients.append(torch.cat([guide_back(guided_critic, which, *inputs).cpu() for inputs in minibatches]))
    return gradients
