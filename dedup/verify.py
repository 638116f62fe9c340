"""Verification: pairs of thumbnails in, a score of how well one can be laid over the other out.

Stands at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": what `dedup.match` proposes is decided here on the pictures themselves.

A crop or a frame moves every pixel, so the second picture is first laid over the first: a scale and a shift along each
axis are fitted by the inverse compositional algorithm (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004),
coarse to fine. The score is then the correlation of the two after local contrast normalisation, which gives every
part of the picture an equal say: plain correlation takes any two pictures of a pale sky over dark ground for one.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dedup.codes import check_thumbnails, flat_mask
from dedup.threads import run_batches

# Captioned and framed copies keep 0.86 and more; 99.9% of the unlike pictures that codes propose stay below 0.75.
THRESHOLD = 0.85

_BATCH_PAIRS = 256  # so that the working arrays stay in a core's cache
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_STEPS = 4  # at 16x16 pixels, and again at 32x32
_MAX_SCALE = 1.35  # two crops of a tenth on each side differ by 1.25
_MAX_SHIFT = 0.35  # of the half side
_EDGE = 0.875  # where a picture ends for the comparison, of its half side: frames are thin
_MIN_OVERLAP = 0.4  # of the 32x32 places
_SURE = 0.95  # pictures that agree so well as they lie need no fitting
_HOPELESS = 0.7  # plain correlation, fitted at 16x16: the worst captioned or framed copies keep 0.8
_NEIGHBOURHOOD = 7  # pixels, of the local normalisation
_CONTRAST_FLOOR = 0.3  # local contrast, of the whole picture's, below which noise would be blown up


def score_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Score how well the pictures of each pair agree once one is laid over the other.

    Args:
        first: (P, 32, 32, 3) uint8 RGB.
        second: (P, 32, 32, 3) uint8 RGB, mirrored already where the pair is to be compared mirrored.

    Returns:
        (P,) float32 from -1 to 1; -1 where one of the two is flat. Duplicates have at least `THRESHOLD`.
    """
    check_thumbnails(first)
    check_thumbnails(second)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} first pictures but {len(second)} second ones")
    scores = np.full(len(first), -1, np.float32)
    textured = np.flatnonzero(~flat_mask(first) & ~flat_mask(second))

    def work(batch: slice) -> None:
        rows = textured[batch]
        scores[rows] = _score(_grey(first[rows]), _grey(second[rows])).numpy()

    run_batches(work, len(textured), _BATCH_PAIRS)
    return scores


def _grey(thumbnails: NDArray[np.uint8]) -> Tensor:
    """(B, 1, 32, 32) float32 luma in [0, 1]."""
    pixels = torch.from_numpy(np.array(thumbnails)).float() / 255
    return (pixels @ pixels.new_tensor(_LUMA)).unsqueeze(1)


def _score(first: Tensor, second: Tensor) -> Tensor:
    """Compare pictures as they lie, then align and compare again those that this leaves in doubt: (B,)."""
    # Columns: scale x, scale y, shift x, shift y of the place in `second` that lies under a place in `first`.
    warp = first.new_tensor([1.0, 1.0, 0.0, 0.0]).repeat(len(first), 1)
    fine_first, fine_second = _soften(first), _soften(second)
    scores = _similarity(fine_first, fine_second, warp)
    doubtful = (scores < _SURE).nonzero().squeeze(1)
    coarse_first, coarse_second = (
        _soften(functional.avg_pool2d(pictures[doubtful], 2)) for pictures in (first, second)
    )
    warp, agreement = _align(coarse_first, coarse_second, warp[doubtful])
    hopeful = agreement >= _HOPELESS
    doubtful, warp = doubtful[hopeful], warp[hopeful]
    warp, _ = _align(fine_first[doubtful], fine_second[doubtful], warp)
    aligned = _similarity(fine_first[doubtful], fine_second[doubtful], warp)
    scores[doubtful] = torch.maximum(scores[doubtful], aligned)
    return scores


def _soften(pictures: Tensor) -> Tensor:
    """Blur by the kernel 1 2 1, so that gradients reach further than one pixel."""
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16


def _places(side: int) -> Tensor:
    """Pixel centres along a side, from -1 to 1."""
    return (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1


def _lay(second: Tensor, warp: Tensor) -> tuple[Tensor, Tensor]:
    """Draw `second` where it lies over `first`: (B, 1, S, S), and as much of 1.0 where both are inside, else 0.0."""
    side = second.shape[-1]
    place = _places(side)
    x = place * warp[:, 0:1] + warp[:, 2:3]
    y = place * warp[:, 1:2] + warp[:, 3:4]
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=3)
    drawn = functional.grid_sample(second, grid, padding_mode="border", align_corners=False)
    across, down = ((along.abs() <= _EDGE) & (place.abs() <= _EDGE) for along in (x, y))
    return drawn, (across[:, None, None, :] & down[:, None, :, None]).float()


