"""Reviewed: a finished data set's folder in; what its pages show out, by number and without loading any table whole.

Serves every arrow from "thumbnails" to "clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN", for the eye. Nothing is built for it: arrays are mapped from where they lie, and rows
are read shard by shard as pages ask for them.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dedup.comparison.exhibits import align_splits
from dedup.finished import load_encoded
from dedup.images import Images, Numbers, read_usable
from pipelines.errors import CleanshardsError, IntegrityError, SourceError
from pipelines.headers import ImageRejected, read_header
from pipelines.images import encode_preview
from pipelines.manifest import Manifest
from pipelines.registry import locate_sources
from pipelines.sources import Source, Split, pick_records
from pipelines.store import Folder

PICTURES_IN_MEMORY_BYTES = 96 << 20
KEYS_IN_MEMORY = 50_000
ROW = ("key", "source", "width", "height", "size_bytes")


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture as a browser is given it.

    Attributes:
        content: its bytes.
        media_type: such as "image/webp".
        is_thumbnail: whether it is the 32×32 thumbnail, for the source is not at hand.
    """

    content: bytes
    media_type: str
    is_thumbnail: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The manifests of a finished run that a review reads."""

    thumbnails: Manifest
    groups: Manifest
    pairs: Manifest


class Reviewed:
    """A finished data set.

    Attributes:
        root: its folder.
        report: the content of its ``report.json``.
        images: all usable images, by number.
        found: the stages' manifests.
        dropped: dropped images, dtype `dedup.grouped.DROPPED`, by the one that is kept for them.
        summary: of the groups; its "population" names what was found.
    """

    def __init__(self, root: Folder, source: Source | None) -> None:
        encoded = load_encoded(root)
        hint = f"run: python -m dedup.run {root.name} (with the --source and --data-root of this data set)"
        try:
            groups, pairs = (Manifest.load(root / stage) for stage in ("groups", "pairs"))
            self.report: dict[str, Any] = json.loads(root.read("report.json"))
            self.dropped: npt.NDArray[Any] = np.load(groups.path("dropped.npy"), mmap_mode="r")
        except FileNotFoundError as error:
            raise SourceError(f"{root} holds no finished groups that can be reviewed", hint=hint) from error
        self.root, self.images = root, encoded.images()
        self.found = Found(encoded.thumbnails, groups, pairs)
        self.summary: dict[str, Any] = json.loads(groups.path("summary.json").read_bytes())
        self._keys = Keys(encoded.thumbnails, self.images)
        self._pictures = Pictures(encoded.thumbnails, self.images, self._keys, source)

    @classmethod
    def open(cls, root: Folder, uris: Sequence[str], data_root: Folder) -> Self:
        """Open the data set in a folder, and its source where it is at hand.

        Args:
            root: the folder that `python -m dedup.run` has worked in.
            uris: what ``--source`` gave; none: as the run was given them.
            data_root: where registered data sets lie.

        Raises:
            SourceError: it is not finished; the hint says what makes it.
            CleanshardsError: a source was given, and it is another than the data set was made of.
        """
        opened = cls(root, None)
        known = [row["uri"] for row in opened.report.get("sources", ()) if row["uri"]]
        try:
            source = locate_sources(root.name, uris or known, data_root)
            align_splits(source, opened.found.thumbnails)
        except CleanshardsError:
            if uris:
                raise
            return opened
        opened._pictures = Pictures(opened.found.thumbnails, opened.images, opened._keys, source)
        return opened

    @property
    def has_source(self) -> bool:
        """Whether pictures come from the source, and are not just thumbnails."""
        return self._pictures.has_source

    @property
    def population(self) -> str:
        """Names what the run found, whatever was decided of it since."""
        return str(self.summary["population"])

    def rows(self, numbers: Numbers) -> list[dict[str, Any]]:
        """Rows of images (columns `ROW`, and "number"), in the order of their numbers."""
        rows = self.images.rows(numbers, ROW).to_pylist()
        self._keys.remember(numbers, (row["key"] for row in rows))
        return [{"number": number, **row} for number, row in zip(numbers.tolist(), rows, strict=True)]

    def near_misses(self) -> npt.NDArray[Any]:
        """Pairs that were compared closely and fell short of the threshold, dtype `dedup.matching.pairs.PAIR`."""
        return np.concatenate([np.load(path) for path in self.found.pairs.paths(".near_misses.npy")])

    def picture(self, number: int) -> Picture:
        """The picture of that number at full size.

        Raises:
            IndexError: there is none.
        """
        return self._pictures.read(number)

    def thumbnail(self, number: int) -> Picture:
        """The 32×32 thumbnail of the picture of that number; IndexError where there is none."""
        return self._pictures.thumbnail(number)


class Keys:
    """Keys of usable images by number: pages say them, and pictures are then read by them."""

    def __init__(self, thumbnails: Manifest, images: Images) -> None:
        self._paths, self._images = thumbnails.paths(".parquet"), images
        self._known: OrderedDict[int, str] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, numbers: Numbers, keys: Iterable[str]) -> None:
        """Keep keys in memory, for their pictures are asked for next."""
        with self._lock:
            self._known.update(zip(numbers.tolist(), keys, strict=True))
            while len(self._known) > KEYS_IN_MEMORY:
                self._known.popitem(last=False)

    def locate(self, number: int) -> tuple[int, str]:
        """The shard of one image, and its key; IndexError where there is none."""
        if not 0 <= number < len(self._images):
            raise IndexError(number)
        ((part, _, place),) = self._images.ids.locate(np.array([number], np.int64))
        with self._lock:
            known = self._known.get(number)
        return part, known if known is not None else read_usable(self._paths[part], ["key"])["key"][place[0]].as_py()


class Pictures:
    """Encoded pictures by number: of the source where it is at hand, and what was read last in memory."""

    def __init__(self, thumbnails: Manifest, images: Images, keys: Keys, source: Source | None) -> None:
        self._images, self._keys, self._source = images, keys, source
        self._splits: Sequence[Split] = align_splits(source, thumbnails) if source else ()
        self._cached: OrderedDict[int, Picture] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    @property
    def has_source(self) -> bool:
        """Whether there is one."""
        return self._source is not None

    def thumbnail(self, number: int) -> Picture:
        """See `Reviewed.thumbnail`."""
        if not 0 <= number < len(self._images):
            raise IndexError(number)
        ((part, _, place),) = self._images.thumbnails.locate(np.array([number], np.int64))
        thumbnail = _read_alone(self._images.thumbnails.parts[part], int(place[0]))
        return Picture(encode_preview(thumbnail, max(thumbnail.shape)), "image/jpeg", True)

    def read(self, number: int) -> Picture:
        """See `Reviewed.picture`."""
        with self._lock:
            if number in self._cached:
                self._cached.move_to_end(number)
                return self._cached[number]
        picture = self._read(number)
        if not picture.is_thumbnail:
            with self._lock:
                if number not in self._cached:
                    self._cached[number] = picture
                    self._cached_bytes += len(picture.content)
                while self._cached_bytes > PICTURES_IN_MEMORY_BYTES and len(self._cached) > 1:
                    _, oldest = self._cached.popitem(last=False)
                    self._cached_bytes -= len(oldest.content)
        return picture

    def _read(self, number: int) -> Picture:
        """What the source has under the image's key, where that is still the image that the run saw."""
        if self._source is None:
            return self.thumbnail(number)
        part, key = self._keys.locate(number)
        (wanted,) = self._images.ids.take(np.array([number], np.int64)).tolist()
        try:
            for record in pick_records(self._source, self._splits[part], {key}):
                if int.from_bytes(hashlib.sha256(record.image).digest()[:8], "big") == wanted:
                    return Picture(record.image, f"image/{read_header(record.image).format}", False)
        except (SourceError, IntegrityError, ImageRejected, OSError):
            pass  # the source has gone meanwhile: the thumbnail stays
        return self.thumbnail(number)


def _read_alone(array: npt.NDArray[Any], place: int) -> npt.NDArray[Any]:
    """One entry of a mapped array, read from its file: where all are looked through, no part of it stays mapped."""
    assert isinstance(array, np.memmap) and array.filename is not None
    with Path(array.filename).open("rb") as file:
        file.seek(array.offset + place * array[0].nbytes)
        return np.frombuffer(file.read(array[0].nbytes), array.dtype).reshape(array.shape[1:])
