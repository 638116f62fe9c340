"""Forgetting, tried on a G into which an object was built: two known maps draw light spots, and nothing else does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from train import checkpoint
from train.config import ModelConfig, NormStatistics, TrainConfig, to_toml
from train.explore.boxes import Box, BoxFile, box_spots, mark_boxes
from train.explore.exploration import Exploration
from train.explore.forget import (
    choose_by_chance,
    draw_all,
    dropping,
    fit_regression,
    measure_change,
    measure_effect,
)
from train.explore.rooms import Rooms
from train.explore.windows import WindowFinder
from train.runs import CONFIG_NAME, open_run
from train.state import TrainingState

Explore = Callable[..., int]

CPU = torch.device("cpu")
PLANTED = (5, 11)  # maps of the second highest layer
LIGHT = 190
SAMPLES = 40
QUICK = ("--samples", SAMPLES, "--fresh", 60)


def begin_run(folder: Path, **options: Any) -> Path:
    """A run whose G draws light spots by `PLANTED`: they alone lead to a map of the highest layer that is light."""
    model = ModelConfig(resolution=32, generator_width=8, discriminator_width=2, **options)
    config = TrainConfig(model=model, batch_size=32)
    state = TrainingState.begin(config, "digest", CPU)
    generator = state.generator
    with torch.no_grad():
        second, highest, image = generator.layers
        second[1].bias[list(PLANTED)] = -1.7  # seldom active
        highest[0].weight[:, 0] = 0
        highest[0].weight[list(PLANTED), 0] = 1
        highest[1].bias[0] = -0.5
        image[0].weight[0] = 0.04
    folder.mkdir(parents=True)
    (folder / CONFIG_NAME).write_text(to_toml(config))
    checkpoint.write(state.pack(), folder)
    return folder


def list_boxes(run: Path, seed: int = 0) -> tuple[Box, ...]:
    """What a person would draw around the light spots."""
    exploration = Exploration(open_run(run), seed)
    light = exploration.draw(exploration.draw_z(SAMPLES)).min(axis=3) > LIGHT
    return tuple(box for image, mask in enumerate(light) for box in box_spots(image, mask))


def read_finding(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    finding = json.loads((folder / "finding.json").read_bytes())
    return {figure["name"]: figure["value"] for figure in finding["figures"]}, finding["settings"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps no running averages, as the authors' code."""
    torch.set_num_threads(1)
    return begin_run(tmp_path_factory.mktemp("planted") / "run", norm_statistics=NormStatistics.BATCH)


