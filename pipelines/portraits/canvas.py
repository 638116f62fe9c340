"""The canvas of photographs: linear light, float32 (H, W, 3), and patches of it that are worked on in centimetres."""

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np

from pipelines.rooms.materials import F, Floats, resize, triple

FINEST_PER_CM = 14.0  # more detail than this is not drawn, but enlarged


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Where a head's centre is on a canvas, in pixels, and how many pixels make a centimetre."""

    canvas: Floats
    x: float
    y: float
    per_cm: float

    def patch(self, left: float, top: float, right: float, bottom: float, detail: float = 1.0) -> "Patch | None":
        """The visible part of a rectangle in centimetres, with so many samples per pixel; None: out of sight."""
        height, width = self.canvas.shape[:2]
        x0, y0 = max(0, floor(self.x + left * self.per_cm)), max(0, floor(self.y + top * self.per_cm))
        x1, y1 = min(width, ceil(self.x + right * self.per_cm)), min(height, ceil(self.y + bottom * self.per_cm))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return None
        detail = min(detail, FINEST_PER_CM / self.per_cm)
        columns, rows = max(2, round((x1 - x0) * detail)), max(2, round((y1 - y0) * detail))
        u = (x0 + (np.arange(columns) + 0.5) * ((x1 - x0) / columns) - self.x) / self.per_cm
        v = (y0 + (np.arange(rows) + 0.5) * ((y1 - y0) / rows) - self.y) / self.per_cm
        grid_u, grid_v = np.meshgrid(u.astype(F), v.astype(F))
        return Patch(self.canvas[y0:y1, x0:x1], grid_u, grid_v, (x1 - x0) / columns / self.per_cm)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A part of a canvas (a view into it), and the centimetres of its samples: u and v, each (h, w)."""

    target: Floats
    u: Floats
    v: Floats
    pixel_cm: float

    def paint(self, colour: Floats, cover: Floats) -> None:
        """Blend in a planar colour (3, h, w) by how much it covers, (h, w)."""
        height, width = self.target.shape[:2]
        layer = np.asarray(cv2.merge([np.ascontiguousarray(c * cover, F) for c in colour]), F)
        cover = np.ascontiguousarray(np.clip(cover, 0, 1), F)
        if cover.shape != (height, width):
            layer, cover = resize(layer, width, height), resize(cover, width, height)
        self.target[:] = self.target * triple(1 - cover) + layer
