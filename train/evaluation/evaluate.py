"""Evaluation: drawn images and a reference in; every metric, with all that it depends on, out.

The last word on "clean shards → DCGAN": how good is what G draws? A number without its reference, counts, resizer,
extractor and batch-norm mode says nothing, so an `Evaluation` holds them, and its scalars are called FID and KID only
where the extractor is the one that these names stand for.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from pipelines.errors import ConfigError
from train.data import Pixels
from train.evaluation.distances import fit_gaussian, frechet_distance, kernel_distance
from train.evaluation.extractors import Extractor, extract
from train.evaluation.features import CPU
from train.evaluation.manifold import compare, fit_manifold
from train.evaluation.reference import Reference, require_comparable

Draw = Callable[[int], Iterator[Pixels]]  # a count → that many images: uint8 RGB (B, R, R, 3), B as it likes


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the images were drawn.

    Attributes:
        weights: of G: as trained, or their moving average.
        norm_statistics: what batch norm used.
        seed: of z and of KID's subsets.
    """

    weights: str
    norm_statistics: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The metrics of one set of drawn images, and what they depend on.

    Attributes:
        frechet_distance: FID where the extractor is Inception; 0 at best.
        kernel_distance, kernel_distance_std: KID likewise, mean and standard deviation over subsets; about 0 at best.
        precision: share of drawn images that look real.
        recall: share of real images that could be drawn.
        density: like precision, less led astray by outliers; about 1 at best, may exceed it.
        coverage: like recall, less led astray by outliers.
        samples: how many images were drawn.
        reference_images: how many they were compared with.
        reference_split: which those are.
        reference_sha256: of their features and statistics.
        resolution: of drawn and real images, in pixels.
        extractor_name, extractor, extractor_sha256: kind, label and weights.
        resizer: what brought images to the extractor's size.
        neighbours: k of the four in the middle.
        kernel_subsets, kernel_subset_size: of the kernel distance.
        weights, norm_statistics, seed: see `Sampling`.
    """

    frechet_distance: float
    kernel_distance: float
    kernel_distance_std: float
    precision: float
    recall: float
    density: float
    coverage: float
    samples: int
    reference_images: int
    reference_split: str
    reference_sha256: str
    resolution: int
    extractor_name: str
    extractor: str
    extractor_sha256: str
    resizer: str
    neighbours: int
    kernel_subsets: int
    kernel_subset_size: int
    weights: str
    norm_statistics: str
    seed: int

    def scalars(self) -> dict[str, float]:
        """The metrics, by names that tell the extractor: ``inception/fid``, or ``random/frechet_distance``."""
        is_inception = self.extractor_name == "inception"
        frechet, kernel = ("fid", "kid") if is_inception else ("frechet_distance", "kernel_distance")
        named = {
            frechet: self.frechet_distance,
            kernel: self.kernel_distance,
            f"{kernel}_std": self.kernel_distance_std,
            "precision": self.precision,
            "recall": self.recall,
            "density": self.density,
            "coverage": self.coverage,
        }
        return {f"{self.extractor_name}/{name}": value for name, value in named.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it: ``metrics`` as `scalars` names them, and each setting."""
        metrics = {"frechet_distance", "kernel_distance", "kernel_distance_std"}
        metrics |= {"precision", "recall", "density", "coverage"}
        settings = {name: value for name, value in asdict(self).items() if name not in metrics}
        return {"metrics": self.scalars(), **settings}


def evaluate(
    draw: Draw,
    reference: Reference,
    extractor: Extractor,
    *,
    count: int,
    sampling: Sampling,
    device: torch.device = CPU,
) -> Evaluation:
    """Draw ``count`` images and compare them with the reference.

    Args:
        draw: yields images of the reference's resolution, ``count`` in all.
        reference: of the same extractor.
        extractor: makes features.
        count: at least one more than the reference's neighbours.
        sampling: how ``draw`` draws.
        device: where distances are computed, in float64.

    Raises:
        ConfigError: there are too few images, or the reference is of another extractor or resolution.
        IntegrityError: the extractor's weights are damaged.
    """
    require_comparable(reference, extractor)
    features = extract(_checked(draw(count), reference.note.resolution), extractor)
    assert len(features) == count, f"{len(features)} images were drawn, and not {count}"
    manifold = fit_manifold(features, reference.note.neighbours, device)
    agreement = compare(reference.manifold, manifold, device)
    kernel = kernel_distance(reference.features, features, seed=sampling.seed, device=device)
    return Evaluation(
        frechet_distance=frechet_distance(reference.gaussian, fit_gaussian(features, device), device),
        kernel_distance=kernel.mean,
        kernel_distance_std=kernel.std,
        precision=agreement.precision,
        recall=agreement.recall,
        density=agreement.density,
        coverage=agreement.coverage,
        samples=count,
        reference_images=reference.note.images,
        reference_split=reference.note.split,
        reference_sha256=reference.digest,
        resolution=reference.note.resolution,
        extractor_name=extractor.name,
        extractor=extractor.label,
        extractor_sha256=extractor.sha256,
        resizer=extractor.resizer,
        neighbours=reference.note.neighbours,
        kernel_subsets=kernel.subsets,
        kernel_subset_size=kernel.subset_size,
        weights=sampling.weights,
        norm_statistics=sampling.norm_statistics,
        seed=sampling.seed,
    )


def _checked(blocks: Iterator[Pixels], resolution: int) -> Iterator[Pixels]:
    for block in blocks:
        assert block.dtype == np.uint8
        if block.shape[1:] != (resolution, resolution, 3):
            raise ConfigError(
                f"samples are {block.shape[2]} × {block.shape[1]} pixels, and the reference's images {resolution}",
                hint="compute the reference at the resolution of the run",
            )
        yield block
