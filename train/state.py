"""State: a configuration in; the networks, optimisers and all else that training's future depends on, out.

Stands at the last word of "clean shards → DCGAN": the loop changes it, `train.checkpoint` keeps it. There is no loss
scaler in it, for none is needed: bf16 has the range of float32.
"""

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Self

import torch
from torch import nn
from torch.optim import Adam

from train.config import TrainConfig
from train.convolutions import choose_layout
from train.dcgan import Discriminator, Generator, initialise
from train.ema import MovingAverage
from train.randomness import Stream, seeded_generator
from train.stats import Measures
from train.watch import Watcher

FORMAT = 2  # of what `TrainingState.pack` gives

_STATEFUL = ("generator", "discriminator", "generator_optimiser", "discriminator_optimiser")


@dataclass(slots=True)
class TrainingState:
    """Where training stands.

    Attributes:
        config: what is trained, and how.
        data_digest: SHA-256 of the images that it is trained on.
        generator, discriminator: the networks.
        generator_optimiser, discriminator_optimiser: their Adams.
        noise: where every z of training comes from; nothing draws from torch's global generators.
        epoch: epochs finished.
        minibatch: minibatches finished of the epoch after those.
        images_seen: images in all minibatches so far.
        measures: what was measured since the last row of statistics.
        average: the moving average of G's weights, where the configuration asks for one.
        watcher: what collapse is told by; made when real images are at hand.
        rollbacks: images seen at each checkpoint that training went back to; see `train.rollback`.
        best: "name" and "value" of the best metric so far, where one has been measured.
    """

    config: TrainConfig
    data_digest: str
    generator: Generator
    discriminator: Discriminator
    generator_optimiser: Adam
    discriminator_optimiser: Adam
    noise: torch.Generator
    epoch: int = 0
    minibatch: int = 0
    images_seen: int = 0
    measures: Measures = field(default_factory=Measures)
    average: MovingAverage | None = None
    watcher: Watcher | None = None
    rollbacks: list[int] = field(default_factory=list)
    best: dict[str, Any] | None = None

    @classmethod
    def begin(cls, config: TrainConfig, data_digest: str, device: torch.device) -> Self:
        """The state before the first minibatch; decided by the seed, whatever the device."""
        weights = seeded_generator(config.seed, Stream.WEIGHTS)
        generator, discriminator = Generator(config.model), Discriminator(config.model)
        for network in (generator, discriminator):
            initialise(network, config.model, weights)
            network.to(device=device, memory_format=choose_layout(device))  # type: ignore[call-overload]
        return cls(
            config,
            data_digest,
            generator,
            discriminator,
            _make_optimiser(generator, config),
            _make_optimiser(discriminator, config),
            seeded_generator(config.seed, Stream.NOISE),
            average=MovingAverage(generator, config.ema_decay) if config.ema_decay else None,
        )

    def pack(self) -> dict[str, Any]:
        """Everything, as tensors, numbers and strings. Raises TrainingError where a measure is not finite."""
        return {
            "format": FORMAT,
            "version": version("cleanshards"),
            "torch": str(torch.__version__),
            "config": self.config.to_json(),
            "data_digest": self.data_digest,
            "epoch": self.epoch,
            "minibatch": self.minibatch,
            "images_seen": self.images_seen,
            "measures": self.measures.fetch(),
            **{name: getattr(self, name).state_dict() for name in _STATEFUL},
            "noise": self.noise.get_state(),
            "watcher": None if self.watcher is None else self.watcher.to_json(),
            "rollbacks": list(self.rollbacks),
            "best": self.best,
            **({} if self.average is None else {"ema": self.average.state_dict()}),
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what `pack` gave."""
        self.epoch, self.minibatch = content["epoch"], content["minibatch"]
        self.images_seen = content["images_seen"]
        self.measures = Measures(content["measures"])
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(content[name])
        self.noise.set_state(content["noise"])
        if self.average is not None:
            self.average.load_state_dict(content["ema"])
        self.watcher = None if content["watcher"] is None else Watcher.from_json(content["watcher"])
        self.rollbacks = list(content["rollbacks"])
        self.best = content["best"]

    def roll_back(self, content: dict[str, Any]) -> None:
        """Take over an earlier state, but for the noise, as the same z would lead to the same end, and the best."""
        rollbacks, best = self.rollbacks, self.best
        self.restore(content)
        self.rollbacks, self.best = [*rollbacks, self.images_seen], best
        self.noise = seeded_generator(self.config.seed, Stream.ROLLBACK + len(rollbacks))


def _make_optimiser(network: nn.Module, config: TrainConfig) -> Adam:
    return Adam(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.gradient_l2,  # Adam's is L2 added to the gradient, as wanted; AdamW's would not be
        fused=True,
    )
