"""Published figures: a data set and how many labels are learned from in; what the paper reports of each method out.

Radford et al. 2016: table 1 (CIFAR-10: accuracy, with all labels and with 400 per class) and table 2 (SVHN: error, with
1,000 labels).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MEASURED_BY_ERROR = frozenset({"svhn"})  # where the paper says what goes wrong; elsewhere accuracy


class Kind(StrEnum):
    """What a method is, for the paper's figure of it."""

    CRITIC = "critic"
    RANDOM = "random"
    PIXELS = "pixels"
    KMEANS = "kmeans"
    KMEANS3 = "kmeans3"
    SUPERVISED = "supervised"
    OTHER = "other"  # what is not measured here


@dataclass(frozen=True, slots=True)
class Published:
    """A figure of the paper.

    Attributes:
        kind: of the method.
        name: its name there.
        value: in per cent.
        spread: half of the 95% interval, in per cent; None where it gives none.
        note: what else it says.
    """

    kind: Kind
    name: str
    value: float
    spread: float | None = None
    note: str = ""


FIGURES: Mapping[tuple[str, int | None], tuple[Published, ...]] = {
    ("cifar10", None): (
        Published(Kind.KMEANS, "K-means, 1 layer", 80.6, note="4,800 maps"),
        Published(Kind.KMEANS3, "K-means, 3 layers", 82.0, note="learned receptive fields, 3,200 maps"),
        Published(Kind.OTHER, "K-means, view-invariant", 81.9, note="6,400 maps"),
        Published(Kind.OTHER, "Exemplar CNN", 84.3, note="1,024 maps"),
        Published(Kind.CRITIC, "D of a DCGAN", 82.8, note="512 maps"),
    ),
    ("cifar10", 4000): (
        Published(Kind.KMEANS, "K-means, 1 layer", 63.7, 0.7, "4,800 maps"),
        Published(Kind.KMEANS3, "K-means, 3 layers", 70.7, 0.7, "learned receptive fields, 3,200 maps"),
        Published(Kind.OTHER, "K-means, view-invariant", 72.6, 0.7, "6,400 maps"),
        Published(Kind.OTHER, "Exemplar CNN", 77.4, 0.2, "1,024 maps"),
        Published(Kind.CRITIC, "D of a DCGAN", 73.8, 0.4, "512 maps"),
    ),
    ("svhn", 1000): (
        Published(Kind.CRITIC, "D of a DCGAN", 22.48),
        Published(Kind.SUPERVISED, "CNN of D's architecture, supervised", 28.87, note="on the validation set"),
    ),
}


def find_published(dataset: str, labels: int | None, kind: Kind) -> Published | None:
    """The paper's figure of a method; None where it gives none."""
    if kind is Kind.OTHER:
        return None
    return next((each for each in FIGURES.get((dataset, labels), ()) if each.kind is kind), None)
