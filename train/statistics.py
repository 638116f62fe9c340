"""Batch norm after training: a trained G or D in, the same with the statistics of one's choice out.

Stands after the last word of "clean shards → DCGAN". In training, batch norm always uses the minibatch's own mean and
variance. When images are drawn there are three ways, whose effect docs/sampling.md shows with figures:

================  =================================================================================================
``running``       averages that training kept, with a memory of some ten minibatches: each image depends on its z
                  alone. The usual way; its statistics lag a little behind the weights.
``batch``         the mean and variance of the minibatch that is being drawn, as in training and as the authors' code
                  draws: an image depends on its companions too, and cannot be drawn alone.
``recalibrated``  the mean, over many minibatches of fresh z, of each one's statistics, as the authors' code evaluates
                  SVHN: each image depends on its z alone, and the statistics belong to just these weights. The way
                  to draw from weights that kept no running averages, or that are averages of weights.
================  =================================================================================================
"""

import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import TypeVar

import torch
from torch import nn

from pipelines.errors import ConfigError
from train.config import ModelConfig, NormStatistics, TrainConfig
from train.dcgan import Discriminator, Generator
from train.randomness import Stream, seeded_generator
from train.samples import Inputs, stream_inputs

CALIBRATION_MINIBATCHES = 50

Network = TypeVar("Network", Generator, Discriminator)


class Statistics(StrEnum):
    """Whose statistics batch norm uses after training."""

    RUNNING = "running"
    BATCH = "batch"
    RECALIBRATED = "recalibrated"


def usual_statistics(config: TrainConfig) -> Statistics:
    """What a run draws its samples with: running averages where it keeps them, the minibatch's own if not."""
    keeps_running = config.model.norm_statistics is NormStatistics.RUNNING
    return Statistics.RUNNING if keeps_running else Statistics.BATCH


def prepare(
    network: Network, model: ModelConfig, statistics: Statistics, calibration: Iterable[Inputs] = ()
) -> Network:
    """A copy of G or D, in evaluation mode and without gradients, that uses ``statistics``; the network stays as it is.

    Args:
        network: a trained one, on any device, in any mode. Its batch norms may be those of several processes: the
            copy's are plain ones, which one process may use alone.
        model: what it was made from.
        statistics: whose mean and variance batch norm is to use.
        calibration: minibatches for `Statistics.RECALIBRATED`, on the network's device: of z for G, see
            `stream_calibration`, and of images for D.

    Raises:
        ConfigError: running averages are asked for, and the network keeps none.
    """
    with torch.device("meta"):  # weights that are replaced at once need not be drawn
        ready = type(network)(model)
    ready.load_state_dict({name: tensor.clone() for name, tensor in network.state_dict().items()}, assign=True)
    ready.requires_grad_(False).eval()
    match statistics:
        case Statistics.RUNNING:
            if any(norm.running_mean is None for norm in _norms(ready)):
                raise ConfigError(
                    "the run kept no running averages of batch norm's statistics",
                    hint="take recalibrated statistics, or the batch's",
                )
        case Statistics.BATCH:
            for norm in _norms(ready):
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
                norm.track_running_stats = False
        case Statistics.RECALIBRATED:
            recalibrate(ready, calibration)
    return ready


@torch.no_grad()
def recalibrate(network: nn.Module, minibatches: Iterable[Inputs]) -> None:
    """Set running averages to the mean of the means, and of the unbiased variances, of ``minibatches``.

    Each minibatch passes through the network as in training, normalised by its own statistics from layer to layer.
    Changes the network, also one that kept no running averages, and leaves it in evaluation mode.

    Raises:
        ValueError: there is no minibatch.
    """
    passes = list(minibatches)
    if not passes:
        raise ValueError("there is no minibatch to recalibrate with")
    weight = next(network.parameters())
    momenta = {norm: norm.momentum for norm in _norms(network)}
    for norm in momenta:
        norm.track_running_stats = True
        norm.running_mean = torch.zeros(norm.num_features, device=weight.device)
        norm.running_var = torch.ones(norm.num_features, device=weight.device)
        norm.num_batches_tracked = torch.zeros((), dtype=torch.int64, device=weight.device)
        norm.momentum = None  # a plain mean
    network.train()
    for inputs in passes:
        network(*inputs)
    network.eval()
    for norm, momentum in momenta.items():
        norm.momentum = momentum


def stream_calibration(
    config: TrainConfig,
    device: torch.device,
    *,
    limit: float = math.inf,
    minibatches: int = CALIBRATION_MINIBATCHES,
) -> Iterator[Inputs]:
    """Minibatches of training's size to recalibrate with: decided by the run's seed, of all classes in equal parts.

    Args:
        config: the run's.
        device: where G is.
        limit: of the images' own z, see `train.samples.truncate`: statistics depend on it (Brock et al. 2019).
        minibatches: how many.
    """
    noise = seeded_generator(config.seed, Stream.CALIBRATION)
    return islice(stream_inputs(config.model, config.batch_size, noise, limit=limit, device=device), minibatches)


def _norms(network: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
