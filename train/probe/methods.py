"""Methods: what a command names in; what it is, and how it turns images into features, out.

Stands after the last word of "clean shards → DCGAN": D of a run, and what the paper compares it with.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.errors import ConfigError
from train import checkpoint
from train.config import PRESETS, TrainConfig, choose
from train.probe.data import FeatureMap, Features, LabelledImages, Pixels
from train.probe.features import best_statistics, count_dimensions, draw_random, map_features
from train.probe.kmeans import fit_kmeans
from train.probe.kmeans_layers import fit_kmeans_layers
from train.probe.published import Kind
from train.runs import NOTE_NAME, OpenedRun, open_run
from train.statistics import Statistics
from train.weights import digest_weights

PAPER_WIDTH = 128  # of D of section 5.1
PAPER_MAPS = 4800  # of its one layer of K-means
BASELINES = "random, random:PRESET, pixels, kmeans:MAPS or kmeans3:MAPS (of the first layer)"


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One row of the table, before it is measured.

    Attributes:
        name: as the table says it.
        kind: for the paper's figure.
        settings: all that decides its features beside the images.
        make: training images in, the features out; what takes time is done here.
        about: what else is known of it: run, checkpoint, images seen.
        differs: what is not as in the paper, in words.
    """

    name: str
    kind: Kind
    settings: Mapping[str, Any]
    make: Callable[[LabelledImages], FeatureMap]
    about: Mapping[str, Any] = field(default_factory=dict)
    differs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RawPixels:
    """An image's own numbers, in [-1, 1]: the features of a classifier that has none."""

    side: int
    name: str = "raw pixels"
    digest: str = "raw pixels"

    @property
    def dimensions(self) -> int:
        """Three of each pixel."""
        return 3 * self.side**2

    def features(self, pixels: Pixels) -> Features:
        """Of uint8 RGB (N, R, R, 3): float32 (N, 3 R²)."""
        numbers = pixels.reshape(len(pixels), -1).astype(np.float32)
        numbers /= 127.5
        numbers -= 1
        return numbers


def probe_run(
    folder: Path, named: str | None, statistics: Statistics | None, seed: int, device: torch.device
) -> Method:
    """The D of a run at a checkpoint. Raises as `train.runs.open_run` does."""
    opened = open_run(folder, named=named, device=device)
    chosen = statistics or best_statistics(opened.config)
    config, critic, name = opened.config, opened.discriminator, f"D of {name_run(folder)}"  # G may go

    def make(images: LabelledImages) -> FeatureMap:
        return map_features(critic, config, name, chosen, images, seed)

    settings = describe_network(config, chosen, seed) | {"weights": digest_weights(critic)}
    about = {
        "run": str(folder.resolve()),
        "checkpoint": opened.checkpoint.name,
        "images_seen": opened.images_seen,
        "trained_on": read_note(opened),
    }
    return Method(name, Kind.CRITIC, settings, make, about, tuple(list_differences(opened)))


def probe_random(config: TrainConfig, statistics: Statistics | None, seed: int, device: torch.device) -> Method:
    """A D of a run's architecture that has learned nothing; its running averages would be of nothing, too."""
    chosen = Statistics.BATCH if statistics is Statistics.BATCH else Statistics.RECALIBRATED
    width = config.model.discriminator_width
    name = f"random D, {config.model.critic} of width {width}, {config.model.resolution} px"

    def make(images: LabelledImages) -> FeatureMap:
        return map_features(draw_random(config, seed, device), config, name, chosen, images, seed)

    settings = describe_network(config, chosen, seed) | {
        "weights": "random",
        "norm_gain_std": config.model.norm_gain_std,
    }
    return Method(name, Kind.RANDOM, settings, make)


