from pathlib import Path

import cv2
import numpy as np
import torch

from train.config import ModelConfig
from train.dcgan import Generator, draw_z
from train.samples import draw, lay_out, save_png

CONFIG = ModelConfig(resolution=32, generator_width=4)


def test_images_are_laid_out_row_by_row() -> None:
    images = np.arange(6, dtype=np.uint8).repeat(64 * 64 * 3).reshape(6, 64, 64, 3)
    grid = lay_out(images, columns=3)
    assert grid.shape == (128, 192, 3)
    assert grid[::64, ::64, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_small_images_are_enlarged_without_new_colours() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    grid = lay_out(images, columns=2)
    assert grid.shape == (64, 128, 3)
    np.testing.assert_array_equal(grid[::2, :64:2], images[0])


def test_drawing_changes_nothing_in_the_generator() -> None:
    generator = Generator(CONFIG)
    z = draw_z(4, CONFIG, torch.Generator().manual_seed(0))
    generator(z)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    images = draw(generator, z)
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert generator.training
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


def test_a_png_shows_red_as_red(tmp_path: Path) -> None:
    save_png(tmp_path / "red.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))
    assert cv2.imread(str(tmp_path / "red.png"))[0, 0].tolist() == [0, 0, 255]  # OpenCV reads BGR
