"""Samples: G and a fixed z in, a grid of what it draws as a PNG out."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipelines.store import write_atomically
from train.dcgan import Generator, to_pixels

Pixels = npt.NDArray[np.uint8]

GRID_COLUMNS = 8
GRID_IMAGES = GRID_COLUMNS**2
SMALLEST_TILE = 64  # pixels; smaller images are enlarged by a whole factor, so that a person sees them


@torch.inference_mode()
def draw(generator: Generator, z: Tensor) -> Pixels:
    """Draw an image for each row of ``z`` with G as it would be used: uint8 RGB (B, R, R, 3); G's state stays."""
    was_training = generator.training
    generator.eval()
    images = generator(z)
    generator.train(was_training)
    drawn: Pixels = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
    return drawn


def lay_out(images: Pixels, columns: int = GRID_COLUMNS) -> Pixels:
    """Lay images out in rows: uint8 (N, R, R, 3), N a multiple of ``columns`` → uint8 (rows · S, columns · S, 3)."""
    factor = -(-SMALLEST_TILE // images.shape[1])
    tiles = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, side = tiles.shape[:2]
    rows = count // columns
    return tiles.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)


def save_png(path: Path, image: Pixels) -> None:
    """Write uint8 RGB (H, W, 3) as a PNG, atomically."""
    _, encoded = cv2.imencode(".png", image[..., ::-1])
    write_atomically(path, encoded.tobytes())
