"""Guided backpropagation: D and pictures in; what in the pictures excites each map of D's last layer most, out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 6.2 and figure 5: features of a
trained D find beds and windows; random filters in the same network find nothing. The method is of Springenberg et al.
2014 (arXiv 1412.6806, section 3.4): the gradient of one response by the pixels, where on the way back a ReLU lets a
gradient by only if the unit's input was positive, as backpropagation does, and the gradient is positive too, as the
deconvolution of Zeiler and Fergus does. What remains is what excited the response, without what kept it down.

D's units leak: they give out 0.2 of a negative input. They are gated as ReLUs here, a leak letting nothing back, and
their outputs are left as they are. Batch norm, with fixed statistics, is a scale and a shift for each map.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from train.config import ModelConfig
from train.dcgan import Discriminator, initialise
from train.explore.layout import GAP, beside, enlarge, tile
from train.randomness import Stream, seeded_generator
from train.samples import Inputs, Pixels
from train.theory.chart import GUIDE

GREY = 127.5

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


class GuidedLeakyReLU(nn.Module):
    """A leaky ReLU forwards, a ReLU guided by its gradient backwards."""

    def __init__(self, leak: float) -> None:
        super().__init__()
        self.leak = leak

    def forward(self, inputs: Tensor) -> Tensor:
        """Give out what `torch.nn.LeakyReLU` does."""
        outputs: Tensor = _Guide.apply(inputs, self.leak)
        return outputs


class _Guide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, leak: float) -> Tensor:
        ctx.save_for_backward(inputs)
        return leaky_relu(inputs, leak)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inputs,) = ctx.saved_tensors
        (gradient,) = gradients
        return torch.where(inputs > 0, gradient.clamp(min=0), 0), None


@dataclass(frozen=True, slots=True, eq=False)
class Excitement:
    """Which pictures excite each map of D's last layer most.

    Attributes:
        responses: float32 (N, maps): of each picture, the largest in each map's 4×4 places.
    """

    responses: Floats

    def top_images(self, maps: Sequence[int], count: int) -> Indices:
        """The pictures that excite each of ``maps`` most, most first: int64 (len(maps), count)."""
        return np.argsort(-self.responses[:, maps], axis=0, kind="stable")[:count].T

    def strongest_maps(self, count: int, images: int) -> list[int]:
        """The maps whose mean response to the ``images`` that excite them most is the largest, largest first."""
        strengths = np.sort(self.responses, axis=0)[-images:].mean(0)
        chosen: list[int] = np.argsort(-strengths, kind="stable")[:count].tolist()
        return chosen

    def measure_strength(self, images: int) -> float:
        """The mean response of all maps to the ``images`` that excite each most, in deviations from each one's mean."""
        standard = (self.responses - self.responses.mean(0)) / self.responses.std(0).clip(1e-12)
        return float(np.sort(standard, axis=0)[-images:].mean())


def make_guided(discriminator: Discriminator) -> Discriminator:
    """A copy of D, in evaluation mode, whose gradients are guided; D itself stays as it is."""
    guided = copy.deepcopy(discriminator).eval().requires_grad_(False)
    for layer in guided.layers:
        assert isinstance(layer, nn.Sequential)
        unit = layer[-1]
        assert isinstance(unit, nn.LeakyReLU)
        layer[-1] = GuidedLeakyReLU(unit.negative_slope)
    return guided


def draw_random_critic(model: ModelConfig, seed: int) -> Discriminator:
    """A D of the same architecture with weights as training begins with, on the CPU: random filters."""
    discriminator = Discriminator(model)
    initialise(discriminator, model, seeded_generator(seed, Stream.RANDOM_FILTERS))
    return discriminator.requires_grad_(False)


@torch.inference_mode()
def find_excitement(discriminator: Discriminator, minibatches: Iterable[Inputs]) -> Excitement:
    """How much images, with their labels if D takes any, excite each map of D's last layer."""
    found = [discriminator.features(*inputs)[-1].amax((2, 3)).float().cpu() for inputs in minibatches]
    return Excitement(torch.cat(found).numpy())


def guide_back(guided: Discriminator, which: int, images: Tensor, *labels: Tensor) -> Tensor:
    """The guided gradient of a map's largest response by the pixels of each image.

    Args:
        guided: from `make_guided`.
        which: the map, of those of the last layer.
        images: float32 (N, 3, R, R) in [-1, 1].
        labels: int64 (N,), exactly where D is conditional.

    Returns:
        float32 (N, 3, R, R).
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        responses = guided.features(images, *labels)[-1][:, which].amax((1, 2))
        (gradients,) = torch.autograd.grad(responses.sum(), images)
    return gradients.detach()


def as_pictures(gradients: Tensor) -> Pixels:
    """Gradients (N, 3, R, R), each scaled by its largest: 0 is grey, and full colour that; uint8 RGB (N, R, R, 3)."""
    largest = gradients.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
    scaled = (gradients / largest * GREY + GREY).round().clamp(0, 255).byte()
    pictures: Pixels = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pictures


def measure_focus(gradients: Tensor) -> float:
    """The share of gradients' squares, (N, 3, R, R), that lies in the tenth of the pixels where most of it is."""
    energy = gradients.double().square().sum(1).flatten(1).sort(dim=1, descending=True).values
    strongest = energy[:, : max(1, energy.shape[1] // 10)].sum(1)
    return float((strongest / energy.sum(1).clamp(min=1e-300)).mean())


def draw_row(images: Pixels, gradients: Pixels) -> Pixels:
    """A row of pictures, framed since some are white, and beside them their gradients; both uint8 RGB (N, R, R, 3)."""
    framed = enlarge(images)
    framed[:, [0, -1]] = framed[:, :, [0, -1]] = GUIDE
    return beside(tile(framed, len(framed)), tile(enlarge(gradients), len(gradients)), gap=3 * GAP)
