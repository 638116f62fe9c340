"""Corruption: pictures in, the damaged pictures that a denoising autoencoder learns to see through out.

Serves the arrow "thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN". Pictures are (B, 3, 32, 32) float32 RGB in [0, 1] on any device; every random choice
comes from the generator that is passed in, which must live on the same device.
"""

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class _Draws:
    """Random numbers, one per picture, shaped to broadcast over pixels."""

    def __init__(self, pictures: Tensor, generator: torch.Generator) -> None:
        self._count, self._device, self._generator = len(pictures), pictures.device, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """(B, 1, 1, 1), or (B, *shape), floats from [low, high)."""
        size = (self._count, *(shape or (1, 1, 1)))
        return torch.rand(size, generator=self._generator, device=self._device) * (high - low) + low

    def whole(self, low: int, high: int) -> Tensor:
        """(B, 1, 1, 1) integers from low to high inclusive."""
        size = (self._count, 1, 1, 1)
        return torch.randint(low, high + 1, size, generator=self._generator, device=self._device)

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1, 1) bool, True for about that share of the pictures."""
        return self.uniform(0, 1) < share


def add_noise(pictures: Tensor, masked: float, noise_std: float, generator: torch.Generator) -> Tensor:
    """Corrupt as a classical denoising autoencoder does (Vincent et al. 2010): Gaussian noise, then pixels set to 0.

    Args:
        pictures: (B, 3, 32, 32) in [0, 1].
        masked: share of values set to zero.
        noise_std: of the noise added to each value.
        generator: source of randomness.

    Returns:
        (B, 3, 32, 32); values may leave [0, 1].
    """
    noise = torch.randn(pictures.shape, generator=generator, device=pictures.device)
    kept = torch.rand(pictures.shape, generator=generator, device=pictures.device) >= masked
    return (pictures + noise_std * noise) * kept


def make_near_duplicates(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Corrupt as the web does, each change with a chance of its own.

    Cropped, stretched or zoomed out of; framed; captioned; marked across the middle; retoned, filtered, grey; softened;
    noisy.

    Args:
        pictures: (B, 3, 32, 32) in [0, 1].
        generator: source of randomness.

    Returns:
        (B, 3, 32, 32) in [0, 1], what a near-duplicate of each picture could look like.
    """
    draws = _Draws(pictures, generator)
    pictures = _reframe(pictures, draws)
    pictures = _frame(pictures, draws)
    pictures = _caption(pictures, draws)
    pictures = _mark(pictures, draws)
    pictures = _retone(pictures, draws)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, blurred, draws.uniform(0, 1) * draws.chance(0.1))
    noise = torch.randn(pictures.shape, generator=generator, device=pictures.device)
    return (pictures + noise * (draws.uniform(0, 0.04) * draws.chance(0.1))).clamp(0, 1)


def _reframe(pictures: Tensor, draws: _Draws) -> Tensor:
    """Cut up to a sixth of either side away, mostly towards a corner, or zoom out a little; stretch some by 3%."""
    cut = (draws.uniform(0, 0.16) * draws.chance(0.9)).flatten()
    place = draws.uniform(-1, 1, 2)
    towards_corner = place.sign() * place.abs().sqrt()
    shift = torch.where(draws.chance(0.7).view(-1, 1), towards_corner, place) * cut[:, None]
    stretch = (draws.uniform(-0.03, 0.03) * draws.chance(0.5)).flatten()
    outwards = draws.chance(0.08).flatten()
    affine = torch.zeros(len(pictures), 2, 3, device=pictures.device)
    affine[:, 0, 0] = torch.where(outwards, 1 + 0.5 * cut, (1 - cut) * (1 + stretch))
    affine[:, 1, 1] = torch.where(outwards, 1 + 0.5 * cut, (1 - cut) * (1 - stretch))
    affine[:, :, 2] = torch.where(outwards[:, None], 0.3 * shift, shift)
    grid = functional.affine_grid(affine, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _frame(pictures: Tensor, draws: _Draws) -> Tensor:
    """Paint a black or white frame of half a pixel to 2.5 over two or all four edges of some pictures."""
    place = torch.arange(SIDE, device=pictures.device)
    covered = (draws.uniform(0.5, 2.5) - torch.minimum(place, SIDE - 1 - place)).clamp(0, 1)
    rows = covered.view(-1, 1, SIDE, 1) * draws.chance(0.8)
    columns = covered.view(-1, 1, 1, SIDE) * draws.chance(0.8)
    return _paint(pictures, torch.maximum(rows, columns) * draws.chance(0.07), draws)


def _caption(pictures: Tensor, draws: _Draws) -> Tensor:
    """Write a line of black or white type, from fine to bold, over some pictures, most at the bottom."""
    height, width = draws.uniform(1.5, 5), draws.uniform(8, 30)
    low, near_left = draws.chance(0.5), draws.chance(0.5)
    top = torch.where(low, SIDE - height - draws.uniform(0, 3), draws.uniform(0, 1) * (SIDE - height))
    left = torch.where(near_left, draws.uniform(0.5, 3), draws.uniform(0, 1) * (SIDE - width))
    line = _inside(top, top + height).view(-1, 1, SIDE, 1) * _inside(left, left + width).view(-1, 1, 1, SIDE)
    boldness, unevenness = draws.uniform(0.3, 1), draws.uniform(0, 1)
    type_ = (boldness + draws.uniform(-0.5, 0.5, 1, SIDE, SIDE) * unevenness).clamp(0, 1)
    return _paint(pictures, line * type_ * draws.chance(0.12), draws)


def _mark(pictures: Tensor, draws: _Draws) -> Tensor:
    """Lay a half transparent white or black mark across the middle of a few pictures."""
    half = draws.uniform(1.5, 4)
    middle = _inside(SIDE / 2 - half, SIDE / 2 + half).view(-1, 1, SIDE, 1)
    strokes = draws.uniform(0.4, 1, 1, 1, SIDE) * draws.uniform(0.1, 0.6)
    return _paint(pictures, middle * strokes * draws.chance(0.05), draws)


def _inside(start: Tensor, stop: Tensor) -> Tensor:
    """The share of each of 32 pixels in a row that lies between two places, (B, 1, 1, 1) each: (B, 1, 1, 32)."""
    place = torch.arange(SIDE, device=start.device)
    return (torch.minimum(stop, place + 1) - torch.maximum(start, place)).clamp(0, 1)


def _paint(pictures: Tensor, cover: Tensor, draws: _Draws) -> Tensor:
    """Cover pictures, so far as `cover` says, in black or white."""
    return torch.lerp(pictures, draws.uniform(0, 1).round(), cover)


def _retone(pictures: Tensor, draws: _Draws) -> Tensor:
    """Change gamma, contrast and brightness of a quarter of the pictures each, tint a few, and make some grey."""
    gamma = torch.where(draws.chance(0.25), draws.uniform(-0.5, 0.5).exp(), 1.0)
    gain = torch.where(draws.chance(0.25), draws.uniform(0.75, 1.35), 1.0)
    lift = draws.uniform(-0.12, 0.12) * (gain != 1)
    tint = torch.where(draws.chance(0.05), draws.uniform(0.6, 1.2, 3, 1, 1), 1.0)
    pictures = ((pictures.clamp(1e-4, 1).pow(gamma) * gain + lift) * tint).clamp(0, 1)
    luma = pictures.new_tensor(_LUMA).view(1, 3, 1, 1)
    grey = (pictures * luma).sum(dim=1, keepdim=True)
    return torch.where(draws.chance(0.2), grey, pictures)
