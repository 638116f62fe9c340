"""Reference: the real images of a split in; their features and statistics, computed once and kept in a file, out.

Stands between "clean shards" and the metrics of what G draws: every number of `train.evaluation.evaluate` compares with
one reference, and names it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pipelines.errors import ConfigError, IntegrityError
from pipelines.store import write_atomically
from train.data import Indices, PackedImages, Pixels
from train.evaluation.distances import Gaussian, fit_gaussian
from train.evaluation.extractors import Extractor, extract
from train.evaluation.features import CPU, Features
from train.evaluation.manifold import NEIGHBOURS, Manifold, fit_manifold

BLOCK_IMAGES = 256  # read at a time
VERSION = 1  # of what is computed: a file of another is computed anew


@dataclass(frozen=True, slots=True)
class Split:
    """Some of a set's images, under a name.

    Attributes:
        name: such as ``rooms/clean``: what the user knows them by.
        images: the set.
        indices: int64 (N,), ascending: which of them.
    """

    name: str
    images: PackedImages
    indices: Indices

    @classmethod
    def whole(cls, name: str, images: PackedImages) -> "Split":
        """All of a set's images."""
        return cls(name, images, np.arange(len(images)))

    def sample(self, count: int, seed: int = 0) -> "Split":
        """``count`` of its images by chance, without replacement, under its name; all where there are not so many."""
        if count >= len(self):
            return self
        return replace(self, indices=np.sort(np.random.default_rng(seed).choice(self.indices, count, replace=False)))

    def part(self, share: float, seed: int = 0) -> tuple["Split", "Split"]:
        """Part it by chance: all but ``share`` of it, and that share (named ``…, held out``)."""
        order = np.random.default_rng(seed).permutation(self.indices)
        cut = len(order) - round(share * len(order))
        kept = replace(self, indices=np.sort(order[:cut]))
        return kept, Split(f"{self.name}, held out", self.images, np.sort(order[cut:]))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def alone(self) -> PackedImages:
        """Its images as a sequence of their own."""
        return self.images if len(self) == len(self.images) else self.images.choose(self.indices)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of which images these are."""
        return hashlib.sha256(self.images.digest.encode() + self.indices.astype("<i8").tobytes()).hexdigest()

    def blocks(self, size: int = BLOCK_IMAGES) -> Iterator[Pixels]:
        """Its images in order: uint8 RGB (up to ``size``, R, R, 3)."""
        for start in range(0, len(self), size):
            yield self.images.take(self.indices[start : start + size])


@dataclass(frozen=True, slots=True)
class ReferenceNote:
    """What a reference is of; two whose notes are equal are the same but for rounding.

    Attributes:
        split: name of the split.
        split_digest: SHA-256 of which images it holds.
        images: how many.
        resolution: of the images, in pixels.
        extractor, extractor_sha256, resizer: label, weights and resizer of the extractor.
        neighbours: k of precision, recall, density and coverage.
        version: of the computation.
    """

    split: str
    split_digest: str
    images: int
    resolution: int
    extractor: str
    extractor_sha256: str
    resizer: str
    neighbours: int
    version: int = VERSION

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Reference:
    """What drawn images are compared with.

    Attributes:
        note: what it is of.
        gaussian: for FID.
        manifold: features and radii, for everything else.
        digest: SHA-256 (hex) of note and numbers.
    """

    note: ReferenceNote
    gaussian: Gaussian
    manifold: Manifold
    digest: str

    @property
    def features(self) -> Features:
        """Float32 (N, D)."""
        return self.manifold.features


def open_reference(
    folder: Path, split: Split, extractor: Extractor, *, neighbours: int = NEIGHBOURS, device: torch.device = CPU
) -> Reference:
    """Read a split's reference from ``folder``, or compute it and write it there: ``<fingerprint>.safetensors``.

    All features are in memory, some 400 MB of them for 50,000 images and Inception: give a `Split.sample` of more.

    Raises:
        ConfigError: the split has too few images.
        IntegrityError: the file is damaged.
    """
    note = ReferenceNote(
        split.name,
        split.digest,
        len(split),
        split.images.resolution,
        extractor.label,
        extractor.sha256,
        extractor.resizer,
        neighbours,
    )
    path = folder / f"{note.fingerprint[:16]}.safetensors"
    if path.exists():
        return _read(path, note)
    features = extract(split.blocks(), extractor)
    manifold = fit_manifold(features, neighbours, device)
    gaussian = fit_gaussian(features, device)
    arrays = {
        "features": features,
        "squared_radii": manifold.squared_radii,
        "mean": gaussian.mean,
        "covariance": gaussian.covariance,
    }
    digest = _digest(note, arrays)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(arrays, metadata={"note": json.dumps(asdict(note)), "sha256": digest}))
    return Reference(note, gaussian, manifold, digest)


def _read(path: Path, note: ReferenceNote) -> Reference:
    hint = "remove it: it is then computed anew"
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata()
            arrays = {name: file.get_tensor(name) for name in ("features", "squared_radii", "mean", "covariance")}
        if json.loads(metadata["note"]) != asdict(note) or metadata["sha256"] != _digest(note, arrays):
            raise ValueError("it is not what was written")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"reference {path} cannot be read ({error})", hint=hint) from error
    gaussian = Gaussian(arrays["mean"], arrays["covariance"])
    manifold = Manifold(arrays["features"], arrays["squared_radii"], note.neighbours)
    return Reference(note, gaussian, manifold, metadata["sha256"])


def _digest(note: ReferenceNote, arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256(note.fingerprint.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def require_comparable(reference: Reference, extractor: Extractor) -> None:
    """Refuse to compare features of two extractors; ConfigError names both."""
    if reference.note.extractor_sha256 != extractor.sha256:
        raise ConfigError(
            f"the reference is of another extractor ({reference.note.extractor}) than the samples ({extractor.label})",
            hint="compute the reference with the same one",
        )
