"""Data: clean shards in, minibatches of ``uint8`` images out.

Stands at the arrow of "clean shards → DCGAN". Shards are packed once per resolution: each becomes ``<shard>.rgb``, the
bare bytes of a uint8 array (N, R, R, 3), which is mapped and never read as a whole, and ``<shard>.labels.json``, what
its source calls each image. No augmentation, as in the paper.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from pipelines.errors import ConfigError, IntegrityError, SourceError
from pipelines.executors import Executor
from pipelines.images import ImageRejected, centre_square, decode
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.record import Record, Scalar
from pipelines.registry import locate_source
from pipelines.shards import read_records
from pipelines.sources import Source
from pipelines.stage import Plan, Task, plan_stage, run_stage
from pipelines.store import Folder, open_root

PACKED_SUFFIX, LABELS_SUFFIX = ".rgb", ".labels.json"

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PackClean:
    """Stage: clean shards → centre squares of ``resolution`` pixels, a file for each shard."""

    resolution: int

    name: ClassVar[str] = "from_clean"
    kind: ClassVar[str] = "clean"
    version: ClassVar[int] = 2

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One for each shard of the clean manifest."""
        (clean,) = upstream
        return [Task(part.shards[0].name, part) for part in clean.parts() if part.records]

    def run(self, task: Task, out: Path) -> int:
        """Pack one shard.

        Raises:
            IntegrityError: an image that de-duplication could decode no longer can be.
        """
        clean: Manifest = task.payload
        with Packer(out, task.name, self.resolution) as packer:
            for record in read_records(clean):
                try:
                    packer.add(record)
                except ImageRejected as rejected:
                    raise IntegrityError(
                        f"image {record.key} of {clean.folder / f'{task.name}.tar'} is damaged ({rejected.reason})",
                        hint="remove that file and run de-duplication again: it makes what is missing",
                    ) from rejected
        return len(packer.labels)


@dataclass(frozen=True, slots=True)
class PackRaw:
    """Stage: a source as it is, duplicates and all → centre squares; what cannot be decoded is left out."""

    source: Source
    resolution: int

    name: ClassVar[str] = "from_raw"
    kind: ClassVar[str] = "raw"
    version: ClassVar[int] = 2

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One for each split of the source."""
        assert not upstream
        return [Task(f"{i:05d}", split) for i, split in enumerate(self.source.splits())]

    def run(self, task: Task, out: Path) -> int:
        """Pack one split."""
        with Packer(out, task.name, self.resolution) as packer:
            for record in self.source.read(task.payload):
                with suppress(ImageRejected):
                    packer.add(record)
        return len(packer.labels)


class Packer:
    """Writes the two files of one shard; use as a context manager."""

    def __init__(self, folder: Path, name: str, resolution: int) -> None:
        self.labels: list[Scalar] = []
        self._resolution = resolution
        self._file = (folder / f"{name}{PACKED_SUFFIX}").open("wb")
        self._labels_path = folder / f"{name}{LABELS_SUFFIX}"

    def add(self, record: Record) -> None:
        """Append an image. Raises ImageRejected where it cannot be decoded."""
        self._file.write(shrink(record, self._resolution).tobytes())
        self.labels.append(record.meta.get("label"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is None:
            self._labels_path.write_text(json.dumps(self.labels))


def shrink(record: Record, resolution: int) -> Pixels:
    """Decode a record to its centre square: uint8 RGB (resolution, resolution, 3); ImageRejected with the reason."""
    return centre_square(decode(record.image, at_least=resolution), resolution)


class PackedImages:
    """All packed images of a set, as one sequence in the order of their shards.

    Attributes:
        resolution: side of the images, in pixels.
        digest: SHA-256 of the packed bytes, by which a resumed run knows that its images are the same.
        labels: what the source calls each image, one for each; None where it says nothing.
    """

    def __init__(
        self, shards: Sequence[Pixels], resolution: int, digest: str, labels: Sequence[Scalar] | None = None
    ) -> None:
        self.resolution = resolution
        self.digest = digest
        self._shards = [np.asarray(shard) for shard in shards]
        self._lengths = np.array([len(shard) for shard in shards], np.int64)
        self.labels = [None] * sum(map(len, shards)) if labels is None else labels
        self._ends = np.cumsum(self._lengths)
        self._chosen: Indices | None = None

    @classmethod
    def open(cls, manifest: Manifest, resolution: int) -> Self:
        """Map the files of a finished `PackClean` or `PackRaw`; an empty one holds nothing to map."""
        shape = (resolution, resolution, 3)
        files = [path for path in manifest.paths(PACKED_SUFFIX) if path.stat().st_size]
        shards = [np.memmap(path, np.uint8, mode="r").reshape(-1, *shape) for path in files]
        labels = [label for path in manifest.paths(LABELS_SUFFIX) for label in json.loads(path.read_bytes())]
        return cls(shards, resolution, manifest.digest, labels)

    def __len__(self) -> int:
        if self._chosen is not None:
            return len(self._chosen)
        return int(self._ends[-1]) if len(self._ends) else 0

    def choose(self, indices: Indices) -> "PackedImages":
        """The images at ``indices`` alone, as a sequence of their own; no pixel is copied."""
        labels = [self.labels[i] for i in indices.tolist()]
        indices = indices if self._chosen is None else self._chosen[indices]
        digest = hashlib.sha256(self.digest.encode() + indices.astype("<i8").tobytes()).hexdigest()
        chosen = PackedImages(self._shards, self.resolution, digest, labels)
        chosen._chosen = indices
        return chosen

    def number_labels(self, classes: int) -> Indices:
        """The labels as numbers below ``classes``, int64 (N,): their places among all, in order.

        Raises:
            ConfigError: an image has no label, or there are not so many different ones.
        """
        kinds = sorted({str(label) for label in self.labels if label is not None}, key=lambda kind: (len(kind), kind))
        if None in self.labels:
            raise ConfigError(
                f"{self.labels.count(None):,} of {len(self):,} images have no label",
                hint="give --classes 0, or a source with labels",
            )
        if len(kinds) != classes:
            raise ConfigError(
                f"--classes is {classes}, and there are {len(kinds)}", hint=f"give --classes {len(kinds)}"
            )
        numbers = {kind: number for number, kind in enumerate(kinds)}
        return np.array([numbers[str(label)] for label in self.labels], np.int64)

    def take(self, indices: Indices) -> Pixels:
        """Copy the images at ``indices``, in their order: uint8 RGB (len(indices), R, R, 3)."""
        if self._chosen is not None:
            indices = self._chosen[indices]
        taken = np.empty((len(indices), self.resolution, self.resolution, 3), np.uint8)
        homes = np.searchsorted(self._ends, indices, side="right")
        places = indices - (self._ends - self._lengths)[homes]
        # One by one is faster than by sets: each is a copy of some kilobytes.
        for row, (home, place) in enumerate(zip(homes.tolist(), places.tolist(), strict=True)):
            taken[row] = self._shards[home][place]
        return taken


@dataclass(frozen=True, slots=True)
class Packing:
    """The stage that packs a run's images, what it packs from, and the folder below which it packs."""

    stage: PackClean | PackRaw
    upstream: Sequence[Manifest]
    root: Path

    def plan(self) -> Plan:
        """What is packed already and what is not; touches nothing."""
        return plan_stage(self.stage, self.upstream, self.root)


