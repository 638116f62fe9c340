"""Drawing: pictures, lines of text and boxes in, one SVG file that holds what it shows out."""

from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.images import encode_preview
from pipelines.page import data_uri

INK, SOFT, LINE = "#1c2127", "#626d78", "#e3e6ea"
KEPT, DROPPED, BAR = "#2f7d5b", "#ab5a0c", "#4677a8"
WIDTH, MARGIN = 720, 16

Pixels = NDArray[np.uint8]


class Drawing:
    """An SVG, on white, that grows downwards."""

    def __init__(self, title: str) -> None:
        self._title, self._parts, self._bottom = title, list[str](), 0.0

    def put(self, element: str, bottom: float) -> None:
        """Add an element that reaches down to ``bottom``."""
        self._parts.append(element)
        self._bottom = max(self._bottom, bottom)

    def picture(self, x: float, y: float, side: float, pixels: Pixels) -> None:
        """Lay (H, W, 3) RGB pixels into a square of that side, thumbnails as they are and others as a JPEG."""
        small = max(pixels.shape) <= 32
        if small:
            uri = data_uri(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(), "png")
        else:
            uri = data_uri(encode_preview(pixels, int(side * 1.6)))
        style = ' style="image-rendering:pixelated"' if small else ""
        self.put(f'<image x="{x}" y="{y}" width="{side}" height="{side}" href="{uri}"{style}/>', y + side)

    def text(self, x: float, y: float, text: str, colour: str = INK, anchor: str = "start", weight: int = 400) -> None:
        """Write one line on a baseline."""
        style = f'fill="{colour}" text-anchor="{anchor}" font-weight="{weight}"'
        self.put(f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>', y + 4)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        self.put(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{colour}"/>', y + height)

    def save(self, path: Path) -> None:
        """Write the file."""
        height = self._bottom + MARGIN
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            f'font-family="system-ui, DejaVu Sans, sans-serif" font-size="13"><title>{escape(self._title)}</title>\n'
            f'<rect width="{WIDTH}" height="{height:g}" rx="8" fill="#fff"/>\n' + "\n".join(self._parts) + "\n</svg>\n",
            encoding="utf-8",
        )
