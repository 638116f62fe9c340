"""Configuration: a preset's name and overrides in, a frozen and validated `TrainConfig` out.

Stands before the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards →
DCGAN". Defaults are the paper's (Radford et al. 2016, section 4); a field whose other value is what the paper's
authors did in their code says so.

================  =======================================================  ==========================================
preset            expected result                                          expected time
================  =======================================================  ==========================================
``paper``         LSUN bedroom: rooms after 1 epoch, sharper after 5       a GPU: 23,700 minibatches an epoch
``authors``       the same networks, as the authors' code trained them     half the updates of ``paper`` a minibatch
``tiny``          demo rooms: walls, floor, often a bed; soft and blurred  3,008 images: about four minutes of one core
================  =======================================================  ==========================================
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from pipelines.errors import ConfigError

RESOLUTIONS = (32, 64, 128)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"{_option(name)} is {getattr(config, name)}", hint="give more than 0")


def _require_not_negative(config: object, *names: str) -> None:
    for name in names:
        if not getattr(config, name) >= 0:
            raise ConfigError(f"{_option(name)} is {getattr(config, name)}", hint="give 0 or more")


class Prior(StrEnum):
    """The distribution of z."""

    UNIFORM = "uniform"  # on [-1, 1]
    NORMAL = "normal"  # standard; the authors' SVHN model


class NormStatistics(StrEnum):
    """What batch normalisation uses when images are drawn; in training it is always the minibatch's own."""

    RUNNING = "running"
    BATCH = "batch"  # no running averages are kept; authors


class Loss(StrEnum):
    """What the generator minimises (Goodfellow et al. 2014, section 3)."""

    NON_SATURATING = "non_saturating"  # -log D(G(z))
    MINIMAX = "minimax"  # log(1 - D(G(z)))


class Updates(StrEnum):
    """Whom a minibatch trains."""

    BOTH = "both"  # D on every minibatch, then G after every k-th (Algorithm 1 of Goodfellow et al. 2014)
    ALTERNATE = "alternate"  # G on one minibatch, D on the next k; authors


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The two networks.

    Attributes:
        resolution: side of the square images, in pixels; one of `RESOLUTIONS`.
        z_size: dimensions of z.
        z_prior: distribution of z.
        generator_width: feature maps of G's last hidden layer (the authors' ngf).
        discriminator_width: feature maps of D's first layer (the authors' ndf).
        norm_gain_std: batch norm's gains start as N(1, this); authors: 0.02.
        norm_eps: added to batch norm's variance; authors: 1e-8.
        norm_statistics: batch norm's statistics when images are drawn.
    """

    resolution: int = 64
    z_size: int = 100
    z_prior: Prior = Prior.UNIFORM
    generator_width: int = 128
    discriminator_width: int = 128
    norm_gain_std: float = 0.0
    norm_eps: float = 1e-5
    norm_statistics: NormStatistics = NormStatistics.RUNNING

    def __post_init__(self) -> None:
        if self.resolution not in RESOLUTIONS:
            raise ConfigError(f"--resolution is {self.resolution}", hint=f"one of {', '.join(map(str, RESOLUTIONS))}")
        _require_positive(self, "z_size", "generator_width", "discriminator_width", "norm_eps")
        _require_not_negative(self, "norm_gain_std")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All that decides which weights come out, the images aside.

    Attributes:
        model: the two networks.
        loss: what G minimises.
        discriminator_steps: D's steps for each step of G (k of Algorithm 1).
        updates: whom a minibatch trains.
        learning_rate: Adam's; the paper found 0.001 too high.
        beta1: Adam's momentum; the paper found 0.9 to oscillate.
        beta2: Adam's decay of squared gradients.
        gradient_l2: this times each parameter is added to its gradient; authors: 1e-5 on faces.
        batch_size: images in a minibatch.
        epochs: passes over the images.
        seed: decides initial weights, every z and the order of images.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: Loss = Loss.NON_SATURATING
    discriminator_steps: int = 1
    updates: Updates = Updates.BOTH
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    gradient_l2: float = 0.0
    batch_size: int = 128
    epochs: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        _require_positive(self, "discriminator_steps", "learning_rate", "epochs")
        _require_not_negative(self, "gradient_l2", "seed")
        if self.batch_size < 2:
            raise ConfigError(f"--batch-size is {self.batch_size}", hint="batch norm needs 2 or more")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{_option(name)} is {getattr(self, name)}", hint="give 0 or more, and less than 1")

    def to_json(self) -> dict[str, Any]:
        """Every field as plain numbers and strings, the model's among them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {**plain.pop("model"), **plain}


PRESETS: Mapping[str, TrainConfig] = {
    "paper": TrainConfig(),
    "authors": TrainConfig(
        model=ModelConfig(norm_gain_std=0.02, norm_eps=1e-8, norm_statistics=NormStatistics.BATCH),
        updates=Updates.ALTERNATE,
        gradient_l2=1e-5,
        epochs=25,
    ),
    "tiny": TrainConfig(
        # Minibatches of 16 blow out the contrast of the demo rooms.
        model=ModelConfig(resolution=32, generator_width=32, discriminator_width=32),
        batch_size=32,
        epochs=30,
    ),
}


def choose(preset: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """A preset with some of its fields, or its model's, replaced; an override of None is none.

    Raises:
        ConfigError: there is no such preset, or a value is out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}", hint=f"one of {', '.join(PRESETS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    of_model = {name: given.pop(name) for name in [field.name for field in fields(ModelConfig)] if name in given}
    config = PRESETS[preset]
    return replace(config, model=replace(config.model, **of_model), **given)
