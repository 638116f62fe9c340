"""Boxes and exemplars of a run's samples, drawn and picked in a real browser, and the commands that use them."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from axe import assert_fits_and_accessible
from helpers import encode
from PIL import Image
from served import Served, serving

from train.explore.boxes import BoxFile
from train.explore.concepts import read_exemplars

CHECKPOINT, DAMAGED = "000000000120", "000000000080"
SIDE, COUNT = 32, 40  # pixels of a sample, and samples of a sheet
DRAWN_BY = {"images_seen": 120, "weights": "ema", "statistics": "running"}


@pytest.fixture(scope="module")
def data_root(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root of a run with a damaged checkpoint, which the tests of a module share: each has a seed of its own."""
    data_root = tmp_path_factory.mktemp("drawn") / "data"
    shutil.copytree(trained, data_root)
    damaged = data_root / "set" / "train" / "first" / "checkpoints" / f"{DAMAGED}.pt"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    return data_root


@pytest.fixture(scope="module")
def review(data_root: Path) -> Iterator[Served]:
    with serving(data_root) as served:
        yield served


def place(seed: int, checkpoint: str = CHECKPOINT) -> dict[str, Any]:
    return {"run": "first", "checkpoint": checkpoint, "seed": seed, "label": 0}


def make_sheet(data_root: Path, seed: int, checkpoint: str = CHECKPOINT) -> Path:
    """Samples as ``train.explore sheet --each`` leaves them; returns their folder."""
    folder = data_root / "set" / "train" / "first" / "drawn" / f"{checkpoint}_{seed}"
    folder.mkdir(parents=True)
    for number in range(COUNT):
        pixels = np.random.default_rng([seed, number]).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        (folder / f"{number:06d}.png").write_bytes(encode(Image.fromarray(pixels), "PNG"))
    note = {"seed": seed, "count": COUNT, "resolution": SIDE, "drawn_by": DRAWN_BY}
    (folder / "sheet.json").write_text(json.dumps(note))
    return folder


def keep_boxes(sheet: Path, seed: int, *boxes: dict[str, int]) -> None:
    content = {"seed": seed, "count": COUNT, "boxes": boxes, "drawn_by": DRAWN_BY}
    (sheet / "boxes.json").write_text(json.dumps(content))


def read_boxes(sheet: Path) -> tuple[int, list[dict[str, int]]]:
    content = json.loads((sheet / "boxes.json").read_text())
    return content["count"], content["boxes"]


def open_page(browser: Any, review: Served, path: str, **options: Any) -> Any:
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options}).new_page()
    page.goto(review.url)
    page.goto(f"{review.origin}/{path}")
    return page


def open_desk(browser: Any, review: Served, path: str, **options: Any) -> Any:
    """A page whose samples are drawn."""
    page = open_page(browser, review, path, **options)
    wait_for(page, "document.querySelector('#desk')?.hidden === false")
    return page


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=90_000)


def saved(page: Any) -> None:
    wait_for(page, "document.querySelector('#saved').textContent === 'saved'")


