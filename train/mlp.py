"""MLPs: z in, x out (G); x in, logits out (D). The networks of the first GAN, Goodfellow et al. 2014, section 3.

Stands beside `train.dcgan` for data that are vectors and not images; there is no batch norm, so D judges each row by
itself. The 2014 paper used rectifiers, sigmoids and maxout. Here G's units are tanh, because a density that is moved by
a smooth map stays smooth, and D's are leaky rectifiers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pipelines.errors import ConfigError

LEAK = 0.2
# Of the first layer's units: each bends in the (1 / this)th part of their inputs' range, roughly. D is to see finer
# detail than G can make: what D does not see, G does not mend.
GENERATOR_STEEPNESS, DISCRIMINATOR_STEEPNESS = 1.5, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MLPConfig:
    """The two networks.

    Attributes:
        z_size: dimensions of z, which is uniform on [-1, 1].
        x_size: dimensions of x.
        generator_width: units in each of G's hidden layers.
        discriminator_width: units in each of D's hidden layers.
        hidden_layers: of each network.
        data_radius: how far from 0 the data go, roughly: D's first units begin to bend somewhere within.
    """

    z_size: int = 1
    x_size: int = 1
    generator_width: int = 32
    discriminator_width: int = 64
    hidden_layers: int = 2
    data_radius: float = 3.0

    def __post_init__(self) -> None:
        for name in ("z_size", "x_size", "generator_width", "discriminator_width", "hidden_layers", "data_radius"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} of an MLP is {getattr(self, name)}", hint="give more than 0")


class Generator(nn.Module):
    """G: z of shape (B, z_size) → x of shape (B, x_size), unbounded.

    Beside the layers a linear path leads from z to x, and `initialise` leaves no more of G than this: x = z where the
    sizes are equal. A random G would fold the line of z, and folds are slow to come out.
    """

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        sizes = [config.z_size, *[config.generator_width] * config.hidden_layers, config.x_size]
        self.layers = _stack(sizes, nn.Tanh)
        self.straight = nn.Linear(config.z_size, config.x_size)
        self.input_radius, self.steepness = 1.0, GENERATOR_STEEPNESS

    def forward(self, z: Tensor) -> Tensor:
        """Map each row of ``z``."""
        x: Tensor = self.straight(z) + self.layers(z)
        return x


class Discriminator(nn.Module):
    """D: x of shape (B, x_size) → logits of shape (B,); sigmoid(logit) = P(x is of the data)."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        sizes = [config.x_size, *[config.discriminator_width] * config.hidden_layers, 1]
        self.layers = _stack(sizes, lambda: nn.LeakyReLU(LEAK))
        self.input_radius, self.steepness = config.data_radius, DISCRIMINATOR_STEEPNESS

    def forward(self, x: Tensor) -> Tensor:
        """Judge each row of ``x``."""
        logits: Tensor = self.layers(x)
        return logits.squeeze(1)


def initialise(network: Generator | Discriminator, generator: torch.Generator) -> None:
    """Draw the weights of G or D from ``generator``.

    Weights are N(0, 1 / inputs) and biases 0, but for the first layer. With few inputs all of its units would bend at
    0, and the network be nearly linear away from it: its biases spread the bends over the range of the inputs, and its
    weights are made the steeper, the smaller that range is. G's last layer is 0, so that G is its linear path.
    """
    linears = [module for module in network.layers if isinstance(module, nn.Linear)]
    for linear in linears:
        nn.init.normal_(linear.weight, 0.0, 1 / math.sqrt(linear.in_features), generator=generator)
        nn.init.zeros_(linear.bias)
    first, radius = linears[0], network.input_radius
    with torch.no_grad():
        first.weight.mul_(network.steepness / radius)
        bends = torch.empty_like(first.weight).uniform_(-radius, radius, generator=generator)
        first.bias.copy_(-(first.weight * bends).sum(dim=1))
    if isinstance(network, Generator):
        nn.init.eye_(network.straight.weight)
        nn.init.zeros_(network.straight.bias)
        nn.init.zeros_(linears[-1].weight)


def draw_z(count: int, config: MLPConfig, generator: torch.Generator) -> Tensor:
    """Draw ``count`` rows of z, uniform on [-1, 1]: float32 of shape (count, z_size)."""
    return torch.empty(count, config.z_size).uniform_(-1, 1, generator=generator)


def _stack(sizes: list[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers of these sizes with an activation between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])