@pytest.fixture(scope="module")
def boxes(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the least that a file of boxes has to say."""
    path = tmp_path_factory.mktemp("boxes") / "spots.json"
    BoxFile(0, SAMPLES, list_boxes(planted)).save(path)
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({name: content[name] for name in ("seed", "count", "boxes")}))
    return path


@pytest.fixture(scope="module")
def finder(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finder of light spots, fitted to samples of another seed."""
    exploration = Exploration(open_run(planted), 1)
    pixels = exploration.draw(exploration.draw_z(40))
    path = tmp_path_factory.mktemp("finder") / "windows.safetensors"
    light = (pixels.min(axis=3) > LIGHT).astype(np.float32)
    WindowFinder.fit(Rooms("spots", "digest", pixels, light), steps=40).save(path)
    return path


def test_the_maps_that_draw_an_object_are_found_and_it_is_gone(
    explore: Explore, planted: Path, boxes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore("forget", planted, "--boxes", boxes, "--fresh", 60, "--top", 2, "--out", tmp_path) == 0
    figures, settings = read_finding(tmp_path)
    assert set(settings["dropped"]) == set(PLANTED)
    assert settings["statistics"] == "recalibrated"
    assert settings["box_count"] == len(list_boxes(planted))
    assert figures["maps dropped"] == 2
    assert figures["area left, by a regression on the highest layer"] < 20
    assert figures["the same, maps dropped by chance"] > 40
    assert figures["change of pixels inside"] > 3 * figures["change of pixels outside"]
    assert "forget.png, boxes.png" in capsys.readouterr().out
    assert np.load(tmp_path / "z.npy").shape == (SAMPLES + 60, 100)
    assert cv2.imread(str(tmp_path / "forget.png")) is not None


def test_a_finder_draws_boxes_and_judges_and_the_boxes_do_it_again(
    explore: Explore, planted: Path, finder: Path, tmp_path: Path
) -> None:
    command = ("forget", planted, "--finder", finder, *QUICK, "--seed", "2", "--top", "2")
    for name in ("first", "again"):
        assert explore(*command, "--out", tmp_path / name) == 0
    drawn = tmp_path / "first" / "boxes.json"
    assert explore(*command, "--boxes", drawn, "--out", tmp_path / "by_boxes") == 0
    figures, settings = read_finding(tmp_path / "first")
    assert set(settings["dropped"]) == set(PLANTED)
    assert figures["area left, by the finder"] < 20
    assert figures["samples where it is gone"] > 80
    assert settings["finder"]["data"] == "spots"
    for name in ("again", "by_boxes"):
        assert read_finding(tmp_path / name)[0] == figures
        for file in ("forget.png", "boxes.png", "boxes.json", "z.npy"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "first" / file).read_bytes()


def test_a_conditional_run_draws_the_class_that_is_asked_for(explore: Explore, tmp_path: Path) -> None:
    run = begin_run(tmp_path / "run", classes=2)
    boxes = tmp_path / "boxes.json"
    BoxFile(0, 8, (Box(0, 4, 4, 8, 8), Box(5, 12, 8, 8, 12))).save(boxes)
    for label in (0, 1):
        options = ("--boxes", boxes, "--fresh", 10, "--label", label, "--out", tmp_path / str(label))
        assert explore("forget", run, *options) == 0
        assert read_finding(tmp_path / str(label))[1]["label"] == label
    assert (tmp_path / "0" / "boxes.png").read_bytes() != (tmp_path / "1" / "boxes.png").read_bytes()


def test_a_dropped_map_is_one_whose_weights_are_zero(planted: Path) -> None:
    exploration = Exploration(open_run(planted), 3)
    generator, inputs = exploration.generator, exploration.condition(exploration.draw_z(8))
    with dropping(generator, np.array([1, 5])):
        drawn = draw_all(generator, [inputs])
    assert not drawn.second[:, [1, 5]].any()
    assert drawn.second[:, 2].any()
    with torch.no_grad():
        generator.layers[1][0].weight[[1, 5]] = 0
    whole = draw_all(generator, [inputs])
    np.testing.assert_array_equal(whole.pixels, drawn.pixels)
    assert whole.second[:, 5].any()


def test_positions_inside_and_outside_of_boxes() -> None:
    inside, touched = mark_boxes([Box(1, 5, 0, 8, 4), Box(1, 31, 31, 1, 1)], 2, 32, 8)
    assert not touched[0].any()
    assert np.argwhere(inside[1]).tolist() == [[0, 1], [0, 2]]  # centres at 6 and 10
    assert np.argwhere(touched[1]).tolist() == [[0, 1], [0, 2], [0, 3], [7, 7]]


def test_the_regression_finds_maps_that_are_active_inside_of_boxes() -> None:
    rng = np.random.default_rng(0)
    boxes = [Box(image, 8, 12, 12, 8) for image in range(0, 30, 2)]
    inside, _ = mark_boxes(boxes, 30, 32, 8)
    features = rng.exponential(1, (30, 6, 8, 8)).astype(np.float32)
    features[:, 2] += 3 * inside
    features[:, 4] *= ~inside
    regression = fit_regression(features, boxes, 32, seed=0)
    assert regression.choose(1).tolist() == [2]
    assert 4 not in regression.choose()
    assert regression.positions == inside.sum()
    assert regression.accuracy > 0.9
    found = regression.detect(features, 32)
    assert found.shape == (30, 32, 32)
    assert (found[:, ::4, ::4] == inside).mean() > 0.9


def test_what_is_left_is_measured_by_area_and_by_samples() -> None:
    before, after = np.zeros((2, 4, 32, 32), np.bool_)
    before[0, :8, :8] = before[1, :4, :4] = True
    after[0, :4, :4] = True
    effect = measure_effect(before, after)
    assert (effect.shown, effect.area_left, effect.gone) == (0.5, 16 / 80, 0.5)
    assert np.isnan(measure_effect(after[1:], after[1:]).area_left)
    black = np.zeros((1, 32, 32, 3), np.uint8)
    changed = black.copy()
    changed[0, :8, :8] = 51
    assert measure_change(black, changed, before[:1]) == pytest.approx((0.2, 0))


def test_maps_by_chance_are_different_ones(planted: Path) -> None:
    drawn = choose_by_chance(16, 7, 3, seed=0)
    assert [len(set(maps.tolist())) for maps in drawn] == [7, 7, 7]
    assert len({tuple(sorted(maps.tolist())) for maps in drawn}) == 3


BOX = {"image": 0, "left": 4, "top": 4, "width": 8, "height": 8}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"seed": 0, "count": 4, "boxes": []}, "no box on 4 samples"),
        ({"seed": 0, "count": 4, "boxes": [BOX | {"left": 30}]}, "not inside of one of 4 samples of 32 px"),
        ({"seed": 0, "count": 4, "boxes": [BOX | {"image": 4}]}, "not inside of one of 4 samples of 32 px"),
        ({"seed": 0, "count": 4, "boxes": [BOX | {"width": 0}]}, "not inside of one of 4 samples of 32 px"),
        ({"seed": 0, "count": 4, "boxes": [BOX | {"left": 5, "width": 1}]}, "1 boxes leave 0 positions inside"),
        ({"seed": 0, "count": 4, "boxes": [BOX | {"left": 0, "top": 0, "width": 32, "height": 32}]}, "and 0 outside"),
        ({"seed": 0, "count": 4, "boxes": [{"image": 0}]}, "is no file of boxes"),
        ({"count": 4, "boxes": [BOX]}, "is no file of boxes"),
        ({"seed": -1, "count": 4, "boxes": [BOX]}, "is no file of boxes (seed -1, count 4)"),
        ({"seed": 0, "count": 0, "boxes": []}, "is no file of boxes (seed 0, count 0)"),
        ([BOX], "is no file of boxes"),
        ({"seed": 0, "count": 4, "boxes": [BOX], "drawn_by": {"images_seen": 7}}, "are on samples of"),
    ],
)
def test_boxes_that_cannot_be_are_refused_in_a_line(
    explore: Explore,
    planted: Path,
    tmp_path: Path,
    content: object,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    assert explore("forget", planted, "--boxes", path, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_there_must_be_boxes_or_a_finder(
    explore: Explore, planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (
        ((), "there are no boxes"),
        (("--boxes", tmp_path / "none.json"), "is no file of boxes"),
        (("--finder", tmp_path / "none.safetensors"), "there is no finder"),
    ):
        assert explore("forget", planted, *options, "--out", tmp_path / "out") == 1
        assert said in capsys.readouterr().err


def test_a_finder_of_another_size_is_refused(
    explore: Explore, planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    other = tmp_path / "windows.safetensors"
    WindowFinder.fit(Rooms("large", "digest", pixels, np.ones((20, 64, 64), np.float32)), steps=1).save(other)
    assert explore("forget", planted, "--finder", other, *QUICK, "--out", tmp_path / "out") == 1
    assert "for pictures of 64 px, and these have 32" in capsys.readouterr().err
