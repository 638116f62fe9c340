"""An experiment: a configuration in; snapshots of a game, D fitted to G as it was, and the figures of both out."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from train.mlp import Discriminator, Generator
from train.randomness import Stream, seeded_generator
from train.theory.game import Game, TheoryConfig, fit_discriminator
from train.theory.measure import (
    BIN_EDGES,
    MINUS_LOG_4,
    SUPPORT_MASS,
    Estimate,
    deviate,
    estimate_value,
    generator_masses,
    jensen_shannon,
    optimal_discriminator,
    probability_of_data,
    target_masses,
    value_at_optimum,
)
from train.theory.pictures import Snapshot
from train.theory.target import Floats

SNAPSHOTS = 24  # after the first, which is before any step
SNAPSHOT_SAMPLES = 10_000
LINES = 21  # values of z whose G(z) is drawn


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A D fitted to a G that stayed.

    Attributes:
        step: the steps that G had taken.
        generated: p_g's mass in each bin.
        probability: D at the bins' centres.
        value: V(D, G).
    """

    step: int
    generated: Floats
    probability: Floats
    value: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """What was played and measured.

    Attributes:
        config: how.
        data: p_data's mass in each bin.
        snapshots: from before the first step to after the last, denser at first.
        value: V(D, G) at the end.
        fits: D fitted to G before its first step and after its last, or none.
    """

    config: TheoryConfig
    data: Floats
    snapshots: list[Snapshot]
    value: Estimate
    fits: list[Fit]

    def to_json(self) -> dict[str, Any]:
        """All figures; the same configuration gives the same on the same machine."""
        last = self.snapshots[-1]
        return {
            "config": self.config.to_json(),
            "torch": torch.__version__,
            "bins": {"from": BIN_EDGES[0], "to": BIN_EDGES[-1], "count": len(BIN_EDGES) - 1, "beyond": 2},
            "support": f"the densest bins of (p_data + p_g) / 2 that hold {SUPPORT_MASS:.0%} of it",
            "minus_log_4": MINUS_LOG_4,
            "final": {
                "value": {**asdict(self.value), "samples": self.config.evaluation_samples},
                "discriminator_from_half": asdict(deviate(last.probability, 0.5, self.data, last.generated)),
                **self._at_optimum(last.generated),
            },
            "fits": [
                {
                    "generator_steps": fit.step,
                    "value": {**asdict(fit.value), "samples": self.config.evaluation_samples},
                    "discriminator_from_optimum": asdict(
                        deviate(
                            fit.probability,
                            optimal_discriminator(self.data, fit.generated),
                            self.data,
                            fit.generated,
                        )
                    ),
                    **self._at_optimum(fit.generated),
                }
                for fit in self.fits
            ],
            "history": [
                {
                    "step": snapshot.step,
                    "value": snapshot.value,
                    "value_at_optimum": snapshot.best_value,
                    "discriminator_from_half": asdict(
                        deviate(snapshot.probability, 0.5, self.data, snapshot.generated)
                    ),
                }
                for snapshot in self.snapshots
            ],
        }

    def _at_optimum(self, generated: Floats) -> dict[str, float]:
        divergence = jensen_shannon(self.data, generated)
        return {
            "jensen_shannon": divergence,
            "minus_log_4_plus_2_jensen_shannon": MINUS_LOG_4 + 2 * divergence,
            "value_at_optimum": value_at_optimum(self.data, generated),
        }


def run_experiment(
    config: TheoryConfig,
    *,
    fits: bool = True,
    watch: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Experiment:
    """Play all steps, taking snapshots; then fit a D to the first and to the last G.

    Args:
        config: what to play.
        fits: whether to fit.
        watch: called after each step, of the game or of a fit: which, the steps so far and all there are.

    Raises:
        TrainingError: a loss is no longer finite.
    """
    data = target_masses(config.target)
    noise = seeded_generator(config.seed, Stream.SAMPLES)
    game = Game(config)
    first_generator = copy.deepcopy(game.generator)

    def take_snapshot(step: int) -> Snapshot:
        value = estimate_value(
            game.generator, game.discriminator, config.target, config.networks, SNAPSHOT_SAMPLES, noise
        ).mean
        generated = generator_masses(game.generator)
        return Snapshot(
            step,
            generated,
            probability_of_data(game.discriminator),
            _map(game.generator),
            value,
            value_at_optimum(data, generated),
        )

    due = choose_snapshots(config.steps)
    snapshots = [take_snapshot(0)]
    for step in game.play():
        watch("game", step, config.steps)
        if step in due:
            snapshots.append(take_snapshot(step))

    def measure(generator: Generator, discriminator: Discriminator) -> Estimate:
        return estimate_value(
            generator, discriminator, config.target, config.networks, config.evaluation_samples, noise
        )

    value = measure(game.generator, game.discriminator)
    fitted = []
    for step, generator in ((0, first_generator), (config.steps, game.generator)) if fits else ():
        stage = f"fit to G after {step:,} steps"
        discriminator = fit_discriminator(config, generator, partial(watch, stage))
        fitted.append(
            Fit(
                step,
                generator_masses(generator),
                probability_of_data(discriminator),
                measure(generator, discriminator),
            )
        )
    return Experiment(config, data, snapshots, value, fitted)


def choose_snapshots(steps: int) -> set[int]:
    """The steps after which to take one, the last among them; denser at first, when most happens."""
    return {max(1, round(steps * (i / SNAPSHOTS) ** 2)) for i in range(1, SNAPSHOTS + 1)}


@torch.inference_mode()
def _map(generator: Generator) -> Floats:
    mapped: Floats = generator(torch.linspace(-1, 1, LINES).unsqueeze(1)).squeeze(1).double().numpy()
    return mapped
