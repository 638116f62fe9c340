"""Boxes: photographs in; the faces found in them, kept or dropped for a reason, out.

Fourth arrow of "names → URLs → photographs → boxes → crops". Every distinct photograph has a row, every box that the
detector finds has one.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from facescrape.archive import picture_path
from facescrape.detectors import FaceDetector, Faces, Floats, find_faces
from facescrape.photos import archive_of
from facescrape.status import Status
from facescrape.tables import BOXES, IMAGES
from pipelines import images
from pipelines.errors import IntegrityError
from pipelines.images import ImageRejected, Pixels, decode, read_bounded_header
from pipelines.manifest import Manifest
from pipelines.stage import Task

SHARPNESS_SIDE = 128
_SHA256_BYTES = 32

Digests = npt.NDArray[np.uint8]  # (n, 32): SHA-256 of n photographs


class BoxReason(StrEnum):
    """The closed list of reasons for which a box is dropped; the first that applies, in this order."""

    TOO_SMALL = "too_small"
    LOW_SCORE = "low_score"
    CUT_OFF = "cut_off"  # by the picture's border
    BLURRED = "blurred"
    DUPLICATE = "duplicate"  # most of it, or of a better box, is the same


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a box: kept, where ``reason`` is None. ``sharpness`` is None where it did not come to that."""

    reason: BoxReason | None
    sharpness: float | None = None


@dataclass(frozen=True, slots=True)
class FaceFilter:
    """Which boxes are kept.

    Attributes:
        min_face: least side of a box in pixels of the photograph.
        max_outside: part of the side by which a box may reach beyond the picture's border.
        min_sharpness: least `measure_sharpness`. Among YuNet's faces of 64 px and more in 366 web photographs, smears
            have 5 to 54 and the softest in focus 72; a smear behind the sharp edge of something near may have 300, and
            passes.
        max_overlap: part of the smaller of two boxes that the larger may cover.
    """

    min_face: int = 128
    max_outside: float = 0.05
    min_sharpness: float = 60.0
    max_overlap: float = 0.5

    def __post_init__(self) -> None:
        if self.min_face < 1 or self.min_sharpness < 0:
            raise ValueError(f"the least side must be positive, the least sharpness not negative: {self}")
        if not (0 <= self.max_outside <= 1 and 0 <= self.max_overlap <= 1):
            raise ValueError(f"parts must lie between 0 and 1: {self}")

    def judge(
        self, faces: Faces, sure_score: float, width: int, height: int, picture: Callable[[], Pixels]
    ) -> list[Verdict]:
        """Keep or drop each face of a photograph.

        Args:
            faces: in pixels of the photograph, best score first.
            sure_score: least score to be believed.
            width: of the photograph.
            height: of the photograph.
            picture: gives it as uint8 RGB (height, width, 3); asked only where a box has passed all else.

        Returns:
            A verdict for each face.
        """
        verdicts: list[Verdict] = []
        kept: list[Floats] = []
        for box, score in zip(faces.boxes, faces.scores, strict=True):
            reason, sharpness = self._judge_place(box, float(score), sure_score, width, height), None
            if reason is None:
                sharpness = measure_sharpness(picture(), box)
                if sharpness < self.min_sharpness:
                    reason = BoxReason.BLURRED
                elif any(measure_overlap(box, better) > self.max_overlap for better in kept):
                    reason = BoxReason.DUPLICATE
                else:
                    kept.append(box)
            verdicts.append(Verdict(reason, sharpness))
        return verdicts

    def _judge_place(self, box: Floats, score: float, sure_score: float, width: int, height: int) -> BoxReason | None:
        left, top, box_width, box_height = map(float, box)
        if min(box_width, box_height) < self.min_face:
            return BoxReason.TOO_SMALL
        if score < sure_score:
            return BoxReason.LOW_SCORE
        outside = max(-left, left + box_width - width) / box_width, max(-top, top + box_height - height) / box_height
        return BoxReason.CUT_OFF if max(outside) > self.max_outside else None


def measure_sharpness(image: Pixels, box: Floats) -> float:
    """How sharp what a box shows is, at 128 px where it is larger; see `pipelines.images.measure_sharpness`.

    Args:
        image: uint8 RGB (H, W, 3).
        box: left, top, width and height in its pixels; some of it lies inside the image.
    """
    left, top, right, bottom = np.round([box[0], box[1], box[0] + box[2], box[1] + box[3]]).astype(int)
    face = image[max(top, 0) : max(bottom, top + 1, 1), max(left, 0) : max(right, left + 1, 1)]
    return images.measure_sharpness(np.ascontiguousarray(face), SHARPNESS_SIDE)


