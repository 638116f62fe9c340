"""Forgetting: a G and boxes around an object in what it draws in; the maps that draw that object, and G without, out.

Stands after the last word of "clean shards → DCGAN". The method is that of Radford et al. 2016, section 6.3.1: on the
features of the second highest of G's convolutional layers, logistic regression tells positions inside of the boxes from
random ones outside of them in the same pictures, and every map whose weight is above zero is dropped everywhere.

The features of a layer are what the next one takes in, after batch norm and ReLU, so none is below zero. The paper
dropped 200 maps, and the features that its images are made of have 128: hence those are taken to be the highest, and
the second highest are those one convolution below, 256 maps at 64 px. A position of these covers 4 × 4 pixels at every
resolution.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from pipelines.errors import ConfigError
from train.dcgan import Generator, to_pixels
from train.explore.boxes import Box, Mask, box_spots, mark_boxes
from train.randomness import Stream
from train.samples import Inputs, Pixels

HIGHEST, SECOND_HIGHEST = -2, -3  # of `Generator.layers`: whose outputs are features
SHARED, FREE = 1e-3, 1.0  # scikit-learn's C, the inverse of regularisation's weight: see `fit_regression`

Features = npt.NDArray[np.float32]  # (N, maps, side, side)
Maps = npt.NDArray[np.int64]  # their numbers
Weights = npt.NDArray[np.float64]
NONE: Maps = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What G drew, and from what features.

    Attributes:
        pixels: uint8 RGB (N, R, R, 3).
        highest: features of the highest layer, (N, maps, R/2, R/2).
        second: of the second highest, (N, maps, R/4, R/4).
    """

    pixels: Pixels
    highest: Features
    second: Features


Judge = Callable[[Drawn], Mask]  # where the object is, (N, R, R)


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Logistic regression on the features of a position.

    Attributes:
        weights: of each map in units of `scales`, so that they compare, float64 (maps,).
        scales: the standard deviation of each map.
        bias: the rest of the logit.
        positions: inside of boxes, that it was fitted to; with up to as many outside.
        accuracy: the share of all these that it tells right.
    """

    weights: Weights
    scales: Weights
    bias: float
    positions: int
    accuracy: float

    def detect(self, features: Features, resolution: int) -> Mask:
        """Where it sees the object: features (N, maps, side, side) → pixels (N, R, R)."""
        seen = np.tensordot(features, self.weights / self.scales, axes=(1, 0)) + self.bias > 0
        factor = resolution // seen.shape[-1]
        return seen.repeat(factor, axis=1).repeat(factor, axis=2)

    def choose(self, top: int | None = None) -> Maps:
        """The maps with weights above zero, heaviest first; of these the first ``top``, where it is given."""
        heaviest = np.argsort(-self.weights, kind="stable")
        return heaviest[self.weights[heaviest] > 0][:top].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Effect:
    """What is left of an object, in the eyes of one judge; shares, NaN where there was none.

    Attributes:
        shown: samples that showed it.
        area_left: the area seen after, over that before.
        gone: of the samples that showed it, those that no longer do.
    """

    shown: float
    area_left: float
    gone: float


@contextmanager
def dropping(generator: Generator, maps: Maps) -> Iterator[None]:
    """Within the block, G's second highest features of ``maps`` are zero everywhere."""

    def drop(layer: nn.Module, taken: Any, features: Tensor) -> Tensor:
        kept = torch.ones(features.shape[1], device=features.device)
        kept[torch.from_numpy(maps).to(features.device)] = 0
        return features * kept[:, None, None]

    handle = generator.layers[SECOND_HIGHEST].register_forward_hook(drop)
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def draw_features(generator: Generator, inputs: Inputs) -> Drawn:
    """Draw a picture for each row of ``inputs``; what G's two highest layers gave out for it comes along."""
    found: list[Features] = []
    with ExitStack() as hooks:
        for layer in (SECOND_HIGHEST, HIGHEST):
            handle = generator.layers[layer].register_forward_hook(
                lambda *called: found.append(called[-1].cpu().numpy())
            )
            hooks.callback(handle.remove)
        pixels: Pixels = to_pixels(generator(*inputs)).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    second, highest = found
    return Drawn(pixels, highest, second)


