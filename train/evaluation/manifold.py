"""Manifolds: features of real and of drawn images in; precision, recall, density and coverage out.

Comes after the last arrow of "clean shards → DCGAN". Precision and recall are those of Kynkäänniemi et al. 2019,
"Improved Precision and Recall Metric for Assessing Generative Models"; density and coverage of Naeem et al. 2020,
"Reliable Fidelity and Diversity Metrics for Generative Models". A set's manifold is the union of balls around its
images, each as large as the distance to its k-th nearest neighbour in the set. As in the second paper's code (`prdc`),
a ball does not hold its surface.

Distances are computed tile by tile, so memory holds `TILE_ROWS`² of them at a time, whatever the sets' sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.evaluation.features import CPU, Features, load_rows, require_enough

NEIGHBOURS = 5  # Naeem et al.; Kynkäänniemi et al. took 3
TILE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Manifold:
    """Images' features and the balls around them.

    Attributes:
        features: (N, D).
        squared_radii: float64 (N,), to the k-th nearest other image.
        neighbours: k.
    """

    features: Features
    squared_radii: npt.NDArray[np.float64]
    neighbours: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far drawn images and real ones lie in each other's manifolds.

    Attributes:
        precision: share of drawn images that lie in a real image's ball.
        recall: share of real images that lie in a drawn image's ball.
        density: real images' balls that a drawn image lies in, on average, divided by k; may exceed 1.
        coverage: share of real images whose ball holds a drawn image.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fit_manifold(
    features: Features, neighbours: int = NEIGHBOURS, device: torch.device = CPU, tile_rows: int = TILE_ROWS
) -> Manifold:
    """Find each image's distance to its k-th nearest other one.

    Raises:
        ConfigError: there are not more than k images.
    """
    require_enough(features, neighbours + 1, f"{neighbours} neighbours of each")
    squared_radii = np.empty(len(features))
    for rows in _tiles(len(features), tile_rows):
        # The image itself is among them, at distance 0.
        nearest = torch.empty(rows.stop - rows.start, 0, dtype=torch.float64, device=device)
        for columns in _tiles(len(features), tile_rows):
            tile = _squared_distances(features, rows, features, columns, device)
            candidates = torch.cat([nearest, tile], 1)
            nearest = candidates.topk(min(neighbours + 1, candidates.shape[1]), largest=False).values
        squared_radii[rows] = nearest[:, neighbours].cpu().numpy()
    return Manifold(features, squared_radii, neighbours)


def compare(real: Manifold, drawn: Manifold, device: torch.device = CPU, tile_rows: int = TILE_ROWS) -> Agreement:
    """Precision, recall, density and coverage of drawn images; both manifolds are of the same k."""
    assert real.neighbours == drawn.neighbours
    balls_around_drawn = np.zeros(len(drawn.features), np.int64)
    recalled = np.zeros(len(real.features), np.bool_)
    covered = np.zeros(len(real.features), np.bool_)
    for rows in _tiles(len(real.features), tile_rows):
        real_radii = torch.from_numpy(real.squared_radii[rows]).to(device)[:, None]
        for columns in _tiles(len(drawn.features), tile_rows):
            drawn_radii = torch.from_numpy(drawn.squared_radii[columns]).to(device)
            tile = _squared_distances(real.features, rows, drawn.features, columns, device)
            in_real = tile < real_radii
            balls_around_drawn[columns] += in_real.sum(0).cpu().numpy()
            covered[rows] |= in_real.any(1).cpu().numpy()
            recalled[rows] |= (tile < drawn_radii).any(1).cpu().numpy()
    return Agreement(
        precision=float((balls_around_drawn > 0).mean()),
        recall=float(recalled.mean()),
        density=float(balls_around_drawn.mean() / real.neighbours),
        coverage=float(covered.mean()),
    )


def _tiles(count: int, tile_rows: int) -> Iterator[slice]:
    for start in range(0, count, tile_rows):
        yield slice(start, min(start + tile_rows, count))


def _squared_distances(one: Features, rows: slice, other: Features, columns: slice, device: torch.device) -> Tensor:
    """Between rows of two sets: float64 (rows, columns).

    |x|² + |y|² - 2 x·y leaves a little of two equal features; what rounding alone can leave counts as nothing, so that
    copies lie at distance 0 whatever their tiles.
    """
    left, right = load_rows(one, rows, device), load_rows(other, columns, device)
    lengths = left.square().sum(1)[:, None] + right.square().sum(1)
    squared = torch.addmm(lengths, left, right.T, alpha=-2)
    rounding = 8 * left.shape[1] ** 0.5 * torch.finfo(torch.float64).eps
    return torch.where(squared > lengths * rounding, squared, 0.0)
