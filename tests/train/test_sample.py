import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer

import train.run
from train import checkpoint
from train.checkpoint import find_checkpoints
from train.config import ModelConfig, NormStatistics, TrainConfig, to_toml
from train.ema import MovingAverage
from train.runs import CONFIG_NAME, Weights, open_run
from train.sample import app
from train.state import TrainingState

CPU = torch.device("cpu")
SMALL = ("--preset", "demo", "--generator-width", "8", "--discriminator-width", "8", "--batch-size", "8")
Sample = Callable[..., int]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six minibatches by `python -m train.run`."""
    root = tmp_path_factory.mktemp("trained")
    (root / "photographs").mkdir()
    for i in range(24):
        image = np.random.default_rng(i).integers(0, 256, 3, np.uint8) * np.ones((32, 32, 1), np.uint8)
        cv2.imwrite(str(root / "photographs" / f"{i}.png"), image)
    source = ("--allow-duplicates", "--source", f"folder:{root / 'photographs'}", "--data-root", str(root))
    command = typer.main.get_command(train.run.app)
    command.main(["rooms", *SMALL, *source, "--epochs", "2", "--quiet"], standalone_mode=False)
    return root / "rooms" / "train" / "demo"


@pytest.fixture
def run_folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of ``trained`` to write to."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def sample(in_process: Callable[..., Sample]) -> Sample:
    """`python -m train.sample` in this process; returns its exit code."""
    return in_process(app, "train.sample")


def begin_run(folder: Path, config: TrainConfig) -> Path:
    """A run that has saved its first state and trained nothing."""
    folder.mkdir()
    (folder / CONFIG_NAME).write_text(to_toml(config))
    checkpoint.write(TrainingState.begin(config, "digest", CPU).pack(), folder)
    return folder


def rewrite_checkpoint(run_folder: Path, **changes: Any) -> Path:
    path = find_checkpoints(run_folder)[-1]
    torch.save(torch.load(path, weights_only=True) | changes, path)
    return path


def add_average(run_folder: Path) -> None:
    """A moving average whose weights are half of those of the last step."""
    average = MovingAverage(open_run(run_folder, weights=Weights.RAW).generator, 0.999)
    for parameter in average.generator.parameters():
        parameter.mul_(0.5)
    rewrite_checkpoint(run_folder, ema=average.state_dict())


def test_a_grid_of_the_runs_own_seed_is_that_of_training(
    sample: Sample, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sample(run_folder, "--weights", "raw") == 0
    written = run_folder / "drawn" / "seed_0.png"
    assert str(written) in capsys.readouterr().out
    assert written.read_bytes() == (run_folder / "samples.png").read_bytes()


@pytest.mark.parametrize("options", [(), ("--statistics", "batch"), ("--truncate", "0.5"), ("--n", "11")])
def test_the_same_seed_gives_the_same_bytes(sample: Sample, run_folder: Path, options: tuple[str, ...]) -> None:
    names = ("first", "again", "other")
    first, again, other = (run_folder / f"{name}.png" for name in names)
    for path, seed in ((first, 3), (again, 3), (other, 4)):
        assert sample(run_folder, "--seed", seed, "--out", path, *options) == 0
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_options_change_what_is_drawn(sample: Sample, run_folder: Path) -> None:
    add_average(run_folder)
    first = find_checkpoints(run_folder)[0]
    shutil.copy(first, first.with_name("best.pt"))
    every: tuple[tuple[str, ...], ...] = (
        ("--weights", "raw"),
        ("--weights", "ema"),
        ("--weights", "raw", "--statistics", "batch"),
        ("--weights", "raw", "--statistics", "recalibrated"),
        ("--weights", "raw", "--truncate", "0.3"),
        ("--weights", "raw", "--checkpoint", "best"),
    )
    drawn = set()
    for options in every:
        assert sample(run_folder, "--out", run_folder / "a.png", *options) == 0
        drawn.add((run_folder / "a.png").read_bytes())
    assert len(drawn) == len(every)
    assert sample(run_folder, "--out", run_folder / "auto.png") == 0
    assert sample(run_folder, "--weights", "ema", "--out", run_folder / "ema.png") == 0
    assert (run_folder / "auto.png").read_bytes() == (run_folder / "ema.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "shape"), [((1, 8), (64, 64, 3)), ((11, 4), (192, 256, 3)), ((2, 8), (64, 128, 3))]
)
def test_a_grid_has_as_many_places_as_it_needs(
    sample: Sample, run_folder: Path, options: tuple[int, int], shape: tuple[int, ...]
) -> None:
    n, columns = options
    out = run_folder / "new" / "grid.png"
    assert sample(run_folder, "--n", n, "--columns", columns, "--statistics", "batch", "--out", out) == 0
    assert cv2.imread(str(out)).shape == shape


def test_each_image_has_a_file_of_its_own_size(sample: Sample, run_folder: Path) -> None:
    folder = run_folder / "new" / "images"
    assert sample(run_folder, "--n", 11, "--each", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == [f"{i:06d}.png" for i in range(11)]
    grid = run_folder / "grid.png"
    assert sample(run_folder, "--n", 11, "--out", grid) == 0
    image = cv2.imread(str(folder / "000009.png"))
    np.testing.assert_array_equal(cv2.imread(str(grid))[64:128:2, 64:128:2], image)
    assert not (run_folder / "drawn").exists()


def test_a_conditional_run_draws_the_classes_asked_for(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelConfig(resolution=32, generator_width=4, discriminator_width=4, classes=3)
    run_folder = begin_run(tmp_path / "run", TrainConfig(model=model, batch_size=4))
    outs = [tmp_path / f"{i}.png" for i in range(3)]
    for out, options in zip(outs, [(), ("--labels", "0,1,2"), ("--labels", "2")], strict=True):
        assert sample(run_folder, "--n", 6, "--statistics", "recalibrated", "--out", out, *options) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes() != outs[2].read_bytes()
    capsys.readouterr()
    for wrong in ("3", "-1", "one", "0,,1"):
        assert sample(run_folder, f"--labels={wrong}") == 1
        assert "from 0 to 2" in capsys.readouterr().err


def test_a_run_that_keeps_no_running_averages_draws_with_the_batchs(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelConfig(resolution=32, generator_width=4, discriminator_width=4, norm_statistics=NormStatistics.BATCH)
    run_folder = begin_run(tmp_path / "run", TrainConfig(model=model, batch_size=4))
    assert sample(run_folder, "--n", 6) == 0
    assert "batch statistics" in capsys.readouterr().out
    assert sample(run_folder, "--n", 6, "--statistics", "running") == 1
    assert "recalibrated" in capsys.readouterr().err


def test_refusals_say_what_to_try(
    sample: Sample, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> str:
        assert sample(*arguments) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, "an error in one line, and a hint"
        return error

    assert "there is no run in" in refuse(tmp_path / "nowhere")
    assert "one of those in it: run" in refuse(tmp_path)
    assert "--weights raw" in refuse(run_folder, "--weights", "ema")
    assert "000000000024, 000000000048" in refuse(run_folder, "--checkpoint", "worst")
    assert "--truncate is 0.0" in refuse(run_folder, "--truncate", "0")
    assert "--truncate is nan" in refuse(run_folder, "--truncate", "nan")
    assert "no classes" in refuse(run_folder, "--labels", "1")
    assert "give a.png" in refuse(run_folder, "--out", "a.jpg")
    assert "give one of them" in refuse(run_folder, "--out", "a.png", "--each", "folder")
    assert "exists already" in refuse(run_folder, "--each", tmp_path)
    assert "larger than a PNG" in refuse(run_folder, "--n", "1000000", "--columns", "1")
    assert sample(run_folder, "--n", "0") == 2
    assert not (run_folder / "drawn").exists()


def test_what_is_damaged_is_named(
    sample: Sample, run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> str:
        assert sample(run_folder, *arguments) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2
        return error

    no_dict = tmp_path / "list.pt"
    torch.save([0], no_dict)
    assert f"{no_dict} is damaged, or no checkpoint" in refuse("--checkpoint", no_dict)
    assert "config.toml is damaged, or no checkpoint" in refuse("--checkpoint", run_folder / "config.toml")

    last = rewrite_checkpoint(run_folder, format=0)
    assert "format is 0" in refuse()
    last.write_bytes(last.read_bytes()[:5000])
    assert f"{last} is damaged" in refuse()
    config = run_folder / "config.toml"
    config.write_text(re.sub(r"generator_width = \d+", "generator_width = 12", config.read_text()))
    assert "not of the networks" in refuse("--checkpoint", find_checkpoints(run_folder)[0])
    for content in ("resolution = 31", 'z_prior = "round"', 'batch_size = "many"', "[[", "{"):
        config.write_text(content)
        assert f"{config} is damaged" in refuse()
    for path in find_checkpoints(run_folder):
        path.unlink()
    config.write_text(to_toml(TrainConfig()))
    assert "has no checkpoint yet" in refuse()


def test_an_opened_run_says_what_it_is(run_folder: Path) -> None:
    opened = open_run(run_folder)
    assert opened.weights is Weights.RAW
    assert opened.images_seen == 48
    assert opened.data_digest == json.loads((run_folder / "run.json").read_text())["data_digest"]
    assert opened.checkpoint == find_checkpoints(run_folder)[-1]
    assert not opened.generator.training
    assert not any(parameter.requires_grad for parameter in opened.generator.parameters())
