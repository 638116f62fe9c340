"""The page of training runs in a real browser, and what of a run's folder it gives out, and to whom."""

import http.client
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from axe import assert_fits_and_accessible
from helpers import encode
from PIL import Image
from served import Served, serving

from dedup.review.training.measured import MOST_POINTS, compare_evaluations, read_rows, thin
from dedup.review.training.runs import describe, find_run, find_runs

HOSTILE = "<img src=x onerror=alert(1)> & \"' ?#%2e é"


@pytest.fixture(scope="module")
def data_root(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root of three runs: "first"; "second", told another learning rate, of one epoch; one of a hostile name."""
    data_root = tmp_path_factory.mktemp("runs") / "data"
    shutil.copytree(trained, data_root)
    runs = data_root / "set" / "train"
    for name in ("second", HOSTILE):
        shutil.copytree(runs / "first", runs / name)
    config = runs / "second" / "config.toml"
    config.write_text(config.read_text().replace("learning_rate = 0.0002", "learning_rate = 0.0001"))
    cut_to_one_epoch(runs / "second")
    title = {**json.loads(FINDING), "title": f"{HOSTILE} \ud800"}
    for name, content in ((HOSTILE, json.dumps(title)), ("second", '{"title": 1}'), ("first", FINDING)):
        folder = runs / name / "evidence" / "walk"
        folder.mkdir(parents=True)
        (folder / "finding.json").write_text(content)
        (folder / "walk.png").write_bytes(encode(Image.new("RGB", (40, 30), "teal"), "PNG"))
    return data_root


FINDING = json.dumps(
    {
        "experiment": "walk",
        "title": "Walks",
        "figures": [{"name": "sharp", "value": 0.0, "unit": "%", "paper": 0.0, "spread": None, "note": "of 9 steps"}],
        "pictures": ["walk.png", "../../../../report.json"],
        "differs": "The paper judges by eye.",
    }
)


def cut_to_one_epoch(run: Path) -> None:
    lines = (run / "stats.jsonl").read_text().splitlines(keepends=True)
    (run / "stats.jsonl").write_text(lines[0])
    for epoch in (2, 3):
        (run / "samples" / f"epoch_{epoch:04d}.png").unlink()


@pytest.fixture(scope="module")
def review(data_root: Path) -> Iterator[Served]:
    with serving(data_root) as served:
        yield served


def open_page(browser: Any, review: Served, path: str, **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.goto(review.url)
    page.goto(review.origin + path)
    page.wait_for_function("() => document.querySelector('#shown')?.hidden === false")
    return page


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=20_000)


def test_two_runs_stand_side_by_side_and_a_slider_moves_both(browser: Any, review: Served) -> None:
    page = open_page(browser, review, "/runs?first=first&second=second")
    shown = page.locator("#samples figure")
    assert shown.count() == 2
    assert [shown.nth(i).get_attribute("data-run") for i in (0, 1)] == ["first", "second"]
    assert page.inner_text("#at") == "120 images seen"
    assert "after epoch 3" in shown.nth(0).inner_text() and "after epoch 1" in shown.nth(1).inner_text()
    page.focus("#time")
    page.keyboard.press("Home")
    assert page.inner_text("#at") == "40 images seen"
    assert all("after epoch 1 · 40 images seen" in shown.nth(i).inner_text() for i in (0, 1))
    wait_for(page, "[...document.querySelectorAll('#samples img')].every((image) => image.naturalWidth === 512)")
    assert "/runs/first/files/samples/epoch_0001.png" in page.get_attribute("#samples img", "src")
    page.keyboard.press("ArrowRight")
    assert "after epoch 2" in shown.nth(0).inner_text() and "after epoch 1" in shown.nth(1).inner_text()
    assert page.inner_text("#config-said").startswith("1 of ")
    differing = page.locator("#config tr.differs")
    assert differing.count() == 1 and "learning_rate" in differing.inner_text()
    assert "0.0002" in differing.inner_text() and "0.0001" in differing.inner_text()
    page.click("#play")
    wait_for(page, "document.querySelector('#at').textContent.startsWith('120')")


def test_charts_tell_what_training_wrote(browser: Any, review: Served, data_root: Path) -> None:
    lines = (data_root / "set" / "train" / "first" / "stats.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    page = open_page(browser, review, "/runs?first=first")
    titles = page.locator("#charts h3").all_inner_texts()
    assert titles[:3] == ["Value of the game", "D of real and of drawn images", "Loss of G"]
    chart = page.locator("#charts svg[role=slider]").nth(1)
    chart.focus()
    page.keyboard.press("Home")
    said = chart.get_attribute("aria-valuetext")
    assert said.startswith("at 40 images: ")
    assert f"D(x) {rows[0]['d_real']:.4g}" in said and f"D(G(z)) {rows[0]['d_fake']:.4g}" in said
    page.keyboard.press("ArrowRight")
    assert f"D(x) {rows[1]['d_real']:.4g}" in chart.get_attribute("aria-valuetext")
    assert "at 80" in page.locator("#charts .legend").nth(0).inner_text(), "all charts share a cursor"
    lost = page.locator("#charts svg[role=slider]").nth(2)
    lost.scroll_into_view_if_needed()
    box = lost.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 14, box["y"] + box["height"] / 2)
    assert f"{rows[2]['generator_loss']:.4g}" in page.locator("#charts .legend").nth(2).inner_text()
    before = page.locator("#charts polyline").nth(0).get_attribute("points")
    page.click("#log")
    assert page.locator("#charts polyline").nth(0).get_attribute("points") != before
    metrics = page.inner_text("#comparisons")
    assert f"{rows[3]['evaluation']['metrics']['random/frechet_distance']:.4g}" in metrics
    assert "of 64 samples" in page.inner_text("#nearest") and "training images" in page.inner_text("#nearest")
    page.locator("#nearest img").scroll_into_view_if_needed()
    wait_for(page, "document.querySelector('#nearest img').naturalWidth === 512")


def test_a_run_that_goes_on_is_shown_as_it_does_and_nothing_jumps(browser: Any, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "data")
    run = tmp_path / "data" / "set" / "train" / "first"
    whole = (run / "stats.jsonl").read_text().splitlines(keepends=True)
    grid = (run / "samples" / "epoch_0002.png").read_bytes()
    cut_to_one_epoch(run)
    with serving(tmp_path / "data") as review:
        page = open_page(browser, review, "/runs")
        assert "not finished" in page.inner_text("#runs")
        wait_for(page, "document.querySelector('#samples img').naturalWidth === 512")
        page.evaluate("scrollTo(0, 500)")
        page.evaluate("document.querySelector('#charts svg').dataset.same = 'yes'")
        (run / "samples" / "epoch_0002.png").write_bytes(grid)
        with (run / "stats.jsonl").open("a") as file:
            file.write(whole[1] + whole[2][:30])  # a line that is being written
        wait_for(page, "document.querySelector('#at').textContent.startsWith('80')")
        assert page.evaluate("scrollY") == 500
        assert page.get_attribute("#charts svg", "data-same") == "yes"
        assert "80 images seen" in page.inner_text("#runs")


def test_a_hostile_name_is_a_name(browser: Any, review: Served) -> None:
    said: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(review.url)
    page.goto(f"{review.origin}/runs?first={quote(HOSTILE)}&second=first")
    wait_for(page, "document.querySelector('#shown')?.hidden === false")
    assert HOSTILE in page.inner_text("#runs") and HOSTILE in page.inner_text("#samples")
    wait_for(page, "document.querySelector('#samples img').naturalWidth === 512")
    page.locator("#found img").first.scroll_into_view_if_needed()
    wait_for(page, "document.querySelector('#found img').naturalWidth === 40")
    assert page.locator("#found .finding").count() == 2, "the damaged one is left out"
    assert page.locator("#found img").count() == 2, "no picture lies above the finding's folder"
    assert page.locator("img[src=x]").count() == 0
    assert said == []


def test_the_page_is_accessible_and_fits(browser: Any, review: Served) -> None:
    said: list[str] = []
    page = open_page(browser, review, f"/runs?first=first&second={quote(HOSTILE)}", bypass_csp=True)
    page.on("console", lambda message: said.append(message.text))
    assert_fits_and_accessible(page)
    assert said == []


def test_a_data_set_without_a_run_says_what_makes_one(served: Served) -> None:
    assert "python -m train.run set" in served.session.get(served.origin + "/runs", timeout=60).text
    assert served.get("/api/runs") == {"runs": []}
    for address in ("/api/runs/first", "/runs/first/files/samples.png"):
        assert served.session.get(served.origin + address, timeout=60).status_code == 404


def fetch(review: Served, path: str) -> http.client.HTTPResponse:
    """As it is: `requests` would resolve ``..`` before it asks."""
    connection = http.client.HTTPConnection(urlsplit(review.origin).netloc, timeout=60)
    cookies = "; ".join(f"{name}={value}" for name, value in review.session.cookies.items())
    connection.request("GET", path, headers={"Cookie": cookies})
    return connection.getresponse()


def test_pictures_of_a_run_are_given_out_as_pictures(review: Served) -> None:
    for path in ("samples.png", "samples/epoch_0001.png", "nearest.png", "evidence/walk/walk.png"):
        answer = fetch(review, f"/runs/first/files/{path}")
        assert (answer.status, answer.getheader("content-type")) == (200, "image/png")
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.read().startswith(b"\x89PNG")
    assert fetch(review, f"/runs/{quote(HOSTILE, safe='')}/files/samples.png").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "config.toml",
        "stats.jsonl",
        "checkpoints/best.pt",
        "nothing.png",
        "samples",
        "",
        "/samples.png",
        "samples//epoch_0001.png",
        "./samples.png",
        "../first/samples.png",
        "..%2ffirst%2fsamples.png",
        "%2e%2e/first/samples.png",
        "samples/%2e%2e/samples.png",
        "samples/..%2fsamples.png",
        "..%5cfirst%5csamples.png",
        "%252e%252e/first/samples.png",
        "samples.png%00.png",
        "%00",
        "..%c0%af..%c0%afset/report/x.png",
        quote("/etc/hostname"),
    ],
)
def test_nothing_else_of_a_run_is_given_out(review: Served, path: str) -> None:
    answer = fetch(review, f"/runs/first/files/{path}")
    assert answer.status == 404
    assert b"PNG" not in answer.read()


def test_links_pipes_and_disguises_are_not_given_out(review: Served, data_root: Path, tmp_path: Path) -> None:
    run = data_root / "set" / "train" / "first"
    outside = tmp_path / "secret.png"
    outside.write_bytes((run / "samples.png").read_bytes())
    made = run / "made"
    made.mkdir()
    (made / "link.png").symlink_to(outside)
    (made / "folder").symlink_to(tmp_path)
    (made / "circle.png").symlink_to(made / "circle.png")
    (made / "inside.png").symlink_to(run / "samples.png")
    os.mkfifo(made / "pipe.png")
    (made / "page.png").write_bytes(b"<html><script>alert(1)</script>")
    (made / "empty.gif").write_bytes(b"")
    (made / "jpeg.png").write_bytes(encode(Image.new("RGB", (8, 8)), "JPEG"))
    (made / "page.svg").write_bytes(b"<svg onload=alert(1)>")
    (made / "page.html").write_bytes((run / "samples.png").read_bytes())
    asked = ("link", "folder/secret", "circle", "pipe", "page", "jpeg")
    for path in (*(f"{name}.png" for name in asked), "empty.gif", "page.svg", "page.html"):
        assert fetch(review, f"/runs/first/files/made/{path}").status == 404, path
    assert fetch(review, "/runs/first/files/made/inside.png").status == 200
    (data_root / "set" / "train" / "linked").symlink_to(run)
    assert "linked" in [found.name for found in find_runs(data_root / "set")]
    elsewhere = shutil.copytree(run, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("made"))
    (data_root / "set" / "train" / "gone").symlink_to(elsewhere)
    assert fetch(review, "/runs/gone/files/samples.png").status == 404
    assert fetch(review, "/runs/%2e%2e/files/report/x.png").status == 404
    for name in ("linked", "gone"):
        (data_root / "set" / "train" / name).unlink()
    shutil.rmtree(made)


def test_rows_of_a_course_that_was_given_up_do_not_count() -> None:
    def row(images: int, **more: object) -> bytes:
        return json.dumps({"images": images, "epoch": 1, "value": -1.0, **more}).encode() + b"\n"

    evaluation = {"metrics": {"random/recall": 0.5}, "extractor": "random"}
    content = row(10) + row(20) + row(30, signs=["alike"]) + row(30, evaluation=evaluation)
    content += b'{"images": 20, "signs": ["went back"]}\n' + row(30, value=-2.0) + b"no row\n[]\n" + row(40)[:-9]
    found = read_rows(content)
    assert [(each["images"], each["value"]) for each in found.measured] == [(10, -1), (20, -1), (30, -2)]
    assert found.evaluated == [] and found.rollbacks == 1 and found.damaged == 2
    assert found.signs == [(30, "alike"), (20, "went back")]
    assert read_rows(b"").last == {}


def test_numbers_that_are_none_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "run"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("epochs = 2\nbatch_size = 8\nclasses = [")
    rows: list[dict[str, Any]] = [{"images": 8, "epoch": 1, "value": float("nan"), "d_real": "x", "spread": 1.5}]
    rows.append({"images": 16, "epoch": 2, "value": float("inf")})
    rows.append({"images": 16, "evaluation": {"metrics": {"random/fid": float("nan")}, "seed": 0}})
    (folder / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = describe(find_run(tmp_path, "run"))
    json.dumps(shown, allow_nan=False)
    assert [chart["title"] for chart in shown["charts"]] == ["Spread of samples"]
    assert shown["comparisons"][0]["rows"] == [{"images": 16, "values": {"fid": "–"}}]
    assert shown["config"] == {} and not shown["finished"]


def test_many_points_are_joined() -> None:
    points = [(float(i), float(i % 2)) for i in range(10 * MOST_POINTS)]
    joined = thin(points)
    assert len(joined["x"]) == MOST_POINTS and joined["joined"] == 10
    assert set(joined["y"]) == {0.5}
    assert thin(points[:7]) == {"x": [*range(7)], "y": [0, 1, 0, 1, 0, 1, 0], "joined": 1}


def test_evaluations_compare_where_their_settings_are_equal() -> None:
    rows = [
        {"images": images, "evaluation": {"metrics": {"random/fid": 2.0, "random/fid_std": 0.1}, "seed": seed}}
        for images, seed in ((10, 0), (20, 0), (20, 1))
    ]
    compared = compare_evaluations(read_rows("".join(json.dumps(row) + "\n" for row in rows).encode()))
    assert [len(each["rows"]) for each in compared] == [2, 1]
    assert compared[0]["group"] != compared[1]["group"]
    assert compared[0]["rows"][0]["values"] == {"fid": "2 ± 0.1"}
