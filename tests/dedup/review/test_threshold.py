"""The page "Threshold": what its curve and figures say, against what a run does; decisions, listed and taken back."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dedup_set import run
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from served import Served, serving
from two_sources import TwoSources

from dedup.review.browsing.curve import Judged, count_dropped, expect_false, expect_missed, span_forest
from dedup.review.judging.sample import Drawn, Sample, Stratum

OWN = 1.0


# The curve.


def count_by_components(
    a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], score: np.ndarray[Any, Any], at: float
) -> int:
    linked = score >= np.float32(at)
    images = np.unique(np.concatenate([a[linked], b[linked]]))
    ends = np.searchsorted(images, a[linked]), np.searchsorted(images, b[linked])
    graph = coo_array((np.ones(len(ends[0])), ends), (len(images), len(images)))
    return len(images) - int(connected_components(graph, directed=False)[0])


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_counts_what_components_at_each_threshold_would_drop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 60, (2, 150))
    a, b = a[a != b] * 1_000_003, b[a != b] * 1_000_003  # pairs come twice, either way round
    score = np.round(rng.uniform(-10, 20, len(a)), 1).astype(np.float32)  # with ties
    score[rng.random(len(a)) < 0.1] = np.inf  # equal bytes
    forest = span_forest(a, b, score)
    thresholds = np.arange(-10, 21, 0.5)
    counts = count_dropped(forest, thresholds.astype(np.float32)).tolist()
    assert counts == [count_by_components(a, b, score, at) for at in thresholds]
    assert count_dropped(forest, np.array([1e9], np.float32)).tolist() == [count_by_components(a, b, score, 1e9)]


def test_without_pairs_nothing_is_dropped() -> None:
    none = np.zeros(0, np.int64)
    forest = span_forest(none, none, np.zeros(0, np.float32))
    assert count_dropped(forest, np.zeros(3, np.float32)).tolist() == [0, 0, 0]


# What judgements say of another threshold.


def judged(sizes: list[int], rows: list[tuple[int, float, bool]], certain: int = 0) -> Judged:
    """Judged pairs: stratum, score, and whether the two are the same."""
    stratum, score, same = zip(*rows, strict=True) if rows else ((), (), ())
    return Judged(
        np.array(sizes, np.int64),
        np.array(stratum, np.int64),
        np.array(score, np.float32),
        np.array(same, np.bool_),
        certain,
    )


DROPPED = judged([100, 30], [(0, 8, True), (0, 3, True), (0, 2, False), (0, 9, True), (1, 5, False), (1, 2, True)], 70)
NEAR = judged([40], [(0, -2, True), (0, -5, False), (0, 0.5, True), (0, -7, False)])
NOTHING = judged([50], [])


def test_expected_shares_weigh_each_judgement_by_what_it_stands_for() -> None:
    """A judged pair of the first stratum stands for 25 pairs, one of the second for 15, a near miss for 10."""
    at_4 = expect_false(DROPPED, NEAR, OWN, 4.0)
    assert at_4 and at_4.value == pytest.approx(15 / (2 * 25 + 15 + 70))
    own = expect_false(DROPPED, NOTHING, OWN, OWN)
    assert own and own.value == pytest.approx((25 + 15) / 200)
    assert own.low < own.value < own.high
    lower = expect_false(DROPPED, NEAR, OWN, -6.0)
    assert lower and lower.value == pytest.approx((25 + 15 + 10) / (130 + 30 + 70))
    missed = expect_missed(DROPPED, NEAR, OWN, OWN)
    assert missed and missed.value == pytest.approx(2 * 10)
    higher = expect_missed(DROPPED, NEAR, OWN, 4.0)
    assert higher and higher.value == pytest.approx(2 * 10 + 25 + 15)
    assert expect_missed(NOTHING, NEAR, OWN, -6.0).value == 0  # type: ignore[union-attr]


def test_nothing_is_said_where_nothing_was_judged() -> None:
    assert expect_false(NOTHING, NEAR, OWN, 4.0) is None
    assert expect_false(DROPPED, NOTHING, OWN, 0.0) is None, "what it would drop too was not judged"
    assert expect_false(DROPPED, NEAR, OWN, 12.0) is None, "no judged pair scores so"
    assert expect_missed(DROPPED, NOTHING, OWN, 4.0) is None
    assert expect_missed(DROPPED, NEAR, OWN, -9.0) is None


def test_at_the_runs_own_threshold_the_share_is_the_judge_pages() -> None:
    rng = np.random.default_rng(1)
    drawn = tuple(
        Drawn((f"{place:064x}", "f" * 64), (place, 999), place % 3, float(rng.uniform(OWN, 15)), 4, False)
        for place in range(40)
    )
    strata = tuple(Stratum(str(size), size) for size in (300, 80, 25))
    sample = Sample("dropped", "p", 0, strata, 60, drawn)
    verdicts = {one.pair: ("different", "unsure", "same", "same")[place % 4] for place, one in enumerate(drawn)}
    found = expect_false(Judged.of(sample, verdicts), NOTHING, OWN, OWN)
    expected = sample.estimate(verdicts).share
    assert found and (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


# The page.


@pytest.fixture
def review(two_sources_run: Path, tmp_path: Path) -> Iterator[Served]:
    shutil.copytree(two_sources_run, tmp_path / "data")
    with serving(tmp_path / "data") as served:
        yield served


def test_the_slider_says_at_once_what_a_run_then_does(
    browser: Any, review: Served, two_sources: TwoSources, tmp_path: Path
) -> None:
    for place in range(8):
        verdict = "different" if place == 2 else "same"
        review.post("/api/samples/dropped", {"place": place, "verdict": verdict})
    page = browser.new_context().new_page()
    page.goto(review.url)
    page.goto(f"{review.origin}/threshold")
    page.wait_for_function("() => document.querySelector('#count').textContent !== '…'")
    dropped = json.loads((tmp_path / "data" / "set" / "report.json").read_text())["dropped"]
    assert page.inner_text("#count") == f"about {dropped}"
    assert "by just 8 judged dropped pairs" in page.inner_text("#false-basis")
    assert page.inner_text("#missed") == "–"
    page.focus("#slider")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    at_end = page.inner_text("#count")
    assert page.inner_text("#at") == "19.9" and at_end != f"about {dropped}"
    command = page.inner_text("#command")
    assert command.startswith("python -m dedup.run set --source rooms=lmdb:")
    assert command.endswith("--threshold 19.9 --apply-review")
    assert page.locator("#curve polyline").count() == 1
    assert page.locator(".marks li").count() == 8
    assert "changes the next run" in page.locator(".marks li").first.inner_text()
    assert "1 different; 1 of them changes what this run found; 0 are honoured" in page.inner_text("#decisions")
    for left in range(7, -1, -1):
        page.locator(".marks button").first.click()
        page.wait_for_function(f"() => document.querySelectorAll('.marks li').length === {left}")
    page.wait_for_function("() => document.querySelector('#decisions').textContent.startsWith('None yet')")
    assert page.inner_text("#false") == "–"
    assert not page.inner_text("#command").endswith("--apply-review")
    review.kill()
    result = run(tmp_path / "data", None, *two_sources.options, "--threshold", "19.9")
    assert result.returncode == 0, result.stderr
    real = json.loads((tmp_path / "data" / "set" / "report.json").read_text())["dropped"]
    assert 0 <= int(at_end.removeprefix("about ")) - real <= 2, "what is split off a chain is kept"


def test_decisions_are_paged_and_say_which_are_honoured(
    review: Served, two_sources: TwoSources, tmp_path: Path
) -> None:
    kept = [group["kept"]["number"] for group in review.get("/api/groups")["groups"]]
    pairs = list(itertools.islice(itertools.combinations(kept, 2), 70))
    for first, second in pairs:
        review.post("/api/marks", {"first": first, "second": second, "verdict": "different"})
    review.post("/api/marks", {"first": kept[-1], "second": kept[-2], "verdict": "same"})
    first = review.get("/api/marks")
    assert (first["total"], first["same"], first["changing"], first["honoured"]) == (71, 1, 1, 0)
    assert not first["marks"][0]["agrees"], "what changes something comes first"
    second = review.get(f"/api/marks?after={first['following']}")
    shown = [(mark["pair"]["first"], mark["pair"]["second"]) for mark in first["marks"] + second["marks"]]
    assert len(shown) == len(set(shown)) == 71 and second["following"] is None
    review.kill()
    result = run(tmp_path / "data", None, *two_sources.options, "--apply-review")
    assert result.returncode == 0, result.stderr
    with serving(tmp_path / "data", "--reviewer", "another") as after:
        found = after.get("/api/marks")
        assert (found["total"], found["changing"], found["honoured"]) == (71, 0, 71)
        assert not any(mark["own"] for mark in found["marks"]), "another reviewer's are not one's to take back"


def test_a_run_without_scores_has_no_threshold(two_sources_run: Path, tmp_path: Path) -> None:
    shutil.copytree(two_sources_run, tmp_path / "data")
    path = tmp_path / "data" / "set" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "profile": "paper", "threshold": None}))
    with serving(tmp_path / "data") as review:
        answer = review.session.get(f"{review.origin}/api/threshold", timeout=30)
        assert (answer.status_code, answer.text) == (404, "This run compared codes alone: it has no threshold.")
        page = review.session.get(f"{review.origin}/threshold", timeout=30).text
        assert "no score decides" in page and "slider" not in page.partition("<main")[2]
