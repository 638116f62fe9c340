"""Alignment: pairs of thumbnails in, how one of each pair lies over the other out.

Serves `dedup.verification.verify`, at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails →
128-bit semantic codes → duplicate groups → clean shards → DCGAN".

`glance` compares the slopes of brightness of coarse cells at a few dozen scales and shifts, which throws out most
unrelated pairs; `look_again` compares what is left in detail, and `fit_warps` fits an affine map to what passes. Both
step by the inverse compositional algorithm (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004), coarse to fine,
on locally normalised pictures, with weights by which a caption does not count (ibid., part 2).

Every sum here adds whole numbers that the floating-point type holds exactly, so no score depends on the order of
additions: not on the other pairs of a batch, not on the number of threads, not on the library underneath.
"""

import torch
from torch import Tensor
from torch.nn import functional

UNIT = 40  # whole-number levels of a locally normalised picture for one local standard deviation
EDGE = 0.875  # where a picture ends for the comparison, of its half side: frames are thin

_LUMA = (77, 150, 29)  # ITU-R BT.601, in 256ths
_CELLS = 7  # along a side
_CELL = 0.25  # of the half side; so the outermost rim of the picture is left out
# Scales, and shifts in half sides along either axis, at which one of the two is cut out of the other.
_CUTS = ((1.0, (-0.12, 0.0, 0.12)), (0.9, (-0.1, 0.0, 0.1)), (0.8, (-0.2, 0.0, 0.2)))
_CELL_WEIGHT = 16  # that the whole-number weights of a cell along one axis add up to
_MEAN_SLOPE = 600.0  # to which the mean absolute slope of a picture is brought,
_MAX_SLOPE = 420  # and what stands for any greater one: so no single edge decides, and 84 squares stay below 2**24
_COARSE_STEPS, _FINE_STEPS = 3, 3  # of Gauss-Newton, at 16x16 and at 32x32 pixels, after a first one at 16x16
_MAX_STRETCH, _MAX_SHEAR, _MAX_SHIFT = 1.43, 0.2, 0.4
_CONTRAST_FLOOR = 0.3  # local contrast, of the whole picture's, below which noise would be blown up


def brightness(pictures: Tensor) -> Tensor:
    """(B, 32, 32) luma in whole levels, float32, of (B, 32, 32, 3) pixels."""
    return (pictures @ pictures.new_tensor(_LUMA)).div(256).round()


