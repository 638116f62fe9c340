"""The report of a collection: accounts that balance, credits for all, and nothing that a hostile text could do."""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from axe import assert_presentable, open_browser
from helpers import encode, smooth_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from facescrape.archive import picture_path
from facescrape.report.accounts import Step
from facescrape.report.credits import safe_link
from facescrape.report.pages import make_report, write_report
from facescrape.tables import BOXES, IMAGES, NAMES, PHOTOS, URLS
from pipelines.errors import IntegrityError, SourceError
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record
from pipelines.shards import ShardWriter
from pipelines.store import File, LocalFolder, hash_file

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
START = datetime(2025, 11, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Result:
    """One search result, and what came of it. ``boxes``: left, top, side, and the reason where it is dropped."""

    person: str
    url: str
    status: str = "ok"
    picture: bytes | None = None
    boxes: Sequence[tuple[int, int, int, str | None]] = ()
    rejected: str | None = None
    provider: str = "commons"
    more: Mapping[str, Any] = field(default_factory=dict)


def write_collection(root: Path, people: Sequence[str], shards: Sequence[Sequence[Result]]) -> Path:
    """The stage folders and the archive's pictures, as a finished collection has them."""
    (root / "names").mkdir(parents=True)
    rows = [{"person": f"http://dbpedia.org/resource/{name}", "name": name} for name in people]
    pq.write_table(pa.Table.from_pylist(rows, NAMES), root / "names" / "names.parquet")
    save_manifest(root / "names", {"names": len(rows)})
    records: dict[str, dict[str, int]] = {"urls": {}, "photos": {}, "boxes": {}, "crops": {}}
    for stage in records:
        (root / stage).mkdir()
    seen: set[str] = set()
    for number, results in enumerate(shards):
        name = f"{number:05d}"
        tables = tables_of(results, seen)
        files = {"urls": "urls", "photos": "photos", "images": "boxes", "boxes": "boxes"}
        for (kind, stage), schema in zip(files.items(), (URLS, PHOTOS, IMAGES, BOXES), strict=True):
            pq.write_table(pa.Table.from_pylist(tables[kind], schema), root / stage / f"{name}.{kind}.parquet")
            records[stage][name] = len(tables[kind])
        pictures = {}
        for result in results:
            if result.picture is not None:
                path = picture_path(root / "archive", sha256_of(result.picture))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(result.picture)
                pictures[sha256_of(result.picture)] = result.picture
        with ShardWriter(root / "crops", name) as writer:
            for box in tables["boxes"]:
                if box["reason"] is None:
                    writer.add(crop_of(pictures[box["sha256"]], box))
        records["crops"][name] = writer.records
    for stage, counts in records.items():
        save_manifest(root / stage, counts)
    return root


def tables_of(results: Sequence[Result], seen: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of each table; ``seen`` are URLs and hashes of earlier shards, and grows."""
    tables: dict[str, list[dict[str, Any]]] = {"urls": [], "photos": [], "images": [], "boxes": []}
    for rank, result in enumerate(results):
        tables["urls"].append(
            {
                "url": result.url,
                "person": f"http://dbpedia.org/resource/{result.person}",
                "name": result.person,
                "provider": result.provider,
                "rank": rank,
                "page": f"https://commons.example/{rank}",
                **result.more,
            }
        )
        if result.url in seen:
            continue
        seen.add(result.url)
        photo = {
            "url": result.url,
            "status": result.status,
            "seconds": 0.5,
            "fetched_at": START + timedelta(hours=rank),
        }
        tables["photos"].append(photo)
        if result.picture is None:
            continue
        sha256 = sha256_of(result.picture)
        photo |= {"size_bytes": len(result.picture), "sha256": sha256}
        if sha256 in seen:
            continue
        seen.add(sha256)
        kept = sum(reason is None for *_, reason in result.boxes)
        image = {"sha256": sha256, "reason": result.rejected, "faces": len(result.boxes), "kept": kept}
        if result.rejected is None:
            image["width"], image["height"] = Image.open(io.BytesIO(result.picture)).size
        tables["images"].append(image)
        for face, (left, top, side, reason) in enumerate(result.boxes):
            box = {"sha256": sha256, "face": face, "left": left, "top": top, "width": side, "height": side}
            tables["boxes"].append({**box, "score": 1.0, "sharpness": 90.0, "detector": "haar", "reason": reason})
    return tables


def crop_of(picture: bytes, box: Mapping[str, Any]) -> Record:
    left, top, side = (int(box[name]) for name in ("left", "top", "width"))
    crop = Image.open(io.BytesIO(picture)).convert("RGB").crop((left, top, left + side, top + side)).resize((128, 128))
    meta = {"photo_sha256": box["sha256"]}
    return Record(f"{box['sha256']}-{box['face']}", encode(crop, "JPEG", quality=95), meta)


def save_manifest(folder: Path, records: Mapping[str, int]) -> None:
    shards = []
    for name, count in records.items():
        paths = sorted(path for path in folder.iterdir() if path.name.partition(".")[0] == name)
        files = tuple(File(path.name, path.stat().st_size, hash_file(path)) for path in paths)
        shards.append(Shard(name, count, files))
    Manifest(LocalFolder(folder), folder.name, "f" * 64, tuple(shards)).save()


def sha256_of(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()


def photo(seed: int) -> bytes:
    return encode(smooth_picture(320, 240, seed), "JPEG")


def small_collection(root: Path) -> Path:
    """Two shards, with one of each kind of loss."""
    ada = [
        Result(
            "Ada", "https://a.example/0.jpg", picture=photo(0), boxes=[(20, 20, 100, None), (200, 9, 40, "too_small")]
        ),
        Result("Ada", "https://a.example/1.jpg", picture=photo(1), boxes=[(40, 30, 90, None), (150, 60, 90, None)]),
        Result("Ada", "https://b.example/1-copy.jpg", picture=photo(1), provider="file"),
        Result("Ada", "https://b.example/2.jpg", status="robots"),
        Result("Ada", "https://a.example/0.jpg"),
        Result("Ada", "https://b.example/no-face.jpg", picture=photo(2), more={"licence": "CC0"}),
        Result("Ada", "https://b.example/broken.jpg", picture=b"\xff\xd8 broken", rejected="truncated"),
    ]
    bob = [
        Result("Bob", "https://a.example/0.jpg"),  # of an earlier shard
        Result("Bob", "https://c.example/3.jpg", picture=photo(3), boxes=[(0, 0, 80, None)], more={"licence": "CC0"}),
        Result("Bob", "https://c.example/4.jpg", status="timeout"),
        Result("Bob", "https://c.example/5.jpg", status="timeout"),
    ]
    return write_collection(root, ["Ada", "Bob", "Cy"], [ada, bob, []])


def deduplicate(dataset_folder: Path, read: int, dropped: Sequence[str]) -> None:
    report = {"read": read, "kept": read - len(dropped), "dropped": len(dropped), "rejected": 0}
    (dataset_folder / "report.json").write_text(json.dumps(report))
    pq.write_table(pa.table({"key": pa.array(dropped, pa.string())}), dataset_folder / "duplicates.parquet")


class Page(HTMLParser):
    """A page's elements with their attributes, and its text without styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside != "style":
            self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for name, attrs in self.elements if name == tag and attribute in attrs]

    def links(self) -> list[str]:
        return self.values("a", "href")


def pages_of(root: Path) -> list[Page]:
    write_report(make_report(root, root.parent), root)
    return [Page(path) for path in sorted((root / "report").iterdir())]


def test_every_step_balances_and_says_why(tmp_path: Path) -> None:
    report = make_report(small_collection(tmp_path / "faces" / "raw"), tmp_path / "faces")
    assert report["dataset"] == "faces"
    assert [tuple(step.values()) for step in report["funnel"]] == [
        ("people", 3, 2, {"no_results": 1}),
        ("results", 11, 9, {"repeated_url": 2}),
        ("urls", 9, 6, {"timeout": 2, "robots": 1}),
        ("downloads", 6, 5, {"equal_bytes": 1}),
        ("pictures", 5, 4, {"truncated": 1}),
        ("decoded", 4, 3, {"no_face": 1}),
        ("faces", 5, 4, {"too_small": 1}),
    ]
    assert report["ratios"] == {"images_per_person": 1.6667, "boxes_per_image": 0.8}
    assert not report["deduplicated"]


def test_each_group_adds_up_to_the_funnel(tmp_path: Path) -> None:
    report = make_report(small_collection(tmp_path / "raw"), tmp_path)
    assert report["by_provider"] == {
        "commons": {"results": 10, "downloaded": 5, "crops": 4},
        "file": {"results": 1, "downloaded": 1, "crops": 0},
    }
    assert report["by_licence"] == {
        "licence unknown": {"results": 9, "downloaded": 4, "crops": 3},
        "CC0": {"results": 2, "downloaded": 2, "crops": 1},
    }
    assert report["hosts"] == {
        "number": 3,
        "largest": [
            {"host": "b.example", "ok": 3, "failed": 1},
            {"host": "c.example", "ok": 1, "failed": 2},
            {"host": "a.example", "ok": 2, "failed": 0},
        ],
    }


def test_fetching_is_summed_and_equal_bytes_counted_once(tmp_path: Path) -> None:
    report = make_report(small_collection(tmp_path / "raw"), tmp_path)
    distinct = sum(map(len, [photo(0), photo(1), photo(2), photo(3), b"\xff\xd8 broken"]))
    assert report["bytes"] == {"downloaded": distinct + len(photo(1)), "distinct": distinct}
    assert report["fetch_seconds"] == pytest.approx(4.5)
    assert report["fetched"] == ["2025-11-01T12:00:00+00:00", "2025-11-01T18:00:00+00:00"]
    assert report["detector"] == "haar"


def test_deduplication_of_these_crops_is_the_last_step(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    dropped = f"{sha256_of(photo(1))}-0"
    deduplicate(tmp_path, read=4, dropped=[dropped])
    report = make_report(root, tmp_path)
    assert report["deduplicated"]
    assert report["funnel"][-1] == {"step": "crops", "in": 4, "out": 3, "lost": {"near_duplicate": 1, "rejected": 0}}
    write_report(report, root)
    assert len(Page(root / "report" / "index.html").values("img", "alt")) == 3


@pytest.mark.parametrize(("read", "dropped"), [(3, []), (4, ["of-another-collection"])])
def test_deduplication_of_other_crops_is_not_counted(tmp_path: Path, read: int, dropped: list[str]) -> None:
    root = small_collection(tmp_path / "raw")
    deduplicate(tmp_path, read, dropped)
    assert not make_report(root, tmp_path)["deduplicated"]
    (tmp_path / "duplicates.parquet").unlink()
    assert not make_report(root, tmp_path)["deduplicated"]
    index = pages_of(root)[1]
    assert f"python -m dedup.run {tmp_path.name}" in index.text


@pytest.mark.parametrize(
    ("name", "schema", "drop"),
    [
        ("photos/00000.photos.parquet", PHOTOS, 3),
        ("boxes/00000.images.parquet", IMAGES, 2),
        ("boxes/00000.boxes.parquet", BOXES, 0),
        ("boxes/00000.boxes.parquet", BOXES, 1),
    ],
)
def test_a_lost_row_is_noticed(tmp_path: Path, name: str, schema: pa.Schema, drop: int) -> None:
    root = small_collection(tmp_path / "raw")
    rows = pq.read_table(root / name).to_pylist()
    del rows[drop]
    pq.write_table(pa.Table.from_pylist(rows, schema), root / name)
    stage = (root / name).parent
    save_manifest(stage, {f"{number:05d}": 0 for number in range(3)})
    with pytest.raises(IntegrityError, match="do not balance"):
        make_report(root, tmp_path)


@given(st.integers(0, 99), st.dictionaries(st.text(max_size=3), st.integers(0, 99), max_size=4), st.integers(-3, 3))
def test_a_step_balances_or_is_none(went_on: int, lost: dict[str, int], off: int) -> None:
    came_in = went_on + sum(lost.values()) + off
    if off == 0:
        assert Step("step", came_in, went_on, lost).came_in == came_in
    else:
        with pytest.raises(IntegrityError):
            Step("step", came_in, went_on, lost)


def test_an_unfinished_collection_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        make_report(tmp_path / "raw", tmp_path)
    assert "facescrape.run faces" in caught.value.hint


def test_a_collection_of_nothing_has_its_pages(tmp_path: Path) -> None:
    root = write_collection(tmp_path / "raw", ["Ada"], [[]])
    report = make_report(root, tmp_path)
    assert {step["out"] for step in report["funnel"]} == {0}
    attribution, index = pages_of(root)
    assert "nobody to credit" in attribution.text
    assert "No face was found." in index.text


def test_pages_show_every_crop_and_credit_every_photograph(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    attribution, index = pages_of(root)
    credited = {sha256_of(photo(seed)) for seed in (0, 1, 3)}
    assert credited <= set(attribution.values("div", "id"))
    assert len(attribution.values("img", "src")) == 4
    for host in ("a.example", "c.example"):
        assert f"at {host}, found by commons" in attribution.text
    assert attribution.text.count("licence unknown") == 2
    faces = [link for link in index.links() if "#" in link]
    assert {link.removeprefix("attribution.html#") for link in faces} == credited
    assert set(index.values("img", "alt")) == {"Face found by searching for Ada", "Face found by searching for Bob"}
    labels = [attrs["aria-label"] for tag, attrs in index.elements if tag == "svg"]
    assert sorted(label.partition("boxes: ")[2] for label in labels if label) == [
        "1 kept",
        "1 kept, 1 too small",
        "2 kept",
    ]
    assert "photographs with faces, drawn by lot" in index.text


def test_pages_ask_nobody_and_name_nothing_beside_them(tmp_path: Path) -> None:
    for page in pages_of(small_collection(tmp_path / "raw")):
        assert not {"script", "link", "iframe", "form", "object"} & {tag for tag, _ in page.elements}
        shown = [*page.values("img", "src"), *page.values("image", "href")]
        assert all(uri.startswith("data:image/jpeg;base64,") for uri in shown)
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page.values("meta", "content")


def test_credits_are_split_into_pages_that_find_each_other(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    write_report(make_report(root, tmp_path), root, credits_per_page=1)
    folder = root / "report"
    assert sorted(path.name for path in folder.iterdir()) == [
        "attribution-2.html",
        "attribution-3.html",
        "attribution.html",
        "index.html",
    ]
    for path in folder.iterdir():
        for link in Page(path).links():
            name, _, anchor = link.partition("#")
            if not name.startswith(("https:", "http:", "../")):
                assert not anchor or anchor in (folder / name).read_text()
    first = Page(folder / "attribution.html")
    assert {"attribution.html#1", "attribution-3.html#1"} <= set(first.links())
    assert re.search(r"Ada\s*2\s*Bob\s*1", first.text)


def test_pages_of_what_is_forgotten_go(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    report = make_report(root, tmp_path)
    write_report(report, root, credits_per_page=1)
    write_report(report, root)
    assert sorted(path.name for path in (root / "report").iterdir()) == ["attribution.html", "index.html"]


def test_a_picture_that_the_archive_lacks_is_left_out(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    picture_path(root / "archive", sha256_of(photo(1))).unlink()
    _, index = pages_of(root)
    assert len(index.values("image", "href")) == 2


def test_the_same_tables_give_the_same_pages(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "raw")
    pages_of(root)
    before = {path.name: path.read_bytes() for path in (root / "report").iterdir()}
    pages_of(root)
    assert {path.name: path.read_bytes() for path in (root / "report").iterdir()} == before


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    bad: dict[str, Any] = {
        "title": HOSTILE,
        "author": HOSTILE + "x" * 100_000,
        "licence": HOSTILE,
        "licence_url": "javascript:alert(3)",
        "page": "data:text/html,<script>alert(4)</script>",
        "name": HOSTILE,
        "person": "javascript:alert(5)",
    }
    results = [
        Result(
            "Eve",
            f"https://e.example/{HOSTILE}?q='",
            picture=photo(7),
            boxes=[(9, 9, 99, None)],
            more=bad,
            provider=HOSTILE,
        ),
        Result("Eve", "https://e.example/8.jpg", picture=photo(8), boxes=[(9, 9, 99, HOSTILE)], more=bad),
        Result("Eve", f"https://{HOSTILE}/", status="bad_url", more=bad),
        Result("Eve", "http://[", status="bad_url", more=bad),
    ]
    root = write_collection(tmp_path / "raw", ["Eve"], [results])
    for page in pages_of(root):
        assert "<script>alert(1)</script>" in page.text
        assert "script" not in {tag for tag, _ in page.elements}
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
        for tag, attrs in page.elements:
            if tag == "a" and not re.match(r"(attribution|index)", attrs["href"] or ""):
                assert re.match(r"https?://", attrs["href"] or "")
                assert attrs["rel"] == "noopener noreferrer nofollow"
        assert len(page.text) < 20_000


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//example.org/x",
        "https:",
        "https://",
        "https://example.org/a b",
        "https://example.org/\x00",
        "\x01https://example.org/",
        "https://example.org/\n",
        "https://example.org/" + "x" * 3000,
        "",
        None,
    ],
)
def test_other_links_are_none(url: str | None) -> None:
    assert safe_link(url) is None


@pytest.mark.parametrize("url", ["https://example.org", "HTTP://example.org/ü?a=b&c=%20#d", "http://[2001:db8::1]/x"])
def test_links_of_the_web_are_links(url: str) -> None:
    assert safe_link(url) == url


def test_a_browser_shows_the_pages_and_runs_nothing(tmp_path: Path) -> None:
    hostile = {"title": HOSTILE, "author": HOSTILE, "licence": HOSTILE, "licence_url": "javascript:alert(3)"}
    results = [Result("Eve", "https://e.example/9.jpg", picture=photo(9), boxes=[(9, 9, 99, None)], more=hostile)]
    root = write_collection(tmp_path / "raw", ["Eve"], [results])
    pages_of(root)
    asked: list[str] = []
    said: list[str] = []
    with open_browser() as browser:
        for path in (root / "report").iterdir():
            page = browser.new_page(viewport={"width": 380, "height": 800})
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.goto(path.as_uri())
            assert min(page.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")) > 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 380
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []


def test_pages_are_presentable(tmp_path: Path) -> None:
    root = small_collection(tmp_path / "faces" / "raw")
    deduplicate(tmp_path / "faces", read=4, dropped=[])
    pages_of(root)
    with open_browser() as browser:
        for path in (root / "report").iterdir():
            assert_presentable(browser, path)
