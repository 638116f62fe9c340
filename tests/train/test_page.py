import json
import math
import re
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from axe import assert_presentable, open_browser
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import IntegrityError, TrainingError
from train.chart import MOST_POINTS, place_ticks, thin
from train.config import TrainConfig, to_toml
from train.history import read_history
from train.page import SMALL_GRIDS, write_page
from train.stats import StatsLog

Row = dict[str, Any]

IMAGES, BATCH = 3004, 32
PER_EPOCH = 2976
SETTINGS = {
    "samples": 2000,
    "reference_images": 3004,
    "reference_split": "rooms/clean",
    "reference_sha256": "ab" * 32,
    "extractor_name": "random",
    "extractor": "random, seed 0",
    "weights": "raw",
}
HOSTILE = "<script>alert('1')</script>\"&"


class Page(HTMLParser):
    """A page's elements with their attributes, its text without styles, and its charts by title."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(self.source)
        found = re.findall(r"<h3>([^<]*)</h3>(<svg.*?</svg>)", self.source)
        self.charts = {title: SVG(svg) for title, svg in found}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attrs[name] or "" for found, attrs in self.elements if found == tag and name in attrs]


class SVG:
    """A chart as a reader sees it: values are read off its axes' labels."""

    def __init__(self, source: str) -> None:
        self.root = ET.fromstring(source)
        self._x, self._y = (self._read_axis(name) for name in "xy")

    def _read_axis(self, name: str) -> tuple[float, float]:
        """Slope and offset of values over pixels."""
        (group,) = (g for g in self.root.iter("g") if g.get("class") == name)
        pixels = [float(line.attrib[f"{name}1"]) for line in group.iter("line")]
        labels = [read_number(text.text or "") for text in group.iter("text")]
        slope, offset = np.polyfit(pixels, labels, 1)
        np.testing.assert_allclose(np.polyval((slope, offset), pixels), labels, atol=1e-3 * np.ptp(labels))
        return float(slope), float(offset)

    def lines(self) -> list[np.ndarray[Any, Any]]:
        """(N, 2) of each line: images seen, value."""
        return [self._read(line.attrib["points"]) for line in self.root.iter("polyline")]

    def bands(self) -> list[np.ndarray[Any, Any]]:
        return [self._read(area.attrib["points"]) for area in self.root.iter("polygon")]

    def levels(self) -> dict[str, float]:
        named = [text.text or "" for text in self.root.iter("text") if text.get("class") == "level"]
        at = [float(line.attrib["y1"]) for line in self.root.iter("line") if line.get("stroke-dasharray")]
        return dict(zip(named, (np.polyval(self._y, y) for y in at), strict=True))

    def _read(self, points: str) -> np.ndarray[Any, Any]:
        pixels = np.array([[float(number) for number in point.split(",")] for point in points.split()])
        return np.stack([np.polyval(self._x, pixels[:, 0]), np.polyval(self._y, pixels[:, 1])], axis=1)


def read_number(label: str) -> float:
    sizes = {"k": 1e3, "M": 1e6, "G": 1e9}
    label = label.replace("−", "-")
    return float(label.rstrip("kMG")) * sizes.get(label[-1], 1.0)


