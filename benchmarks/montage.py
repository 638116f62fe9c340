"""Montage: pairs of encoded images in, one PNG with each pair side by side and numbered out, to be looked at."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipelines.images import Pixels, decode

SIDE = 112  # pixels of a picture's cell
LABEL = 16  # pixels of the line with the number
PAIRS_A_ROW = 7


def draw_montage(pairs: Sequence[tuple[bytes, bytes]], path: Path) -> None:
    """Write the pairs, numbered from 1, row by row."""
    cells = [_draw_pair(number, decode(a), decode(b)) for number, (a, b) in enumerate(pairs, start=1)]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % PAIRS_A_ROW)
    rows = [np.hstack(cells[start : start + PAIRS_A_ROW]) for start in range(0, len(cells), PAIRS_A_ROW)]
    _, encoded = cv2.imencode(".png", np.vstack(rows)[..., ::-1])
    path.write_bytes(encoded.tobytes())


def _draw_pair(number: int, first: Pixels, second: Pixels) -> Pixels:
    cell = np.full((SIDE + LABEL, 2 * SIDE + 8, 3), 255, np.uint8)
    for left, image in ((0, first), (SIDE, second)):
        height, width = image.shape[:2]
        scale = (SIDE - 2) / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        cell[LABEL : LABEL + size[1], left : left + size[0]] = shown
    cv2.putText(cell, str(number), (2, LABEL - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return cell
