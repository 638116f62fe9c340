"""Memorisation: drawn images and training images in; the nearest training image of each, and what is by heart, out.

The last word on "clean shards → DCGAN" beside the metrics: they are at their best for a G that learnt its training
images by heart. Real images that were not trained on come as near to training images as the world is alike; a sample
that comes nearer than all but 1 in 100 of those owes it to memory, as far as there are more of such samples than 1 in
100 (compare Meehan, Chaudhuri & Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models", AISTATS
2020). `dedup.audit` asks the same of codes and thumbnails; this asks packed pixels, and is done while training runs.

Images are compared by their luma at 32×32 pixels, less its mean and divided by its length: a similarity is the
correlation of two pictures, from -1 to 1, whatever their brightness and contrast. Training images are read through
once, block by block, and each is compared with each picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from pipelines.errors import ConfigError
from train.data import Indices, Pixels
from train.evaluation.features import CPU
from train.evaluation.reference import Split

SIDE = 32  # pixels
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
FLAT = 2.0  # levels of grey: where luma's standard deviation is less, a picture is of one colour, and near to nothing
PERCENTILE = 0.01
HELD_OUT_MOST = 5_000  # images not trained on that samples are measured by
LEFT_OUT_ONE_IN = 5  # of the training images, where these stand for images not seen
EQUAL = 1e-6  # similarities that differ by less, which is what float32 leaves of equal images, are equal
BLOCK_IMAGES = 2048  # training images at a time
QUERY_ROWS = 4096  # pictures that these are compared with at a time


@dataclass(frozen=True, slots=True)
class Nearest:
    """The training image that each of some pictures comes nearest to.

    Attributes:
        place: int64 (N,), its place in the packed images of the split.
        similarity: float64 (N,), their correlation.
        mirrored: bool (N,), whether the picture is nearer when it is mirrored.
    """

    place: Indices
    similarity: npt.NDArray[np.float64]
    mirrored: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many samples come nearer to a training image than held-out images do.

    Attributes:
        limit: similarity of the held-out image that bounds the nearest hundredth of them.
        nearer: bool (N,), which samples are more similar than that.
        expected: the share of samples that would be, were they as the held-out images are.
        interval: of the share of such samples, exact (Clopper & Pearson 1934), at 95%.
    """

    limit: float
    nearer: npt.NDArray[np.bool_]
    expected: float
    interval: tuple[float, float]

    @property
    def share(self) -> float:
        """Of samples that come nearer."""
        return float(self.nearer.mean())


@dataclass(frozen=True, slots=True)
class Memorisation:
    """What G learnt by heart, and what that was measured against.

    Attributes:
        nearest: of the samples.
        verdict: on them.
        training_split: name of the training images.
        training_images: how many.
        held_out_split: name of the held-out images; of training images that were left out in turn, it says so.
        held_out_images: how many.
    """

    nearest: Nearest
    verdict: Verdict
    training_split: str
    training_images: int
    held_out_split: str
    held_out_images: int

    def to_json(self) -> dict[str, Any]:
        """All but the single samples."""
        return {
            "samples": len(self.verdict.nearer),
            "nearer": int(np.count_nonzero(self.verdict.nearer)),
            "share": self.verdict.share,
            "interval": list(self.verdict.interval),
            "expected_share": self.verdict.expected,
            "limit": self.verdict.limit,
            "training_split": self.training_split,
            "training_images": self.training_images,
            "held_out_split": self.held_out_split,
            "held_out_images": self.held_out_images,
            "compared_by": f"correlation of luma at {SIDE} × {SIDE} pixels, mirrored too",
        }


