"""Charts: curves in, uint8 RGB pictures out, drawn with OpenCV at four times the size and reduced.

For the pictures of `train.theory`; axes, dashes and labels are what they need and no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from train.samples import Pixels
from train.theory.target import Floats

Colour = tuple[int, int, int]  # RGB
Range = tuple[float, float]

INK: Colour = (28, 33, 39)
SOFT: Colour = (98, 109, 120)
GUIDE: Colour = (222, 226, 230)
ENLARGED = 4  # OpenCV's lines and letters are smooth only when drawn large
SUBPIXEL_BITS = 4
SHADES = 16  # the eye sees no fewer, and a PNG is a third of the size
FONT = cv2.FONT_HERSHEY_SIMPLEX
LETTER_HEIGHT = 21.0  # pixels of a capital at a scale of 1


@dataclass(frozen=True, slots=True)
class Line:
    """How a line is drawn; ``dashes`` are lengths that are drawn and left out in turn. In pixels."""

    colour: Colour
    width: float = 1.0
    dashes: tuple[float, ...] = ()


class Canvas:
    """A white picture of ``width`` x ``height`` pixels, drawn on in units of these."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._pixels = np.full((height * ENLARGED, width * ENLARGED, 3), 255, np.uint8)

    def line(self, x: Sequence[float] | Floats, y: Sequence[float] | Floats, line: Line) -> None:
        """Draw a line through points."""
        points = np.stack([x, y], axis=1) * ENLARGED
        for part in _cut(points, [length * ENLARGED for length in line.dashes]) if line.dashes else [points]:
            fixed = np.round(part * 2**SUBPIXEL_BITS).astype(np.int32)
            thickness = max(1, round(line.width * ENLARGED))
            cv2.polylines(self._pixels, [fixed], False, line.colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    def text(self, x: float, y: float, text: str, colour: Colour = INK, size: float = 8.0, align: float = 0.0) -> float:
        """Write ``text`` (ASCII) on the base line ``y``, its capitals ``size`` high; returns where it ends.

        It begins at ``x`` with ``align`` 0, and ends there with 1.
        """
        scale = size * ENLARGED / LETTER_HEIGHT
        thickness = max(1, round(scale * 2.0))
        (width, _), _ = cv2.getTextSize(text, FONT, scale, thickness)
        place = (round(x * ENLARGED - align * width), round(y * ENLARGED))
        cv2.putText(self._pixels, text, place, FONT, scale, colour, thickness, cv2.LINE_AA)
        return (place[0] + width) / ENLARGED

    def picture(self) -> Pixels:
        """What is drawn so far: uint8 RGB (height, width, 3), in `SHADES` a channel."""
        reduced = cv2.resize(self._pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)
        shade = 255 // (SHADES - 1)
        return (np.round(reduced / shade) * shade).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Axes:
    """A rectangle of a canvas that shows a range of x and of y.

    Attributes:
        canvas: to draw on.
        left, top, width, height: the rectangle, in pixels.
        x_range, y_range: what its sides are.
    """

    canvas: Canvas
    left: float
    top: float
    width: float
    height: float
    x_range: Range
    y_range: Range

    def across(self, x: Floats) -> Floats:
        """Pixels from the canvas's left edge."""
        return self.left + (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0]) * self.width

    def down(self, y: Floats) -> Floats:
        """Pixels from the canvas's upper edge; what lies beyond the range stands at its end."""
        clipped = np.clip(y, *self.y_range)
        return self.top + self.height - (clipped - self.y_range[0]) / (self.y_range[1] - self.y_range[0]) * self.height

    def frame(self, x_ticks: Sequence[float], y_ticks: Sequence[float], y_format: str = "{:g}") -> None:
        """Draw guides and axes with their labels; of x's, those in range."""
        right = self.left + self.width
        bottom = self.top + self.height
        for tick in y_ticks:
            y = float(self.down(np.array(tick)))
            self.canvas.line([self.left, right], [y, y], Line(GUIDE))
            self.canvas.text(self.left - 6, y + 3.5, y_format.format(tick), SOFT, size=7, align=1)
        for tick in x_ticks:
            if not self.x_range[0] <= tick <= self.x_range[1]:
                continue
            x = float(self.across(np.array(tick)))
            self.canvas.line([x, x], [bottom, bottom + 4], Line(SOFT))
            self.canvas.text(x, bottom + 15, f"{tick:g}", SOFT, size=7, align=0.5)
        self.canvas.line([self.left, right], [bottom, bottom], Line(SOFT))

    def curve(self, x: Floats, y: Floats, line: Line) -> None:
        """Draw y(x) where x is in range and y is a number."""
        shown = (x >= self.x_range[0]) & (x <= self.x_range[1]) & np.isfinite(y)
        if shown.any():
            self.canvas.line(self.across(x[shown]), self.down(y[shown]), line)


def _cut(points: Floats, lengths: Sequence[float]) -> list[Floats]:
    """The drawn parts of a dashed line through points (N, 2)."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    ends = [0.0]
    while ends[-1] < along[-1]:
        ends.append(ends[-1] + lengths[(len(ends) - 1) % len(lengths)])
    parts = []
    for start, end in list(pairwise(ends))[::2]:
        at = np.concatenate([[start], along[(along > start) & (along < end)], [min(end, along[-1])]])
        parts.append(np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1))
    return parts
