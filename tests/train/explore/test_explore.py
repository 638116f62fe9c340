"""What all experiments share: z by number, statistics, what is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from train import checkpoint
from train.config import ModelConfig, NormStatistics, Prior, TrainConfig, to_toml
from train.explore.exploration import Exploration, number_z
from train.explore.layout import GAP, below, beside, caption, enlarge, frame, tile
from train.runs import CONFIG_NAME, open_images, open_run
from train.state import TrainingState
from train.statistics import Statistics

Explore = Callable[..., int]

MODEL = ModelConfig(resolution=32, generator_width=4, discriminator_width=4)


def begin_run(folder: Path, config: TrainConfig) -> Path:
    """A run that has saved its first state and trained nothing."""
    folder.mkdir()
    (folder / CONFIG_NAME).write_text(to_toml(config))
    checkpoint.write(TrainingState.begin(config, "digest", torch.device("cpu")).pack(), folder)
    return folder


@pytest.mark.parametrize("prior", Prior)
def test_a_number_means_the_same_z_however_many_are_drawn(prior: Prior) -> None:
    model = ModelConfig(z_prior=prior)
    many = number_z(300, model, 5)
    for count in (1, 63, 64, 65, 130):
        assert torch.equal(number_z(count, model, 5), many[:count])
    assert not torch.equal(number_z(1, model, 6), many[:1])


def test_a_picture_depends_on_its_z_alone_also_of_a_run_that_keeps_no_averages(tmp_path: Path) -> None:
    model = ModelConfig(resolution=32, generator_width=4, norm_statistics=NormStatistics.BATCH)
    opened = open_run(begin_run(tmp_path / "run", TrainConfig(model=model, batch_size=4)))
    exploration = Exploration(opened)
    assert exploration.chosen is Statistics.RECALIBRATED
    z = exploration.draw_z(9)
    torch.testing.assert_close(exploration.draw_images(z)[5:6], exploration.draw_images(z[5:6]))


def test_real_images_come_in_order_with_their_labels(trained: Path) -> None:
    opened = open_run(trained)
    training, _, _ = open_images(opened)
    minibatches = [images for (images,) in Exploration(opened).stream_images(training)]
    assert [len(images) for images in minibatches] == [8, 8, 8]
    assert all(images.abs().max() <= 1 for images in minibatches)


def test_a_sheet_shows_numbers(explore: Explore, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("sheet", run_folder, "--n", 14) == 0
    written = run_folder / "drawn" / "sheet_0.png"
    assert str(written) in capsys.readouterr().out
    height, width, _ = cv2.imread(str(written)).shape
    assert width == 12 * 64 + 11 * GAP + 40
    assert height > 2 * 64
    assert not (run_folder / "evidence").exists()


def test_a_sheet_in_single_pictures_is_what_boxes_and_exemplars_are_of(
    explore: Explore, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "samples"
    assert explore("sheet", run_folder, "--n", 5, "--seed", 3, "--each", folder) == 0
    exploration = Exploration(open_run(run_folder), seed=3)
    drawn = exploration.draw(exploration.draw_z(5))
    for number in range(5):
        written = cv2.imread(str(folder / f"{number:06d}.png"), cv2.IMREAD_COLOR_RGB)
        assert np.array_equal(written, drawn[number])
    note = json.loads((folder / "sheet.json").read_text())
    assert note == {"seed": 3, "count": 5, "resolution": 32, "drawn_by": exploration.drawn_by()}
    assert len(list(folder.iterdir())) == 6
    box = {"image": 4, "left": 8, "top": 8, "width": 8, "height": 12}
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"seed": 3, "count": 5, "boxes": [box], "drawn_by": note["drawn_by"]}))
    assert explore("forget", run_folder, "--boxes", boxes, "--fresh", 20) == 0
    assert not (run_folder / "drawn").exists()
    capsys.readouterr()
    assert explore("sheet", run_folder, "--each", folder) == 1
    assert "exists already" in capsys.readouterr().err
    assert explore("sheet", run_folder, "--each", folder, "--out", tmp_path / "sheet.png") == 1


def test_a_conditional_run_draws_one_class(
    explore: Explore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelConfig(resolution=32, generator_width=4, discriminator_width=4, classes=3)
    run_folder = begin_run(tmp_path / "run", TrainConfig(model=model, batch_size=4))
    sheets = set()
    for label in (0, 2):
        out = tmp_path / f"{label}.png"
        assert (
            explore("sheet", run_folder, "--n", 4, "--label", label, "--statistics", "recalibrated", "--out", out) == 0
        )
        sheets.add(out.read_bytes())
    assert len(sheets) == 2
    options = ("--walks", 1, "--points", 3, "--steps", 2, "--label", 1)
    assert explore("walk", run_folder, *options, "--statistics", "recalibrated") == 0
    capsys.readouterr()
    assert explore("walk", run_folder, "--label", 3) == 1
    assert "give a number below 3" in capsys.readouterr().err


def test_refusals_say_what_to_try(
    explore: Explore, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> str:
        assert explore(*arguments) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, "an error in one line, and a hint"
        return error

    assert "there is no run in" in refuse("walk", tmp_path / "nowhere")
    assert "give --statistics recalibrated" in refuse("walk", run_folder, "--statistics", "batch")
    assert "--label is 1" in refuse("walk", run_folder, "--label", "1")
    assert "there is no checkpoint worst" in refuse("filters", run_folder, "--checkpoint", "worst")
    assert not (run_folder / "evidence").exists()


def test_quiet_is_quiet(explore: Explore, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("filters", run_folder, "--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_every_experiment_is_listed_and_explains_itself(explore: Explore, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("--help") == 0
    listed = capsys.readouterr().out
    for name in ("walk", "guided", "sheet", "arithmetic", "turn", "filters"):
        assert re.search(rf"\b{name}\b", listed)
        assert explore(name, "--help") == 0
        assert "Examples" in capsys.readouterr().out


def test_pictures_are_laid_out_on_white() -> None:
    dark = np.zeros((4, 6, 3), np.uint8)
    row = beside(dark, dark[:2], gap=3, align=1.0)
    assert row.shape == (4, 15, 3)
    assert (row[:2, 9:] == 255).all()
    assert (row[2:, 9:] == 0).all()
    column = below(dark, dark[:, :2], gap=2, align=0.5)
    assert column.shape == (10, 6, 3)
    assert (column[6:, 2:4] == 0).all()
    assert (column[6:, :2] == 255).all()
    images = np.zeros((5, 32, 32, 3), np.uint8)
    assert enlarge(images).shape == (5, 64, 64, 3)
    assert enlarge(images, 32).shape == images.shape
    assert tile(images, 2).shape == (3 * 32 + 2 * GAP, 2 * 32 + GAP, 3)
    assert frame(dark, 5).shape == (14, 16, 3)
    assert caption(images[0], "a long line of text").shape[1] > 32
