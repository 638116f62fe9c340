"""Labelled images: a source with labels, or one of torchvision's data sets, in; pixels and class numbers out.

Stands beside the last word of "clean shards → DCGAN": what D is probed with need not be what it was trained on. In the
paper (section 5) that is CIFAR-10 and SVHN.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torchvision.datasets import CIFAR10, SVHN

from pipelines.errors import ConfigError, DownloadError, SourceError
from pipelines.images import ImageRejected, centre_square, decode
from pipelines.record import Record, Scalar
from pipelines.sources import Source
from train.randomness import Stream

LABEL_COLUMN = "label"
DIGITS = tuple("0123456789")
TEST_PART = 1  # of `Stream.PROBE`: which images become the test set

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images and what each of them shows.

    Attributes:
        name: what the user knows them by, such as ``cifar10/train``.
        pixels: uint8 RGB (N, R, R, 3).
        labels: int64 (N,): places in ``classes``.
        classes: names of the classes.
        digest: SHA-256 (hex) of pixels and labels.
    """

    name: str
    pixels: Pixels
    labels: Indices
    classes: tuple[str, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(repr(self.pixels.shape).encode())
        digest.update(np.ascontiguousarray(self.pixels).data)
        digest.update(self.labels.astype("<i8").tobytes())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __len__(self) -> int:
        return len(self.labels)

    def choose(self, indices: Indices) -> "LabelledImages":
        """Copy the images at ``indices``, in their order."""
        return LabelledImages(self.name, self.pixels[indices], self.labels[indices], self.classes)


class FeatureMap(Protocol):
    """What turns an image into numbers that a linear classifier can tell classes by."""

    @property
    def name(self) -> str:
        """As a table says it."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all that the features depend on beside the image."""
        ...

    @property
    def dimensions(self) -> int:
        """How many numbers there are of an image."""
        ...

    def features(self, pixels: Pixels) -> Features:
        """Of uint8 RGB (N, R, R, 3): float32 (N, dimensions)."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeData:
    """What a probe is trained and tested on.

    Attributes:
        train: images to train with, and to choose by.
        test: images that the reported figure is of.
        rejected: how many images of each set could not be decoded, by set and reason.
        differs: what is not as published, in words.
    """

    train: LabelledImages
    test: LabelledImages
    rejected: Mapping[str, int]
    differs: tuple[str, ...] = ()


def read_source(
    source: Source, name: str, *, side: int | None = None, label_column: str = LABEL_COLUMN
) -> tuple[LabelledImages, Counter[str]]:
    """Decode the images of a source that says what each of them shows.

    Args:
        source: its records have a label in their metadata.
        name: what the user knows it by.
        side: of the centre squares that are cut of the images, in pixels; as they are if None, for which they have to
            be squares of one size.
        label_column: under which name.

    Returns:
        The images, in the source's order, the classes in the order of their numbers or names; and how many images
        could not be decoded, by reason.

    Raises:
        SourceError: there is no image, one without a label, or images are of different sizes.
    """
    pixels: list[Pixels] = []
    labels: list[Scalar] = []
    rejected: Counter[str] = Counter()
    for record in _records(source):
        label = _read_label(record, label_column, source)
        try:
            image = decode(record.image, at_least=side)
        except ImageRejected as reason:
            rejected[str(reason.reason)] += 1
            continue
        pixels.append(centre_square(image, side) if side is not None else image)
        labels.append(label)
        if pixels[-1].shape != pixels[0].shape or (image.shape[0] != image.shape[1] and side is None):
            raise SourceError(
                f"the images of {source.name} are not squares of one size", hint="give the side to cut, as --side 64"
            )
    if not pixels:
        raise SourceError(f"no image of {source.name} can be read ({dict(rejected)})", hint="give another source")
    classes = sorted({str(label) for label in labels}, key=lambda kind: (len(kind), kind))
    numbers = {kind: number for number, kind in enumerate(classes)}
    return LabelledImages(
        name, np.stack(pixels), np.array([numbers[str(label)] for label in labels], np.int64), tuple(classes)
    ), rejected


def read_sources(
    train: Source, test: Source | None, name: str, *, side: int | None = None, label_column: str = LABEL_COLUMN
) -> tuple[LabelledImages, LabelledImages | None, dict[str, int]]:
    """Read a training and a test set, see `read_source`.

    Returns:
        Both, the second None where there is none; and how many images could not be decoded, by set and reason.

    Raises:
        SourceError: as `read_source` does, or the sets are of different sizes or classes.
    """
    training, rejected = read_source(train, f"{name}/train", side=side, label_column=label_column)
    lost = {f"train, {reason}": count for reason, count in rejected.items()}
    if test is None:
        return training, None, lost
    testing, rejected = read_source(test, f"{name}/test", side=side, label_column=label_column)
    lost |= {f"test, {reason}": count for reason, count in rejected.items()}
    if training.classes != testing.classes:
        raise SourceError(
            f"the classes of {test.name} ({', '.join(testing.classes[:12])}) are not those of {train.name} "
            f"({', '.join(training.classes[:12])})",
            hint="give two sets of one kind, or another --label-column",
        )
    if training.pixels.shape[1:] != testing.pixels.shape[1:]:
        raise SourceError(
            f"the images of {test.name} are not of the size of those of {train.name}",
            hint="give the side to cut, as --side 64",
        )
    return training, testing, lost


def hold_out(images: LabelledImages, share: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Part images by chance into all but ``share`` of them, and that share, which becomes the test set.

    Raises:
        ConfigError: one part would be empty.
    """
    count = round(share * len(images))
    if not 0 < count < len(images):
        raise ConfigError(f"--hold-out is {share}, of {len(images):,} images", hint="give a share such as 0.2")
    order = np.random.default_rng([seed, Stream.PROBE, TEST_PART]).permutation(len(images))
    return images.choose(np.sort(order[count:])), images.choose(np.sort(order[:count]))


def read_torchvision(name: str, root: Path, *, download: bool = False) -> tuple[LabelledImages, LabelledImages] | None:
    """The training and test set of CIFAR-10 or SVHN as their publishers pack them; None where they are not there.

    Args:
        name: one of `TORCHVISION`.
        root: the folder that holds their files.
        download: whether to fetch them first where they are missing.

    Raises:
        DownloadError: they cannot be fetched.
    """
    try:
        return TORCHVISION[name](root, download)
    except RuntimeError as error:  # of files that are missing or damaged
        if download:
            raise DownloadError(f"{name} cannot be fetched ({error})", hint="try again later") from error
        return None
    except OSError as error:
        if download:
            raise DownloadError(f"{name} cannot be fetched ({error})", hint="try again later") from error
        raise


def _read_cifar10(root: Path, download: bool) -> tuple[LabelledImages, LabelledImages]:
    train, test = (CIFAR10(str(root), train=part, download=download) for part in (True, False))
    return (
        LabelledImages("cifar10/train", train.data, np.array(train.targets, np.int64), tuple(train.classes)),
        LabelledImages("cifar10/test", test.data, np.array(test.targets, np.int64), tuple(test.classes)),
    )


def _read_svhn(root: Path, download: bool) -> tuple[LabelledImages, LabelledImages]:
    train, test = (
        LabelledImages(
            f"svhn/{split}",
            np.ascontiguousarray(part.data.transpose(0, 2, 3, 1)),  # torchvision's are (N, 3, 32, 32)
            np.asarray(part.labels, np.int64),
            DIGITS,
        )
        for split, part in ((split, SVHN(str(root), split=split, download=download)) for split in ("train", "test"))
    )
    return train, test


TORCHVISION: Mapping[str, Callable[[Path, bool], tuple[LabelledImages, LabelledImages]]] = {
    "cifar10": _read_cifar10,
    "svhn": _read_svhn,
}


def _records(source: Source) -> Iterable[Record]:
    return (record for split in source.splits() for record in source.read(split))


def _read_label(record: Record, column: str, source: Source) -> Scalar:
    label = record.meta.get(column)
    if label is None:
        raise SourceError(
            f"image {record.key} of {source.name} has no {column!r} (it has {', '.join(record.meta) or 'nothing'})",
            hint="give the name of what its images are told apart by, as --label-column smile",
        )
    return label
