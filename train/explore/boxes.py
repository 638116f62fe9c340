"""Boxes: where an object is in samples, as masks, boxes, files of boxes and pictures of boxes; any of these in and out.

Stands after the last word of "clean shards → DCGAN". The paper's were drawn by hand (Radford et al. 2016, section
6.3.1); a file of boxes can be written by a person, or by `train.explore.forget`'s command for its finder.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from pipelines.errors import ConfigError
from pipelines.store import write_atomically
from train.samples import Pixels

LEAST_SHARE = 4 / 32**2  # of a picture: smaller spots are no windows
BOX_FIELDS = ("image", "left", "top", "width", "height")
EXAMPLE = '{"seed": 0, "count": 150, "boxes": [{"image": 0, "left": 4, "top": 4, "width": 8, "height": 8}]}'
RED = (255, 0, 0)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A box around an object in one of several pictures; ``image`` is its number, all else in pixels."""

    image: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class BoxFile:
    """Boxes around an object in samples: a JSON object of these fields, each of ``boxes`` an object of `Box`'s.

    Attributes:
        seed: sample i is the one of number i of ``python -m train.explore sheet RUN --seed SEED``.
        count: samples that were looked at; those without a box show no such object.
        boxes: in pixels of the sample as G draws it.
        drawn_by: what a run's settings were as it drew the samples, by name; none are compared where it is left out.
    """

    seed: int
    count: int
    boxes: tuple[Box, ...]
    drawn_by: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, path: Path, resolution: int) -> Self:
        """Read a file of boxes on samples of ``resolution`` pixels.

        Raises:
            ConfigError: there is no such file, it is not as the class says, or a box is not inside of a sample.
        """
        try:
            content = json.loads(path.read_bytes())
            boxes = tuple(Box(*(int(box[name]) for name in BOX_FIELDS)) for box in content["boxes"])
            listed = cls(int(content["seed"]), int(content["count"]), boxes, content.get("drawn_by"))
            if listed.seed < 0 or listed.count < 1:
                raise ValueError(f"seed {listed.seed}, count {listed.count}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is no file of boxes ({error})", hint=f"write them as {EXAMPLE}") from error
        for box in boxes:
            if not _lies_inside(box, listed.count, resolution):
                raise ConfigError(
                    f"{path}: {asdict(box)} is not inside of one of {listed.count} samples of {resolution} px",
                    hint="images count from 0, and boxes are in pixels of the sample as G draws it",
                )
        return listed

    def save(self, path: Path) -> None:
        """Write the file, and its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())


def box_spots(image: int, mask: Mask) -> list[Box]:
    """Boxes around the connected spots of a mask (H, W), but for those of less than `LEAST_SHARE` of it."""
    count, _, spots, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    least = LEAST_SHARE * mask.size
    return [Box(image, *spots[i, : cv2.CC_STAT_AREA].tolist()) for i in range(1, count) if spots[i, -1] >= least]


def mark_boxes(boxes: Sequence[Box], count: int, resolution: int, side: int) -> tuple[Mask, Mask]:
    """Positions whose centre is in a box, and those that a box covers some of: two masks (count, side, side)."""
    centred, touched = np.zeros((2, count, side, side), np.bool_)
    size = resolution // side
    starts = np.arange(side) * size
    for box in boxes:
        spans = ((box.top, box.top + box.height), (box.left, box.left + box.width))
        centred[box.image] |= np.outer(
            *((first <= starts + size / 2) & (starts + size / 2 < end) for first, end in spans)
        )
        touched[box.image] |= np.outer(*((first < starts + size) & (starts < end) for first, end in spans))
    return centred, touched


def outline(pixels: Pixels, boxes: Iterable[Box], factor: int) -> Pixels:
    """Pictures (N, R, R, 3) enlarged by ``factor``, with a red line around each box in one of them."""
    enlarged = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    for box in boxes:
        if box.image < len(enlarged):
            left, top, right, bottom = (
                factor * edge for edge in (box.left, box.top, box.left + box.width, box.top + box.height)
            )
            cv2.rectangle(enlarged[box.image], (left, top), (right - 1, bottom - 1), RED)
    return enlarged


def _lies_inside(box: Box, count: int, resolution: int) -> bool:
    return (
        0 <= box.image < count
        and min(box.width, box.height) > 0
        and min(box.left, box.top) >= 0
        and max(box.left + box.width, box.top + box.height) <= resolution
    )