def measure_overlap(one: Floats, other: Floats) -> float:
    """Area that two boxes share, as a part of the smaller one's: a box inside another has 1."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(max(across, 0) * max(down, 0) / min(one[2] * one[3], other[2] * other[3]))


@dataclass(frozen=True, slots=True)
class DetectStage:
    """Finds faces: ``NNNNN.images.parquet`` (`tables.IMAGES`) and ``NNNNN.boxes.parquet`` (`tables.BOXES`).

    Attributes:
        detector: finds them.
        filter: keeps or drops them.
        longest_side: pixels that photographs are shrunk to for the detector, where they have more. At 1,024 a face of
            128 px in a photograph of 12 megapixels still has 33, which both detectors find.
    """

    name: ClassVar[str] = "boxes"
    version: ClassVar[int] = 1

    detector: FaceDetector
    filter: FaceFilter = FaceFilter()
    longest_side: int = 1024

    def __post_init__(self) -> None:
        if self.longest_side < 1:
            raise ValueError(f"the longest side must be positive: {self}")

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per shard of photographs, known by those that no earlier shard has; ``upstream`` is their manifest."""
        (photos,) = upstream
        archive = archive_of(photos)
        names = [shard.name for shard in photos.shards]
        return [
            Task(name, (archive, own), hashlib.sha256(own.tobytes()).hexdigest())
            for name, own in zip(names, distinct_photos(photos.paths(".photos.parquet")), strict=True)
        ]

    def run(self, task: Task, out: Path) -> int:
        """Look for faces in one shard's photographs; returns how many photographs."""
        archive, digests = task.payload
        cv2.setNumThreads(1)  # the executor's workers share the cores
        images, boxes = [], []
        for digest in digests:
            sha256 = digest.tobytes().hex()
            image, faces = self.look(read_picture(archive, sha256))
            images.append({"sha256": sha256, **image})
            boxes += [{"sha256": sha256, "detector": self.detector.name, **face} for face in faces]
        pq.write_table(pa.Table.from_pylist(images, IMAGES), out / f"{task.name}.images.parquet")
        pq.write_table(pa.Table.from_pylist(boxes, BOXES), out / f"{task.name}.boxes.parquet")
        return len(images)

    def look(self, data: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Look for faces in one encoded photograph.

        Returns:
            Its part of a row of `tables.IMAGES`, and of a row of `tables.BOXES` for each face.
        """
        try:
            header = read_bounded_header(data)
            width, height = header.width, header.height
            # Most photographs show no face that is large enough: only those that may are decoded at full size.
            small = decode(data, at_least=max(1, self.longest_side * min(width, height) // max(width, height)))
            found = find_faces(self.detector, small, self.longest_side)
            faces = found.scaled(width / small.shape[1], height / small.shape[0])
            full = cache(lambda: small if small.shape[:2] == (height, width) else decode(data))
            verdicts = self.filter.judge(faces, self.detector.sure_score, width, height, full)
        except ImageRejected as rejected:
            return {"reason": rejected.reason.value}, []
        kept = sum(verdict.reason is None for verdict in verdicts)
        image = {"width": width, "height": height, "faces": len(faces), "kept": kept}
        return image, [_row_of(faces, face, verdict) for face, verdict in enumerate(verdicts)]


def distinct_photos(tables: Iterable[Path]) -> list[Digests]:
    """For each table of photographs the SHA-256 of those fetched whole that stand in no row and table before.

    Takes some 500 MB of memory for the paper's three million.
    """
    parts = [_read_digests(table) for table in tables]
    if not parts:
        return []
    ends = np.cumsum([len(part) for part in parts])[:-1]
    fetched = np.concatenate(parts)
    parts.clear()
    # NumPy sorts fixed-width bytes quickly; that it ignores zeros at their ends makes no two of one width the same.
    _, first = np.unique(fetched.view(f"S{_SHA256_BYTES}")[:, 0], return_index=True)
    is_first = np.zeros(len(fetched), bool)
    is_first[first] = True
    return [own[mask] for own, mask in zip(np.split(fetched, ends), np.split(is_first, ends), strict=True)]


def _read_digests(table: Path) -> Digests:
    rows = pq.read_table(table, columns=["sha256"], filters=[("status", "=", Status.OK.value)])
    digests = bytes.fromhex("".join(rows["sha256"].to_pylist()))
    return np.frombuffer(digests, np.uint8).reshape(-1, _SHA256_BYTES)


def read_picture(archive: Path, sha256: str) -> bytes:
    """The bytes of a picture in the archive in a folder.

    Raises:
        IntegrityError: it is not there.
    """
    path = picture_path(archive, sha256)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(
            f"the picture {path} is gone, and the tables name it",
            hint=f"remove {archive} to fetch everything again",
        ) from error


def _row_of(faces: Faces, face: int, verdict: Verdict) -> dict[str, Any]:
    left, top, width, height = faces.boxes[face].tolist()
    return {
        "face": face,
        "left": left,
        "top": top,
        "width": width,
        "height": height,
        "score": float(faces.scores[face]),
        "landmarks": None if faces.landmarks is None else faces.landmarks[face].tolist(),
        "sharpness": verdict.sharpness,
        "reason": verdict.reason and verdict.reason.value,
    }
