"""Gallery: a collection's crops, boxes and archive in; the pictures of its report, as small JPEGs, out.

What is shown is drawn by lot, by the hash of its key: any collection shows the same pictures however often it is
asked, and one that grows keeps most of them. Reads only the pictures that it shows.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facescrape.archive import picture_path
from facescrape.photos import ARCHIVE
from facescrape.report.accounts import Tables
from facescrape.report.credits import Credit, read_credits
from pipelines.images import ImageRejected, decode, encode_preview, read_header
from pipelines.page import data_uri
from pipelines.shards import read_records

FACES_SHOWN = 120
FACE_SIDE = 128
PHOTOGRAPHS_SHOWN = 12
PHOTOGRAPH_SIDE = 480
CELL = (336.0, 252.0)  # pixels that a photograph has on a wide page

_CANDIDATES = 3 * PHOTOGRAPHS_SHOWN  # some may have been forgotten since


@dataclass(frozen=True, slots=True)
class Place:
    """A crop: its shard, its key, and the photograph that it was cut from."""

    shard: str
    key: str
    photo_sha256: str


@dataclass(frozen=True, slots=True)
class Box:
    """A face box in pixels of a preview. ``reason`` is empty where it is kept; ``note`` says true size and score."""

    left: float
    top: float
    width: float
    height: float
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Photograph:
    """A preview of ``width`` × ``height`` pixels as a data URI, with its boxes and its credit."""

    credit: Credit
    uri: str
    width: int
    height: int
    boxes: Sequence[Box]

    @property
    def font(self) -> float:
        """Height of the labels' font in pixels of the preview, such that they look alike on every preview."""
        return 11 * max(self.width / CELL[0], self.height / CELL[1])

    def place_label(self, box: Box) -> tuple[float, float]:
        """Where a box's label begins, left and baseline: below the box, or above it where there is no room."""
        left = min(box.left, self.width - 0.6 * self.font * len(box.reason))
        below = box.top + box.height + 1.1 * self.font
        return max(0.0, left), below if below < self.height else box.top - 0.4 * self.font

    @property
    def summary(self) -> str:
        """How many boxes are kept and how many dropped for what, in words."""
        reasons = [box.reason for box in self.boxes]
        counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
        return ", ".join(f"{count} {reason or 'kept'}" for reason, count in counts.items())


def choose_faces(tables: Tables, dropped: Collection[str], count: int = FACES_SHOWN) -> list[Place]:
    """Draw crops that are not among the ``dropped``."""

    def places() -> Iterator[Place]:
        for shard in tables.shards:
            for row in tables.read("crops", shard, "key", "photo_sha256").to_pylist():
                if row["key"] not in dropped:
                    yield Place(shard, row["key"], row["photo_sha256"])

    return nsmallest(count, places(), key=lambda place: _lot(place.key))


def read_crops(tables: Tables, shard: str, keys: Collection[str], side: int) -> dict[str, str]:
    """Crops of one shard as data URIs, their longer side at most ``side`` pixels, by key."""
    wanted = frozenset(keys)
    return {
        record.key: data_uri(encode_preview(decode(record.image, at_least=side), side))
        for record in read_records(tables.crops.part(shard))
        if record.key in wanted
    }


def choose_photographs(tables: Tables, count: int = PHOTOGRAPHS_SHOWN) -> list[Photograph]:
    """Draw photographs with faces: every other one with a kept box, between them ones for each reason in turn."""
    lots: dict[str, list[tuple[str, str]]] = {}
    for shard in tables.shards:
        boxes = tables.read("boxes", shard, "sha256", "reason")
        for reason in pc.unique(boxes["reason"]).to_pylist():
            with_it = boxes.filter(pc.is_null(boxes["reason"]) if reason is None else pc.equal(boxes["reason"], reason))
            found = [(sha256, shard) for sha256 in pc.unique(with_it["sha256"]).to_pylist()]
            lots[reason or ""] = nsmallest(_CANDIDATES, [*lots.get(reason or "", []), *found])
    kept = lots.pop("", [])
    dropped = _in_turn([lots[reason] for reason in sorted(lots)])
    photographs: list[Photograph] = []
    for sha256, shard in dict.fromkeys(_in_turn([kept, list(dropped)])):
        photograph = _read_photograph(tables, shard, sha256) if len(photographs) < count else None
        if photograph is not None:
            photographs.append(photograph)
    return photographs


def _read_photograph(tables: Tables, shard: str, sha256: str) -> Photograph | None:
    """One photograph with its boxes; None where the archive holds it no more, or it cannot be decoded."""
    try:
        picture = picture_path(tables.root / ARCHIVE, sha256).read_bytes()
        preview = encode_preview(decode(picture, at_least=PHOTOGRAPH_SIDE), PHOTOGRAPH_SIDE)
    except (FileNotFoundError, ImageRejected):
        return None
    header = read_header(preview)
    (image,) = _rows(tables.read("images", shard, "sha256", "width", "height"), sha256)
    across, down = header.width / image["width"], header.height / image["height"]
    columns = ["sha256", "left", "top", "width", "height", "score", "sharpness", "reason"]
    boxes = [
        Box(
            left=row["left"] * across,
            top=row["top"] * down,
            width=row["width"] * across,
            height=row["height"] * down,
            reason=(row["reason"] or "").replace("_", " "),
            note=f"{row['width']:.0f} × {row['height']:.0f} px, score {row['score']:.3g}",
        )
        for row in _rows(tables.read("boxes", shard, *columns), sha256)
    ]
    (credit,) = read_credits(tables, shard, [sha256])
    return Photograph(credit, data_uri(preview), header.width, header.height, boxes)


def _rows(table: pa.Table, sha256: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.filter(pc.equal(table["sha256"], sha256)).to_pylist()
    return rows


def _in_turn(lists: Sequence[Sequence[tuple[str, str]]]) -> Iterable[tuple[str, str]]:
    """The first of each, then the second of each, and so on."""
    return (item for item in chain.from_iterable(zip_longest(*lists)) if item is not None)


def _lot(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()
