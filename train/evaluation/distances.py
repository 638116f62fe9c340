"""Distances: features of real and of drawn images in; FID's Fréchet distance and KID's kernel distance out.

Comes after the last arrow of "clean shards → DCGAN". Both are called FID and KID only where the features are those of
Inception (`train.evaluation.evaluate` names them); of other features they are the same formulas of other numbers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from train.evaluation.features import CPU, Features, load_rows, require_enough

BLOCK_ROWS = 4096  # features that are float64 at a time
LARGEST_SEED = 2**32 - 1  # that numpy's RandomState takes


@dataclass(frozen=True, slots=True)
class Gaussian:
    """The normal distribution fitted to features.

    Attributes:
        mean: float64 (D,).
        covariance: float64 (D, D), with N - 1 in the denominator.
    """

    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]


def fit_gaussian(features: Features, device: torch.device = CPU, block_rows: int = BLOCK_ROWS) -> Gaussian:
    """Mean and covariance of features (N, D), summed in float64.

    Raises:
        ConfigError: there are fewer than 2.
    """
    require_enough(features, 2, "a covariance")
    blocks = range(0, len(features), block_rows)
    mean = torch.zeros(features.shape[1], dtype=torch.float64, device=device)
    for start in blocks:
        mean += load_rows(features, slice(start, start + block_rows), device).sum(0)
    mean /= len(features)
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=device)
    for start in blocks:
        centred = load_rows(features, slice(start, start + block_rows), device) - mean
        scatter.addmm_(centred.T, centred)
    return Gaussian(mean.cpu().numpy(), (scatter / (len(features) - 1)).cpu().numpy())


def frechet_distance(one: Gaussian, other: Gaussian, device: torch.device = CPU) -> float:
    """|m₁ - m₂|² + tr(S₁) + tr(S₂) - 2 tr((S₁S₂)^½): FID of Inception's features (Heusel et al. 2017, equation 6).

    With S = F Fᵀ from the eigenvalues of S, the roots of the eigenvalues of S₁S₂ are the singular values of F₁ᵀF₂, and
    their sum is the trace. No root is taken of a matrix that is not symmetric, so fewer images than dimensions, which
    leave most eigenvalues at zero, do no harm. The code of Heusel et al. takes scipy's `sqrtm` of S₁S₂, which then
    needs a small multiple of the identity; torch-fidelity takes the eigenvalues of S₁S₂, which rounding then makes
    negative or complex, and keeps the real part of their roots. Its results and these agree to 1e-6, relative; of a
    small set and itself it gives some -1e-6, and this 0.

    Returns:
        0 or more; the squared distance, as is the custom.
    """
    roots = [_factorise(gaussian.covariance, device) for gaussian in (one, other)]
    trace_of_root = float(torch.linalg.svdvals(roots[0].T @ roots[1]).sum())
    apart = one.mean - other.mean
    spread = np.trace(one.covariance) + np.trace(other.covariance)
    return max(0.0, float(apart @ apart + spread - 2 * trace_of_root))


@dataclass(frozen=True, slots=True)
class KernelDistance:
    """KID over subsets.

    Attributes:
        mean: of the subsets' distances; unbiased, so of like sets it may lie below 0.
        std: their standard deviation (of subsets: the mean's own error is smaller).
        subsets: how many.
        subset_size: images in each, of either set.
    """

    mean: float
    std: float
    subsets: int
    subset_size: int


def kernel_distance(
    one: Features,
    other: Features,
    *,
    seed: int,
    subsets: int = 100,
    subset_size: int = 1000,
    device: torch.device = CPU,
) -> KernelDistance:
    """Unbiased squared maximum mean discrepancy by the kernel (x·y / D + 1)³: KID of Inception's features.

    Bińkowski et al. 2018, "Demystifying MMD GANs", section 4. The subsets are drawn as torch-fidelity draws them (by
    numpy's RandomState, whose numbers never change), so that the same seed gives its values; it takes 2020.

    Args:
        one: (N, D).
        other: (M, D).
        seed: decides the subsets.
        subsets: how many.
        subset_size: images of each, without replacement; where there are fewer, all of the smaller set.
        device: where products are computed, in float64.

    Raises:
        ConfigError: there are fewer than 2 images in a set, or the seed is too large.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"the seed of KID's subsets is {seed}", hint=f"give one from 0 to {LARGEST_SEED}")
    require_enough(one, 2, "an unbiased kernel distance")
    require_enough(other, 2, "an unbiased kernel distance")
    size = min(subset_size, len(one), len(other))
    rng = np.random.RandomState(seed)
    distances = np.empty(subsets)
    for i in range(subsets):
        chosen = [
            load_rows(features, rng.choice(len(features), size, replace=False), device) for features in (one, other)
        ]
        distances[i] = _squared_discrepancy(*chosen)
    return KernelDistance(float(distances.mean()), float(distances.std()), subsets, size)


def _squared_discrepancy(one: Tensor, other: Tensor) -> float:
    """The unbiased estimate from as many features of each: a kernel's diagonal is no pair of two images."""
    count, dimensions = one.shape
    within = torch.zeros((), dtype=torch.float64, device=one.device)
    for features in (one, other):
        kernel = _kernel(features, features, dimensions)
        within += kernel.sum() - kernel.trace()
    between = _kernel(one, other, dimensions).sum()
    return float(within / (count * (count - 1)) - 2 * between / count**2)


def _kernel(one: Tensor, other: Tensor, dimensions: int) -> Tensor:
    values: Tensor = (one @ other.T / dimensions + 1) ** 3
    return values


def _factorise(covariance: npt.NDArray[np.float64], device: torch.device) -> Tensor:
    """F of shape (D, rank) with S = F Fᵀ; eigenvalues that are rounding's are none."""
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance).to(device))
    limit = values.max().clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    kept = values > limit
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor
