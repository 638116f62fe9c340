"""Screenshots: a page of a finished run in; what a browser shows of it, as a JPEG, out.

python docs/tools/screenshots.py data/demo/report/index.html docs/images/tutorial_report.jpg
"""

from pathlib import Path
from typing import Annotated

import typer
from playwright.sync_api import sync_playwright

from pipelines.cli import console, new_app, run_app

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
app = new_app("Take the screenshots of the documentation.")


@app.command()
def main(
    page: Annotated[Path, typer.Argument(help="The HTML file.")],
    out: Annotated[Path, typer.Argument(help="The JPEG to write.")],
    width: Annotated[int, typer.Option("--width", min=200, help="Of the window, in pixels.")] = 1200,
    height: Annotated[int, typer.Option("--height", min=200, help="Of the window, in pixels.")] = 800,
    dark: Annotated[bool, typer.Option("--dark", help="As people see it who prefer dark pages.")] = False,
    browser: Annotated[str, typer.Option("--browser", help="The Chromium to start.")] = "/usr/bin/chromium",
) -> None:
    """Open a page in Chromium, without a network, and keep what its window shows."""
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=FLAGS)
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
        )
        shown = context.new_page()
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=out, type="jpeg", quality=85)
        chromium.close()
    console.print(str(out), markup=False)


if __name__ == "__main__":
    run_app(app, "python docs/tools/screenshots.py")
