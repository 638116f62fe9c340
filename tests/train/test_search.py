import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import train.probe.protocols
import train.search.__main__ as command
from train.config import Critic, ModelConfig
from train.dcgan import Discriminator
from train.findings import FINDING_NAME, read_finding
from train.probe.data import LabelledImages
from train.probe.protocols import Protocol, measure, shuffle
from train.probe.published import Kind, find_published
from train.search import results
from train.search.__main__ import app, draw_sample
from train.search.trial import BATCH_SIZES, Classifier, Data, Examples, Options, draw_options, measure_error, run_trial
from train.search.trials import SETTINGS_NAME, TRIALS_NAME

COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
TRAIN, TEST = 90, 30
PATIENCE_S = 120.0
MODEL = ModelConfig(resolution=32, discriminator_width=2)
Search = Callable[..., int]


def draw_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a colour for each class, which a network can learn to tell."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % len(COLOURS))
    noise = rng.normal(0, 60, (count, 32, 32, 3))
    return np.clip(np.array(COLOURS)[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


def write_parquet(path: Path, count: int, seed: int) -> None:
    pixels, labels = draw_images(count, seed)
    encoded = [cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for image in pixels]
    pq.write_table(pa.table({"image": encoded, "label": labels}), path)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that name a made set of three classes, and a small search of it."""
    folder = tmp_path_factory.mktemp("coloured")
    write_parquet(folder / "train.parquet", TRAIN, 0)
    write_parquet(folder / "test.parquet", TEST, 1)
    images = ("--train", f"parquet:{folder / 'train.parquet'}", "--test", f"parquet:{folder / 'test.parquet'}")
    return ("--dataset", "coloured", *images, "--labels", "30", "--width", "2", "--epochs", "8", "--device", "cpu")


@pytest.fixture
def search(in_process: Callable[..., Search]) -> Search:
    """`python -m train.search` in this process; returns its exit code."""
    return in_process(app, "train.search")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """A search's rows, but for the time that they took."""
    path = folder / TRIALS_NAME
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def make_data(count: int = 30) -> Data:
    training, validation = (
        Examples(torch.from_numpy(pixels), torch.from_numpy(labels))
        for pixels, labels in (draw_images(count, seed) for seed in (0, 1))
    )
    return Data(training, validation, len(COLOURS))


def make_options(**changes: Any) -> Options:
    usual = {"learning_rate": 1e-3, "beta1": 0.5, "weight_decay": 0.0, "batch_size": 16, "dropout": 0.2, "epochs": 12}
    return Options(**{**usual, **changes})


def test_a_killed_search_goes_on_by_the_same_command(search: Search, sources: tuple[str, ...], tmp_path: Path) -> None:
    trials, killed, whole = 8, tmp_path / "killed", tmp_path / "whole"
    arguments = (*sources, "--trials", str(trials), "--out")
    process = subprocess.Popen(
        [sys.executable, "-m", "train.search", *arguments, str(killed)],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    end = time.monotonic() + PATIENCE_S
    while len(read_rows(killed)) < 2:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    left = read_rows(killed)
    assert 2 <= len(left) < trials
    assert not (killed / FINDING_NAME).exists()

    assert search(*arguments, killed) == 0
    assert search(*arguments, whole) == 0
    assert read_rows(killed) == read_rows(whole)
    assert read_rows(killed)[: len(left)] == left
    assert [row["number"] for row in read_rows(whole)] == list(range(trials))
    first, second = (read_finding(folder / FINDING_NAME) for folder in (killed, whole))
    assert (first.figures, first.settings) == (second.figures, second.settings)
    assert len(list(killed.glob("trial_*.pt"))) == 1


def test_a_search_finds_its_best_and_can_be_added_to(
    search: Search, sources: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "search"
    assert search(*sources, "--trials", "4", "--out", out) == 0
    before = read_rows(out)
    assert search(*sources, "--trials", "8", "--out", out) == 0
    rows = read_rows(out)
    assert (rows[:4], len(rows)) == (before, 8)
    best = min(rows, key=lambda row: (row["error"], row["number"]))
    finding = read_finding(out / FINDING_NAME)
    validation, test = finding.figures
    assert validation.value == pytest.approx(100 * (1 - best["error"]))
    assert validation.value > 60, "the colours can be told"
    assert test.value > 60
    assert finding.settings["best"] == best["number"]
    assert finding.settings["learning_rate"] == best["options"]["learning_rate"]
    assert "best of 64" in finding.differs
    shown = capsys.readouterr().out
    assert "the best of 8 trials" in shown
    assert "coloured: accuracy, 30 labels, best of 8 trials" in shown

    assert search(*sources, "--trials", "2", "--out", out) == 0
    assert read_rows(out) == rows
    assert read_finding(out / FINDING_NAME).figures == finding.figures


def test_the_papers_figure_stands_beside_that_of_svhn(
    search: Search, sources: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "parse_labels", lambda text, classes: 30)
    found = find_published("svhn", 1000, Kind.SUPERVISED)
    monkeypatch.setattr(results, "find_published", lambda *_: found)
    assert search("--dataset", "svhn", *sources[2:], "--trials", "1", "--out", tmp_path / "search") == 0
    finding = read_finding(tmp_path / "search" / FINDING_NAME)
    (row,) = read_rows(tmp_path / "search")
    assert finding.figures[0].paper == 28.87
    assert finding.figures[0].value == pytest.approx(100 * row["error"])


def test_other_options_are_refused(
    search: Search, sources: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "search"

    def refuse(*options: object) -> str:
        assert search(*sources, "--out", out, "--trials", "1", *options) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, "an error in one line, and a hint"
        return error

    assert "a search learns from some" in refuse("--labels", "all")
    assert "90 images are to be held out, and there are 90" in refuse("--held-out", "90")
    assert "multiple of 3" in refuse("--labels", "31")
    assert not out.exists()
    assert search(*sources, "--out", out, "--trials", "1") == 0
    rows = read_rows(out)
    capsys.readouterr()
    assert "width was 2 and is 3" in refuse("--width", "3")
    error = refuse("--seed", "1", "--epochs", "9")
    assert "most_epochs was 8 and is 9, seed was 0 and is 1" in error
    assert "--out" in error
    assert read_rows(out) == rows
    for name, content in ((TRIALS_NAME, '{"number": 0'), (TRIALS_NAME, '{"number": 0}'), (SETTINGS_NAME, "[]")):
        kept = (out / name).read_text()
        (out / name).write_text(content)
        assert f"{out / name} is damaged" in refuse()
        (out / name).write_text(kept)
    (out / "trial_0000.pt").write_bytes(b"no weights")
    assert "trial_0000.pt is damaged" in refuse()


def test_a_trial_depends_on_nothing_but_its_number() -> None:
    data = make_data()
    options = [draw_options(0, number, 8) for number in (2, 0, 1, 2)]
    assert options[0] == options[3]
    assert len(set(options)) == 3
    first, other, again = (run_trial(data, MODEL, make_options(epochs=2), 0, number) for number in (4, 5, 4))
    assert first.weights is not None and other.weights is not None and again.weights is not None
    for name, tensor in first.weights.items():
        torch.testing.assert_close(tensor, again.weights[name], rtol=0, atol=0)
    assert any(not torch.equal(tensor, other.weights[name]) for name, tensor in first.weights.items())


def test_options_stay_in_their_ranges() -> None:
    drawn = [draw_options(3, trial, 200) for trial in range(300)]
    assert {options.batch_size for options in drawn} == set(BATCH_SIZES)
    for name, low, high in (
        ("learning_rate", 3e-5, 1e-2),
        ("beta1", 0.5, 0.95),
        ("weight_decay", 1e-6, 1e-1),
        ("dropout", 0.0, 0.7),
        ("epochs", 25, 200),
    ):
        values = [getattr(options, name) for options in drawn]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.4 * (high - low) < max(values) <= high
    assert {draw_options(0, trial, 1).epochs for trial in range(20)} == {1}


def test_what_diverges_is_a_row(
    search: Search,
    sources: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = run_trial(make_data(), MODEL, make_options(learning_rate=1e30), 0, 0)
    assert (outcome.error, outcome.diverged, outcome.weights) == (None, True, None)
    out = tmp_path / "search"
    monkeypatch.setattr(command, "draw_options", lambda *_: make_options(learning_rate=1e30))
    assert search(*sources, "--out", out, "--trials", "2") == 1
    assert "each of 2 trials diverged" in capsys.readouterr().err
    assert [row["diverged"] for row in read_rows(out)] == [True, True]
    monkeypatch.setattr(command, "draw_options", draw_options)
    assert search(*sources, "--out", out, "--trials", "3") == 0
    assert "2 diverged" in capsys.readouterr().out
    assert read_finding(out / FINDING_NAME).settings["best"] == 2


@pytest.mark.parametrize("critic", list(Critic))
def test_a_network_has_ds_layers_and_an_output_for_each_class(critic: Critic) -> None:
    model = ModelConfig(resolution=32, discriminator_width=4, critic=critic)
    network, likeness = Classifier(model, 10), Discriminator(model)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items() if name.startswith("critic.")}
    expected = {
        f"critic.{name}": tensor.shape for name, tensor in likeness.state_dict().items() if not name.startswith("cla")
    }
    assert shapes == expected
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_an_error_is_the_share_of_wrong_answers() -> None:
    data = make_data(33)
    outcome = run_trial(data, MODEL, make_options(), 0, 0)
    network = Classifier(MODEL, data.classes)
    assert outcome.weights is not None
    network.load_state_dict(outcome.weights)
    assert measure_error(network, data.validation) == outcome.error
    answers = [
        int(network(data.validation.pixels[i : i + 1].permute(0, 3, 1, 2).float() / 127.5 - 1).argmax())
        for i in range(33)
    ]
    assert outcome.error == pytest.approx(np.mean(np.array(answers) != data.validation.labels.numpy()))


def test_labels_are_those_of_the_probes_first_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = draw_images(TRAIN, 0)
    images = LabelledImages("coloured", pixels, labels, ("red", "green", "blue"))
    sample, validation = draw_sample(images, 30, 18, seed=5)
    assert np.bincount(sample.labels).tolist() == [10, 10, 10]
    assert len(validation) == 18

    fitted = []
    fit_path = train.probe.protocols.fit_path

    def remember(features: np.ndarray, *arguments: Any, **options: Any) -> Any:
        fitted.append(features)
        return fit_path(features, *arguments, **options)

    monkeypatch.setattr(train.probe.protocols, "fit_path", remember)
    order = shuffle(TRAIN, 5)
    features = np.stack([order, order % 7], axis=1).astype(np.float32)
    protocol = Protocol(labels=30, held_out=18, grid=(1e-4,), choice_resamples=1, resamples=1, seed=5)
    measure(features, labels[order], features, labels[order], protocol)
    drawn = fitted[-1][:, 0].astype(int)
    np.testing.assert_array_equal(sample.pixels, pixels[drawn])
    np.testing.assert_array_equal(validation.pixels, pixels[order[-18:]])