def draw_all(generator: Generator, minibatches: Iterable[Inputs]) -> Drawn:
    """`draw_features` of every minibatch, as one."""
    drawn = [draw_features(generator, inputs) for inputs in minibatches]
    return Drawn(
        np.concatenate([each.pixels for each in drawn]),
        np.concatenate([each.highest for each in drawn]),
        np.concatenate([each.second for each in drawn]),
    )


def look(
    generator: Generator, minibatches: Iterable[Inputs], judges: Mapping[str, Judge], dropped: Maps = NONE
) -> tuple[Pixels, dict[str, Mask]]:
    """Draw without the maps that are dropped, and let each judge look; features are kept no longer than that.

    Returns:
        uint8 RGB (N, R, R, 3), and a mask (N, R, R) by the name of each judge.
    """
    pixels: list[Pixels] = []
    seen: dict[str, list[Mask]] = {name: [] for name in judges}
    with dropping(generator, dropped):
        for inputs in minibatches:
            drawn = draw_features(generator, inputs)
            pixels.append(drawn.pixels)
            for name, judge in judges.items():
                seen[name].append(judge(drawn))
    return np.concatenate(pixels), {name: np.concatenate(masks) for name, masks in seen.items()}


def fit_regression(
    features: Features, boxes: Sequence[Box], resolution: int, seed: int, strength: float = SHARED
) -> Regression:
    """Tell positions in boxes from others, as many, drawn by chance from outside of them in the same pictures.

    A position is inside where its centre is in a box, and outside where no box covers any of it.

    Args:
        features: of all samples, (N, maps, side, side).
        boxes: in pixels of the samples.
        resolution: R of those.
        seed: decides the positions outside.
        strength: C, of L2 regularisation. `SHARED` is strong: maps that are active together share their weight, and all
            that draw an object come out above zero; three quarters of a layer may, as 200 of 256 did in the paper.
            `FREE` tells positions better, and gives the weight of such maps to some of them.

    Raises:
        ConfigError: no position is inside, or none outside.
    """
    centred, touched = mark_boxes(boxes, len(features), resolution, features.shape[-1])
    inside = np.argwhere(centred)
    outside = np.argwhere(~touched & touched.any(axis=(1, 2), keepdims=True))
    if not len(inside) or not len(outside):
        raise ConfigError(
            f"{len(boxes)} boxes leave {len(inside)} positions inside of them, and {len(outside)} outside",
            hint="give boxes of 4 pixels or more, which leave room around them",
        )
    rng = np.random.default_rng([seed, Stream.BOXES])
    outside = outside[rng.choice(len(outside), min(len(inside), len(outside)), replace=False)]
    image, row, column = np.concatenate([inside, outside]).T
    chosen = features[image, :, row, column].astype(np.float64)
    spread = chosen.std(axis=0)
    scales = np.where(spread > 0, spread, 1.0)  # a map that is never active stays at zero
    chosen /= scales
    labels = np.repeat([True, False], [len(inside), len(outside)])
    model = LogisticRegression(C=strength, max_iter=1000).fit(chosen, labels)
    accuracy = float(model.score(chosen, labels))
    return Regression(model.coef_[0], scales, float(model.intercept_[0]), len(inside), accuracy)


def choose_by_chance(maps: int, count: int, times: int, seed: int) -> list[Maps]:
    """``count`` of a layer's maps, drawn by chance, as often as is said: what dropping so many does of itself."""
    rng = np.random.default_rng([seed, Stream.BOXES, 1])
    return [rng.choice(maps, count, replace=False) for _ in range(times)]


def measure_effect(before: Mask, after: Mask) -> Effect:
    """What two masks (N, R, R) of the same samples say, see `Effect`."""
    showed, shows = shows_object(before), shows_object(after)
    return Effect(
        float(showed.mean()), _divide(after.sum(), before.sum()), _divide((showed & ~shows).sum(), showed.sum())
    )


def shows_object(mask: Mask) -> Mask:
    """The samples that have a spot large enough for a box: (N, R, R) → (N,)."""
    return np.array([bool(box_spots(0, seen)) for seen in mask])


def measure_change(before: Pixels, after: Pixels, mask: Mask) -> tuple[float, float]:
    """The mean change of pixels inside and outside of ``mask`` (N, R, R), as shares of their range; NaN of none."""
    changed = np.abs(before.astype(np.int16) - after).mean(axis=3) / 255
    return _divide(changed[mask].sum(), mask.sum()), _divide(changed[~mask].sum(), (~mask).sum())


def _divide(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
