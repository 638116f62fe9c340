"""The report page, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe import assert_presentable, open_browser

from dedup.report import draw_histogram


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


def test_page_shows_all_it_says_and_asks_nobody_else(browser: Any, clean_run: Path) -> None:
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


def test_page_is_presentable(browser: Any, clean_run: Path) -> None:
    assert_presentable(browser, clean_run / "report" / "index.html")


def test_histogram_counts_each_distance() -> None:
    svg = draw_histogram(np.array([0, 0, 3, 12]))
    for bar in ("0 bits: 2", "3 bits: 1", "12 bits: 1", "1 bits: 0"):
        assert bar in svg
