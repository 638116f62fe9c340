"""Randomness: a seed and a use in, a generator of its own out.

Stands beside "clean shards → DCGAN". Each use of randomness has a stream of its own, so that one more draw in one
changes nothing in another, and none draws from torch's global generators.
"""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What randomness is for. The numbers are part of what a seed means: they never change."""

    WEIGHTS = 0  # as networks begin
    NOISE = 1  # z of training
    SAMPLES = 2  # z of samples
    ROLLBACK = 3  # z of training after it went back once; after the n-th time, this and n - 1
    FIT = 20  # x and z that a critic of `train.theory` is fitted to
    CALIBRATION = 21  # z that batch norm is calibrated by
    EVALUATION = 22  # z of images that are measured
    PROBE = 23  # which labelled images are held out, and which are learned from
    K_MEANS = 24  # patches of K-means, where it begins, and the images that its features are standardised by
    SEARCH = 25  # options of a trial, its first weights, the order of its images, and dropout
    EXPLORATION = 26  # z of what `train.explore` draws
    RANDOM_FILTERS = 27  # weights that a trained D is compared with
    BOXES = 28  # positions outside of boxes, and maps that are dropped by chance
    VARIANTS = 30  # noise around a z of `train.explore`, and directions by chance
    ATTRIBUTES = 29  # weights of the classifier of attributes, and the minibatches and views that it learns from


def seeded_generator(seed: int, stream: int) -> torch.Generator:
    """A generator on the CPU, whatever the device: the same numbers everywhere."""
    return torch.Generator().manual_seed(int(np.random.default_rng([seed, stream]).integers(2**63)))