def _standardise(pictures: Tensor, inside: Tensor) -> Tensor:
    """Bring each picture to mean 0 and standard deviation 1 over its inside, and to 0 outside."""
    count = inside.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    centred = (pictures - (pictures * inside).sum(dim=(2, 3), keepdim=True) / count) * inside
    std = (centred.square().sum(dim=(2, 3), keepdim=True) / count).sqrt()
    return centred / std.clamp(min=1e-6)


def _normalise_locally(pictures: Tensor, inside: Tensor) -> Tensor:
    """Subtract the mean around each place and divide by the contrast around it; 0 outside."""

    pictures = _standardise(pictures, inside)
    # A box filter as two products with a band matrix, which is several times faster than pooling.
    place = torch.arange(pictures.shape[-1])
    band = ((place - place[:, None]).abs() <= _NEIGHBOURHOOD // 2).float()
    count = (band @ inside @ band).clamp(min=1)
    mean = band @ pictures @ band / count
    variance = (band @ pictures.square() @ band / count - mean.square()).clamp(min=0)
    return (pictures - mean) * inside / (variance + _CONTRAST_FLOOR**2).sqrt()


def _similarity(first: Tensor, second: Tensor, warp: Tensor) -> Tensor:
    """Correlation of the locally normalised pictures where they overlap, 0 where that is too small: (B,)."""
    drawn, inside = _lay(second, warp)
    a, b = _normalise_locally(first, inside).flatten(1), _normalise_locally(drawn, inside).flatten(1)
    correlation = functional.cosine_similarity(a, b, dim=1)
    return torch.where(inside.mean(dim=(1, 2, 3)) >= _MIN_OVERLAP, correlation, 0)


def _align(first: Tensor, second: Tensor, warp: Tensor) -> tuple[Tensor, Tensor]:
    """Improve warps by Gauss-Newton steps: the best seen, (B, 4), and the plain correlation it reaches, (B,)."""
    side = first.shape[-1]
    place = _places(side)
    padded = functional.pad(first, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, 0, 1:-1, 2:] - padded[:, 0, 1:-1, :-2]) * (side / 4)
    down = (padded[:, 0, 2:, 1:-1] - padded[:, 0, :-2, 1:-1]) * (side / 4)
    slopes = torch.stack([across * place, down * place[:, None], across, down], dim=1).flatten(2)
    centred = first.flatten(1) - first.mean(dim=(1, 2, 3))[:, None]
    slopes /= (centred.norm(dim=1) / side).clamp(min=1e-6)[:, None, None]
    best, best_score = warp, warp.new_full((len(warp),), -2.0)
    for step in range(_STEPS + 1):
        drawn, inside = _lay(second, warp)
        target, drawn = _standardise(first, inside), _standardise(drawn, inside)
        count = inside.sum(dim=(1, 2, 3)).clamp(min=1)
        score = (target * drawn).sum(dim=(1, 2, 3)) / count
        better = (score > best_score) & (count >= _MIN_OVERLAP * side * side)
        best, best_score = torch.where(better[:, None], warp, best), torch.where(better, score, best_score)
        if step < _STEPS:
            warp = _compose(warp, _gauss_newton(slopes * inside.flatten(2), (drawn - target).flatten(2)))
    return best, best_score


def _gauss_newton(slopes: Tensor, error: Tensor) -> Tensor:
    """The change of the warp of `first`, (B, 4), that best explains the error, (B, 1, n); slightly damped."""
    hessian = slopes @ slopes.transpose(1, 2)
    damping = hessian.diagonal(dim1=1, dim2=2).mean(dim=1) * 0.01 + 1e-3
    hessian = hessian + torch.eye(4) * damping[:, None, None]
    change: Tensor = torch.linalg.solve(hessian, slopes @ error.transpose(1, 2))
    return change.squeeze(2)


def _compose(warp: Tensor, change: Tensor) -> Tensor:
    """Put the inverse of a small warp of `first` before the present warp, within the limits."""
    scale = warp[:, :2] / (1 + change[:, :2]).clamp(0.5, 2)
    shift = warp[:, 2:] - scale * change[:, 2:]
    return torch.cat([scale.clamp(1 / _MAX_SCALE, _MAX_SCALE), shift.clamp(-_MAX_SHIFT, _MAX_SHIFT)], dim=1)
