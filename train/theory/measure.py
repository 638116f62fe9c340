"""Measures: networks and a target in; densities on bins, the optimal D, divergence and V(D, G) out.

On a line nothing has to be estimated that can be computed: p_data's mass in a bin is known in closed form, and p_g is
what G makes of the uniform z, whose mass in a bin is found by following G along z. V alone is an estimate, from fresh
samples, and comes with its standard error.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import logsigmoid

from train.mlp import Discriminator, Generator, MLPConfig, draw_z
from train.theory.target import Floats, Target

BIN_EDGES: Floats = np.linspace(-4.0, 4.0, 401)  # 0.02 wide; what lies beyond goes to two more bins, one a side
BIN_WIDTH = float(BIN_EDGES[1] - BIN_EDGES[0])
BIN_CENTRES: Floats = np.concatenate(
    [[BIN_EDGES[0]], (BIN_EDGES[:-1] + BIN_EDGES[1:]) / 2, [BIN_EDGES[-1]]]  # the outer bins have no centre: their edge
)
PIECES = 4096  # of the line of z; G is taken as straight on each
SUPPORT_MASS = 0.99

MINUS_LOG_4 = -math.log(4)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over samples, and its standard error."""

    mean: float
    standard_error: float


def target_masses(target: Target) -> Floats:
    """p_data's mass in each bin: float64 of shape (402,), of sum 1."""
    return _masses(target.mass_below(BIN_EDGES))


@torch.inference_mode()
def generator_masses(generator: Generator) -> Floats:
    """p_g's mass in each bin, where z and x are one-dimensional: float64 of shape (402,), of sum 1."""
    x = generator(torch.linspace(-1, 1, PIECES + 1).unsqueeze(1)).squeeze(1).double().numpy()
    lower, upper = np.minimum(x[:-1], x[1:]), np.maximum(x[:-1], x[1:])
    # A piece of z spreads its mass evenly over the x between its ends: what is below an edge is linear in the edge.
    spread = np.maximum(upper - lower, 1e-12)
    below: Floats = np.clip((BIN_EDGES[:, None] - lower) / spread, 0, 1).mean(axis=1)
    return _masses(below)


def optimal_discriminator(data: Floats, generated: Floats) -> Floats:
    """D* = p_data / (p_data + p_g), the best D for a fixed G (Goodfellow et al. 2014, proposition 1).

    Takes masses, or densities, of any one shape. Where neither has any, D* is not defined: NaN.
    """
    both = data + generated
    optimum: Floats = np.divide(data, both, out=np.full_like(both, np.nan), where=both > 0)
    return optimum


def jensen_shannon(p: Floats, q: Floats) -> float:
    """The Jensen-Shannon divergence of two lists of masses, in nats: 0 where equal, log 2 where apart."""
    middle = (p + q) / 2
    to_middle = [_mean_log(masses, masses) - _mean_log(masses, middle) for masses in (p, q)]  # Kullback-Leibler
    return sum(to_middle) / 2


def value_at_optimum(data: Floats, generated: Floats) -> float:
    """V(D*, G) of masses, as its definition has it: E[log D*(x)] + E[log(1 - D*(G(z)))].

    By theorem 1 of the paper it is -log 4 + 2 JSD(p_data, p_g).
    """
    return _mean_log(data, optimal_discriminator(data, generated)) + _mean_log(
        generated,
        optimal_discriminator(generated, data),  # 1 - D*, without its rounding where D* is nearly 1
    )


@torch.inference_mode()
def probability_of_data(discriminator: Discriminator) -> Floats:
    """D at the centre of each bin: float64 of shape (402,)."""
    centres = torch.from_numpy(BIN_CENTRES).float().unsqueeze(1)
    probability: Floats = discriminator(centres).double().sigmoid().numpy()
    return probability


@torch.inference_mode()
def estimate_value(
    generator: Generator,
    discriminator: Discriminator,
    target: Target,
    networks: MLPConfig,
    count: int,
    noise: torch.Generator,
) -> Estimate:
    """V(D, G) over ``count`` fresh x and as many fresh z."""
    of_real = logsigmoid(discriminator(target.draw(count, noise))).double()
    of_fake = logsigmoid(-discriminator(generator(draw_z(count, networks, noise)))).double()
    variance = (of_real.var() + of_fake.var()) / count
    return Estimate(float(of_real.mean() + of_fake.mean()), math.sqrt(variance))


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a D is from another, or from 1/2.

    Attributes:
        mean: of the absolute difference, weighted by (p_data + p_g) / 2.
        largest: of the absolute difference, where `SUPPORT_MASS` of (p_data + p_g) / 2 lies.
    """

    mean: float
    largest: float


def deviate(probability: Floats, reference: Floats | float, data: Floats, generated: Floats) -> Deviation:
    """Compare D in each bin with ``reference``, where there is any mass."""
    weights = (data + generated) / 2
    difference = np.where(weights > 0, np.abs(probability - reference), 0.0)
    return Deviation(float((weights * difference).sum()), float(difference[find_support(weights)].max()))


def find_support(masses: Floats) -> npt.NDArray[np.bool_]:
    """The fewest bins that hold `SUPPORT_MASS` together: bool of the shape of ``masses``."""
    densest_first = np.argsort(-masses, kind="stable")
    before = np.cumsum(masses[densest_first]) - masses[densest_first]
    support = np.zeros(masses.shape, np.bool_)
    support[densest_first[before < SUPPORT_MASS]] = True
    return support


def _masses(below_edges: Floats) -> Floats:
    return np.diff(below_edges, prepend=0.0, append=1.0)


def _mean_log(masses: Floats, of: Floats) -> float:
    """E[log of], where there is mass."""
    has = masses > 0
    return float((masses[has] * np.log(of[has])).sum())
