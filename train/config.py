"""Configuration: a preset's name and overrides in, a frozen and validated `TrainConfig` out.

Stands before the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards →
DCGAN". Defaults are the paper's (Radford et al. 2016, section 4); a field whose other value is what the paper's
authors did in their code says so. Presets are the files ``presets/NAME.toml``, whose first lines say what to expect of
them and how long it takes; a run leaves its own ``config.toml``, which repeats it.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

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


class Critic(StrEnum):
    """The architecture of D."""

    DCGAN = "dcgan"  # a layer for each halving of the side (section 3)
    SIX_CONV = "six_conv"  # 32 px: 128@32, 128@16, 256@16, 256@8, 512@8, 512@4; whose features the paper classifies by


class Precision(StrEnum):
    """The arithmetic of convolutions and products; batch norm's statistics, logits and losses are always fp32."""

    FP32 = "fp32"
    TF32 = "tf32"  # on GPUs that have it; elsewhere fp32
    BF16 = "bf16"


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
        critic: the architecture of D.
        classes: how many classes both networks are told of (conditional); 0: none.
    """

    resolution: int = 64
    z_size: int = 100
    z_prior: Prior = Prior.UNIFORM
    generator_width: int = 128
    discriminator_width: int = 128
    norm_gain_std: float = 0.0
    norm_eps: float = 1e-5
    norm_statistics: NormStatistics = NormStatistics.RUNNING
    critic: Critic = Critic.DCGAN
    classes: int = 0

    def __post_init__(self) -> None:
        if self.resolution not in RESOLUTIONS:
            raise ConfigError(f"--resolution is {self.resolution}", hint=f"one of {', '.join(map(str, RESOLUTIONS))}")
        _require_positive(self, "z_size", "generator_width", "discriminator_width", "norm_eps")
        _require_not_negative(self, "norm_gain_std", "classes")
        if self.critic is Critic.SIX_CONV and self.resolution != 32:
            raise ConfigError(f"--critic six_conv is for 32 pixels, not {self.resolution}", hint="give --resolution 32")


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
        decay_epochs: the last so many epochs, in which the learning rate falls linearly to 0 (authors: 100 on MNIST).
        precision: the arithmetic of convolutions and matrix products.
        hold_out: share of the images that are never trained on: what G draws is then measured by them.
        ema_decay: of an exponential moving average of G's weights, per step of G; 0: none is kept.
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
    decay_epochs: int = 0
    precision: Precision = Precision.FP32
    ema_decay: float = 0.0
    hold_out: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require_positive(self, "discriminator_steps", "learning_rate", "epochs")
        _require_not_negative(self, "gradient_l2", "seed", "decay_epochs")
        if self.batch_size < 2:
            raise ConfigError(f"--batch-size is {self.batch_size}", hint="batch norm needs 2 or more")
        for name in ("beta1", "beta2", "ema_decay", "hold_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{_option(name)} is {getattr(self, name)}", hint="give 0 or more, and less than 1")

    def to_json(self) -> dict[str, Any]:
        """Every field as plain numbers and strings, the model's among them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {**plain.pop("model"), **plain}


PRESETS = tuple(
    sorted(file.name.removesuffix(".toml") for file in files("train.presets").iterdir() if "toml" in file.name)
)


def choose(preset: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """A preset, with some fields of it or of its model replaced.

    Args:
        preset: one of `PRESETS`.
        overrides: field → value; None is none.

    Raises:
        ConfigError: there is no such preset or field, or a value is out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}", hint=f"one of {', '.join(PRESETS)}")
    return load(files("train.presets").joinpath(f"{preset}.toml"), overrides)


def load(file: Path | Traversable, overrides: Mapping[str, Any] = MappingProxyType({})) -> TrainConfig:
    """What a file of TOML, field = value, says; what it does not say is as in `TrainConfig`, or as overridden.

    Raises:
        ConfigError: the file cannot be read, or as `choose` does.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the configuration {file} cannot be read ({error})", hint="give a TOML file") from error
    return from_json(values | {name: value for name, value in overrides.items() if value is not None})


def from_json(values: Mapping[str, Any]) -> TrainConfig:
    """What `TrainConfig.to_json` or a TOML file gave; fields that are not given have their defaults.

    Raises:
        ConfigError: a field is unknown, or a value of another type or out of range.
    """
    types = {**get_type_hints(ModelConfig), **get_type_hints(TrainConfig)}
    of_model = {field.name for field in fields(ModelConfig)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types or name == "model":
            known = ", ".join(sorted(types.keys() - {"model"}))
            raise ConfigError(f"there is no option {name!r} of training", hint=f"there are {known}")
        try:
            given[name] = types[name](value)
            if isinstance(value, bool) or given[name] != value:
                raise ValueError
        except (TypeError, ValueError):
            raise ConfigError(f"{_option(name)} is {value!r}", hint=f"give {_describe(types[name])}") from None
    model = ModelConfig(**{name: given.pop(name) for name in list(given) if name in of_model})
    return TrainConfig(model=model, **given)


def to_toml(config: TrainConfig) -> str:
    """All fields, as a file that `load` reads."""
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.to_json().items())


def _describe(kind: type) -> str:
    if issubclass(kind, StrEnum):
        return f"one of {', '.join(kind)}"
    return "a whole number" if kind is int else "a number"
