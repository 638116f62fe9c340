"""Training measures as it goes, and `python -m train.evaluate` once more."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from train.checkpoint import find_checkpoints
from train.evaluate import app

Command = Callable[..., int]

SMALL = ("--preset", "demo", "--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8")
OFTEN = ("--evaluate-every", "32", "--samples", "16")


@pytest.fixture
def evaluate(in_process: Callable[..., Command]) -> Command:
    """`python -m train.evaluate` in this process; returns its exit code."""
    return in_process(app, "train.evaluate")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_measures_every_so_many_images_and_at_the_end(command: Command, data_root: Path) -> None:
    assert command("rooms", *SMALL, *OFTEN, "--epochs", "2", "--hold-out", "0.2", "--ema-decay", "0.9") == 0
    run_folder = data_root / "rooms" / "train" / "demo"
    measured = [row for row in read_lines(run_folder / "stats.jsonl") if "evaluation" in row]
    assert [row["images"] for row in measured] == [32, 64, 96]
    assert [row["epoch"] for row in measured] == [1, 2, 2]
    settings = measured[0]["evaluation"]
    assert (settings["reference_split"], settings["reference_images"]) == ("rooms/clean, held out", 13)
    assert (settings["samples"], settings["weights"], settings["norm_statistics"]) == (16, "ema", "running")
    assert [("memorisation" in row) for row in measured] == [False, False, True]
    assert measured[-1]["memorisation"]["training_images"] == 53
    assert cv2.imread(str(run_folder / "nearest.png")).shape == (256, 512, 3)

    distances = {row["images"]: row["evaluation"]["metrics"]["random/frechet_distance"] for row in measured}
    best = torch.load(run_folder / "checkpoints" / "best.pt", weights_only=True)
    assert best["best"]["value"] == min(distances.values()) == distances[best["images_seen"]]
    events = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("random/precision")] == [32, 64, 96]
    assert [event.step for event in events.Scalars("memorised_share")] == [96]


def test_measuring_changes_nothing_of_what_is_trained(command: Command, data_root: Path) -> None:
    runs = data_root / "rooms" / "train"
    assert command("rooms", *SMALL, *OFTEN, "--epochs", "2", "--name", "measured") == 0
    assert command("rooms", *SMALL, "--epochs", "2", "--evaluate-every", "0", "--name", "not") == 0
    assert not any("evaluation" in row for row in read_lines(runs / "not" / "stats.jsonl"))
    first, second = (
        torch.load(find_checkpoints(runs / name)[-1], weights_only=True)["generator"] for name in ("measured", "not")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_is_measured_once_more(
    command: Command, evaluate: Command, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("rooms", *SMALL, *OFTEN, "--epochs", "2") == 0
    run_folder = data_root / "rooms" / "train" / "demo"
    at_the_end = [row for row in read_lines(run_folder / "stats.jsonl") if "evaluation" in row][-1]
    capsys.readouterr()
    assert evaluate(run_folder, "--samples", "16") == 0
    output = capsys.readouterr().out
    assert "66 of rooms/clean" in output
    assert "come nearer to a training image" in output
    assert str(run_folder / "nearest_128.png") in output
    (record,) = read_lines(run_folder / "evaluations.jsonl")
    assert record["evaluations"] == [at_the_end["evaluation"]]
    assert record["memorisation"] == at_the_end["memorisation"]

    assert evaluate(run_folder, "--samples", "16", "--checkpoint", "best", "--statistics", "recalibrated") == 0
    _, again = read_lines(run_folder / "evaluations.jsonl")
    assert again["evaluations"][0]["norm_statistics"] == "recalibrated"


def test_refusals_say_what_to_try(
    command: Command, evaluate: Command, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> str:
        assert evaluate(*arguments) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2
        return error

    assert "there is no run in" in refuse(tmp_path)
    assert command("rooms", *SMALL, "--epochs", "1", "--evaluate-every", "0") == 0
    run_folder = data_root / "rooms" / "train" / "demo"
    capsys.readouterr()
    assert "weights-inception-2015-12-05" in refuse(run_folder, "--inception", tmp_path / "none.pth")
    assert "--samples is 5" in refuse(run_folder, "--samples", "5")
    packed = data_root / "rooms" / "packed" / "32px" / "from_clean"
    packed.rename(packed.with_name("elsewhere"))
    assert "are no longer in" in refuse(run_folder)
    assert command("rooms", *SMALL, "--epochs", "1", "--hold-out", "0.99", "--name", "few") == 1
    assert "cannot fill a minibatch" in capsys.readouterr().err
