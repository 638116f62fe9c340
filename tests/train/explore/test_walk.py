"""Walks through z: where they lead, and that sharp transitions are found where there are some."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from train.checkpoint import find_checkpoints
from train.config import ModelConfig, Prior
from train.dcgan import draw_z
from train.explore.layout import GAP
from train.explore.walk import MOST, RED, SHARP, draw_rows, measure_changes, walk_around

Explore = Callable[..., int]


def draw_points(prior: Prior, count: int = 5) -> torch.Tensor:
    return draw_z(count, ModelConfig(z_prior=prior), torch.Generator().manual_seed(0))


def test_a_walk_of_uniform_z_is_straight_and_comes_back() -> None:
    points = draw_points(Prior.UNIFORM)
    path = walk_around(points, 4, Prior.UNIFORM)
    assert path.shape == (20, 100)
    torch.testing.assert_close(path[::4], points)
    torch.testing.assert_close(path[2], (points[0] + points[1]) / 2)
    torch.testing.assert_close(path[19], points[4] / 4 + points[0] * 3 / 4)


def test_a_walk_of_normal_z_keeps_to_the_sphere() -> None:
    points = torch.nn.functional.normalize(draw_points(Prior.NORMAL)) * 10
    path = walk_around(points, 8, Prior.NORMAL)
    torch.testing.assert_close(path[::8], points)
    torch.testing.assert_close(path.norm(dim=1), torch.full((40,), 10.0))
    steps = (path.roll(-1, 0) - path).norm(dim=1).reshape(5, 8)
    torch.testing.assert_close(steps, steps[:, :1].expand(-1, 8), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [8, 16, 64])
def test_the_score_of_a_smooth_change_does_not_depend_on_the_steps_and_a_jump_grows_with_them(steps: int) -> None:
    z = walk_around(draw_points(Prior.UNIFORM, 9), steps, Prior.UNIFORM)
    smooth = measure_changes(z[:, :50].sin() + z[:, 50:], z)
    assert 1 < smooth.ratio < 1.5
    assert len(smooth.sharp) == 0
    jumping = measure_changes(z.sum(1, keepdim=True) + 20 * (z[:, :1] > 0), z)
    assert jumping.ratio > steps / 2
    crossed = torch.nonzero((z[:, 0] > 0) != (z.roll(-1, 0)[:, 0] > 0)).flatten()
    assert set(crossed.tolist()) == set(jumping.sharp.tolist())


def test_what_stands_still_has_no_transitions_and_what_only_jumps_has_as_many_as_it_jumps() -> None:
    z = walk_around(draw_points(Prior.UNIFORM), 8, Prior.UNIFORM)
    assert measure_changes(torch.zeros(40, 3), z).ratio == 1
    only_jumps = measure_changes((z[:, :1] > 0).float(), z)
    assert only_jumps.ratio == MOST
    assert len(only_jumps.sharp) == int((only_jumps.changes > 0).sum()) > 0


def test_rows_lead_from_each_point_to_the_next_and_sharp_steps_are_red() -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    picture = draw_rows(images, 2, np.array([1, 2]))
    assert picture.shape == (3 * 8 + 2 * GAP, 3 * 8 + 2 * GAP, 3)
    assert picture[:: 8 + GAP, :: 8 + GAP, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 0]]
    red = (picture == RED).all(-1)
    assert red[:8, 16 + GAP : 16 + 2 * GAP].all()
    assert red[8 + GAP : 16 + GAP, 8 : 8 + GAP].all()
    assert red.sum() == 2 * 8 * GAP


def read_figures(folder: Path) -> dict[str, Any]:
    return {figure["name"]: figure for figure in json.loads((folder / "finding.json").read_text())["figures"]}


def test_a_healthy_run_has_no_sharp_transitions_and_is_drawn_again_to_the_byte(
    explore: Explore, run_folder: Path, tmp_path: Path
) -> None:
    options = ("--walks", 2, "--points", 4, "--steps", 6, "--statistics", "recalibrated")
    assert explore("walk", run_folder, *options) == 0
    folder = run_folder / "evidence" / "walk"
    figures = read_figures(folder)
    assert figures["sharp transitions"]["value"] == 0
    assert figures["sharp transitions"]["note"] == "of 48 steps"
    assert all(
        1 < figures[f"largest over median change in {name}"]["value"] < SHARP for name in ("pixels", "D's features")
    )
    assert figures["difference of the points' pictures"]["note"] == "of the walk where it is least"
    assert np.load(folder / "z.npy").shape == (2, 4, 100)
    assert cv2.imread(str(folder / "walk.png")).shape == (4 * 64 + 3 * GAP + 40, 7 * 64 + 6 * GAP + 40, 3)
    _, clip = cv2.imreadanimation(str(folder / "walks.webp"))
    assert len(clip.frames) == 24

    assert explore("walk", run_folder, *options, "--out", tmp_path / "again") == 0
    for name in ("walk.png", "walks.webp", "z.npy"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert explore("walk", run_folder, *options, "--seed", 1, "--out", tmp_path / "other") == 0
    assert (tmp_path / "other" / "walk.png").read_bytes() != (folder / "walk.png").read_bytes()


def test_a_run_that_has_collapsed_to_a_few_pictures_is_found_out(explore: Explore, run_folder: Path) -> None:
    """G sees one direction of z only, and so steeply that a picture stays until the sign changes."""
    path = find_checkpoints(run_folder)[-1]
    content = torch.load(path, weights_only=True)
    name = "project.0.weight"
    left, _, right = torch.linalg.svd(content["generator"][name], full_matrices=False)
    content["generator"][name] = 1e4 * torch.outer(left[:, 0], right[0])
    torch.save(content, path)

    assert explore("walk", run_folder, "--walks", 2, "--points", 6, "--steps", 16) == 0
    figures = read_figures(run_folder / "evidence" / "walk")
    assert figures["sharp transitions"]["value"] >= 2
    assert figures["largest over median change in pixels"]["value"] > 2 * SHARP


def test_a_run_that_draws_one_picture_only_is_found_out(explore: Explore, run_folder: Path) -> None:
    path = find_checkpoints(run_folder)[-1]
    content = torch.load(path, weights_only=True)
    content["generator"]["project.0.weight"].zero_()
    torch.save(content, path)
    assert explore("walk", run_folder, "--walks", 1, "--points", 4, "--steps", 4) == 0
    figures = read_figures(run_folder / "evidence" / "walk")
    assert "collapsed" in figures["difference of the points' pictures"]["note"]
