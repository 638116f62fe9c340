"""What tests of the pages share: a page of a running review, answers that come page by page, and what was kept."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from served import Served


def open_page(browser: Any, review: Served, path: str, **context: Any) -> Any:
    page = browser.new_context(bypass_csp=False, **context).new_page()
    page.goto(review.url)
    page.goto(review.origin + path)
    return page


def wait_for(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}", timeout=30_000)


def all_pages(review: Served, path: str) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    following = None
    while True:
        page = review.get(path + (f"{'&' if '?' in path else '?'}after={quote(str(following))}" if pages else ""))
        pages.append(page)
        following = page["following"]
        if following is None:
            return pages


def data_folder(review: Served) -> Path:
    arguments = review.process.args
    assert isinstance(arguments, list)
    return Path(arguments[arguments.index("--data-root") + 1]) / "set"


def judgements(review: Served) -> list[Any]:
    path = data_folder(review) / "review" / "judgements" / "reviewer.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