def plan_packing(
    dataset: str,
    data_root: Path,
    resolution: int,
    allow_duplicates: bool = False,
    source_uri: str | None = None,
    clean_root: Folder | None = None,
) -> Packing:
    """Find what to train on: the finished clean set, or the raw source where duplicates are allowed.

    Args:
        dataset: its name.
        data_root: the folder below which it is packed.
        resolution: side of the packed images, in pixels.
        allow_duplicates: whether to pack the source as it is.
        source_uri: that source, if not the registry's.
        clean_root: the data root that holds the clean set, on this machine or below a URL, if not ``data_root``.

    Raises:
        SourceError: there is no finished clean set, or no such source.
        ConfigError: a source is given, and duplicates are not allowed.
    """
    root = data_root / dataset / "packed" / f"{resolution}px"
    if allow_duplicates:
        return Packing(PackRaw(locate_source(dataset, source_uri, data_root), resolution), (), root)
    if source_uri is not None:
        raise ConfigError(
            "--source goes with --allow-duplicates: training reads the clean set, which knows its source",
            hint=f"to clean it first: python -m dedup.run {dataset} --source {source_uri}",
        )
    folder = (clean_root or open_root(data_root)) / dataset
    try:
        clean = Manifest.load(folder / "clean")
    except FileNotFoundError:
        raise SourceError(
            f"there is no clean set of {dataset} in {folder}", hint=f"run: python -m dedup.run {dataset}"
        ) from None
    return Packing(PackClean(resolution), (clean,), root)


def pack(packing: Packing, executor: Executor, progress: Progress | None = None) -> PackedImages:
    """Pack what is not packed yet, and open all of it. The caller holds `dataset_lock` on ``packing.root``."""
    manifest = run_stage(packing.stage, packing.upstream, packing.root, executor, progress)
    return PackedImages.open(manifest, packing.stage.resolution)


def epoch_order(seed: int, epoch: int, count: int) -> Indices:
    """The order of ``count`` images in an epoch (from 0): a permutation that depends on these three alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def count_minibatches(images: PackedImages, batch_size: int) -> int:
    """Minibatches in an epoch; the images that do not fill the last one are left out, others each epoch.

    Raises:
        ConfigError: there are too few images for one.
    """
    if len(images) < batch_size:
        raise ConfigError(
            f"{len(images):,} images cannot fill a minibatch of {batch_size}",
            hint=f"give --batch-size {len(images)} or less" if len(images) > 1 else "the set needs more images",
        )
    return len(images) // batch_size
