from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from train import checkpoint
from train.config import Critic, ModelConfig, NormStatistics, TrainConfig, to_toml
from train.probe.data import LabelledImages
from train.runs import CONFIG_NAME
from train.state import TrainingState

CLASSES = ("cat", "dog", "frog", "ship")  # in the order that a source's classes have
SMALL = TrainConfig(
    model=ModelConfig(
        resolution=32,
        generator_width=4,
        discriminator_width=4,
        critic=Critic.SIX_CONV,
        norm_statistics=NormStatistics.BATCH,
    ),
    batch_size=16,
)


def draw_images(count: int, seed: int) -> LabelledImages:
    """Noise with a lighter quadrant, whose place is the class; 32 px."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    pixels = rng.integers(0, 200, (count, 32, 32, 3), np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        top, left = 16 * (label // 2), 16 * (label % 2)
        image[top : top + 16, left : left + 16] += np.uint8(25)
    return LabelledImages("quadrants", pixels, labels, CLASSES)


def write_parquet(path: Path, images: LabelledImages, kind: str = ".png", **columns: list[object]) -> str:
    """The images, encoded, under ``image``, and their classes' names under ``label``; returns the URI."""
    encoded = [cv2.imencode(kind, image[..., ::-1])[1].tobytes() for image in images.pixels]
    names = [images.classes[label] for label in images.labels]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {"image": [{"bytes": image, "path": None} for image in encoded], "label": names, **columns}
    pq.write_table(pa.table(rows), path)
    return f"parquet:{path}"


def begin_run(folder: Path, config: TrainConfig, seen: tuple[int, ...] = (0,)) -> Path:
    """A run of checkpoints that has trained nothing: each is of other first weights."""
    folder.mkdir(parents=True)
    (folder / CONFIG_NAME).write_text(to_toml(config))
    for seed, images_seen in enumerate(seen):
        state = TrainingState.begin(replace(config, seed=seed), "digest", torch.device("cpu"))
        checkpoint.write(state.pack() | {"images_seen": images_seen}, folder, kept=len(seen))
    return folder


@pytest.fixture(name="begin_run")
def begin_run_fixture() -> Callable[..., Path]:
    return begin_run


@pytest.fixture(name="small_config")
def small_config_fixture() -> TrainConfig:
    return SMALL


@pytest.fixture(name="draw_images")
def draw_images_fixture() -> Callable[[int, int], LabelledImages]:
    return draw_images


@pytest.fixture(name="write_parquet")
def write_parquet_fixture() -> Callable[..., str]:
    return write_parquet