def probe_baseline(
    named: str, configs: list[TrainConfig], statistics: Statistics | None, seed: int, device: torch.device
) -> Iterator[Method]:
    """What ``--baseline`` names; of ``random`` one for each architecture among those of runs.

    Raises:
        ConfigError: there is no such baseline.
    """
    kind, _, size = named.partition(":")
    maps = int(size) if size.isdecimal() and int(size) > 0 else 0
    if named == "random":
        if not configs:
            raise ConfigError(
                "--baseline random is a D of a run's architecture, and no run is given",
                hint=f"give a RUN, or random:PRESET with one of {', '.join(PRESETS)}",
            )
        every = {json.dumps(describe_network(each, Statistics.BATCH, 0)): each for each in configs}
        for config in every.values():
            yield probe_random(config, statistics, seed, device)
    elif kind == "random" and size:
        yield probe_random(choose(size, {}), statistics, seed, device)
    elif named == "pixels":
        yield Method(
            "raw pixels", Kind.PIXELS, {"features": "pixels"}, lambda images: RawPixels(images.pixels.shape[1])
        )
    elif kind == "kmeans" and maps:
        yield Method(
            f"K-means, 1 layer, {maps:,} maps",
            Kind.KMEANS,
            {"features": "kmeans", "maps": maps, "features_seed": seed},
            lambda images: fit_kmeans(images.pixels, maps=maps, seed=seed, device=device),
            differs=() if maps == PAPER_MAPS else (f"{maps:,} maps in place of {PAPER_MAPS:,}",),
        )
    elif kind == "kmeans3" and maps:
        yield Method(
            f"K-means, 3 layers, {maps:,} maps in the first",
            Kind.KMEANS3,
            {"features": "kmeans3", "maps": maps, "features_seed": seed},
            lambda images: fit_kmeans_layers(images.pixels, maps=maps, seed=seed, device=device),
            differs=("receptive fields fewer, and pooling between layers simpler, than the published",),
        )
    else:
        raise ConfigError(f"there is no baseline {named!r}", hint=f"give {BASELINES}")


def describe_network(config: TrainConfig, statistics: Statistics, seed: int) -> dict[str, Any]:
    """All that decides the features of a D, its weights aside."""
    model = config.model
    return {
        "features": "critic",
        "critic": str(model.critic),
        "resolution": model.resolution,
        "width": model.discriminator_width,
        "dimensions": count_dimensions(model),
        "norm_eps": model.norm_eps,
        "batch_size": config.batch_size,
        "statistics": str(statistics),
        "features_seed": seed,
    }


def list_differences(opened: OpenedRun) -> Iterator[str]:
    """What of a run is not as in the paper, in words."""
    model, note = opened.config.model, read_note(opened)
    if model.discriminator_width != PAPER_WIDTH and model.critic == "six_conv":
        yield f"D of width {model.discriminator_width} in place of {PAPER_WIDTH}"
    trained_on = f"{note['images']:,} images of {note['dataset']} ({note['kind']})" if note else "images unknown"
    yield f"D trained on {trained_on}, {opened.images_seen:,} seen"


def read_note(opened: OpenedRun) -> dict[str, Any]:
    """What a run's folder says of the images that it was trained on; nothing where it cannot be read."""
    try:
        note = json.loads((opened.folder / NOTE_NAME).read_bytes())
        return {name: note[name] for name in ("dataset", "kind", "images")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def name_run(folder: Path) -> str:
    """A run's data set and name, of ``DATA_ROOT/DATASET/train/NAME``."""
    resolved = folder.resolve()
    return f"{resolved.parents[1].name}/{resolved.name}" if len(resolved.parents) > 2 else resolved.name


def list_checkpoints(folder: Path, named: str | None) -> list[str | None]:
    """The checkpoint of that name, or the last (None); with ``all`` every one of the run, ``best`` and oldest first."""
    found = checkpoint.find_checkpoints(folder)
    if named != "all" or not found:
        return [None if named == "all" else named]
    best = folder / checkpoint.CHECKPOINTS / checkpoint.BEST_NAME
    return [path.stem for path in (best, *found) if path.is_file()]
