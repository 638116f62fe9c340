"""A run that is small, and trained for a moment, for all of `train.explore` to look at."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer

import train.run
from train.checkpoint import find_checkpoints
from train.explore.__main__ import app
from train.explore.attributes import NAMES, Attributes, LabelledPortraits
from train.explore.exploration import Exploration
from train.runs import open_run
from train.statistics import Statistics

Explore = Callable[..., int]

SMALL = ("--preset", "demo", "--generator-width", "8", "--discriminator-width", "8", "--batch-size", "8")
SHOWN = 400
STEPS = 30


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of nine minibatches, of plain colours, by `python -m train.run`."""
    root = tmp_path_factory.mktemp("explored")
    (root / "photographs").mkdir()
    for i in range(24):
        image = np.random.default_rng(i).integers(0, 256, 3, np.uint8) * np.ones((32, 32, 1), np.uint8)
        cv2.imwrite(str(root / "photographs" / f"{i}.png"), image)
    source = ("--allow-duplicates", "--source", f"folder:{root / 'photographs'}", "--data-root", str(root))
    command = typer.main.get_command(train.run.app)
    torch.set_num_threads(1)
    options = ["--epochs", "3", "--evaluate-every", "0", "--quiet"]
    command.main(["rooms", *SMALL, *source, *options], standalone_mode=False)
    return root / "rooms" / "train" / "demo"


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of ``trained`` to write to, beside its images."""
    target = tmp_path / "rooms" / "train" / "run"
    shutil.copytree(trained.parents[1] / "packed", tmp_path / "rooms" / "packed")
    return Path(shutil.copytree(trained, target))


@pytest.fixture
def explore(in_process: Callable[..., Explore]) -> Explore:
    """`python -m train.explore` in this process; returns its exit code."""
    return in_process(app, "train.explore")


@pytest.fixture(scope="session")
def quarters(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run whose pictures have four attributes, one for each quarter, and a classifier of these.

    Each is light where a quarter of z has a sum above zero, else dark.
    """
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("quarters")
    run_folder = Path(shutil.copytree(trained, root / "run"))
    path = find_checkpoints(run_folder)[-1]
    content = torch.load(path, weights_only=True)
    weights = content["generator"]
    seed = torch.zeros_like(weights["project.0.weight"]).view(-1, 4, 4, len(NAMES), 25)
    for quarter in range(len(NAMES)):
        top, left = 2 * (quarter // 2), 2 * (quarter % 2)
        seed[::2, top : top + 2, left : left + 2, quarter] = 1  # even maps for light
        seed[1::2, top : top + 2, left : left + 2, quarter] = -1
    weights["project.0.weight"] = seed.view(-1, 100)
    for name in ("layers.0.0.weight", "layers.1.0.weight"):  # each map to one of the next layer, enlarged
        maps, wider = weights[name].shape[:2]
        weights[name] = torch.eye(wider).repeat(maps // wider, 1)[..., None, None].expand(-1, -1, 5, 5).contiguous()
    weights["layers.2.0.weight"] = (
        torch.tensor([0.02, -0.02]).repeat(4)[:, None, None, None].expand(-1, 3, 5, 5).clone()
    )
    torch.save(content, path)

    exploration = Exploration(open_run(run_folder), 1, Statistics.RECALIBRATED)
    z = 2 * exploration.draw_z(SHOWN)  # bold ones
    shown = z.view(SHOWN, len(NAMES), 25).sum(2).numpy() > 0
    fitted = Attributes.fit(LabelledPortraits(exploration.draw(z), shown, "quarters", "digest"), steps=STEPS)
    assert min(fitted.origin.accuracy.values()) > 0.75, fitted.origin.accuracy
    fitted.save(root / "attributes.safetensors")
    return run_folder, root / "attributes.safetensors"
