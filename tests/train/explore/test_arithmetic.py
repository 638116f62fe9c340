"""Arithmetic with concepts: exemplars, by hand and by attributes, sums and verdicts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.errors import ConfigError
from train.explore.arithmetic import CENTRE, NOISE, Calculation, Terms, calculate, find_change, judge, vary
from train.explore.concepts import Wish, choose_exemplars, parse_equation, read_exemplars
from train.samples import Pixels

Explore = Callable[..., int]

NAMES = ("male", "smile", "glasses", "left")
EXEMPLARS = {"A": [3, 14, 15], "B": [9, 2, 6], "C": [5, 35, 8, 9], "names": {"A": "red"}}


def draw_noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def paint(z: Tensor) -> Pixels:
    """A G whose picture is its z: three numbers, of one pixel."""
    return (z * 100).round().byte().numpy().reshape(-1, 1, 1, 3)


def test_variants_lie_around_the_result() -> None:
    z = torch.linspace(-2, 2, 500)
    varied = vary(z, draw_noise())
    assert varied.shape == (9, 500)
    assert torch.equal(varied[CENTRE], z)
    shifts = varied - z
    assert shifts.abs().max() <= NOISE
    others = torch.cat((shifts[:CENTRE], shifts[CENTRE + 1 :]))
    assert others.std().item() == pytest.approx(NOISE / 3**0.5, rel=0.05)
    assert torch.equal(varied, vary(z, draw_noise()))


def test_means_are_calculated_with_in_z_and_in_pixels() -> None:
    a, b, c = (
        torch.tensor([[2.0, 0, 0], [1, 0, 0]]),
        torch.tensor([[1.0, 0, 0]]),
        torch.tensor([[0.5, 1, 0], [0.5, 0, 2]]),
    )
    terms = Terms(a, b, c)
    assert terms.result.tolist() == [1, 0.5, 1]
    assert terms.first.result.tolist() == [1.5, 1, 0]
    calculation = calculate(terms, paint, draw_noise())
    assert [len(each) for each in calculation.exemplars] == [2, 1, 2]
    assert calculation.means[:, 0, 0].tolist() == [[150, 0, 0], [100, 0, 0], [50, 50, 100]]
    assert len(calculation.results) == 9
    assert calculation.results[CENTRE, 0, 0].tolist() == [100, 50, 100]
    in_pixels = calculation.in_pixels()
    assert in_pixels.results[:, 0, 0].tolist() == [[100, 50, 100]]
    clipped = Calculation(
        tuple(np.full((1, 2, 2, 3), level, np.uint8) for level in (250, 10, 200)), *2 * (a,)
    ).in_pixels()
    assert (clipped.results == 255).all()


def test_exemplars_are_read_by_their_concepts(tmp_path: Path) -> None:
    path = tmp_path / "exemplars.json"
    path.write_text(json.dumps(EXEMPLARS))
    numbers, names = read_exemplars(path, "ABC")
    assert numbers == {concept: EXEMPLARS[concept] for concept in "ABC"}
    assert names == {"A": "red", "B": "B", "C": "C"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": [1, 2]}, "A has 2 exemplars"),
        ({"B": [1, 2, 2]}, "B has 2 exemplars"),
        ({"C": [1, 2, -3]}, "C is"),
        ({"C": [1, 2, True]}, "C is"),
        ({"C": "1, 2, 3"}, "C is"),
        ({"names": 3}, "gives no exemplars"),
    ],
)
def test_exemplars_that_are_too_few_or_none_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "exemplars.json"
    path.write_text(json.dumps(EXEMPLARS | change))
    with pytest.raises(ConfigError, match=message):
        read_exemplars(path, "ABC")


def test_a_file_without_a_concept_and_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "exemplars.json"
    for content in (None, "[1, 2]", '{"A": [1, 2, 3]}', "{"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match="gives no exemplars of A, B, C") as refused:
            read_exemplars(path, "ABC")
        assert '{"A": [3, 14, 15]' in refused.value.hint


def test_concepts_are_wishes_of_attributes() -> None:
    a, b, c = parse_equation("smile, not male - not smile, not male + not smile, male", NAMES)
    assert a.attributes == {"smile": True, "male": False}
    assert str(c) == "not smile, male"
    assert find_change(a, b) == {"smile": True}
    assert find_change(b, a) == {"smile": False}
    scores = np.array([[0.2, 0.9, 0, 0], [0.9, 0.9, 0, 0]], np.float32)
    assert a.rate(scores, NAMES) == pytest.approx([0.72, 0.09])


@pytest.mark.parametrize(
    "text",
    ["smile", "smile - male", "smile - male + ", "smile - male + frown", "smile - not + male", "smile - a b + male"],
)
def test_what_is_no_equation_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no concept|--concepts is"):
        parse_equation(text, NAMES)
    with pytest.raises(ConfigError, match="is no concept"):
        Wish.parse("smile, not smile", NAMES)


def test_trials_share_the_best_and_no_two_have_the_same() -> None:
    rating = np.array([0.6, 0.9, 0.1, 0.8, 0.7, 0.95, 0.2], np.float32)
    assert choose_exemplars(rating, 2, 2).tolist() == [[5, 3], [1, 4]]
    with pytest.raises(ConfigError, match="of 7 pictures 5 show a concept, and 6 are needed"):
        choose_exemplars(rating, 3, 2)


def test_a_verdict_asks_for_the_change_and_that_all_else_stays() -> None:
    before = np.array([0.9, 0.1, 0.2, 0.8], np.float32)
    scores = np.array([[0.9, 0.9, 0, 0.9], [0.9, 0.4, 0, 0.9], [0.9, 0.9, 0.7, 0.9], [0.2, 0.9, 0, 0.9]], np.float32)
    changed, kept = judge(scores, before, NAMES, {"smile": True})
    assert changed.tolist() == [True, False, True, True]
    assert kept.tolist() == [True, False, False, False]


def read_finding(folder: Path) -> dict[str, Any]:
    finding: dict[str, Any] = json.loads((folder / "finding.json").read_text())
    return finding


def test_a_person_chooses_exemplars(explore: Explore, run_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "exemplars.json"
    path.write_text(json.dumps(EXEMPLARS))
    assert explore("arithmetic", run_folder, "--exemplars", path, "--statistics", "recalibrated") == 0
    folder = run_folder / "evidence" / "arithmetic"
    finding = read_finding(folder)
    assert finding["title"] == "red - B + C"
    assert (finding["figures"], finding["pictures"]) == ([], ["arithmetic.png"])
    assert finding["settings"]["exemplars"] == [[EXEMPLARS[concept] for concept in "ABC"]]
    assert np.load(folder / "z.npy").shape == (10, 100)
    assert cv2.imread(str(folder / "arithmetic.png")) is not None
    again = tmp_path / "again"
    assert explore("arithmetic", run_folder, "--exemplars", path, "--statistics", "recalibrated", "--out", again) == 0
    assert (again / "arithmetic.png").read_bytes() == (folder / "arithmetic.png").read_bytes()


def test_attributes_choose_exemplars_and_judge(explore: Explore, quarters: tuple[Path, Path], tmp_path: Path) -> None:
    """A light second quarter, in pictures whose first is dark, goes to pictures whose first is light."""
    run_folder, attributes = quarters
    concepts = "smile, not male - not smile, not male + not smile, male"
    options = ("--attributes", attributes, "--concepts", concepts, "--candidates", 600, "--statistics", "recalibrated")
    assert explore("arithmetic", run_folder, *options, "--trials", 3, "--out", tmp_path) == 0
    finding = read_finding(tmp_path)
    assert finding["pictures"] == ["arithmetic.png", "trials.png"]
    assert np.array(finding["settings"]["exemplars"]).shape == (3, 3, 3)
    figures = {figure["name"]: figure for figure in finding["figures"]}
    assert figures["smile: means of 3 exemplars"]["note"] == "of 27 pictures; before it 0%"
    assert figures["smile: means of 3 exemplars"]["value"] > 70
    assert len(figures) == 6


def test_exemplars_are_chosen_in_one_way(
    explore: Explore, quarters: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder, attributes = quarters
    path = tmp_path / "exemplars.json"
    path.write_text(json.dumps(EXEMPLARS))
    for options in ((), ("--attributes", attributes), ("--exemplars", path, "--concepts", "smile - male + left")):
        assert explore("arithmetic", run_folder, *options) == 1
        assert len(capsys.readouterr().err.splitlines()) == 2
    assert not (run_folder / "evidence").exists()