def places(side: int) -> Tensor:
    """Pixel centres along a side, from -1 to 1: (S,) float32."""
    return (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1


def _cell_weights(scale: float, shifts: tuple[float, ...]) -> Tensor:
    """Whole-number weights of 16 pixels in each cell of each shift: (len(shifts) * _CELLS, 16)."""
    edges = torch.linspace(-1, 1, 17, dtype=torch.float64)
    cells = (torch.arange(_CELLS, dtype=torch.float64) - _CELLS // 2) * _CELL * scale
    middles = (torch.tensor(shifts, dtype=torch.float64)[:, None] + cells).flatten()[:, None]
    half = _CELL * scale / 2
    low, high = (middles - half).clamp(-1, 1 - half), (middles + half).clamp(half - 1, 1)
    cover = (torch.minimum(high, edges[1:]) - torch.maximum(low, edges[:-1])).clamp(min=0)
    return (cover / cover.sum(dim=1, keepdim=True) * _CELL_WEIGHT).round().float()


def _cut_warps() -> Tensor:
    """Scale and shifts, (V, 3), of the place in the second picture under a place in the first, as `glance` orders."""
    warps = []
    for scale, shifts in _CUTS:
        cut = [(scale, x, y) for y in shifts for x in shifts]
        warps += cut
        if scale < 1:
            warps += [(1 / scale, -x / scale, -y / scale) for _, x, y in cut]
    return torch.tensor(warps, dtype=torch.float64)


_TO_COLUMNS = torch.eye(16).repeat_interleave(6, dim=0) * torch.tensor(_LUMA * 32)[:, None]
_WHOLE = _cell_weights(1.0, (0.0,))
_CUT_WEIGHTS = [(len(shifts), _cell_weights(scale, shifts)) for scale, shifts in _CUTS]
_CUT_WARPS = _cut_warps()


def glance(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Compare coarse pictures at the scales and shifts of crops.

    Args:
        first: (B, 32, 32, 3) float32, whole levels.
        second: the same.

    Returns:
        The best correlation of slopes, (B,) float32, and the scale and shifts (x, y) where it was, (B, 3) float64.
    """
    coarse_first, coarse_second = _coarsen(first), _coarsen(second)
    whole_first, whole_second = _slopes(*coarse_first, _WHOLE, 1), _slopes(*coarse_second, _WHOLE, 1)
    scores = []
    for number, (count, weights) in enumerate(_CUT_WEIGHTS):
        scores.append(_correlate(_slopes(*coarse_second, weights, count), whole_first))
        if number:
            scores.append(_correlate(_slopes(*coarse_first, weights, count), whole_second))
    best, at = torch.cat(scores, dim=1).max(dim=1)
    return best, _CUT_WARPS[at]


def _coarsen(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Luma at 16x16 pixels, (B, 16, 16), and the factor that brings its mean slope to `_MEAN_SLOPE`, (B, 1, 1)."""
    rows = pictures.view(-1, 16, 2, 96).sum(dim=2)
    coarse = (rows @ _TO_COLUMNS).div(256).round()
    mean = _differences(coarse, _WHOLE, 1).abs().sum(dim=(1, 2), keepdim=True) / (2 * _CELLS * (_CELLS - 1))
    return coarse, _MEAN_SLOPE / mean.clamp(min=_CELL_WEIGHT**2)


def _slopes(coarse: Tensor, factor: Tensor, weights: Tensor, count: int) -> Tensor:
    """Bounded differences between neighbouring cells at count x count shifts: (B, count * count, 84)."""
    return _differences(coarse, weights, count).mul_(factor).clamp_(-_MAX_SLOPE, _MAX_SLOPE).round_()


def _differences(coarse: Tensor, weights: Tensor, count: int) -> Tensor:
    """Differences between neighbouring cells at count x count shifts, across and down: (B, count * count, 84)."""
    cells = (weights @ coarse @ weights.T).view(-1, count, _CELLS, count, _CELLS).transpose(2, 3)
    differences = coarse.new_empty(len(coarse), count, count, 2, _CELLS * (_CELLS - 1))
    across = differences[:, :, :, 0].view(-1, count, count, _CELLS, _CELLS - 1)
    down = differences[:, :, :, 1].view(-1, count, count, _CELLS - 1, _CELLS)
    torch.sub(cells[..., 1:], cells[..., :-1], out=across)
    torch.sub(cells[..., 1:, :], cells[..., :-1, :], out=down)
    return differences.view(-1, count * count, 2 * _CELLS * (_CELLS - 1))


def _correlate(shifted: Tensor, whole: Tensor) -> Tensor:
    """Correlation of each row of (B, V, n) with (B, 1, n): (B, V)."""
    product: Tensor = (shifted @ whole.transpose(1, 2)).squeeze(2)
    squares: Tensor = torch.linalg.vecdot(shifted, shifted) * torch.linalg.vecdot(whole, whole)
    return product / squares.sqrt().clamp(min=1)


def normalise_locally(pictures: Tensor, reach: int) -> Tensor:
    """Subtract the mean around each place and divide by the contrast around it.

    Args:
        pictures: (B, S, S) luma in whole levels.
        reach: pixels to either side that are "around", at most 3.

    Returns:
        (B, S, S) float32 whole numbers, `UNIT` for one standard deviation, at most 3 of them.
    """
    halves = soften(pictures).div(8).round()  # 49 squares of half levels stay below 2**24
    place = torch.arange(pictures.shape[-1])
    band = ((place - place[:, None]).abs() <= reach).float()
    count = band.sum(dim=1)[:, None] * band.sum(dim=0)
    squares = halves.square()
    mean = band @ halves @ band / count
    variance = (band @ squares @ band / count - mean.square()).clamp(min=0)
    overall = squares.double().mean(dim=(1, 2)) - halves.double().mean(dim=(1, 2)).square()
    floor = overall.float() * _CONTRAST_FLOOR**2 + 4  # one level: compression noise is no texture
    units = (halves - mean) / (variance + floor[:, None, None]).sqrt()
    return (units.clamp(-3, 3) * UNIT).round()


def soften(pictures: Tensor) -> Tensor:
    """Blur by the kernel 1 2 1 along both axes, 16 times as bright: gradients reach further than one pixel."""
    padded = functional.pad(pictures.unsqueeze(1), (1, 1, 1, 1), mode="replicate").squeeze(1)
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]


def lay(maps: Tensor, warps: Tensor) -> tuple[Tensor, Tensor]:
    """Draw maps of the second pictures where they lie over the first.

    Args:
        maps: (B, C, S, S) float32 whole numbers.
        warps: (B, 2, 3) float64; a place in the second picture is warps @ (x, y, 1), x and y from -1 to 1.

    Returns:
        (B, C, S, S) whole numbers, and (B, S, S), 1.0 where both pictures have that place, else 0.0.
    """
    place = places(maps.shape[-1])
    (a, b, c), (d, e, f) = (row.float()[:, :, None, None].unbind(1) for row in warps.unbind(1))
    x, y = a * place + b * place[:, None] + c, d * place + e * place[:, None] + f
    drawn = functional.grid_sample(maps, torch.stack([x, y], dim=3), padding_mode="border", align_corners=False)
    within = place.abs() <= EDGE
    inside = (x.abs() <= EDGE) & (y.abs() <= EDGE) & within & within[:, None]
    return drawn.round(), inside.float()


def look_again(first: Tensor, second: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Compare pictures in detail, as they lie and after one step of the fit: more would only flatter unrelated ones.

    Args:
        first: (B, 32, 32) luma in whole levels.
        second: the same.
        start: (B, 3) scale and shifts, from `glance`.

    Returns:
        The better correlation of the locally normalised pictures, (B,) float64, and its warps, (B, 2, 3) float64.
    """
    scale, none = start[:, 0], torch.zeros(len(start), dtype=torch.float64)
    warps = torch.stack([scale, none, start[:, 1], none, scale, start[:, 2]], dim=1).view(-1, 2, 3)
    warps = _improve(*_coarse(first, second), warps, 1)
    fine = normalise_locally(first, 3), normalise_locally(second, 3)
    identity = torch.eye(2, 3, dtype=torch.float64).expand_as(warps)
    lying, fitted = agreement(*fine, identity), agreement(*fine, warps)
    return torch.maximum(lying, fitted), torch.where((fitted > lying)[:, None, None], warps, identity)


def fit_warps(first: Tensor, second: Tensor, warps: Tensor) -> Tensor:
    """Fit the affine map under which the second pictures lie best over the first.

    Args:
        first: (B, 32, 32) luma in whole levels.
        second: the same.
        warps: (B, 2, 3) float64 to start from, of `look_again`.

    Returns:
        The warps, (B, 2, 3) float64.
    """
    warps = _improve(*_coarse(first, second), warps, _COARSE_STEPS)
    return _improve(normalise_locally(first, 3), normalise_locally(second, 3), warps, _FINE_STEPS)


def agreement(first: Tensor, second: Tensor, warps: Tensor) -> Tensor:
    """Correlation of locally normalised pictures under a warp, (B,) float64; -1 where less than a third overlaps."""
    drawn, inside = lay(second.unsqueeze(1), warps)
    first, other = first * inside, drawn.squeeze(1) * inside
    # At most 1024 products of 120 x 120: exact in float32.
    product, left, right, count = (
        values.flatten(1).sum(dim=1).double() for values in (first * other, first * first, other * other, inside)
    )
    return torch.where(count >= first[0].numel() / 3, product / (left * right).sqrt().clamp(min=1), -1)


def _coarse(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures at 16x16 pixels, locally normalised."""
    one, other = (normalise_locally(functional.avg_pool2d(side, 2).round(), 2) for side in (first, second))
    return one, other


def _improve(first: Tensor, second: Tensor, warps: Tensor, steps: int) -> Tensor:
    """Gauss-Newton steps from the given warps."""
    side = first.shape[-1]
    padded = functional.pad(first.unsqueeze(1), (1, 1, 1, 1), mode="replicate").squeeze(1)
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    # A place as whole numbers: x and y are odd, from 1 - side to side - 1, so that 1 stands for half a pixel.
    place = torch.arange(side, dtype=torch.float64) * 2 + 1 - side
    x, y = place.repeat(side), place.repeat_interleave(side)
    one = torch.ones_like(x)
    moments = torch.stack([x * x, x * y, x, y * y, y, one], dim=1)
    squares = torch.stack([across * across, across * down, down * down], dim=1)
    for _ in range(steps):
        drawn, inside = lay(second.unsqueeze(1), warps)
        error = drawn.squeeze(1) - first
        weight = (inside * (16 / (1 + (error / UNIT).square()))).round()
        error *= weight
        rows = torch.cat([squares * weight.unsqueeze(1), torch.stack([across * error, down * error], dim=1)], dim=1)
        sums = rows.flatten(2).double() @ moments
        warps = _compose(warps, _solve(sums, side), side)
    return warps


_MOMENT = torch.tensor([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # of (x, y, 1) times (x, y, 1), among the columns of moments


def _solve(sums: Tensor, side: int) -> Tensor:
    """The change of the map of the first picture that best explains the error: (B, 2, 3), in half pixels per place."""
    blocks = sums[:, :3][:, :, _MOMENT]
    hessian = torch.cat(
        [torch.cat([blocks[:, 0], blocks[:, 1]], dim=2), torch.cat([blocks[:, 1], blocks[:, 2]], dim=2)], dim=1
    )
    gradient = sums[:, 3:][:, :, [2, 4, 5]].flatten(1)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    damped = hessian + torch.diag_embed(diagonal * 0.003 + diagonal[:, [2, 2, 2, 5, 5, 5]] * 0.003 + 1)
    change: Tensor = torch.linalg.solve(damped, gradient.unsqueeze(2))
    # The differences span two pixels, that is, four halves.
    return change.view(-1, 2, 3) * 4


def _compose(warps: Tensor, change: Tensor, side: int) -> Tensor:
    """Put the inverse of a small map of the first picture before the present warp, within the limits."""
    linear = torch.eye(2, dtype=torch.float64) + change[:, :, :2].clamp(-0.3, 0.3)
    shift = (change[:, :, 2:] / side).clamp(-0.3, 0.3)
    (a, b), (c, d) = linear[:, 0].unbind(1), linear[:, 1].unbind(1)
    inverse = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    turned = _multiply(warps[:, :, :2], inverse)
    moved = warps[:, :, 2:] - _multiply(turned, shift)
    low = torch.tensor([[1 / _MAX_STRETCH, -_MAX_SHEAR], [-_MAX_SHEAR, 1 / _MAX_STRETCH]], dtype=torch.float64)
    high = torch.tensor([[_MAX_STRETCH, _MAX_SHEAR], [_MAX_SHEAR, _MAX_STRETCH]], dtype=torch.float64)
    bounded = torch.minimum(torch.maximum(turned, low), high)
    return torch.cat([bounded, moved.clamp(-_MAX_SHIFT, _MAX_SHIFT)], dim=2)


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """Products of matrices of two columns, added in a fixed order."""
    return left[:, :, :1] * right[:, :1] + left[:, :, 1:] * right[:, 1:]
