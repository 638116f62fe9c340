"""The pages that show what was decided: groups, sources and rejected images, as requests and in a real browser."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from axe import assert_accessible, assert_fits
from dedup_set import PlantedSet
from helpers import python_process
from served import Served
from two_sources import AGAIN, HOSTILE, PICTURES
from visits import all_pages, data_folder, judgements, open_page, wait_for

from dedup.grouped import DROPPED
from dedup.review.browsing.groups import Groups
from dedup.review.browsing.rejections import REASONS, WHY, Rejections
from dedup.stages.grouping import REJECTED
from pipelines.images import RejectReason

PAGES = ("groups", "search", "threshold", "sources", "rejected")


# Groups.


@pytest.mark.parametrize("order", ["size", "score"])
def test_paging_returns_every_group_and_every_member_once(browsed: Served, order: str) -> None:
    pages = all_pages(browsed, f"/api/groups?order={order}")
    assert len(pages) > 1
    groups = [group for page in pages for group in page["groups"]]
    assert {page["total"] for page in pages} == {len(groups)} == {PICTURES}
    found = []
    for group in groups:
        members, more = list(group["dropped"]), group["more"]
        while more:
            rest = browsed.get(f"/api/groups/{group['kept']['number']}?after={members[-1]['number']}")
            members, more = members + rest["dropped"], rest["more"]
        assert group["size"] == len(members) + 1
        found += [(member["key"], group["kept"]["key"]) for member in members]
    table = pq.read_table(data_folder(browsed) / "duplicates.parquet").to_pylist()
    assert Counter(found) == Counter((row["key"], row["kept_key"]) for row in table)
    if order == "size":
        sizes = [group["size"] for group in groups]
        assert sizes == sorted(sizes, reverse=True) and sizes[0] == AGAIN + 2
    else:
        scores = [group["dropped"][0]["score"] for group in groups]
        assert scores == sorted(scores)


def test_groups_of_any_shape_are_paged_without_gap_or_repetition() -> None:
    rng = np.random.default_rng(0)
    dropped = np.zeros(500, DROPPED)
    dropped["number"] = rng.permutation(5_000)[:500] + 5_000
    dropped["kept"] = rng.integers(0, 90, 500)
    dropped["score"] = np.where(rng.random(500) < 0.3, np.nan, rng.integers(0, 4, 500))  # many ties
    groups = Groups(dropped)
    among = groups.dropped["number"] % 7 == 0
    for order in ("size", "score"):
        for mask, wanted in (
            (None, set(dropped["kept"].tolist())),
            (among, set(groups.dropped["kept"][among].tolist())),
        ):
            seen: list[int] = []
            after = None
            while True:
                page = groups.page(order, after, 7, 3, mask)
                seen += [group.kept for group in page.groups]
                after = page.following
                if after is None:
                    break
            assert len(seen) == len(set(seen)) == page.total
            assert set(seen) == wanted
    numbers = np.concatenate([dropped["number"], dropped["kept"], [99_999]])
    assert groups.kept_for(numbers).tolist() == [*dropped["kept"].tolist(), *dropped["kept"].tolist(), 99_999]
    empty = Groups(dropped[:0])
    assert (len(empty), empty.page("size", None, 7, 3).following, empty.size_of(4)) == (0, None, 1)
    assert empty.kept_for(np.array([4])).tolist() == [4]


@pytest.mark.parametrize(
    "path",
    [
        "/api/groups?after=999999",
        "/api/groups?group=-5",
        "/api/groups/99999999999999999999",
        "/api/groups?source=nobody&kept_source=rooms",
        "/previews/-1",
        "/previews/99999999999999999999",
        "/api/search?key=e&after=x.y",
    ],
)
def test_what_is_not_there_is_said_in_a_line(browsed: Served, path: str) -> None:
    answer = browsed.session.get(browsed.origin + path, timeout=30)
    assert answer.status_code == 404
    assert answer.text.startswith("There is no") or "has no" in answer.text
    assert len(answer.text.splitlines()) == 1


def test_a_mark_is_kept_shown_and_taken_back(browsed: Served) -> None:
    group = browsed.get("/api/groups")["groups"][0]
    pair = {"first": group["dropped"][2]["number"], "second": group["kept"]["number"]}
    before = len(judgements(browsed))
    assert browsed.post("/api/marks", {**pair, "verdict": "different"}) == {"said": "different"}
    said = [member["said"] for member in browsed.get("/api/groups")["groups"][0]["dropped"]]
    assert said == [None, None, "different"] + [None] * (len(said) - 3)
    (decided,) = browsed.get("/api/marks")["marks"]
    assert (decided["decision"], decided["agrees"], decided["honoured"], decided["own"]) == (
        "different",
        False,
        False,
        True,
    )
    assert {image["number"] for image in decided["images"]} == set(pair.values())
    browsed.post("/api/marks/back", decided["pair"])
    assert browsed.get("/api/marks")["total"] == 0
    assert [row["verdict"] for row in judgements(browsed)[before:]] == ["different", None]
    answer = browsed.session.post(
        f"{browsed.origin}/api/marks/back", json=decided["pair"], headers={"Origin": browsed.origin}, timeout=30
    )
    assert (answer.status_code, answer.text) == (404, "You have said nothing of this pair.")


def test_two_images_that_were_kept_apart_are_said_to_be_duplicates(browsed: Served) -> None:
    first, second = (group["kept"]["number"] for group in browsed.get("/api/groups")["groups"][1:3])
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": "same"})
    (decided,) = browsed.get("/api/marks")["marks"]
    assert (decided["decision"], decided["agrees"]) == ("same", False)
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": None})
    assert browsed.get("/api/marks")["total"] == 0


def test_of_equal_bytes_there_is_nothing_to_say(served: Served, planted: PlantedSet) -> None:
    group = next(
        group
        for page in all_pages(served, "/api/groups")
        for group in page["groups"]
        if group["dropped"][0]["rule"] == "same_bytes"
    )
    said = {"first": group["kept"]["number"], "second": group["dropped"][0]["number"], "verdict": "different"}
    for content, status in ((said, 400), ({**said, "second": 10**30}, 404), ({**said, "verdict": "maybe"}, 422)):
        answer = served.session.post(
            f"{served.origin}/api/marks", json=content, headers={"Origin": served.origin}, timeout=30
        )
        assert answer.status_code == status, answer.text
    assert judgements(served) == []


def test_groups_in_a_browser_come_as_it_scrolls(browser: Any, browsed: Served) -> None:
    page = open_page(browser, browsed, "/groups", viewport={"width": 1440, "height": 900})
    page.wait_for_selector(".group")
    assert page.locator(".group").count() < PICTURES
    page.mouse.wheel(0, 20_000)
    wait_for(page, f"document.querySelectorAll('.group').length === {PICTURES}")
    assert page.inner_text("#count") == f"{PICTURES} of {PICTURES} groups"
    assert page.locator("#more").is_hidden()
    numbers = page.eval_on_selector_all(".card.kept", "cards => cards.map(card => card.dataset.number)")
    assert len(set(numbers)) == PICTURES
    large = page.locator(".group").first
    shown = large.locator(".card").count()
    large.locator(".rest").click()
    wait_for(page, f"document.querySelector('.group').querySelectorAll('.card').length === {AGAIN + 2}")
    assert shown < AGAIN + 2
    page.select_option("#order", "score")
    wait_for(page, "document.querySelectorAll('.group').length > 0")
    wait_for(page, "[...document.images].some(image => image.naturalWidth > 0)")


def test_a_mark_is_made_and_taken_back_by_keyboard(browser: Any, browsed: Served) -> None:
    page = open_page(browser, browsed, "/groups")
    page.wait_for_selector(".mark")
    before = len(judgements(browsed))
    for pressed in ("true", "false"):
        page.locator(".mark").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(f".mark[aria-pressed='{pressed}'] >> nth=0")
        wait_for(page, f"document.querySelector('.mark').getAttribute('aria-pressed') === '{pressed}'")
    assert [row["verdict"] for row in judgements(browsed)[before:]] == ["different", None]
    page.locator(".open").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    captions = page.locator("dialog figcaption").all_inner_texts()
    assert len(captions) == 2 and "score" in captions[1]
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog figcaption").nth(1).inner_text() != captions[1]
    page.locator("#large-mark").click()
    page.wait_for_selector("#large-mark[aria-pressed='true']")
    page.locator("#large-mark").click()
    page.wait_for_selector("#large-mark[aria-pressed='false']")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.className") == "open"


def test_two_pictures_of_different_pages_are_picked(browser: Any, browsed: Served) -> None:
    page = open_page(browser, browsed, "/groups")
    page.wait_for_selector(".pick")
    page.locator(".card.kept .pick").nth(3).click()
    assert page.inner_text("#asks") == "Pick another one."
    page.goto(f"{browsed.origin}/search")
    page.fill("#key", "ALONE.png")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card .pick")
    page.locator(".card .pick").click()
    page.locator("#join").click()
    wait_for(page, "document.querySelector('#asks').textContent.startsWith('Kept')")
    (decided,) = browsed.get("/api/marks")["marks"]
    assert decided["decision"] == "same"
    assert "web/alone.png" in {image["key"] for image in decided["images"]}
    browsed.post("/api/marks/back", decided["pair"])


# Sources.


def test_the_map_counts_what_the_table_says_and_leads_to_its_groups(browser: Any, browsed: Served) -> None:
    page = open_page(browser, browsed, "/sources")
    cells = page.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    assert cells == [["0", "0", "0"], [str(PICTURES + AGAIN), "0", str(PICTURES + AGAIN)]]
    page.click("tbody a")
    page.wait_for_selector(".group")
    assert "of web was dropped for one of rooms" in page.inner_text("#within")
    assert browsed.get("/api/groups?source=web&kept_source=rooms")["total"] == PICTURES
    assert browsed.get("/api/groups?source=rooms&kept_source=web") == {"groups": [], "total": 0, "following": None}


def test_of_a_single_source_one_line_says_all(served: Served) -> None:
    text = served.session.get(f"{served.origin}/sources", timeout=30).text
    assert "All images come from one source" in text and "<table" not in text


# Rejected images.


def test_rejected_images_are_listed_by_reason(browser: Any, browsed: Served) -> None:
    page = open_page(browser, browsed, "/rejected")
    page.wait_for_selector("#rows tr")
    assert page.locator("#rows tr").count() == 2
    page.click("[data-reason='truncated']")
    wait_for(page, "document.querySelectorAll('#rows tr').length === 1")
    assert page.inner_text("#rows").startswith("web/cut.png")
    assert page.inner_text("#which") == "Reason: truncated"
    page.click("[data-reason='truncated']")
    wait_for(page, "document.querySelectorAll('#rows tr').length === 2")


def test_rejections_are_paged_by_reason_over_row_groups(tmp_path: Path) -> None:
    assert set(WHY) == set(REASONS) == set(RejectReason)
    rows = [
        {"key": f"k{n:03d}", "source": "s", "reason": REASONS[n % 3].value, "size_bytes": n, "sha256": ""}
        for n in range(100)
    ]
    pq.write_table(pa.Table.from_pylist(rows, REJECTED), tmp_path / "rejected.parquet", row_group_size=11)
    rejections = Rejections(tmp_path / "rejected.parquet")
    assert list(rejections.counts().values()) == [34, 33, 33]
    for reason in (None, REASONS[1]):
        keys: list[str] = []
        after: int | None = -1
        while after is not None:
            page, after = rejections.page(reason, after, 7)
            keys += [row["key"] for row in page]
        assert keys == [row["key"] for row in rows if reason in {None, row["reason"]}]


# What holds for all of them.


@pytest.mark.parametrize("name", PAGES)
def test_hostile_keys_are_texts(browser: Any, browsed: Served, name: str) -> None:
    first, second = (group["kept"]["number"] for group in browsed.get("/api/groups")["groups"][:2])
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": "same"})
    page = open_page(browser, browsed, f"/{name}")
    if name == "search":
        page.fill("#key", "onerror")
        page.keyboard.press("Enter")
        page.wait_for_selector(".card")
        assert page.locator(".card .key").first.inner_text() == f"rooms/{HOSTILE[0]}"
    if name == "groups":
        page.wait_for_selector(".card")
        shown = page.locator(".key").all_inner_texts()
        assert f"rooms/{HOSTILE[0]}" in shown
        page.locator(".open").first.click()
        assert HOSTILE[0] in page.locator("dialog figcaption").first.inner_text()
    page.wait_for_load_state("networkidle")
    assert "caught" not in page.title()
    sources = page.eval_on_selector_all("img", "images => images.map(image => image.getAttribute('src'))")
    assert all(source is None or source.startswith(("/previews/", "/pictures/")) for source in sources)
    assert page.locator("main b:has-text('page.jpg')").count() == 0
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": None})


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_accessible_and_fits(browser: Any, browsed: Served, name: str) -> None:
    first, second = (group["kept"]["number"] for group in browsed.get("/api/groups")["groups"][:2])
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": "same"})
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(browsed.url)
    page.goto(f"{browsed.origin}/{name}")
    if name == "search":
        page.fill("#key", "copy")
        page.keyboard.press("Enter")
    if name in {"groups", "search"}:
        page.wait_for_selector(".card")
        page.locator(".pick").first.click()
    page.wait_for_load_state("networkidle")
    for scheme, width in (("light", 1440), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert_fits(page)
        assert_accessible(page)
    if name == "groups":
        page.locator(".open").nth(1).click()
        assert_accessible(page, "dialog")
    assert said == []
    context.close()
    browsed.post("/api/marks", {"first": first, "second": second, "verdict": None})


def test_the_server_needs_no_torch() -> None:
    """It takes seconds and hundreds of megabytes; the process that looks pictures up has it."""
    code = "import sys, dedup.review.__main__, dedup.review.server; print({'torch', 'faiss'} & set(sys.modules))"
    out, err = python_process(code).communicate(timeout=60)
    assert out == "set()\n", err
