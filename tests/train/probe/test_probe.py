import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from train.config import NormStatistics, TrainConfig
from train.findings import read_finding
from train.probe import rows
from train.probe.__main__ import app
from train.probe.data import LabelledImages

Probe = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def probe(
    tmp_path: Path,
    in_process: Callable[..., Probe],
    draw_images: Callable[[int, int], LabelledImages],
    write_parquet: Callable[..., str],
) -> Probe:
    """`python -m train.probe` of a set of four classes in this process; returns its exit code."""
    sets = [
        write_parquet(tmp_path / f"{name}.parquet", draw_images(count, count))
        for name, count in (("train", 160), ("test", 60))
    ]
    call = in_process(app, "train.probe")
    data = ("--train", sets[0], "--test", sets[1], "--data-root", tmp_path / "data")

    def run(*arguments: object, dataset: str = "quadrants") -> int:
        return call(*arguments, "--dataset", dataset, *data)

    return run


@pytest.fixture
def run_folder(tmp_path: Path, begin_run: Callable[..., Path], small_config: TrainConfig) -> Path:
    return begin_run(tmp_path / "data" / "rooms" / "train" / "small", small_config, (64, 128))


def test_a_table_of_runs_and_baselines(probe: Probe, run_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert probe(run_folder, "--baseline", "random", "--baseline", "pixels") == 0
    out = capsys.readouterr().out
    assert "quadrants: accuracy, all 160 labels" in out
    assert "D of rooms/small" in out
    assert "128 images seen; 896 dimensions, recalibrated statistics; C " in out
    assert "random D, six_conv of width 4, 32 px" in out
    findings = rows.read_rows(tmp_path / "data" / "quadrants" / "probe")
    values = {each.figures[0].name: each.figures[0].value for each in findings}
    assert values["raw pixels"] > 60, "quadrants are told by their light"
    assert all(25 < value <= 100 for value in values.values())
    critic = next(each for each in findings if each.settings["kind"] == "critic")
    assert critic.settings["checkpoint"] == "000000000128.pt"
    assert critic.settings["images_seen"] == 128
    assert critic.settings["protocol"]["held_out"] == 32
    assert len(critic.settings["validation_accuracy"]) == 7
    assert "D of width 4 in place of 128" in critic.differs


def test_what_was_measured_is_kept(probe: Probe, run_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert probe("--baseline", "pixels") == 0
    first = capsys.readouterr().out
    assert "kept from before" not in first
    (kept,) = (tmp_path / "data" / "quadrants" / "probe").glob("*/finding.json")
    content = kept.read_bytes()
    assert probe(run_folder, "--baseline", "pixels") == 0
    out = capsys.readouterr().out
    assert f"raw pixels: kept from before, in {kept.parent}" in out
    assert out.count("kept from before") == 1
    assert kept.read_bytes() == content
    kept.write_bytes(content.replace(b'"differs": ""', b'"differs": "what was said once"'))
    assert probe("--baseline", "pixels") == 0
    assert kept.read_bytes() == content, "a kept row has the words of today"
    value = read_finding(kept).figures[0].value
    shutil.rmtree(kept.parent)
    assert probe("--baseline", "pixels") == 0
    assert read_finding(kept).figures[0].value == value, "the same command, the same figure"
    for options in (("--seed", "1"), ("--held-out", "40"), ("--solver", "liblinear"), ("--labels", "10-per-class")):
        capsys.readouterr()
        assert probe("--baseline", "pixels", "--resamples", "2", *options) == 0
        assert "kept from before" not in capsys.readouterr().out
    kept.write_bytes(b"{")
    assert probe("--baseline", "pixels") == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_kill_costs_the_row_in_flight(
    probe: Probe, run_folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(method: rows.Method, *arguments: object, **options: object) -> object:
        measured.append(method.name)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return rows.measure_row(method, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("train.probe.__main__.measure_row", measure)
    assert probe(run_folder, "--baseline", "pixels") == 130
    assert measured == ["raw pixels", "D of rooms/small"]
    assert len(rows.read_rows(tmp_path / "data" / "quadrants" / "probe")) == 1
    assert probe(run_folder, "--baseline", "pixels") == 0
    assert measured[2:] == ["D of rooms/small"]


def test_some_labels_have_a_spread_and_svhn_has_an_error(probe: Probe, tmp_path: Path, capsys: Capture) -> None:
    options = ("--baseline", "pixels", "--labels", "20", "--resamples", "5", "--held-out", "60")
    assert probe(*options, dataset="svhn") == 0
    assert "svhn: error, 20 labels" in capsys.readouterr().out
    assert probe(*options) == 0
    assert "quadrants: accuracy, 20 labels" in capsys.readouterr().out
    figures = [rows.read_rows(tmp_path / "data" / name / "probe")[0].figures[0] for name in ("svhn", "quadrants")]
    assert figures[0].value == pytest.approx(100 - figures[1].value)
    assert figures[0].spread == figures[1].spread
    assert figures[0].spread is not None


def test_the_papers_figures_stand_beside(probe: Probe, run_folder: Path, capsys: Capture) -> None:
    assert probe(run_folder, dataset="cifar10") == 0
    out = capsys.readouterr().out
    for figure in ("82.8%", "80.6%", "82%", "81.9%", "84.3%"):
        assert figure in out


def test_all_checkpoints_make_a_learning_curve(probe: Probe, run_folder: Path, capsys: Capture) -> None:
    assert probe(run_folder, "--baseline", "pixels", "--checkpoint", "all") == 0
    folder = run_folder / "evidence" / "quadrants"
    assert str(folder / "curve.png") in capsys.readouterr().out.replace("\n", "")
    finding = read_finding(folder / "finding.json")
    assert [figure.name for figure in finding.figures] == ["64 images seen", "128 images seen", "raw pixels"]
    assert finding.settings["checkpoints"] == ["000000000064.pt", "000000000128.pt"]
    assert cv2.imread(str(folder / "curve.png")).shape == (400, 640, 3)
    picture = (folder / "curve.png").read_bytes()
    (run_folder / "checkpoints" / "000000000064.pt").unlink()  # as training does; its row stays
    assert probe(run_folder, "--baseline", "pixels", "--checkpoint", "all") == 0
    assert (folder / "curve.png").read_bytes() == picture


def test_refusals_say_what_to_try(
    probe: Probe,
    run_folder: Path,
    tmp_path: Path,
    begin_run: Callable[..., Path],
    small_config: TrainConfig,
    capsys: Capture,
) -> None:
    def refuse(*arguments: object) -> str:
        capsys.readouterr()
        assert probe(*arguments) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 2, "an error in one line, and a hint"
        return error

    assert "no RUN and no --baseline" in refuse()
    assert "there is no run in" in refuse(tmp_path)
    assert "random:PRESET" in refuse("--baseline", "random")
    assert "kmeans:MAPS" in refuse("--baseline", "kmeans:0")
    assert "there is no preset" in refuse("--baseline", "random:nothing")
    assert "--labels is many" in refuse("--baseline", "pixels", "--labels", "many")
    assert "multiple of 4" in refuse("--baseline", "pixels", "--labels", "41")
    assert "--held-out" in refuse("--baseline", "pixels", "--held-out", "160")
    assert "no running averages" in refuse(run_folder, "--statistics", "running")
    model = replace(small_config.model, classes=4, norm_statistics=NormStatistics.RUNNING)
    assert "is told the class" in refuse(begin_run(tmp_path / "told", replace(small_config, model=model)))
    assert not list((tmp_path / "data").glob("quadrants/probe/*"))


def test_runs_with_running_averages_and_other_statistics(
    probe: Probe, tmp_path: Path, begin_run: Callable[..., Path], small_config: TrainConfig
) -> None:
    config = replace(small_config, model=replace(small_config.model, norm_statistics=NormStatistics.RUNNING))
    folder = begin_run(tmp_path / "data" / "rooms" / "train" / "running", config)
    for statistics in ("running", "recalibrated", "batch"):
        assert probe(folder, "--statistics", statistics, "--quiet") == 0
    assert probe(folder, "--quiet") == 0
    found = rows.read_rows(tmp_path / "data" / "quadrants" / "probe")
    assert {each.settings["method"]["statistics"] for each in found} == {"running", "recalibrated", "batch"}
    assert len({json.dumps(each.settings["validation_accuracy"]) for each in found}) == 3
