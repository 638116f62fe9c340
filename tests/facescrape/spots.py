"""A detector that finds blue squares, so that what stands around a detector can be tested without a face."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from facescrape.detectors import Faces
from pipelines.images import Pixels
from pipelines.manifest import digest_of


@dataclass(frozen=True)
class SpotDetector:
    """Finds blue squares, the leftmost first; each has a sixteenth less of a score than the one before."""

    name: ClassVar[str] = "spots"

    sure_score: float = 0.5
    has_landmarks: bool = False

    def digest(self) -> str:
        return digest_of([self.sure_score, self.has_landmarks])

    def detect(self, image: Pixels) -> Faces:
        blue = (image[..., 2].astype(int) - image[..., 0] > 60).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(blue)
        boxes = np.asarray(sorted(row[:4].tolist() for row in stats[1:] if row[4] > 16), np.float32).reshape(-1, 4)
        scores = 1 - np.arange(len(boxes), dtype=np.float32) / 16
        middles = np.tile(boxes[:, :2] + boxes[:, 2:] / 2, 5)
        return Faces(boxes, scores, middles if self.has_landmarks else None)


def draw_spots(width: int, height: int, *spots: tuple[int, int, int], fine: bool = True) -> Pixels:
    """A grey picture with blue squares (left, top, side): in stripes, or plain as if out of focus."""
    image = np.full((height, width, 3), 200, np.uint8)
    for left, top, side in spots:
        square = image[max(top, 0) : top + side, max(left, 0) : left + side]
        square[...] = (20, 20, 230)
        if fine:
            square[np.arange(len(square)) % 16 < 8, :, 1] = 200
    return image
