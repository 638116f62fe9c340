"""Layout: pictures in, one picture of them with white gaps and captions out.

Serves the pictures of `train.explore`. Everything is uint8 RGB (H, W, 3), and every function gives such a picture.
"""

from collections.abc import Sequence

import numpy as np

from train.samples import EMPTY, SMALLEST_TILE, Pixels
from train.theory.chart import INK, Canvas

GAP = 4  # pixels between tiles
WIDE_GAP = 20  # between groups of them
LETTER = 8.0  # pixels, the height of a capital
LINE_HEIGHT = 18
CLIP_QUALITY = 92  # of an animated WebP
SHEET_COLUMNS = 12


def enlarge(images: Pixels, least: int = SMALLEST_TILE) -> Pixels:
    """Images (N, R, R, 3) by the smallest whole factor that makes their sides ``least`` pixels or more."""
    factor = -(-least // images.shape[1])
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def tile(images: Pixels, columns: int, gap: int = GAP) -> Pixels:
    """Lay images (N, H, W, 3) out in rows of ``columns``."""
    rows = [beside(*images[start : start + columns], gap=gap) for start in range(0, len(images), columns)]
    return below(*rows, gap=gap)


def beside(*pictures: Pixels, gap: int = WIDE_GAP, align: float = 0.0) -> Pixels:
    """From left to right; ``align`` 0 at the top, 0.5 in the middle, 1 at the bottom."""
    height = max(len(picture) for picture in pictures)
    return _join([_pad_height(picture, height, align) for picture in pictures], gap, axis=1)


def below(*pictures: Pixels, gap: int = WIDE_GAP, align: float = 0.0) -> Pixels:
    """From the top down; ``align`` 0 at the left, 0.5 in the middle, 1 at the right."""
    turned = [picture.swapaxes(0, 1) for picture in pictures]
    return beside(*turned, gap=gap, align=align).swapaxes(0, 1)


def write(text: str, size: float = LETTER) -> Pixels:
    """A line of text (ASCII)."""
    canvas = Canvas(width := _measure(text, size), round(size * LINE_HEIGHT / LETTER))
    canvas.text(width / 2, size * 1.6, text, INK, size, align=0.5)
    return canvas.picture()


def caption(picture: Pixels, text: str, align: float = 0.0, gap: int = GAP) -> Pixels:
    """The picture under a line of text."""
    return below(write(text), picture, gap=gap, align=align)


def frame(picture: Pixels, margin: int = WIDE_GAP) -> Pixels:
    """The picture with white around it."""
    return np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), constant_values=EMPTY)


def draw_sheet(images: Pixels, columns: int = SHEET_COLUMNS) -> Pixels:
    """Lay images (N, R, R, 3) out in rows, each under its number from 0."""
    tiles = [caption(image, str(number), align=0.5, gap=0) for number, image in enumerate(enlarge(images))]
    return below(
        *(beside(*tiles[start : start + columns], gap=GAP) for start in range(0, len(tiles), columns)), gap=GAP
    )


def _measure(text: str, size: float) -> int:
    return int(np.ceil(Canvas(1, 1).text(0, 0, text, size=size))) + 1


def _pad_height(picture: Pixels, height: int, align: float) -> Pixels:
    missing = height - len(picture)
    before = round(missing * align)
    return np.pad(picture, ((before, missing - before), (0, 0), (0, 0)), constant_values=EMPTY)


def _join(pictures: Sequence[Pixels], gap: int, axis: int) -> Pixels:
    between = np.full((len(pictures[0]), gap, 3), EMPTY, np.uint8)
    parts = [part for picture in pictures for part in (between, picture)][1:]
    return np.ascontiguousarray(np.concatenate(parts, axis=axis))
