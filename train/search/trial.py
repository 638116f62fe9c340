"""Trial: some labelled images and options drawn by chance in; a trained network and its validation error out.

Stands beside the last word of "clean shards → DCGAN". Radford et al. 2016, section 5.2, compare the probe of D with "a
purely supervised CNN with the same architecture on the same data", the best of 64 by random search (Bergstra & Bengio
2012), which errs on 28.87% of SVHN's validation images. They name neither what was searched nor in which ranges; ours
are those of `draw_options`. Images are not augmented, as theirs are not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Adam

from train.config import ModelConfig
from train.convolutions import choose_layout
from train.dcgan import Discriminator, from_pixels, initialise
from train.randomness import Stream

BATCH_SIZES = (16, 32, 64, 128)
SHORTEST = 8  # trials have at least one in so many of the most epochs
VALIDATIONS = 8  # in a trial, at most: the best of them counts
VALIDATION_BATCH = 500

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a network is trained.

    Attributes:
        learning_rate: Adam's.
        beta1: Adam's momentum.
        weight_decay: this times each parameter is added to its gradient.
        batch_size: images in a minibatch.
        dropout: share of the last layer's features that is left out in training.
        epochs: passes over the images, at most.
    """

    learning_rate: float
    beta1: float
    weight_decay: float
    batch_size: int
    dropout: float
    epochs: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Images and their classes on a device: uint8 RGB (N, R, R, 3) and int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def choose(self, rows: Tensor | slice) -> "Examples":
        """Those at ``rows``."""
        return Examples(self.pixels[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Data:
    """What trials share: examples to train with, those that trials are compared by, and how many classes there are."""

    training: Examples
    validation: Examples
    classes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    Attributes:
        error: share of the validation images that are classified wrong, the least of all validations; None where
            training diverged before the first.
        epoch: epochs before that validation, or before training diverged.
        diverged: whether the loss became infinite, or no number.
        weights: the network's at that validation, on the CPU; None without it.
    """

    error: float | None
    epoch: int
    diverged: bool
    weights: Weights | None


class Classifier(nn.Module):
    """D's convolutions with one output for each class: images (B, 3, R, R) in [-1, 1] → logits (B, classes)."""

    def __init__(self, model: ModelConfig, classes: int) -> None:
        super().__init__()
        self.critic = Discriminator(model)
        inputs = self.critic.classify.in_features
        self.critic.classify = None  # type: ignore[assignment]  # the one logit, real or fake, is not asked for
        self.classify = nn.Linear(inputs, classes)

    def forward(self, images: Tensor, kept: Tensor | None = None) -> Tensor:
        """Classify; ``kept`` (B, features) multiplies what the last layer takes in."""
        features = self.critic.features(images)[-1].flatten(1)
        logits: Tensor = self.classify(features if kept is None else features * kept)
        return logits


def draw_options(seed: int, trial: int, most_epochs: int) -> Options:
    """The options of a trial, which depend on nothing but these numbers."""
    rng = np.random.default_rng([seed, Stream.SEARCH, trial])
    return Options(
        learning_rate=_draw_scale(rng, 3e-5, 1e-2),
        beta1=round(float(rng.uniform(0.5, 0.95)), 3),
        weight_decay=_draw_scale(rng, 1e-6, 1e-1),
        batch_size=int(rng.choice(BATCH_SIZES)),
        dropout=round(float(rng.uniform(0.0, 0.7)), 3),
        epochs=round(_draw_scale(rng, max(most_epochs / SHORTEST, 1), most_epochs)),
    )


def run_trial(
    data: Data,
    model: ModelConfig,
    options: Options,
    seed: int,
    trial: int,
    report: Callable[[float], None] = lambda share: None,
) -> Outcome:
    """Train a network, from weights and with an order of images that depend on ``seed`` and ``trial`` alone.

    Args:
        data: what to train with, and to validate by.
        model: of D.
        options: how.
        seed: the search's.
        trial: its number.
        report: is called after each epoch with the share of all that is done.
    """
    noise = torch.Generator().manual_seed(int(np.random.default_rng([seed, Stream.SEARCH, trial, 0]).integers(2**63)))
    device = data.training.pixels.device
    network = Classifier(model, data.classes)
    initialise(network, model, noise)
    nn.init.zeros_(network.classify.bias)
    network.to(device=device, memory_format=choose_layout(device))  # type: ignore[call-overload]
    optimiser = Adam(
        network.parameters(), options.learning_rate, (options.beta1, 0.999), weight_decay=options.weight_decay
    )
    interval = math.ceil(options.epochs / VALIDATIONS)
    best = Outcome(None, 0, False, None)
    for epoch in range(1, options.epochs + 1):
        if not _train_epoch(network, optimiser, data, options, noise):
            return Outcome(best.error, best.epoch or epoch, True, best.weights)
        if epoch % interval == 0 or epoch == options.epochs:
            error = measure_error(network, data.validation)
            if best.error is None or error < best.error:
                weights = {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}
                best = Outcome(error, epoch, False, weights)
        report(epoch / options.epochs)
    return best


@torch.inference_mode()
def measure_error(network: Classifier, examples: Examples) -> float:
    """The share of examples, on the network's device, that it classifies wrong by batch norm's running averages.

    Leaves the network in evaluation mode.
    """
    network.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=examples.pixels.device)
    for start in range(0, len(examples), VALIDATION_BATCH):
        batch = examples.choose(slice(start, start + VALIDATION_BATCH))
        wrong += (network(from_pixels(batch.pixels)).argmax(1) != batch.labels).sum()
    return wrong.item() / len(examples)


def _train_epoch(network: Classifier, optimiser: Adam, data: Data, options: Options, noise: torch.Generator) -> bool:
    """Train on every example once. Returns whether the loss stayed finite."""
    network.train()
    device, features = data.training.pixels.device, network.classify.in_features
    finite = torch.ones((), dtype=torch.bool, device=device)
    order = torch.randperm(len(data.training), generator=noise)
    for start in range(0, len(order), options.batch_size):
        batch = data.training.choose(order[start : start + options.batch_size].to(device))
        kept = torch.empty(len(batch), features).bernoulli_(1 - options.dropout, generator=noise)
        logits = network(from_pixels(batch.pixels), kept.to(device) / (1 - options.dropout))
        loss = cross_entropy(logits, batch.labels)
        finite &= loss.isfinite()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return bool(finite)


def _draw_scale(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, to three digits."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")
