"""Evidence: pairs of thumbnails and how one lies over the other in, a few figures on whether they show one picture out.

Serves `dedup.verification.verify`, at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails →
128-bit semantic codes → duplicate groups → clean shards → DCGAN".

A caption or a watermark spoils a part of a picture, another object all of it but its ground: so disagreement is taken
block by block, and the best half, the next quarter and the worst quarter of the blocks speak for themselves. Colours
say nothing where one picture is grey. Every sum adds whole numbers that the floating-point type holds exactly.
"""

import torch
from torch import Tensor

from dedup.verification.align import UNIT, agreement, brightness, lay, normalise_locally, soften

NAMES = (
    *("disagreement, best", "disagreement, middle", "disagreement, worst", "correlation", "correlation as they lie"),
    *("tone error, best", "tone error, middle", "tone error, worst", "tone error in levels", "contrast ratio"),
    *("edge direction", "edge spread", "texture", "contrast", "sharpness ratio"),
    *("colour correlation", "colour difference", "colour contrast", "saturation"),
    *("overlap", "zoom", "stretch", "shear", "turn", "shift"),
)

_RIM = 2  # pixels around that are never compared
_BLOCK = 7  # pixels; there are 4 x 4 blocks
_BLOCKS = torch.eye(4).repeat_interleave(_BLOCK, dim=0)
_BLOCKS = torch.einsum("yi,xj->yxij", _BLOCKS, _BLOCKS).reshape(-1, 16)  # which pixel belongs to which block
_FEWEST = 12  # pixels inside both pictures for a block to be heard
_GREY_LEVELS = 2.0


def weigh_evidence(first: Tensor, second: Tensor, warps: Tensor) -> Tensor:
    """Describe how well pictures agree under their warps.

    Args:
        first: (B, 32, 32, 3) float32, whole levels.
        second: the same.
        warps: (B, 2, 3) float64, as `dedup.verification.align.fit_warps` returns.

    Returns:
        (B, len(NAMES)) float64.
    """
    levels, other_levels = brightness(first), brightness(second)
    fine = normalise_locally(levels, 3), normalise_locally(other_levels, 3)
    identity = torch.eye(2, 3, dtype=torch.float64).expand_as(warps)
    lying, fitted = agreement(*fine, identity), agreement(*fine, warps)
    warps = torch.where((fitted > lying)[:, None, None], warps, identity)
    inner = slice(_RIM, -_RIM)
    mine = _maps(first, levels, fine[0])[:, :, inner, inner]
    drawn, inside = lay(_maps(second, other_levels, fine[1]), warps)
    other, inside = drawn[:, :, inner, inner], inside[:, inner, inner]
    alike = inside * ((mine[:, 0] - other[:, 0]).abs() <= UNIT)
    return torch.stack(
        [
            *_shape_evidence(mine[:, 0], other[:, 0], inside),
            lying,
            *_tone_evidence(mine[:, 1], other[:, 1], inside, alike),
            *_edge_evidence(mine[:, 1], other[:, 1], inside),
            *_texture_evidence(mine[:, :2], other[:, :2], inside),
            _sharpness_ratio(levels[:, inner, inner], other_levels[:, inner, inner]),
            *_colour_evidence(mine[:, 2:], other[:, 2:], alike),
            *_warp_evidence(warps, inside),
        ],
        dim=1,
    )


def _maps(pictures: Tensor, levels: Tensor, fine: Tensor) -> Tensor:
    """What is compared, in whole numbers up to 128: local luma, softened luma, blue and red against green."""
    red, green, blue = pictures.unbind(3)
    luma = soften(levels).div(16).round() - 128
    return torch.stack([fine, luma, (blue - green).div(2).round(), (red - green).div(2).round()], dim=1)


def _total(values: Tensor) -> Tensor:
    """Sums over the last two axes, exact where they stay below 2**24: float64."""
    return values.flatten(-2).sum(dim=-1).double()


def _per_block(values: Tensor) -> Tensor:
    """Exact sums over each block: (B, 16) float64."""
    return (values.flatten(1) @ _BLOCKS).double()


