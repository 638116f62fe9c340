"""The report page, in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dedup.report import draw_histogram

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield opened
        opened.close()


def test_page_shows_all_it_says_and_asks_nobody_else(browser: playwright.Browser, clean_run: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((clean_run / "report" / "index.html").as_uri())
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert problems == []
    text = page.inner_text("main")
    for heading in ("Where every image went", "Planted near-duplicates", "Kept beside dropped", "Largest groups"):
        assert heading in text
    widths = page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert len(widths) > 20
    assert min(widths) > 0
    roles = page.eval_on_selector_all(".pair figure", "figures => figures.map(figure => figure.className)")
    assert roles[0::2] == ["kept"] * (len(roles) // 2)
    assert roles[1::2] == ["dropped"] * (len(roles) // 2)


@pytest.mark.parametrize("width", [380, 1600])
def test_page_fits_its_window(browser: playwright.Browser, clean_run: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto((clean_run / "report" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_histogram_counts_each_distance() -> None:
    svg = draw_histogram(np.array([0, 0, 3, 12]))
    for bar in ("0 bits: 2", "3 bits: 1", "12 bits: 1", "1 bits: 0"):
        assert bar in svg
