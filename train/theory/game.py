"""The game: a configuration in; Algorithm 1 of Goodfellow et al. 2014 between two MLPs on a line out, step by step.

An iteration is k steps of D up V(D, G), each on a fresh minibatch, then a step of G. With constant learning rates the
two chase one another around the optimum for ever. What lets them settle here: several steps of D for each of G, so that
D stays near its best; less momentum than Adam's own; and learning rates that fall to 0.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from pipelines.errors import ConfigError, TrainingError
from train.config import Loss
from train.losses import discriminator_loss, generator_loss
from train.mlp import Discriminator, Generator, MLPConfig, draw_z, initialise
from train.randomness import Stream, seeded_generator
from train.theory.target import TARGETS, Target

BETAS = (0.5, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class TheoryConfig:
    """All that decides what comes out.

    Attributes:
        data: name of a density in `TARGETS`.
        loss: what G minimises.
        k: steps of D for each step of G.
        steps: of G.
        seed: decides initial weights, every x and every z.
        batch_size: rows of x, and of z, in a minibatch.
        generator_learning_rate, discriminator_learning_rate: of two Adams.
        steady_share: of the steps; after it both learning rates fall linearly to 0.
        networks: G and D.
        fit_steps, fit_batch_size: of a D that is fitted to a G that stays as it is.
        evaluation_samples: x, and z, that V is estimated from.
    """

    data: str = "gaussian"
    loss: Loss = Loss.NON_SATURATING
    k: int = 5
    steps: int = 5000
    seed: int = 0
    batch_size: int = 256
    generator_learning_rate: float = 3e-3
    discriminator_learning_rate: float = 5e-3
    steady_share: float = 0.3
    networks: MLPConfig = field(default_factory=MLPConfig)
    fit_steps: int = 2000
    fit_batch_size: int = 1024
    evaluation_samples: int = 100_000

    def __post_init__(self) -> None:
        if self.data not in TARGETS:
            raise ConfigError(f"there is no data {self.data!r}", hint=f"one of {', '.join(TARGETS)}")
        for name in ("k", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} is {getattr(self, name)}", hint="give 1 or more")
        if self.seed < 0:
            raise ConfigError(f"--seed is {self.seed}", hint="give 0 or more")

    @property
    def target(self) -> Target:
        """The density that ``data`` names."""
        return TARGETS[self.data]

    def to_json(self) -> dict[str, Any]:
        """Every field as plain numbers and strings."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


class Game:
    """G and D, and the steps of Algorithm 1 that they have taken."""

    def __init__(self, config: TheoryConfig) -> None:
        self.config = config
        self.generator, self.discriminator = Generator(config.networks), Discriminator(config.networks)
        weights = seeded_generator(config.seed, Stream.WEIGHTS)
        for network in (self.generator, self.discriminator):
            initialise(network, weights)
        self._noise = seeded_generator(config.seed, Stream.NOISE)
        self._generator_optimiser = Adam(self.generator.parameters(), betas=BETAS, fused=True)
        self._discriminator_optimiser = Adam(self.discriminator.parameters(), betas=BETAS, fused=True)

    def play(self) -> Iterator[int]:
        """Take all steps; yields after each step of G how many there have been.

        Raises:
            TrainingError: a loss is no longer finite.
        """
        config = self.config
        for step in range(config.steps):
            rate = _decay(step, config.steps, config.steady_share)
            _set_rate(self._discriminator_optimiser, config.discriminator_learning_rate * rate)
            _set_rate(self._generator_optimiser, config.generator_learning_rate * rate)
            # G does not change in D's k steps: all their minibatches are drawn at once.
            count = config.k * config.batch_size
            with torch.no_grad():
                fake = self.generator(draw_z(count, config.networks, self._noise))
            real = config.target.draw(count, self._noise)
            for batch in zip(real.chunk(config.k), fake.chunk(config.k), strict=True):
                loss = _step_discriminator(self.discriminator, self._discriminator_optimiser, *batch)
            if not loss.isfinite():
                raise TrainingError(f"training diverged in step {step + 1:,}", hint="try another --seed or more --k")
            self._step_generator()
            yield step + 1

    def _step_generator(self) -> None:
        z = draw_z(self.config.batch_size, self.config.networks, self._noise)
        loss = generator_loss(self.discriminator(self.generator(z)), self.config.loss)
        self._generator_optimiser.zero_grad()
        # D's own gradients are not asked for: they would be computed for nothing.
        torch.autograd.backward(loss, inputs=list(self.generator.parameters()))
        self._generator_optimiser.step()


def fit_discriminator(
    config: TheoryConfig, generator: Generator, watch: Callable[[int, int], None] = lambda done, total: None
) -> Discriminator:
    """A new D, trained to tell x from what ``generator`` draws until its learning rate has fallen to 0; G stays.

    With enough units it nears D* = p_data / (p_data + p_g): proposition 1 of the paper. ``watch`` is called after each
    step with the steps so far and all there are.
    """
    noise = seeded_generator(config.seed, Stream.FIT)
    discriminator = Discriminator(config.networks)
    initialise(discriminator, noise)
    optimiser = Adam(discriminator.parameters(), betas=BETAS, fused=True)
    for step in range(config.fit_steps):
        _set_rate(optimiser, config.discriminator_learning_rate * _decay(step, config.fit_steps, 0.0))
        with torch.no_grad():
            fake = generator(draw_z(config.fit_batch_size, config.networks, noise))
        _step_discriminator(discriminator, optimiser, config.target.draw(config.fit_batch_size, noise), fake)
        watch(step + 1, config.fit_steps)
    return discriminator


def _step_discriminator(discriminator: Discriminator, optimiser: Adam, real: Tensor, fake: Tensor) -> Tensor:
    real_logits, fake_logits = discriminator(torch.cat([real, fake])).chunk(2)
    loss = discriminator_loss(real_logits, fake_logits)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.detach()


def _decay(step: int, steps: int, steady_share: float) -> float:
    """1 at first, then falling linearly to 0."""
    return min(1.0, (1 - step / steps) / (1 - steady_share))


def _set_rate(optimiser: Adam, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
