"""Turning samples along a vector between two sides."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from train.explore.turn import draw_direction, find_direction, judge_rows, move

Explore = Callable[..., int]

SIDES = {"left": [3, 14, 15], "right": [9, 2, 6]}


def test_samples_move_along_the_way_from_one_side_to_the_other() -> None:
    direction = find_direction(torch.tensor([[1.0, 0], [3, 0]]), torch.tensor([[0.0, 2], [0, 4]]))
    assert direction.tolist() == [-2, 3]
    moved = move(torch.tensor([[0.0, 0], [1, 1]]), direction, 0.5, 3)
    assert moved.tolist() == [[[1, -1.5], [0, 0], [-1, 1.5]], [[2, -0.5], [1, 1], [0, 2.5]]]


def test_a_direction_by_chance_is_as_long() -> None:
    direction = torch.linspace(0, 1, 100)
    drawn = draw_direction(direction, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.norm(), direction.norm())
    assert abs(float(drawn @ direction)) < 0.5 * float(direction.norm() ** 2)


def test_a_row_has_turned_where_the_side_goes_and_steadily_where_it_never_comes_back() -> None:
    likely = np.array([[0.9, 0.6, 0.1], [0.9, 0.2, 0.3], [0.9, 0.8, 0.7], [0.4, 0.2, 0.1], [1, 1, 0]], np.float32)
    turned = judge_rows(likely)
    assert turned.through.tolist() == [True, True, False, False, True]
    assert turned.steadily.tolist() == [True, False, False, False, True]


def test_a_person_chooses_sides_and_a_classifier_judges(
    explore: Explore, quarters: tuple[Path, Path], tmp_path: Path
) -> None:
    run_folder, attributes = quarters
    path = tmp_path / "sides.json"
    path.write_text(json.dumps(SIDES))
    options = ("--exemplars", path, "--rows", 3, "--shown", 2, "--statistics", "recalibrated")
    folder = tmp_path / "turn"
    assert explore("turn", run_folder, *options, "--out", folder) == 0
    assert json.loads((folder / "finding.json").read_text())["figures"] == []
    assert np.load(folder / "z.npy").shape == (9, 100)
    assert cv2.imread(str(folder / "turn.png")) is not None
    _, clip = cv2.imreadanimation(str(folder / "turn.webp"))
    assert len(clip.frames) > 9
    assert explore("turn", run_folder, *options, "--attributes", attributes, "--out", tmp_path / "judged") == 0
    assert (tmp_path / "judged" / "turn.png").read_bytes() == (folder / "turn.png").read_bytes()
    assert len(json.loads((tmp_path / "judged" / "finding.json").read_text())["figures"]) == 4


def test_attributes_choose_sides_and_the_vector_does_more_than_chance(
    explore: Explore, quarters: tuple[Path, Path], tmp_path: Path
) -> None:
    """From a light first quarter to a dark one."""
    run_folder, attributes = quarters
    options = ("--attributes", attributes, "--attribute", "male", "--candidates", 300, "--rows", 40)
    assert explore("turn", run_folder, *options, "--statistics", "recalibrated", "--out", tmp_path) == 0
    finding = json.loads((tmp_path / "finding.json").read_text())
    assert {side: len(numbers) for side, numbers in finding["settings"]["exemplars"].items()} == {"left": 4, "right": 4}
    figures = {figure["name"]: figure["value"] for figure in finding["figures"]}
    turned, by_chance = (
        figures[f"male at first and not at last, {way}"]
        for way in ("by the vector", "in a direction by chance, as far")
    )
    assert turned > 70
    assert turned > by_chance


def test_refusals_say_what_to_try(explore: Explore, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore("turn", run_folder) == 1
    assert "give --exemplars, or --attributes" in capsys.readouterr().err
    assert explore("turn", run_folder, "--attributes", "nowhere", "--reach", 0) == 1
    assert "--reach is 0" in capsys.readouterr().err
