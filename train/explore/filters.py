"""Filters: G and D in; the weights next to the pixels, as small pictures, out.

Stands after the last word of "clean shards → DCGAN": what D looks for first and G draws last, section 6 of Radford et
al. 2016 beside the features of last layers.
"""

import numpy as np
from torch import Tensor

from train.dcgan import Discriminator, Generator
from train.samples import Pixels

GREY = 127.5


def critic_filters(discriminator: Discriminator) -> Tensor:
    """The filters of D's first layer, float32 (maps, 3, k, k); not those for a conditional D's codes."""
    weight: Tensor = discriminator.layers[0][0].weight  # type: ignore[index]
    return weight.detach()[:, :3].float().cpu()


def generator_filters(generator: Generator) -> Tensor:
    """What each map of G's last hidden layer paints, float32 (maps, 3, k, k); not those of a conditional G's codes."""
    weight: Tensor = generator.layers[-1][0].weight  # type: ignore[index]
    return weight.detach()[: len(weight) - generator.classes].float().cpu()


def as_tiles(filters: Tensor) -> Pixels:
    """Filters (N, 3, k, k), scaled jointly: 0 is grey, the largest of all full colour; uint8 RGB (N, k, k, 3)."""
    scaled = filters / filters.abs().max().clamp(min=1e-12)
    tiles: Pixels = (scaled * GREY + GREY).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    return tiles


def correlate_neighbours(filters: Tensor) -> float:
    """How alike weights next to one another are, over all filters: 0 of noise, near 1 of smooth edges and blobs.

    Each channel of a filter first loses its mean, so that a filter of one colour says nothing.
    """
    centred = (filters - filters.mean((2, 3), keepdim=True)).numpy().astype(np.float64)
    pairs = [(centred[..., 1:], centred[..., :-1]), (centred[..., 1:, :], centred[..., :-1, :])]
    together = sum(float((a * b).sum()) for a, b in pairs)
    apart = sum(float(np.sqrt((a**2).sum() * (b**2).sum())) for a, b in pairs)
    return together / apart if apart else 0.0
