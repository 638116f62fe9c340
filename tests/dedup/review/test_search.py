"""The page "Search": by a part of a key and by a picture, whatever is uploaded, in a real browser too."""

import struct
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dedup_set import picture
from helpers import encode
from PIL import ImageOps
from served import Served, serving
from two_sources import TwoSources
from visits import all_pages, open_page, wait_for

from dedup.review.browsing.rejections import WHY
from pipelines.images import RejectReason


def test_keys_are_found_by_any_part_of_them(browsed: Served, two_sources: TwoSources) -> None:
    (found,) = browsed.get("/api/search?key=ROOM-017")["images"]
    assert (found["key"], found["kept"], found["size"]) == ("rooms/Room-017", found["number"], 2)
    (copy,) = browsed.get("/api/search?key=copy_017")["images"]
    assert (copy["kept"], copy["size"]) == (found["number"], 2)
    assert browsed.get("/api/search?key=cut.p")["images"] == [{"key": "web/cut.png", "reason": "truncated"}]
    assert browsed.get("/api/search?key=.*")["images"] == [], "it is a text and no pattern"
    for key in two_sources.keys[:4]:
        assert [row["key"] for row in browsed.get(f"/api/search?key={quote(key)}")["images"]] == [f"rooms/{key}"]
    pages = all_pages(browsed, "/api/search?key=e")
    keys = [row["key"] for page in pages for row in page["images"]]
    assert len(pages) > 1 and len(keys) == len(set(keys))
    assert browsed.session.get(f"{browsed.origin}/api/search?key=", timeout=30).status_code == 422


def upload(review: Served, content: bytes) -> Any:
    headers = {"Origin": review.origin, "Content-Type": "application/octet-stream"}
    return review.session.post(f"{review.origin}/api/search", content, headers=headers, timeout=60)


def test_a_picture_finds_its_near_duplicates(browsed: Served) -> None:
    found = upload(browsed, encode(ImageOps.mirror(picture(9)), "JPEG", quality=75)).json()["images"]
    near = [image for image in found if image["verified"]]
    assert {image["key"] for image in near} == {"rooms/Room-009", "web/copy_009.jpg"}
    assert all(image["mirrored"] and not image["same_bytes"] for image in near)
    assert len(found) >= 12 and not any(image["verified"] for image in found[2:])
    assert upload(browsed, encode(picture(9), "PNG")).json()["images"][0]["same_bytes"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs the children that Linux lists")
def test_the_process_that_looks_pictures_up_ends_with_the_server(two_sources_run: Path) -> None:
    with serving(two_sources_run) as review:
        assert upload(review, encode(picture(9), "PNG")).ok
        tasks = Path(f"/proc/{review.process.pid}/task")
        children = [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]
        assert children
        review.kill()
    end = time.monotonic() + 30
    while any(is_running(child) for child in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(is_running(child) for child in children)


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def huge_png() -> bytes:
    """30,000 × 30,000 pixels in a few kilobytes."""
    pixels = zlib.compressobj(9)
    begun = pixels.compress(b"\0" * 3_000_000) + pixels.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", begun) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html><script>alert(1)</script></html>", RejectReason.NOT_AN_IMAGE),
        (huge_png(), RejectReason.TOO_MANY_PIXELS),
        (encode(picture(3), "PNG")[:3000], RejectReason.TRUNCATED),
        (b"", RejectReason.EMPTY),
    ],
    ids=["html", "900 megapixels", "truncated", "empty"],
)
def test_an_upload_that_cannot_be_used_gets_a_line(browsed: Served, content: bytes, reason: RejectReason) -> None:
    answer = upload(browsed, content)
    assert answer.status_code == 400
    assert answer.text == f"This picture cannot be used. {WHY[reason]}"
    assert "<" not in answer.text and len(answer.text.splitlines()) == 1


def test_pictures_are_chosen_and_dropped_in_a_browser(browser: Any, browsed: Served, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(encode(picture(12), "PNG"))
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    page = open_page(browser, browsed, "/search")
    page.set_input_files("#file", tmp_path / "mine.png")
    wait_for(page, "document.querySelector('#says').textContent.includes('near-duplicates of mine.png')")
    assert page.locator(".card.sure").count() == 2
    page.set_input_files("#file", tmp_path / "page.jpg")
    wait_for(page, "document.querySelector('#trouble').textContent.includes('cannot be used')")
    assert page.locator("#found").is_hidden()
    content = list(encode(picture(13), "PNG"))
    page.evaluate(
        """content => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(content)], "dropped.png", {type: "image/png"}));
          document.querySelector("#zone").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
        }""",
        content,
    )
    wait_for(page, "document.querySelector('#says').textContent.includes('of dropped.png')")
    assert "copy_013" in page.inner_text("#results")
