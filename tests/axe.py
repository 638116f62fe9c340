"""A browser's view of a page: what axe-core says of it, whom it asks, and whether it fits its window.

`open_browser` starts a Chromium, `assert_accessible` judges a page that a test has open, and `assert_presentable` opens
a page that is made to stand alone in each look that people have: light and dark, wide and narrow, and on paper.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
SCHEMES, WIDTHS = ("light", "dark"), (1440, 390)
GRAVE = ("serious", "critical")

_FIND = """async (within) => {
  const found = await axe.run(within ?? document, {resultTypes: ["violations"]});
  return found.violations.map(({id, impact, help, nodes}) => ({
    id, impact, help, count: nodes.length, first: nodes[0].html.slice(0, 200), why: nodes[0].failureSummary}));
}"""


@contextmanager
def open_browser() -> Iterator[Any]:
    """A browser of Playwright; skips the test, saying why, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def assert_accessible(page: Any, within: str | None = None) -> None:
    """Fail on every serious or critical finding of axe-core.

    Args:
        page: of Playwright, loaded; its context needs ``bypass_csp=True`` where the page's policy forbids scripts.
        within: a CSS selector, where only a part of the page is to be judged.
    """
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.AXE_SCRIPT)
    grave = [finding for finding in page.evaluate(_FIND, within) if finding["impact"] in GRAVE]
    said = [
        f"{found['impact']}, {found['count']} times: {found['help']} ({found['id']})\n{found['first']}\n{found['why']}"
        for found in grave
    ]
    assert not said, "\n".join([f"{page.url}, {page.viewport_size}", *said])


def assert_fits_and_accessible(page: Any) -> None:
    """`assert_fits` and `assert_accessible` in light and dark, wide and narrow."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            assert_fits(page)
            assert_accessible(page)


def assert_presentable(browser: Any, path: Path) -> None:
    """A page that stands alone asks nobody, complains of nothing, fits its window, is accessible and prints well."""
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    assert_fits_and_accessible(page)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 720, "height": 1000})  # of A4 within its margins
    assert_fits(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "dark on paper"
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    context.close()


def assert_fits(page: Any) -> None:
    """Nothing of the page stands beyond its window's edge, so that nobody has to scroll sideways."""
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, f"{page.url}, {page.viewport_size}"