def make_row(images: int, **more: Any) -> Row:
    measures = {"value": -0.5, "d_real": 0.8, "d_fake": 0.2, "generator_loss": 2.0}
    health = {"spread": 30.0, "code_distance": 50.0, "images_per_s": 400.0}
    return {"images": images, "epoch": -(-images // PER_EPOCH), **measures, **health, **more}


def make_evaluation(images: int, distance: float, **settings: Any) -> Row:
    shares = {"random/precision": 1 / distance, "random/recall": 0.25}
    metrics = {"random/frechet_distance": distance, "random/kernel_distance": 0.01, "random/kernel_distance_std": 0.002}
    evaluation = {"metrics": {**metrics, **shares}, **SETTINGS, **settings}
    return {"images": images, "epoch": -(-images // PER_EPOCH), "evaluation": evaluation}


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run's folder as training leaves it, and return it."""

    def write(rows: Sequence[Row] = (), *, dataset: str = "rooms", epochs: int = 10, grids: int = 0) -> Path:
        folder = tmp_path / "data" / "rooms" / "train" / "small"
        (folder / "samples").mkdir(parents=True)
        (folder / "config.toml").write_text(to_toml(TrainConfig(batch_size=BATCH, epochs=epochs)))
        note = {"dataset": dataset, "kind": "clean", "images": IMAGES, "data_digest": "cd" * 32, "torch": "2.15"}
        (folder / "run.json").write_text(json.dumps(note))
        if rows:
            (folder / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for epoch in range(1, grids + 1):
            cv2.imwrite(str(folder / "samples" / f"epoch_{epoch:04d}.png"), noise(64, epoch))
        if grids:
            cv2.imwrite(str(folder / "samples.png"), noise(64, grids))
        return folder

    return write


def noise(side: int, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def require_self_contained(page: Page) -> None:
    """Nothing is run, and nothing is asked for."""
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    assert "default-src 'none'" in page.source
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|javascript:|\son[a-z]+=", re.sub(r"base64,[^\"]*", "", page.source)
    )
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in page.attributes("img", "src"))
    assert all(page.attributes("img", "alt"))
    assert len(page.attributes("img", "alt")) == len(page.attributes("img", "src"))
    assert len(page.attributes("svg", "aria-label")) == page.source.count("<svg")


def test_a_run_has_a_page(command: Callable[..., int], data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    widths = ("--generator-width", "4", "--discriminator-width", "4", "--batch-size", "8")
    measuring = ("--samples", "20", "--evaluate-every", "64")
    assert command("rooms", "--preset", "demo", *widths, *measuring, "--epochs", "3", "--name", "it's") == 0
    folder = data_root / "rooms" / "train" / "it's"
    page = Page(write_page(folder))
    require_self_contained(page)
    assert "rooms · it's" in page.text
    assert "Finished: 3 epochs" in page.text
    rows = read_history(folder).measured
    expected = [(row["images"], row["value"]) for row in rows]
    np.testing.assert_allclose(page.charts["Value of the game"].lines()[0], expected, atol=0.02, rtol=0.01)
    assert page.text.count("rooms/clean") >= 2  # what metrics, and what memorisation, were measured against
    assert "No sign of memory" in page.text
    assert len(page.attributes("img", "src")) == 1 + 3 + 1  # the last grid, each epoch's, the nearest images
    assert f"python -m train.sample {shlex.quote(str(folder))} --n 64" in page.text
    (resume,) = re.findall(r"python -m train.run .* --resume must", page.text)
    assert command(*shlex.split(resume)[3:]) == 0
    assert "finished already: 3 epochs" in capsys.readouterr().out


def test_a_run_that_has_begun_has_a_page(write_run: Callable[..., Path]) -> None:
    page = Page(write_page(write_run()))
    require_self_contained(page)
    assert "no row of statistics yet" in page.text
    assert page.attributes("img", "src") == []
    assert page.attributes("progress", "value") == ["0.0"]


def test_lines_and_levels_stand_where_the_axes_say(write_run: Callable[..., Path]) -> None:
    rng = np.random.default_rng(0)
    rows = [
        make_row(
            1600 * i, value=-rng.random(), d_real=rng.random(), d_fake=rng.random(), generator_loss=5 * rng.random()
        )
        for i in range(1, 30)
    ]
    del rows[3]["d_real"]
    charts = Page(write_page(write_run(rows))).charts
    drawn = {
        "value": charts["Value of the game"].lines()[0],
        "d_real": charts["D of real and of drawn images"].lines()[0],
        "d_fake": charts["D of real and of drawn images"].lines()[1],
        "generator_loss": charts["Loss of G"].lines()[0],
        "spread": charts["Spread of samples"].lines()[0],
        "images_per_s": charts["Rate"].lines()[0],
    }
    for name, line in drawn.items():
        expected = np.array([(row["images"], row[name]) for row in rows if name in row])
        np.testing.assert_allclose(line[:, 0], expected[:, 0], atol=5)
        np.testing.assert_allclose(line[:, 1], expected[:, 1], atol=2e-3 * max(1, expected[:, 1].max()))
    assert charts["Value of the game"].levels() == pytest.approx({"−log 4": -math.log(4)}, abs=1e-3)
    assert charts["D of real and of drawn images"].levels() == pytest.approx({"1/2": 0.5}, abs=1e-3)
    assert charts["Loss of G"].levels() == pytest.approx({"log 2": math.log(2)}, abs=0.01)
    assert "Most GPU memory so far" not in charts


def test_thousands_of_rows_are_drawn_as_means_between_their_bounds(write_run: Callable[..., Path]) -> None:
    values = np.random.default_rng(0).standard_normal(7001)
    rows = [make_row(1600 * i, value=value) for i, value in enumerate(values, 1)]
    page = Page(write_page(write_run(rows, epochs=9999)))
    chart = page.charts["Value of the game"]
    (line,), (band,) = chart.lines(), chart.bands()
    assert 100 < len(line) <= MOST_POINTS
    assert line[:, 1].mean() == pytest.approx(values.mean(), abs=0.02)
    assert (line[:, 1].min(), line[:, 1].max()) == pytest.approx((-0.5, 0.5), abs=0.3)
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((values.min(), values.max()), abs=0.02)
    assert len(page.source) < 150_000
    assert f"mean of up to {-(-7001 // MOST_POINTS)} rows" in page.text


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.integers(1, 50))
def test_thinning_keeps_bounds_and_weighs_rows_alike(values: list[float], most: int) -> None:
    y = np.array(values)
    thinned = thin(np.arange(len(y), dtype=np.float64), y, most)
    assert len(thinned.x) == min(most, len(y))
    assert (thinned.lowest.min(), thinned.highest.max()) == (y.min(), y.max())
    assert (np.diff(thinned.x) > 0).all()
    assert np.all(thinned.lowest <= thinned.mean + 1e-3)
    assert np.all(thinned.mean <= thinned.highest + 1e-3)


@given(st.lists(st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9), min_size=1))
def test_ticks_are_few_even_and_hold_every_value(values: list[float]) -> None:
    ticks = place_ticks(values)
    assert 2 <= len(ticks) <= 7
    steps = np.diff(ticks)
    assert steps == pytest.approx(np.full(len(steps), steps[0]), rel=1e-3)
    slack = 1e-6 * steps[0]
    assert ticks[0] - slack <= min(values)
    assert max(values) <= ticks[-1] + slack


def test_progress_is_told_from_the_last_row(write_run: Callable[..., Path]) -> None:
    rows = [make_row(images) for images in (1600, PER_EPOCH, PER_EPOCH + 1600)]
    page = Page(write_page(write_run(rows, epochs=4, grids=1)))
    assert "1 of 4 epochs done" in page.text
    assert "about 18 s to go" in page.text  # 4 · 2,976 less 4,576 images at 400 images/s
    assert float(page.attributes("progress", "value")[0]) == pytest.approx(4576 / (4 * PER_EPOCH), abs=1e-4)


def test_grids_are_spread_over_the_run_and_the_page_stays_small(write_run: Callable[..., Path]) -> None:
    folder = write_run([make_row(PER_EPOCH * epoch) for epoch in range(1, 31)], epochs=30, grids=33)
    for name in ("samples.png", "samples_ema.png", "nearest.png"):
        cv2.imwrite(str(folder / name), noise(1024, 0))  # nothing takes more space
    page = Page(write_page(folder))
    shown = [int(epoch) for epoch in re.findall(r"drawn after epoch (\d+)", page.source)]
    assert len(shown) == SMALL_GRIDS
    assert (shown[0], shown[-1]) == (1, 30)  # 31 to 33 are of a course that training went back from
    assert np.ptp(np.diff(shown)) <= 1
    assert len(page.source) < 3_000_000
    assert "moving average of G" in page.text
    require_self_contained(page)


def test_signs_are_shown_newest_first(write_run: Callable[..., Path]) -> None:
    rows = [make_row(1600 * i, **({"signs": [f"sign {i}"]} if i > 2 else {})) for i in range(1, 11)]
    page = Page(write_page(write_run(rows)))
    assert "Something looks wrong" in page.text
    assert "8 signs, the first at image 4,800" in page.text
    assert re.findall(r"sign \d+", page.text) == ["sign 10", "sign 9", "sign 8", "sign 7", "sign 6"]


def test_charts_leave_out_what_training_went_back_from(write_run: Callable[..., Path]) -> None:
    before = [make_row(1600 * i, value=-1.0) for i in range(1, 4)]
    given_up = [make_row(4800, value=-0.1, signs=["alike"]), make_evaluation(4800, 99.0), make_row(6400, value=-0.1)]
    after = [make_row(4800, value=-0.9), make_evaluation(4800, 3.0), make_row(6400, value=-0.8)]
    page = Page(write_page(write_run([*before[:2], *given_up, *after])))
    (line,) = page.charts["Value of the game"].lines()
    np.testing.assert_allclose(line[:, 0], [1600, 3200, 4800, 6400], atol=5)
    np.testing.assert_allclose(line[:, 1], [-1, -1, -0.9, -0.8], atol=2e-3)
    assert "99" not in re.findall(r'<td class="n">([\d.]+)</td>', page.source)
    assert "Training went back to a checkpoint 1 time;" in page.text
    assert "image 4,800: alike" in page.text


def test_the_best_metrics_are_marked_and_settings_said_once(write_run: Callable[..., Path]) -> None:
    distances = [20.0, 5.0, 8.0]
    rows: list[Row] = []
    for epoch, distance in enumerate(distances, 1):
        rows += [make_row(PER_EPOCH * epoch), make_evaluation(PER_EPOCH * epoch, distance)]
    rows.append(make_evaluation(PER_EPOCH * 3, 4.0, weights="ema"))
    page = Page(write_page(write_run(rows)))
    best = re.findall(r"best: </span>([^<]*)</td>", page.source)
    assert best == ["5.00", "0.2000"]  # the other columns are all alike
    assert page.source.count("ab" * 32) == 1
    assert "Metrics 2 of 2" in page.text
    (line,) = page.charts["Fréchet distance"].lines()
    np.testing.assert_allclose(line, [(PER_EPOCH * i, d) for i, d in enumerate(distances, 1)], rtol=2e-3, atol=0.05)
    assert len(page.charts["Precision, recall"].lines()) == 2


def test_many_evaluations_are_a_short_table_with_the_best(write_run: Callable[..., Path]) -> None:
    rows = [make_evaluation(1000 * i, 50.0 + (i != 38)) for i in range(1, 101)]
    page = Page(write_page(write_run(rows)))
    shown = [int(images.replace(",", "")) for images in re.findall(r'<th scope="row">([\d,]+)</th><td', page.source)]
    assert {1000, 38_000, 100_000} <= set(shown)
    assert len(shown) < 25
    assert f"{100 - len(shown)} evaluations between these" in page.text


def test_memorisation_stands_beside_the_nearest_training_images(write_run: Callable[..., Path]) -> None:
    memorisation = {
        "samples": 1000,
        "nearer": 30,
        "share": 0.03,
        "interval": [0.02, 0.043],
        "expected_share": 0.0099,
        "training_split": "rooms/clean",
    }
    row = {**make_evaluation(PER_EPOCH, 5.0), "memorisation": memorisation}
    folder = write_run([make_row(PER_EPOCH), row], grids=1)
    cv2.imwrite(str(folder / "nearest.png"), noise(64, 0))
    page = Page(write_page(folder))
    assert "Some of it is memory" in page.text
    assert "30 of 1,000 samples, 3.00% (95% interval: 2.00% to 4.30%)" in page.text
    assert any("nearest" in alt for alt in page.attributes("img", "alt"))


def test_the_page_is_presentable(write_run: Callable[..., Path]) -> None:
    rows = [make_row(PER_EPOCH * epoch) for epoch in range(1, 9)]
    rows[3]["signs"] = ["D is certain of every image"]
    rows += [make_evaluation(PER_EPOCH * epoch, 9.0 - epoch) for epoch in range(1, 9)]
    folder = write_run(sorted(rows, key=lambda row: row["images"]), grids=8)
    cv2.imwrite(str(folder / "nearest.png"), noise(64, 0))
    with open_browser() as browser:
        assert_presentable(browser, write_page(folder))


def test_names_from_anywhere_are_only_text(write_run: Callable[..., Path]) -> None:
    evaluations = [
        make_evaluation(images, 5.0, reference_split=HOSTILE, extractor=HOSTILE)
        for images in (PER_EPOCH, 2 * PER_EPOCH)
    ]
    evaluations[0]["evaluation"]["metrics"][f"random/{HOSTILE}"] = 0.5
    folder = write_run([make_row(PER_EPOCH, signs=[HOSTILE]), *evaluations], dataset=HOSTILE)
    page = Page(write_page(folder))
    require_self_contained(page)
    assert page.text.count(HOSTILE) >= 4


def test_what_is_not_a_number_is_said_and_not_drawn(write_run: Callable[..., Path]) -> None:
    page = Page(write_page(write_run([make_evaluation(1000 * i, d) for i, d in enumerate([9.0, math.nan, 7.0], 1)])))
    assert ">nan<" in page.source
    assert len(page.charts["Fréchet distance"].lines()[0]) == 2


def test_a_run_that_went_back_and_was_stopped_there_still_has_a_page(write_run: Callable[..., Path]) -> None:
    folder = write_run([make_row(PER_EPOCH), make_row(2 * PER_EPOCH)])
    with StatsLog(folder, 2 * PER_EPOCH) as stats:
        stats.forget_after(PER_EPOCH, "went back from image 5,952, where training came apart")
    history = read_history(folder)
    assert [row["images"] for row in history.measured] == [PER_EPOCH]
    assert (history.rollbacks, [images for images, _ in history.signs]) == (1, [PER_EPOCH])
    text = Page(write_page(folder)).text
    assert "Training went back to a checkpoint 1 time" in text and "where training came apart" in text


def test_a_line_that_is_not_whole_yet_is_left_out_and_a_damaged_one_named(write_run: Callable[..., Path]) -> None:
    folder = write_run([make_row(1600)])
    stats = folder / "stats.jsonl"
    whole = stats.read_text()
    stats.write_text(whole + '{"images": 32')
    assert len(read_history(folder).measured) == 1
    stats.write_text("{}\n" + whole)
    with pytest.raises(IntegrityError, match=r"line 1 of .*stats\.jsonl"):
        write_page(folder)


def test_refusals_name_the_file(write_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no run"):
        write_page(tmp_path)
    folder = write_run([make_row(PER_EPOCH)], grids=1)
    (folder / "samples.png").write_bytes(b"no picture")
    with pytest.raises(IntegrityError, match=r"samples\.png"):
        write_page(folder)
    (folder / "run.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"run\.json"):
        write_page(folder)
    assert not (folder / "run.html").exists()


def test_commands_are_those_of_the_path_as_given(
    write_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_run().parents[3])
    page = Page(write_page(Path("data/rooms/train/small")))
    assert "python -m train.export data/rooms/train/small --format onnx" in page.text
    options = "--config data/rooms/train/small/config.toml --name small --data-root data --resume must"
    assert f"python -m train.run rooms {options}" in page.text