def drag(page: Any, *points: tuple[float, float]) -> None:
    """Press at the first point, in pixels of the sample, and let go at the last."""
    box = page.locator("#stage").bounding_box()
    places = [(box["x"] + x * box["width"] / SIDE, box["y"] + y * box["height"] / SIDE) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(x, y, steps=3)
    page.mouse.up()


def box(image: int, left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"image": image, "left": left, "top": top, "width": width, "height": height}


def test_boxes_are_drawn_by_mouse_and_keyboard_as_train_reads_them(
    browser: Any, review: Served, data_root: Path
) -> None:
    sheet = make_sheet(data_root, 1)
    page = open_desk(browser, review, "draw?seed=1")
    assert page.is_disabled("#do")
    drag(page, (4, 6), (12, 16))
    saved(page)
    assert read_boxes(sheet) == (1, [box(0, 4, 6, 8, 10)])
    drag(page, (8, 10), (11, 9))  # moved
    drag(page, (15, 15), (20, 31.9))  # by its corner
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.focus("#stage")
    page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert "not set yet: left 10, top 11, 9 × 10 px" in page.inner_text("#size")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("ArrowRight")  # no further than to the edge
    saved(page)
    first, second = box(0, 7, 5, 13, 27), box(2, 10, 11, 9, 10)
    assert read_boxes(sheet) == (3, [first, second, box(2, 24, 12, 8, 8)])
    page.keyboard.press("Delete")
    page.keyboard.press("b")
    drag(page, (25, 3), (25.4, 3.3))  # a click draws nothing
    saved(page)
    assert read_boxes(sheet) == (3, [first, second])
    page.keyboard.press("z")
    saved(page)
    assert len(read_boxes(sheet)[1]) == 3
    for _ in range(2):  # the way of the arrows at once, then that it was set
        page.keyboard.press("z")
    saved(page)
    assert read_boxes(sheet) == (3, [first, second])
    page.fill("#count", "30")
    page.keyboard.press("Tab")
    saved(page)
    listed = BoxFile.read(sheet / "boxes.json", SIDE)
    assert (listed.seed, listed.count, len(listed.boxes), listed.drawn_by) == (1, 30, 2, DRAWN_BY)
    assert not page.is_disabled("#do")
    page.reload()
    wait_for(page, f"document.querySelector('#told').textContent.startsWith('30 of {COUNT} samples')")
    zoomed = page.locator("#stage").bounding_box()["width"]
    page.click("#larger")
    assert page.locator("#stage").bounding_box()["width"] > zoomed
    page.keyboard.press("p")
    assert page.inner_text("#where") == "Sample 29"


def test_two_pages_do_not_write_over_one_another(browser: Any, review: Served, data_root: Path) -> None:
    sheet = make_sheet(data_root, 2)
    first, second = (open_desk(browser, review, "draw?seed=2") for _ in range(2))
    drag(first, (4, 4), (12, 12))
    saved(first)
    drag(second, (20, 20), (28, 28))
    wait_for(second, "document.querySelector('#saved').textContent === 'not saved'")
    assert "changed on another page" in second.inner_text("#trouble")
    assert read_boxes(sheet)[1] == [box(0, 4, 4, 8, 8)]


def test_a_command_runs_to_its_end_and_shows_its_picture(browser: Any, review: Served, data_root: Path) -> None:
    page = open_page(browser, review, "draw?seed=3")
    page.click("#draw-samples")
    wait_for(page, "document.querySelector('#desk').hidden === false")
    assert page.locator("#samples .sample").count() == 240
    wait_for(page, f"document.querySelector('#sample').naturalWidth === {SIDE}")
    for _ in range(3):
        drag(page, (4, 4), (20, 20))
        page.keyboard.press("n")
    saved(page)
    command = page.inner_text("#command")
    assert command.startswith("python -m train.explore forget ") and "boxes.json" in command
    page.click("#do")
    wait_for(page, "['done', 'failed'].includes(document.querySelector('#job').dataset.state)")
    assert "It is done." in page.inner_text("#job")
    assert "forget.png, boxes.png in" in page.inner_text("#tail")
    page.locator("#result img").first.scroll_into_view_if_needed()
    wait_for(page, "document.querySelector('#result img').naturalWidth > 300")
    assert "maps dropped" in page.inner_text("#result")
    run = data_root / "set" / "train" / "first"
    found = json.loads((run / "evidence" / f"forget_{CHECKPOINT}_3" / "finding.json").read_text())
    assert (found["settings"]["box_count"], found["settings"]["boxed_samples"]) == (3, 3)
    note = json.loads((run / "drawn" / f"{CHECKPOINT}_3" / "sheet.json").read_text())
    assert note == {"seed": 3, "count": 240, "resolution": SIDE, "drawn_by": DRAWN_BY}


def test_a_command_that_fails_says_why(browser: Any, review: Served, data_root: Path) -> None:
    keep_boxes(make_sheet(data_root, 4, DAMAGED), 4, box(0, 4, 4, 8, 8))
    page = open_desk(browser, review, f"draw?seed=4&checkpoint={DAMAGED}")
    page.click("#do")
    wait_for(page, "document.querySelector('#job').dataset.state === 'failed'")
    assert "It failed. error: checkpoint" in page.inner_text("#job-state")
    assert "Traceback" not in page.inner_text("#tail")
    assert page.is_hidden("#see") and page.is_hidden("#result-part")


def test_exemplars_are_picked_by_key_and_click_as_train_reads_them(
    browser: Any, review: Served, data_root: Path
) -> None:
    file = make_sheet(data_root, 5) / "arithmetic.json"
    page = open_desk(browser, review, "pick?seed=5")
    page.locator(".sample").nth(0).focus()
    for key in "111222333":
        page.keyboard.press(key)
        page.keyboard.press("ArrowRight")
    saved(page)
    assert json.loads(file.read_text()) == {"A": [0, 1, 2], "B": [3, 4, 5], "C": [6, 7, 8]}
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("1")  # number 8 is an A in place of a C
    page.locator(".sample").nth(20).click()  # A is chosen at first
    page.click("button[data-concept=C]")
    page.locator(".sample").nth(21).click()
    page.fill("input[aria-label='What C is called']", "a lamp <b>")
    page.keyboard.press("Tab")
    page.locator(".sample").nth(21).focus()
    page.keyboard.press("3")  # and out again
    page.keyboard.press("z")
    saved(page)
    numbers, names = read_exemplars(file, ("A", "B", "C"))
    assert numbers == {"A": [0, 1, 2, 8, 20], "B": [3, 4, 5], "C": [6, 7, 21]}
    assert names == {"A": "A", "B": "B", "C": "a lamp <b>"}
    assert not page.is_disabled("#do")
    assert "train.explore arithmetic" in page.inner_text("#command")
    page.click("#turn")
    assert page.is_disabled("#do")
    page.locator(".sample").nth(0).focus()
    for key in "111222":
        page.keyboard.press(key)
        page.keyboard.press("ArrowRight")
    saved(page)
    numbers, _ = read_exemplars(file.with_name("turn.json"), ("left", "right"))
    assert numbers == {"left": [0, 1, 2], "right": [3, 4, 5]}
    page.click("#arithmetic")
    assert page.locator(".sample.a").count() == 5


def test_one_command_at_a_time_which_ends_with_the_server(data_root: Path) -> None:
    keep_boxes(make_sheet(data_root, 6), 6, box(0, 4, 4, 8, 8))
    forget = {**place(6), "experiment": "forget"}
    with serving(data_root) as review:
        assert review.get("/api/jobs") == {"job": None}
        assert review.post("/api/jobs", forget)["state"] == "running"
        refused = post(review, "/api/jobs", forget)
        assert refused.status_code == 400 and "another command is at work" in refused.text
        assert review.post("/api/jobs/stop")["job"]["state"] == "stopped"
        assert review.post("/api/jobs", {**place(60), "experiment": "sheet"})["number"] == 2
        children = running_below(review.process.pid)
        assert len(children) == 1
        review.process.send_signal(signal.SIGINT)
        review.process.wait(timeout=60)
        assert not any(Path(f"/proc/{child}").exists() for child in children)


def running_below(pid: int) -> list[int]:
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc to see a process's children")
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def post(review: Served, path: str, content: Any) -> requests.Response:
    return review.session.post(review.origin + path, json=content, headers={"Origin": review.origin}, timeout=60)


def test_what_is_not_there_is_refused(review: Served, data_root: Path) -> None:
    make_sheet(data_root, 7)
    boxes = {**place(7), "count": 3, "boxes": [box(0, 4, 4, 8, 8)], "known": ""}
    exemplars = {**place(7), "experiment": "turn", "numbers": {"left": [0], "right": [1]}, "names": {}, "known": ""}
    before = {path: path.stat().st_mtime_ns for path in data_root.rglob("*") if path.is_file()}
    for path, content in (
        ("/api/boxes", {**boxes, "run": "../../set/train/first"}),
        ("/api/boxes", {**boxes, "checkpoint": f"../{CHECKPOINT}"}),
        ("/api/boxes", {**boxes, "checkpoint": "best"}),
        ("/api/boxes", {**boxes, "seed": -1}),
        ("/api/boxes", {**boxes, "seed": 70}),
        ("/api/boxes", {**boxes, "label": 1}),
        ("/api/boxes", {**boxes, "count": 41}),
        ("/api/boxes", {**boxes, "known": "0123456789abcdef"}),
        ("/api/boxes", {**boxes, "boxes": [box(3, 4, 4, 8, 8)]}),
        ("/api/boxes", {**boxes, "boxes": [box(0, 25, 4, 8, 8)]}),
        ("/api/boxes", {**boxes, "boxes": [box(0, -1, 4, 8, 8)]}),
        ("/api/boxes", {**boxes, "boxes": [box(0, 1, 4, 8, 0)]}),
        ("/api/boxes", {**boxes, "boxes": [{**box(0, 1, 4, 8, 8), "left": 0.5}]}),
        ("/api/boxes", {**boxes, "boxes": [box(0, 1, 4, 8, 8)] * 10_001}),
        ("/api/exemplars", {**exemplars, "experiment": "walk"}),
        ("/api/exemplars", {**exemplars, "numbers": {"left": [0], "right": [0]}}),
        ("/api/exemplars", {**exemplars, "numbers": {"left": [40]}}),
        ("/api/exemplars", {**exemplars, "numbers": {"up": [1]}}),
        ("/api/jobs", {**place(7), "experiment": "forget"}),
        ("/api/jobs", {**place(7), "experiment": "turn"}),
        ("/api/jobs", {**place(7), "experiment": "--help"}),
        ("/api/jobs", {**place(7), "run": "nothing", "experiment": "sheet"}),
    ):
        assert post(review, path, content).status_code in {400, 404, 422}, (path, content)
    after = {path: path.stat().st_mtime_ns for path in data_root.rglob("*") if path.is_file()}
    assert after == before


def test_the_pages_are_accessible_and_fit(browser: Any, review: Served, data_root: Path) -> None:
    keep_boxes(make_sheet(data_root, 8), 8, box(0, 4, 4, 8, 8))
    said: list[str] = []
    for path in ("draw?seed=8", "pick?seed=8", "pick?seed=8&experiment=turn"):
        page = open_desk(browser, review, path, bypass_csp=True)
        page.on("console", lambda message: said.append(message.text))
        assert_fits_and_accessible(page)
    assert said == []