def _correlation(product: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The product over the geometric mean of two sums of squares."""
    return product / (left * right).sqrt().clamp(min=1)


def _ranked(values: Tensor, counts: Tensor, overall: Tensor) -> list[Tensor]:
    """Means of the best half, the next quarter and the worst quarter of the blocks; unseen ones are as the overall."""
    ranked = torch.where(counts >= _FEWEST, values, overall[:, None]).sort(dim=1).values
    return [_mean(ranked[:, start:stop]) for start, stop in ((0, 8), (8, 12), (12, 16))]


def _mean(columns: Tensor) -> Tensor:
    """Mean of a few columns, added from left to right."""
    total = columns[:, 0]
    for number in range(1, columns.shape[1]):
        total = total + columns[:, number]
    return total / columns.shape[1]


def _shape_evidence(mine: Tensor, other: Tensor, inside: Tensor) -> list[Tensor]:
    difference, size = _per_block((mine - other).square() * inside), _per_block((mine * mine + other * other) * inside)
    counts = _per_block(inside)
    share = difference / (size + counts * (UNIT**2 / 20)).clamp(min=1)
    overall = _mean(difference) / _mean(size).clamp(min=1)
    together = _correlation(_total(mine * other * inside), _total(mine * mine * inside), _total(other * other * inside))
    return [*_ranked(share, counts, overall), together]


def _tone_evidence(mine: Tensor, other: Tensor, inside: Tensor, alike: Tensor) -> list[Tensor]:
    """What a gain and an offset, fitted where the shapes agree, leave of the difference."""
    count = _total(alike).clamp(min=1)
    mean, other_mean = _total(mine * alike) / count, _total(other * alike) / count
    variance = (_total(mine * mine * alike) / count - mean.square()).clamp(min=1)
    other_variance = (_total(other * other * alike) / count - other_mean.square()).clamp(min=1)
    covariance = (_total(mine * other * alike) / count - mean * other_mean).clamp(min=0)
    # The picture of more contrast is brought to the other, so a gain makes no error of its own.
    lower = variance < other_variance
    own_gain, other_gain = (
        torch.where(lower, 1, covariance / variance),
        torch.where(lower, covariance / other_variance, 1),
    )
    own, own_offset, others, offset = (
        value.float()[:, None, None] for value in (own_gain, mean, other_gain, other_mean)
    )
    error = own * (mine - own_offset) - others * (other - offset)
    error = (error.clamp(-64, 64) * 4).round() * inside
    counts = _per_block(inside)
    squares = _per_block(error.square()) / 16
    rms = (squares / counts.clamp(min=1)).sqrt()
    overall = (_mean(squares) / _mean(counts).clamp(min=1)).sqrt()
    contrast = torch.minimum(variance, other_variance).sqrt()
    ranked = _ranked(rms, counts, overall)
    ratio = (torch.minimum(variance, other_variance) / torch.maximum(variance, other_variance)).sqrt()
    return [*[(part / (contrast + 1)).sqrt() for part in ranked], ranked[0].sqrt(), ratio]


def _gradient(luma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Differences across and down, over two pixels, and their length."""
    across, down = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2], luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    return across, down, (across * across + down * down).sqrt()


def _edge_evidence(mine: Tensor, other: Tensor, inside: Tensor) -> list[Tensor]:
    """How well edges agree in direction, and over how much of the picture they spread."""
    seen = inside[:, 1:-1, 1:-1]
    (across, down, length), (other_across, other_down, other_length) = _gradient(mine), _gradient(other)
    product = (length * other_length).clamp(min=1)
    cosine = ((across * other_across + down * other_down) / product * 64).round()
    # An edge counts the more the clearer it is, up to the picture's usual ones.
    clear = product.sqrt()
    usual = _total((clear * 16).round() * seen) / 16 / _total(seen).clamp(min=1)
    weight = (clear / (clear + usual[:, None, None]) * 32).round() * seen
    lengths = torch.minimum(length, other_length).clamp(max=127).round() * seen
    spread = _total(lengths).square() / (_total(lengths.square()) * _total(seen)).clamp(min=1)
    return [_total(cosine * weight) / 64 / _total(weight).clamp(min=1), spread.sqrt()]


def _texture_evidence(mine: Tensor, other: Tensor, inside: Tensor) -> list[Tensor]:
    """How much there is to agree on: local contrast, and overall contrast in levels, of the plainer picture."""
    count = _total(inside).clamp(min=1)
    local = torch.minimum(_total(mine[:, 0].square() * inside), _total(other[:, 0].square() * inside)) / count
    spreads = [
        _total(luma * luma * inside) / count - (_total(luma * inside) / count).square()
        for luma in (mine[:, 1], other[:, 1])
    ]
    return [local.sqrt() / UNIT, torch.minimum(*spreads).clamp(min=0).sqrt().sqrt()]


def _sharpness_ratio(levels: Tensor, other_levels: Tensor) -> Tensor:
    """How far one picture is blurred beside the other, which is why they may disagree in detail; 1: not at all."""
    first, other = (
        ((luma * 16 - soften(luma)).double().square().mean(dim=(1, 2)) / 256 + 0.1)
        / (luma.double().square().mean(dim=(1, 2)) - luma.double().mean(dim=(1, 2)).square() + 1)
        for luma in (levels, other_levels)
    )
    return (torch.minimum(first, other) / torch.maximum(first, other)).sqrt()


def _colour_evidence(mine: Tensor, other: Tensor, alike: Tensor) -> list[Tensor]:
    """Whether colours agree, where the shapes do; nothing where one of the two is grey."""
    count, alike = _total(alike).clamp(min=1)[:, None], alike.unsqueeze(1)
    mean, other_mean = _total(mine * alike) / count, _total(other * alike) / count
    variance = (_total(mine * mine * alike) / count - mean.square()).clamp(min=0).sum(dim=1)
    other_variance = (_total(other * other * alike) / count - other_mean.square()).clamp(min=0).sum(dim=1)
    covariance = (_total(mine * other * alike) / count - mean * other_mean).sum(dim=1)
    strength = torch.minimum(mean.square().sum(dim=1) + variance, other_mean.square().sum(dim=1) + other_variance)
    coloured = strength > _GREY_LEVELS**2
    difference = (mean - other_mean).square().sum(dim=1).sqrt().sqrt()
    return [
        covariance / ((variance + 1) * (other_variance + 1)).sqrt() * coloured,
        difference * coloured,
        torch.minimum(variance, other_variance).sqrt().sqrt(),
        strength.sqrt().sqrt(),
    ]


def _warp_evidence(warps: Tensor, inside: Tensor) -> list[Tensor]:
    """How far the fit had to go."""
    (a, b, x), (c, d, y) = warps[:, 0].unbind(1), warps[:, 1].unbind(1)
    overlap = _total(inside) / inside[0].numel()
    return [overlap, (a * d - b * c - 1).abs(), (a - d).abs(), (b + c).abs(), (b - c).abs(), (x * x + y * y).sqrt()]
