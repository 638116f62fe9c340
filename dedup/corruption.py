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
    """Corrupt as the web does: crop, frame, caption, tone, grey, blur and noise, each with a chance of its own.

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
    pictures = _retone(pictures, draws)
    blurred = functional.avg_pool2d(functional.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    pictures = torch.lerp(pictures, blurred, draws.uniform(0, 1) * draws.chance(0.3))
    noise = torch.randn(pictures.shape, generator=generator, device=pictures.device)
    return (pictures + noise * (draws.uniform(0, 0.06) * draws.chance(0.5))).clamp(0, 1)


def _reframe(pictures: Tensor, draws: _Draws) -> Tensor:
    """Cut up to 24% of either side away, anywhere (two cropped copies differ by so much), or zoom out a little."""
    cut = (draws.uniform(0, 0.24) * draws.chance(0.8)).flatten()
    shift = draws.uniform(-1, 1, 2) * cut[:, None]
    aspect = draws.uniform(-0.03, 0.03).flatten() * (cut > 0)
    outwards = draws.chance(0.4).flatten()
    affine = torch.zeros(len(pictures), 2, 3, device=pictures.device)
    affine[:, 0, 0] = torch.where(outwards, 1 + 0.6 * cut, (1 - cut) * (1 + aspect))
    affine[:, 1, 1] = torch.where(outwards, 1 + 0.6 * cut, (1 - cut) * (1 - aspect))
    affine[:, :, 2] = shift
    grid = functional.affine_grid(affine, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _frame(pictures: Tensor, draws: _Draws) -> Tensor:
    """Paint a black or white frame of 1 to 3 pixels over two or all four edges of some pictures."""
    place = torch.arange(SIDE, device=pictures.device)
    in_edge = torch.minimum(place, SIDE - 1 - place) < draws.whole(1, 3)
    rows, columns = in_edge.view(-1, 1, SIDE, 1) & draws.chance(0.7), in_edge.view(-1, 1, 1, SIDE) & draws.chance(0.7)
    return torch.where((rows | columns) & draws.chance(0.15), draws.uniform(0, 1).round(), pictures)


def _caption(pictures: Tensor, draws: _Draws) -> Tensor:
    """Write a line of black or white specks, as small type looks at this size, over some pictures."""
    place = torch.arange(SIDE, device=pictures.device)
    top, left = draws.whole(0, SIDE - 3), draws.whole(0, 20)
    rows = (place.view(1, 1, SIDE, 1) - top).clamp(min=-1)
    columns = place.view(1, 1, 1, SIDE) - left
    line = (rows >= 0) & (rows < draws.whole(2, 4)) & (columns >= 0) & (columns < draws.whole(8, 28))
    specks = draws.uniform(0, 1, 1, SIDE, SIDE) > 0.5
    ink = draws.uniform(0, 1).round()
    return torch.where(line & specks & draws.chance(0.2), pictures + 0.8 * (ink - pictures), pictures)


def _retone(pictures: Tensor, draws: _Draws) -> Tensor:
    """Change gamma, contrast and brightness, and drop the colours of half of the pictures."""
    gamma = torch.where(draws.chance(0.5), draws.uniform(-0.6, 0.6).exp(), 1.0)
    gain = torch.where(draws.chance(0.5), draws.uniform(0.7, 1.4), 1.0)
    lift = draws.uniform(-0.15, 0.15) * (gain != 1)
    pictures = (pictures.clamp(1e-4, 1).pow(gamma) * gain + lift).clamp(0, 1)
    luma = pictures.new_tensor(_LUMA).view(1, 3, 1, 1)
    grey = (pictures * luma).sum(dim=1, keepdim=True)
    return torch.where(draws.chance(0.5), grey, pictures)