def find_memorised(
    samples: Pixels, training: Split, held_out: Split | None = None, *, seed: int = 0, device: torch.device = CPU
) -> Memorisation:
    """Compare samples, and real images not trained on, with the training images.

    Args:
        samples: uint8 RGB (N, R, R, 3), as many pixels a side as the training images have.
        training: what G was trained on.
        held_out: real images that it was not trained on; up to 5,000 of them are used. None: a fifth of the training
            images, each compared with the others (in a set without duplicates, as training expects, nearly the same).
        seed: chooses which of them, where there are more.
        device: where products are computed.

    Raises:
        ConfigError: there is no sample, too few real images, or a held-out image that was trained on.
    """
    if not len(samples) or len(training) < 2 or (held_out is not None and not len(held_out)):
        raise ConfigError(
            f"{len(samples)} samples and {len(training)} training images are too few to look for memorised ones",
            hint="give a sample, two training images, and a held-out image if any are held out",
        )
    if held_out is None:
        measure = training.sample(min(HELD_OUT_MOST, -(-len(training) // LEFT_OUT_ONE_IN)), seed)
        measure, own = replace(measure, name=f"{training.name}, each left out in turn"), measure.indices
    elif held_out.images.digest == training.images.digest and np.isin(held_out.indices, training.indices).any():
        raise ConfigError(
            f"{held_out.name} holds images of {training.name}: they are no measure of memory",
            hint="hold out images that are not trained on, or give none",
        )
    else:
        measure, own = held_out.sample(HELD_OUT_MOST, seed), None
    baseline = find_nearest(measure.images.take(measure.indices), training, own=own, device=device)
    nearest = find_nearest(samples, training, device=device)
    verdict = judge(nearest.similarity, baseline.similarity)
    return Memorisation(nearest, verdict, training.name, len(training), measure.name, len(measure))


def find_nearest(
    pictures: Pixels,
    training: Split,
    *,
    own: Indices | None = None,
    device: torch.device = CPU,
    block_images: int = BLOCK_IMAGES,
    query_rows: int = QUERY_ROWS,
) -> Nearest:
    """Find the training image that each picture, or its mirror image, correlates with most; of equals, the first.

    Args:
        pictures: uint8 RGB (N, R, R, 3).
        training: at least one image.
        own: int64 (N,), for pictures that are training images: the place of each, which it is not compared with.
        device: where products are computed, in float32; similarities are then computed anew in float64.
        block_images: training images at a time.
        query_rows: pictures at a time; memory holds as many numbers as the product of the two, and 1024 per picture.
    """
    parts = _slices(len(pictures), query_rows)
    described = torch.cat([describe(pictures[rows], device).float() for rows in parts])
    best = np.full(len(pictures), -np.inf, np.float32)
    place = np.full(len(pictures), -1, np.int64)
    mirrored = np.zeros(len(pictures), np.bool_)
    for start in range(0, len(training), block_images):
        places = training.indices[start : start + block_images]
        block = describe(training.images.take(places), device).float()
        for rows in _slices(len(pictures), query_rows):
            for flipped in (False, True):
                likeness = (_mirror(described[rows]) if flipped else described[rows]) @ block.T
                if own is not None:
                    is_own = torch.from_numpy(own[rows, None] == places).to(device)
                    likeness.masked_fill_(is_own, -torch.inf)
                highest = likeness.max(1, keepdim=True).values
                first = (likeness >= highest - EQUAL).byte().argmax(1)
                values = highest[:, 0].cpu().numpy()
                better = values > best[rows] + EQUAL
                best[rows][better] = values[better]
                place[rows][better] = places[first.cpu().numpy()[better]]
                mirrored[rows][better] = flipped
    return Nearest(place, _similarities(pictures, training, place, mirrored, device, query_rows), mirrored)


def judge(
    samples: npt.NDArray[np.float64], held_out: npt.NDArray[np.float64], percentile: float = PERCENTILE
) -> Verdict:
    """Compare similarities of samples and of held-out images, at least one of each, to their nearest training images.

    If samples and held-out images are drawn alike, a sample is nearer than the j-th nearest of n held-out images with a
    chance of at most j in n + 1 (as in conformal prediction); j is the largest for which that is at most
    ``percentile``, or 1.
    """
    rank = max(1, int(percentile * (len(held_out) + 1)))
    limit = float(np.sort(held_out)[-rank])
    nearer = samples > limit
    share = binomtest(int(np.count_nonzero(nearer)), len(samples)).proportion_ci(0.95, "exact")
    return Verdict(limit, nearer, rank / (len(held_out) + 1), (float(share.low), float(share.high)))


def describe(pixels: Pixels, device: torch.device = CPU) -> Tensor:
    """Luma at 32×32, mean 0 and length 1: uint8 RGB (N, R, R, 3) → float64 (N, 1024); zeros for one colour."""
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2).double()
    small = adaptive_avg_pool2d(images, SIDE)
    weights = torch.tensor(LUMA, dtype=torch.float64, device=device)[:, None, None]
    luma = (small * weights).sum(1).flatten(1)
    centred = luma - luma.mean(1, keepdim=True)
    lengths = centred.norm(dim=1, keepdim=True)
    return torch.where(lengths > FLAT * SIDE, centred / lengths, 0.0)


def _mirror(described: Tensor) -> Tensor:
    """The description of each picture's mirror image."""
    return described.view(-1, SIDE, SIDE).flip(2).flatten(1)


def _similarities(
    pictures: Pixels,
    training: Split,
    place: Indices,
    mirrored: npt.NDArray[np.bool_],
    device: torch.device,
    query_rows: int,
) -> npt.NDArray[np.float64]:
    """Of each picture and its training image, in float64."""
    similarity = np.empty(len(pictures))
    for rows in _slices(len(pictures), query_rows):
        theirs = describe(training.images.take(place[rows]), device)
        ours = describe(pictures[rows], device)
        turned = torch.from_numpy(mirrored[rows, None]).to(device)
        similarity[rows] = (torch.where(turned, _mirror(ours), ours) * theirs).sum(1).cpu().numpy()
    return similarity


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
