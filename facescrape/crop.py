"""Crops: photographs and the boxes kept in them in; small square pictures of faces, as shards, out.

Last arrow of "names → URLs → photographs → boxes → crops". The folder of shards is a source for `dedup.run`.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facescrape.detect import read_picture
from facescrape.photos import archive_of
from facescrape.status import Status
from pipelines.images import Pixels, decode
from pipelines.manifest import Manifest, digest_of
from pipelines.record import Record, Scalar
from pipelines.shards import ShardWriter
from pipelines.stage import Task

SOURCE = "faces"
JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),  # so small a face has no colour to spare
)


def cut_face(image: Pixels, box: Sequence[float] | npt.NDArray[np.float32], size: int, margin: float) -> Pixels:
    """Cut the square around a face out of a photograph, and shrink it to ``size`` where it is larger.

    The square is moved to lie inside the photograph, and made smaller where it does not fit: nothing is ever padded,
    and nothing enlarged.

    Args:
        image: uint8 RGB (H, W, 3).
        box: left, top, width and height in its pixels.
        size: the most pixels that a side of the crop may have.
        margin: what is added on each side, as a part of the box's side.

    Returns:
        uint8 RGB (S, S, 3), S at most ``size``.
    """
    height, width = image.shape[:2]
    left, top, box_width, box_height = map(float, box)
    side = min(max(1, round(max(box_width, box_height) * (1 + 2 * margin))), height, width)
    x = min(max(round(left + (box_width - side) / 2), 0), width - side)
    y = min(max(round(top + (box_height - side) / 2), 0), height - side)
    square = image[y : y + side, x : x + side]
    if side > size:
        return np.asarray(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return square.copy()


@dataclass(frozen=True, slots=True)
class _Payload:
    """One shard's tables, and where its pictures are."""

    archive: Path
    urls: Manifest
    photos: Manifest
    boxes: Manifest


@dataclass(frozen=True, slots=True)
class CropStage:
    """Cuts the faces that were kept: ``NNNNN.tar`` and ``NNNNN.parquet``, none where a shard has no face.

    A crop's key is the photograph's SHA-256 and the face's number in it. Its metadata say whose picture it is, who
    made it, under which licence, where it was found and where in it the face is.

    Attributes:
        size: the most pixels that a side of a crop has.
        margin: see `cut_face`. The paper's crops are the detector's boxes, whose lower edge runs through many a chin; a
            tenth more on each side takes the whole face in, and little that is no face.
    """

    name: ClassVar[str] = "crops"
    version: ClassVar[int] = 1

    size: int = 128
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.size < 1 or self.margin < 0:
            raise ValueError(f"the size must be positive, the margin not negative: {self}")

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard of boxes, known by its tables; ``upstream`` is the URLs', the photographs' and the boxes'."""
        archive, names = archive_of(upstream[0]), [shard.name for shard in upstream[-1].shards]
        parts = [{part.shards[0].name: part for part in manifest.parts()} for manifest in upstream]
        tasks = []
        for name in names:
            own = [of_stage[name] for of_stage in parts]
            inputs = digest_of([[file.sha256 for file in part.shards[0].files] for part in own])
            tasks.append(Task(name, _Payload(archive, *own), inputs))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Cut one shard's faces; returns how many."""
        payload: _Payload = task.payload
        cv2.setNumThreads(1)  # the executor's workers share the cores
        (boxes,) = payload.boxes.paths(".boxes.parquet")
        table = pq.read_table(boxes)
        kept = table.filter(pc.is_null(table["reason"])).to_pylist()
        origins = _read_origins(payload.urls, payload.photos)
        with ShardWriter(out, task.name) as shard:
            for sha256, faces in groupby(kept, key=lambda row: row["sha256"]):
                image = decode(read_picture(payload.archive, sha256))
                for record, width in self._cut(image, origins[sha256], faces):
                    digest = hashlib.sha256(record.image).hexdigest()
                    shard.add(record, source=SOURCE, format="jpeg", width=width, height=width, sha256=digest)
        return shard.records

    def _cut(
        self, image: Pixels, origin: Mapping[str, Scalar], faces: Iterator[Mapping[str, Any]]
    ) -> Iterator[tuple[Record, int]]:
        """A record for each face of one photograph, and its side in pixels."""
        for face in faces:
            box = [face[name] for name in ("left", "top", "width", "height")]
            crop = cut_face(image, box, self.size, self.margin)
            _, encoded = cv2.imencode(".jpg", crop[..., ::-1], JPEG)
            place = {f"box_{name}": round(face[name], 2) for name in ("left", "top", "width", "height")}
            found = {"photo_sha256": face["sha256"], "score": round(face["score"], 4), "detector": face["detector"]}
            key = f"{face['sha256']}-{face['face']}"
            yield Record(key, encoded.tobytes(), {**origin, **found, **place}), len(crop)


def _read_origins(urls: Manifest, photos: Manifest) -> dict[str, dict[str, Scalar]]:
    """SHA-256 of each photograph of a shard → what the first search result that led to it says."""
    results: dict[str, dict[str, Any]] = {}
    (found,), (outcomes,) = urls.paths(".urls.parquet"), photos.paths(".photos.parquet")
    for result in pq.read_table(found).to_pylist():
        results.setdefault(result["url"], result)
    fetched = pq.read_table(outcomes, columns=["url", "sha256"], filters=[("status", "=", Status.OK.value)])
    origins: dict[str, dict[str, Scalar]] = {}
    for photo in fetched.to_pylist():
        origins.setdefault(photo["sha256"], _origin_of(results[photo["url"]]))
    return origins


def _origin_of(result: Mapping[str, Any]) -> dict[str, Scalar]:
    same = ("licence", "licence_url", "author", "page", "title", "provider", "url")
    return {"person": result["name"], "person_uri": result["person"], **{name: result[name] for name in same}}
