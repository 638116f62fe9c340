"""The whole of `make faces`, against the replay world."""

import csv
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from collected import PEOPLE, SHOTS, collect, crops, demo_options, outcome, run, start, table
from helpers import hashes_below

from facescrape.archive import Archive
from facescrape.collection import Web, plan_collection
from facescrape.config import CollectionConfig
from facescrape.fetch.politeness import Politeness
from facescrape.status import Status
from facescrape.web.wire import Replay
from pipelines.images import decode
from pipelines.manifest import Manifest
from pipelines.store import LocalFolder

COUNT = len(PEOPLE) * SHOTS + 4


def report_of(root: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads((root / "report.json").read_bytes())
    return report


def test_every_url_and_every_picture_is_accounted_for(collection: Path) -> None:
    photos = table(collection, "photos", ".photos.parquet").to_pylist()
    assert len(photos) == COUNT
    ends = sorted(row["status"] for row in photos)
    assert ends == sorted([*["ok"] * (COUNT - 2), "truncated", "not_an_image"])
    distinct = {row["sha256"] for row in photos if row["status"] == "ok"}
    assert len(distinct) == COUNT - 3
    images = table(collection, "boxes", ".images.parquet").to_pylist()
    assert sorted(row["sha256"] for row in images) == sorted(distinct)
    boxes = table(collection, "boxes", ".boxes.parquet").to_pylist()
    assert sum(row["kept"] for row in images) == sum(row["reason"] is None for row in boxes) == len(crops(collection))
    steps = {step["step"]: step for step in report_of(collection)["funnel"]}  # type: ignore[attr-defined]
    assert steps["urls"]["in"] == COUNT
    assert steps["faces"]["out"] == len(crops(collection))
    for step in steps.values():
        assert step["in"] == step["out"] + sum(step["lost"].values())


def test_crops_are_faces_of_their_people_and_say_where_they_are_from(collection: Path) -> None:
    records = crops(collection)
    assert len(records) >= 0.8 * len(PEOPLE) * SHOTS
    names = {record.meta["person"] for record in records}
    assert names == {"Ada Example", "Ben Example", "Cleo Example"}
    for record in records:
        height, width = decode(record.image).shape[:2]
        assert height == width <= 128
        assert record.key.startswith(f"{record.meta['photo_sha256']}-")
        for name in ("url", "page", "licence", "author", "person_uri", "title", "provider"):
            assert record.meta[name], name


def test_the_pages_stand_beside_the_crops(collection: Path) -> None:
    for name in ("index.html", "attribution.html"):
        page = (collection / "report" / name).read_text(encoding="utf-8")
        assert "Ada Example" in page


def test_a_finished_collection_is_left_as_it_is(collection: Path, photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(collection.parents[1], tmp_path / "data")
    root = tmp_path / "data" / "people" / "raw"
    before = hashes_below(root, leave_out=["archive"])
    again = collect(tmp_path / "data", photographs, "--workers", 2)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("done already") == 7  # births, names, urls, fetch, photos, boxes, crops
    assert hashes_below(root, leave_out=["archive"]) == before


def test_kills_lose_nothing_and_store_nothing_twice(collection: Path, photographs: Path, tmp_path: Path) -> None:
    draw = random.Random(3)
    for _ in range(6):
        process = start("demo", *demo_options(tmp_path, photographs), "--workers", 2)
        time.sleep(draw.uniform(1.0, 4.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    last = collect(tmp_path, photographs, "--workers", 2)
    assert last.returncode == 0, last.stderr
    assert outcome(tmp_path / "people" / "raw") == outcome(collection)


def test_more_photographs_leave_what_is_there(collection: Path, photographs: Path, tmp_path: Path) -> None:
    shutil.copytree(collection.parents[1], tmp_path / "data")
    shutil.copytree(photographs, tmp_path / "photos")
    shutil.copytree(tmp_path / "photos" / PEOPLE[2], tmp_path / "photos" / "aaron_new")
    root = tmp_path / "data" / "people" / "raw"
    with Archive(root / "archive") as archive:
        first = {row["url"]: row["fetched_at"] for row in table(root, "photos", ".photos.parquet").to_pylist()}
        assert archive.counts()[Status.OK] == COUNT - 2
    grown = collect(tmp_path / "data", tmp_path / "photos", "--workers", 1)
    assert grown.returncode == 0, grown.stderr
    rows = table(root, "photos", ".photos.parquet").to_pylist()
    assert len(rows) == COUNT + SHOTS
    assert {row["url"]: row["fetched_at"] for row in rows if row["url"] in first} == first
    assert len(crops(root)) == len(crops(collection)), "the new person has the bytes of another's pictures"


@pytest.fixture
def own_collection(collection: Path, tmp_path: Path) -> Path:
    shutil.copytree(collection.parents[1], tmp_path / "data")
    return tmp_path / "data" / "people" / "raw"


def forget(root: Path, *options: object) -> str:
    result = run("forget", "--dataset", "people", "--data-root", root.parents[1], *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def stand_in_clean_shards(root: Path) -> Path:
    """What de-duplication leaves: clean shards, and folders that show or stand for the pictures."""
    folder = root.parent
    shutil.copytree(root / "crops", folder / "clean")
    for name in ("thumbnails", "codes"):
        (folder / name).mkdir()
        Manifest(LocalFolder(folder / name), name, "f", ()).save()
    for name in ("packed", "report"):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"pixels")
    return folder


def test_a_forgotten_picture_is_gone_and_stays_away(own_collection: Path, photographs: Path) -> None:
    folder = stand_in_clean_shards(own_collection)
    copies = crops(own_collection)
    wanted = copies[0]
    sha256 = str(wanted.meta["photo_sha256"])
    said = forget(own_collection, "--url", wanted.meta["url"])
    assert "1 photographs" in said
    assert not list((own_collection / "archive" / "pictures").rglob(sha256))
    for shards in (own_collection / "crops", folder / "clean"):
        keys = [
            key for path in Manifest.load(shards).paths(".parquet") for key in pq.read_table(path)["key"].to_pylist()
        ]
        assert sorted(keys) == sorted(record.key for record in copies if record.meta["photo_sha256"] != sha256)
        for tar in Manifest.load(shards).paths(".tar"):
            assert sha256.encode() not in tar.read_bytes()
    assert not any((folder / name).exists() for name in ("thumbnails", "codes", "packed", "report"))
    assert sha256 not in (own_collection / "report" / "attribution.html").read_text(encoding="utf-8")
    again = collect(folder.parent, photographs, "--retry-failed")
    assert again.returncode == 0, again.stderr
    rows = {row["url"]: row for row in table(own_collection, "photos", ".photos.parquet").to_pylist()}
    assert rows[wanted.meta["url"]]["status"] == "forgotten"
    assert not list((own_collection / "archive" / "pictures").rglob(sha256))


def test_a_forgotten_person_is_gone_with_all_copies_and_not_searched_for_again(
    own_collection: Path, photographs: Path
) -> None:
    forget(own_collection, "--person", "ada example")
    assert {record.meta["person"] for record in crops(own_collection)} == {"Ben Example", "Cleo Example"}
    pictures = list((own_collection / "archive" / "pictures").rglob("*/*"))
    assert len(pictures) == 2 * SHOTS
    report_of(own_collection)
    again = collect(own_collection.parents[1], photographs)
    assert again.returncode == 0, again.stderr
    assert set(table(own_collection, "urls", ".urls.parquet")["name"].to_pylist()) == {"Ben Example", "Cleo Example"}
    assert len(list((own_collection / "archive" / "pictures").rglob("*/*"))) == 2 * SHOTS


def test_near_duplicates_are_named_and_go_when_asked(own_collection: Path) -> None:
    one, other = (record for record in crops(own_collection)[:2])
    pair = pa.table({"key": [one.key], "kept_key": [other.key]})
    pq.write_table(pair, own_collection.parent / "duplicates.parquet")
    said = forget(own_collection, "--url", one.meta["url"])
    assert str(other.meta["url"]) in said
    assert other.key in {record.key for record in crops(own_collection)}
    forget(own_collection, "--url", other.meta["url"], "--also-duplicates")
    assert not {one.key, other.key} & {record.key for record in crops(own_collection)}


def test_a_picture_of_a_collection_that_is_not_finished_can_be_forgotten(
    own_collection: Path, photographs: Path
) -> None:
    wanted = crops(own_collection)[0]
    (own_collection / "crops" / "manifest.json").unlink()
    assert "not finished" in forget(own_collection, "--url", wanted.meta["page"])
    assert not list((own_collection / "archive" / "pictures").rglob(str(wanted.meta["photo_sha256"])))
    assert not (own_collection / "report").exists()
    again = collect(own_collection.parents[1], photographs)
    assert again.returncode == 0, again.stderr
    assert wanted.key not in {record.key for record in crops(own_collection)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--url", "https://nobody.example/x.jpg"], "https://nobody.example/x.jpg is not in the collection"),
        (["--person", "Nobody Else"], "is called 'Nobody Else'"),
        ([], "nothing is named that is to be forgotten"),
    ],
)
def test_what_is_not_there_cannot_be_forgotten(collection: Path, options: list[str], says: str) -> None:
    result = run("forget", "--dataset", "people", "--data-root", collection.parents[1], *options)
    assert result.returncode == 1
    assert says in result.stderr
    assert "hint:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["faces", "--endpoint", "http://127.0.0.1:9/sparql"],
            "DBpedia could not be reached at http://127.0.0.1:9/sparql",
        ),
        (["faces", "--provider", "altavista"], "no search provider is called 'altavista'"),
        (["faces", "--provider", "brave"], "BRAVE_API_KEY is not set"),
        (["faces", "--detector", "eyes"], "no detector is called 'eyes'"),
        (["faces", "--detector", "yunet", "--yunet-model", "no.onnx"], "there is no model at no.onnx"),
        (["faces", "--preset", "huge"], "no preset is called 'huge'"),
        (["faces", "--people", "0"], "--people is 0"),
        (["faces", "--born-after", "2020-01-01"], "leaves nobody"),
        (["faces", "--names", "none.txt"], "none.txt"),
        (["faces", "--executor", "cloud"], "--executor is 'cloud'"),
        (["report"], "there is no collection"),
        (["forget", "--url", "https://example.org/"], "there is no collection"),
        (["demo", "--photos", "nowhere"], "nowhere holds no folders of photographs"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, arguments: list[str], says: str) -> None:
    result = run(*arguments, "--data-root", tmp_path)
    assert result.returncode == 1
    error = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(error) == 1
    assert says in error[0]
    assert "Traceback" not in result.stderr


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    result = run("faces", "--dry-run", "--data-root", tmp_path / "data")
    assert result.returncode == 0, result.stderr
    assert "births       would run" in result.stdout
    assert not (tmp_path / "data").exists()


def test_a_plan_says_what_is_done_and_what_is_not(own_collection: Path) -> None:
    config = CollectionConfig.load(own_collection)
    web = Web(Replay(("127.0.0.1", 9)), None, Politeness())

    def plan(**changes: object) -> dict[str, str]:
        changed = replace(config, **changes)  # type: ignore[arg-type]
        before = hashes_below(own_collection)
        planned = plan_collection(changed, web, data_root=own_collection.parents[1]).plan(own_collection)
        states = dict(planned)
        assert hashes_below(own_collection) == before
        assert list(states) == ["births", "names", "urls", "fetch", "photos", "boxes", "crops"]
        return states

    assert set(plan().values()) == {"done already"}
    assert plan(min_face=65)["photos"] == "done already"
    assert plan(min_face=65)["boxes"] == "would run 3 of 3 tasks"
    assert plan(min_face=65)["crops"] == "would run, after boxes"
    assert plan(images_per_person=7)["urls"] == "would run 3 of 3 tasks"
    assert plan(images_per_person=7)["crops"] == "would run, after fetch"
    next(path for path in (own_collection / "archive" / "pictures").rglob("*/*")).unlink()
    assert plan()["fetch"].startswith("would fetch ")
    shutil.rmtree(own_collection / "archive")
    assert plan()["fetch"] == f"would fetch {COUNT} of {COUNT} URLs"


@pytest.mark.parametrize("provider", ["commons", "brave"])
def test_every_url_of_the_rendered_world_ends_as_the_truth_says(provider: str, tmp_path: Path) -> None:
    options = ["--people", 3, "--images-per-person", 6, "--min-face", 48, "--provider", provider]
    result = run("demo", "--data-root", tmp_path, *options)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "faces_demo"
    with (folder / "replay" / "truth.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["url"]: row["status"] for row in csv.DictReader(file)}
    photos = table(folder / "raw", "photos", ".photos.parquet").to_pylist()
    assert {row["url"]: row["status"] for row in photos} == truth
    assert set(table(folder / "raw", "urls", ".urls.parquet")["provider"].to_pylist()) == {provider}
    assert crops(folder / "raw")
