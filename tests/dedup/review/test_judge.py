"""Judging in a real browser: a hundred pairs by keyboard, with what can go wrong on the way, and what comes of it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from axe import assert_fits_and_accessible
from dedup_set import run
from helpers import python_process
from scipy.stats import binomtest
from served import Served, serving, start_review

from dedup.review.judging.sample import Sample
from pipelines.store import LocalFolder

JUDGED = 100


def open_page(browser: Any, review: Served) -> Any:
    page = browser.new_context(bypass_csp=False).new_page()
    page.goto(review.url)
    wait_for(page, "document.querySelector('#count').textContent !== ''")
    return page


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=20_000)


def press(page: Any, key: str) -> None:
    """A key, and until the page asks for another pair (or says that none is left)."""
    before = page.evaluate("document.querySelector('#stage').dataset.place")
    page.keyboard.press(key)
    wait_for(
        page,
        f"document.querySelector('#stage').dataset.place !== '{before}' || document.querySelector('#asked').hidden",
    )


def verdict_of(place: int) -> str:
    return "d" if place % 20 == 7 else "u" if place == 50 else "s"


def read_sample(data_root: Path) -> Sample:
    sample = Sample.read(LocalFolder(data_root / "set" / "review"), "dropped")
    assert sample is not None
    return sample


def test_a_hundred_pairs_are_judged_by_keyboard_and_none_is_lost(browser: Any, data_root: Path) -> None:
    with serving(data_root) as review:
        page = open_page(browser, review)
        for place in range(30):
            press(page, verdict_of(place))
        page.reload()
        wait_for(page, "document.querySelector('#stage').dataset.place === '30'")
        for place in range(30, 60):
            press(page, verdict_of(place))
        press(page, "s")  # a slip…
        page.keyboard.press("z")
        wait_for(page, "document.querySelector('#stage').dataset.place === '60'")
        review.kill()
        page.keyboard.press("s")
        wait_for(page, "document.querySelector('#trouble').textContent.includes('Start python -m dedup.review again')")
    with serving(data_root) as review:
        page = open_page(browser, review)
        wait_for(page, "document.querySelector('#stage').dataset.place === '60'")
        for place in range(60, JUDGED):
            press(page, verdict_of(place))
        assert "100 judged" in page.inner_text("#count")
        estimate = page.inner_text("#estimate")
        review.interrupt()
    said = json.loads((data_root / "set" / "report.json").read_text())["review"]
    assert (said["judged"], said["same"], said["different"], said["unsure"]) == (JUDGED, 94, 5, 1)
    assert f"{100 * said['false_rate']:.2f}% false" in estimate
    for stratum in said["strata"]:
        if 0 < stratum["judged"] < stratum["pairs"]:
            exact = binomtest(stratum["hits"], stratum["judged"]).proportion_ci(0.95, "exact")
            assert (stratum["low"], stratum["high"]) == pytest.approx((exact.low, exact.high), abs=1e-6)
    assert said["low"] < said["false_rate"] < said["high"]
    drawn = read_sample(data_root).drawn
    lines = (data_root / "set" / "review" / "judgements" / "reviewer.jsonl").read_text().splitlines()
    assert len(lines) == JUDGED + 2  # the slip, and that it was taken back
    judged = {(row["first"], row["second"]): row["verdict"] for row in map(json.loads, lines)}
    wanted = {"s": "same", "d": "different", "u": "unsure"}
    assert [judged[one.pair] for one in drawn[:JUDGED]] == [wanted[verdict_of(place)] for place in range(JUDGED)]
    share = f"{100 * said['false_rate']:.2f}%"
    assert f"about {share} of what the method dropped" in (data_root / "set" / "card.md").read_text()
    page_text = (data_root / "set" / "report" / "index.html").read_text()
    assert "100 of 120 pairs were drawn" in page_text and f"{share} of what was" in page_text


def test_what_was_judged_changes_the_next_run_and_those_after_it(data_root: Path) -> None:
    with serving(data_root) as review:
        for place in range(10):
            verdict = "different" if place in {2, 5} else "same"
            review.post("/api/samples/dropped", {"place": place, "verdict": verdict})
    drawn = read_sample(data_root).drawn
    before = duplicates(data_root)
    uri = json.loads((data_root / "set" / "report.json").read_text())["sources"][0]["uri"]
    result = run(data_root, None, "--source", uri, "--apply-review")
    assert result.returncode == 0, result.stderr
    assert "8 pairs to be the same and 2 to differ" in result.stdout
    after = duplicates(data_root)
    keys = keys_by_sha256(data_root)
    cut = {tuple(keys[sha256] for sha256 in drawn[place].pair) for place in (2, 5)}
    gone = {(key, kept) for key, kept in before.items() if after.get(key) != kept}
    assert {frozenset(pair) for pair in gone} == {frozenset(pair) for pair in cut}
    report = json.loads((data_root / "set" / "report.json").read_text())
    assert report["decisions"] == {"same": 8, "different": 2}
    assert report["review"]["judged"] == 10, "what was measured is still that of the same pairs"
    assert run(data_root, None, "--source", uri).returncode == 0
    assert duplicates(data_root) == after, "decisions hold without being asked for"


def test_two_reviewers_merge(data_root: Path, tmp_path: Path) -> None:
    with serving(data_root, "--reviewer", "ann", "--no-times") as ann:
        for place in range(6):
            ann.post("/api/samples/dropped", {"place": place, "verdict": "same"})
    file = data_root / "set" / "review" / "judgements" / "ann.jsonl"
    moved = file.replace(tmp_path / "ann.jsonl")
    with serving(data_root, "--reviewer", "bob") as bob:
        for place in range(4):
            bob.post("/api/samples/dropped", {"place": place, "verdict": "different" if place == 3 else "same"})
    out, _ = start_review(data_root, "--merge", str(moved)).communicate(timeout=60)
    assert "6 new judgements" in out
    said = json.loads((data_root / "set" / "report.json").read_text())["review"]
    assert (said["judged"], said["same"], said["unsure"]) == (6, 5, 1)
    assert (said["reviewers"], said["disagreements"]) == (2, 1)
    with serving(data_root, "--reviewer", "cem") as third:
        assert third.get("/api/samples/dropped")["disputed"] == [3]


def test_near_misses_are_judged_beside_them(data_root: Path) -> None:
    uri = json.loads((data_root / "set" / "report.json").read_text())["sources"][0]["uri"]
    assert run(data_root, None, "--source", uri, "--threshold", "14").returncode == 0  # true pairs fail now
    with serving(data_root, "--near-misses") as review:
        page = review.session.get(f"{review.origin}/near_misses", timeout=60).text
        assert "both images were kept" in page
        state = review.get("/api/samples/near_misses")
        for place in range(min(3, state["total"])):
            review.post("/api/samples/near_misses", {"place": place, "verdict": "same"})
        review.post("/api/samples/dropped", {"place": 0, "verdict": "same"})
        review.interrupt()
    said = json.loads((data_root / "set" / "report.json").read_text())["review"]
    assert state["total"] > 0
    assert said["near_misses"]["same"] == min(3, state["total"])
    assert 0 < said["near_misses"]["low"] <= said["near_misses"]["missed"] <= said["near_misses"]["pairs"]


def test_the_page_shows_pairs_as_they_are_laid_over_each_other(browser: Any, data_root: Path) -> None:
    with serving(data_root) as review:
        page = open_page(browser, review)
        page.wait_for_function("() => [...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert "kept" not in page.inner_text(".stage")
        shown = "getComputedStyle(document.querySelector('#second').parentElement)"
        page.keyboard.press("f")
        wait_for(page, f"{shown}.visibility === 'hidden'")
        wait_for(page, f"{shown}.visibility === 'visible'")
        page.keyboard.press("x")
        assert page.evaluate(f"{shown}.mixBlendMode") == "difference"
        boxes = [page.locator(name).bounding_box() for name in ("#first", "#second")]
        assert boxes[0] == boxes[1]
        page.keyboard.press("m")
        assert page.evaluate("getComputedStyle(document.querySelector('#second')).transform") != "none"
        page.keyboard.press("x")
        assert page.get_attribute("#stage", "data-view") == "beside"


def test_the_page_is_accessible_and_fits(browser: Any, data_root: Path) -> None:
    with serving(data_root) as review:
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(review.url)
        assert_fits_and_accessible(page)
        assert said == []


def test_a_source_that_has_gone_leaves_thumbnails(data_root: Path) -> None:
    report = data_root / "set" / "report.json"
    content = json.loads(report.read_text())
    content["sources"][0]["uri"] = "folder:/nowhere/at/all"
    report.write_text(json.dumps(content))
    with serving(data_root) as review:
        assert "these are thumbnails" in review.session.get(f"{review.origin}/judge", timeout=60).text
        picture = review.get("/api/samples/dropped")["ahead"][0]["pictures"][0]
        answer = review.session.get(review.origin + picture, timeout=60)
        assert answer.headers["content-type"] == "image/jpeg"
        assert len(answer.content) < 4_000


def test_what_cannot_be_reviewed_is_told_in_a_line(tmp_path: Path, data_root: Path) -> None:
    for options, dataset, what in (
        ((), "nothing", "holds no finished codes"),
        (("--reviewer", "../x"), "set", "--reviewer is"),
        (("--source", "folder:/nowhere"), "set", "no folder at"),
        (("--merge", str(tmp_path / "none")), "set", "no judgements at"),
        (("--host", "0.0.0.0"), "set", "names no host"),
    ):
        process = start_review(data_root, *options, dataset=dataset)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1, out
        assert out.startswith("error: ") and what in out
        assert "Traceback" not in out


def duplicates(data_root: Path) -> dict[str, str]:
    table = pq.read_table(data_root / "set" / "duplicates.parquet")
    return dict(zip(table["key"].to_pylist(), table["kept_key"].to_pylist(), strict=True))


def keys_by_sha256(data_root: Path) -> dict[str, str]:
    tables = [pq.read_table(path) for path in sorted((data_root / "set" / "thumbnails").glob("*.parquet"))]
    return {row["sha256"]: row["key"] for table in tables for row in table.to_pylist()}


def test_the_command_says_which_extra_it_needs() -> None:
    code = "import sys; sys.modules['fastapi'] = None; sys.argv = ['dedup.review', 'set']; import runpy; "
    code += "runpy.run_module('dedup.review', run_name='__main__')"
    _, err = python_process(code).communicate(timeout=60)
    assert "pip install 'cleanshards[review]'" in err
