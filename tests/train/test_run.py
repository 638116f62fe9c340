import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch
from contents import differences, last_checkpoint

from pipelines.manifest import MANIFEST_NAME
from train.checkpoint import find_checkpoints

Command = Callable[..., int]

SMALL = (
    *("--preset", "demo", "--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8"),
    *("--evaluate-every", "0"),
)


def read_rows(run_folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_folder / "stats.jsonl").read_text().splitlines()]


def test_a_run_leaves_samples_statistics_and_checkpoints(
    command: Command, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("rooms", *SMALL, "--epochs", "2") == 0
    run_folder = data_root / "rooms" / "train" / "demo"
    assert str(run_folder / "samples.png") in capsys.readouterr().out
    assert cv2.imread(str(run_folder / "samples.png")).shape == (512, 512, 3)
    assert "generator_width = 4\n" in (run_folder / "config.toml").read_text()
    assert [row["images"] for row in read_rows(run_folder)] == [64, 128]
    assert last_checkpoint(run_folder)["epoch"] == 2


def test_a_finished_run_says_so_and_goes_on_with_more_epochs(
    command: Command, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("rooms", *SMALL, "--epochs", "1") == 0
    assert command("rooms", *SMALL, "--epochs", "1", "--resume", "must") == 0
    assert "finished already: 1 epochs" in capsys.readouterr().out
    assert command("rooms", *SMALL, "--epochs", "2", "--resume", "must") == 0
    assert command("rooms", *SMALL, "--epochs", "2", "--name", "at-once") == 0
    runs = data_root / "rooms" / "train"
    assert differences(last_checkpoint(runs / "demo"), last_checkpoint(runs / "at-once")) == []


def test_refusals_say_what_to_try(command: Command, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*arguments: str) -> str:
        assert command(*arguments) == 1
        return capsys.readouterr().err

    assert "run: python -m dedup.run kitchens" in refuse("kitchens")
    assert "no run to resume" in refuse("rooms", *SMALL, "--resume", "must")
    assert "there is no preset 'huge'" in refuse("rooms", "--preset", "huge")
    assert "--allow-duplicates" in refuse("rooms", "--source", "folder:photographs")
    assert "cannot fill a minibatch of 99" in refuse("rooms", "--preset", "demo", "--batch-size", "99")
    assert command("rooms", *SMALL, "--epochs", "1") == 0
    capsys.readouterr()
    assert "--resume" in refuse("rooms", *SMALL)
    assert "seed was 0 and is 1" in refuse("rooms", *SMALL, "--seed", "1", "--resume", "must")
    (data_root / "rooms" / "clean" / MANIFEST_NAME).unlink()
    assert "run: python -m dedup.run rooms" in refuse("rooms", *SMALL, "--resume", "must")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("rooms", *SMALL, "--device", "cuda") == 1
    assert "--device auto" in capsys.readouterr().err


def test_divergence_stops_the_run_with_a_hint(
    command: Command, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("rooms", *SMALL, "--epochs", "3", "--learning-rate", "1e30") == 1
    error = capsys.readouterr().err
    assert "training diverged" in error
    assert "--learning-rate" in error
    assert not find_checkpoints(data_root / "rooms" / "train" / "demo")


def test_dry_run_touches_nothing(command: Command, data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(data_root.rglob("*"))
    assert command("rooms", *SMALL, "--epochs", "3", "--dry-run") == 0
    output = capsys.readouterr().out
    assert "2 of 2 shards to do" in output
    assert "3 of 3 epochs to do" in output
    assert sorted(data_root.rglob("*")) == before


def test_duplicates_are_trained_on_where_that_is_asked_for(
    command: Command, data_root: Path, tmp_path: Path, make_png: Callable[[int], bytes]
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(9):
        (folder / f"{i}.png").write_bytes(make_png(0))
    source = f"folder:{folder}"
    assert command("new", *SMALL, "--allow-duplicates", "--source", source, "--epochs", "1") == 0
    assert json.loads((data_root / "new" / "train" / "demo" / "run.json").read_text())["images"] == 9


def test_quiet_says_nothing(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("rooms", *SMALL, "--epochs", "1", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
