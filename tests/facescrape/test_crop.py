"""Crops: square, inside the photograph, never enlarged; shards that say whose picture each is."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import encode, hashes_below
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spots import SpotDetector, draw_spots
from stages import Found, collect

from facescrape.crop import CropStage, cut_face
from facescrape.detect import DetectStage
from facescrape.tables import URLS
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.sources import open_source
from pipelines.stage import plan_stage, run_stage
from pipelines.store import local_path

SIDES = st.floats(1, 300)
PLACES = st.floats(-200, 300)


@given(st.integers(1, 200), st.integers(1, 200), PLACES, PLACES, SIDES, st.integers(1, 160), st.floats(0, 1))
def test_a_crop_is_square_and_inside_and_never_enlarged(
    width: int, height: int, left: float, top: float, side: float, size: int, margin: float
) -> None:
    # Each pixel says where it stands, and none is black: padding would show.
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 0], image[..., 1] = np.arange(1, width + 1), np.arange(1, height + 1)[:, None]
    crop = cut_face(image, [left, top, side, side], size, margin)
    wanted = max(1, round(side * (1 + 2 * margin)))
    assert crop.shape == (min(wanted, width, height, size),) * 2 + (3,)
    assert crop.dtype == np.uint8
    assert crop.flags.c_contiguous
    assert (crop[..., 2] == 255).all()
    if min(wanted, width, height) <= size:
        x, y = int(crop[0, 0, 0]) - 1, int(crop[0, 0, 1]) - 1
        np.testing.assert_array_equal(crop, image[y : y + len(crop), x : x + len(crop)])


def test_the_box_stands_in_the_middle_with_its_margin() -> None:
    crop = cut_face(draw_spots(400, 300, (150, 80, 100)), [150, 80, 100, 100], 128, 0.1)
    assert crop.shape == (120, 120, 3)
    blue = np.flatnonzero(crop[60, :, 2].astype(int) - crop[60, :, 0] > 60)
    assert (blue[0], blue[-1]) == (10, 109)


def test_a_large_face_is_shrunk_by_area() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    image[::2] = 200
    assert set(np.unique(cut_face(image, [0, 0, 512, 512], 128, 0))) == {100}


def test_a_square_at_the_border_is_moved_and_not_cut() -> None:
    image = draw_spots(400, 300, (0, 200, 100))
    crop = cut_face(image, [0, 200, 100, 100], 200, 0.1)
    np.testing.assert_array_equal(crop, image[180:, :120])


def test_the_photograph_is_left_as_it_was() -> None:
    image = draw_spots(200, 200, (50, 50, 60))
    cut_face(image, [50, 50, 60, 60], 128, 0)[...] = 0
    np.testing.assert_array_equal(image, draw_spots(200, 200, (50, 50, 60)))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"margin": -0.1}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        CropStage(**wrong)


def picture(*spots: tuple[int, int, int], width: int = 700) -> bytes:
    return encode(Image.fromarray(draw_spots(width, 500, *spots)), "PNG")


ONE = picture((200, 150, 140))
TWO = picture((60, 100, 130), (400, 200, 200))
NONE = picture((300, 300, 60))


def make_crops(root: Path, shards: Sequence[Sequence[Found]], stage: CropStage | None = None) -> Manifest:
    urls, photos = collect(root, shards)
    executor = LocalExecutor(1)
    boxes = run_stage(DetectStage(SpotDetector()), [photos], root, executor)
    return run_stage(stage or CropStage(), [urls, photos, boxes], root, executor)


def read_rows(crops: Manifest) -> list[dict[str, Any]]:
    return [row for path in crops.paths(".parquet") for row in pq.read_table(path).to_pylist()]


def test_each_kept_box_becomes_a_record_of_a_source(tmp_path: Path) -> None:
    crops = make_crops(tmp_path, [[Found("a", ONE), Found("b", TWO)], [Found("c", NONE), Found("d", b"no picture")]])
    assert [shard.records for shard in crops.shards] == [3, 0]
    folder = local_path(crops.folder)
    assert {path.name for path in folder.glob("*.*")} == {"00000.tar", "00000.parquet", "manifest.json"}
    source = open_source(f"shards:{folder}")
    records = [record for split in source.splits(None) for record in source.read(split)]
    one, two = Found("a", ONE).sha256, Found("b", TWO).sha256
    assert [record.key for record in records] == [f"{one}-0", f"{two}-0", f"{two}-1"]
    for record in records:
        with Image.open(io.BytesIO(record.image)) as crop:
            assert (crop.format, crop.size) == ("JPEG", (128, 128))
            assert crop.layer[0][1:3] == crop.layer[1][1:3] == (1, 1)  # colour at full resolution
    assert [row["sha256"] for row in read_rows(crops)] != [one, two, two]
    assert {(row["source"], row["format"], row["width"], row["height"]) for row in read_rows(crops)} == {
        ("faces", "jpeg", 128, 128)
    }


def test_metadata_say_whose_picture_it_is_and_where_the_face_was(tmp_path: Path) -> None:
    (row,) = read_rows(make_crops(tmp_path, [[Found("a", ONE, person="http://dbpedia.org/resource/Ada", name="Ada")]]))
    expected: Mapping[str, Any] = {
        "person": "Ada",
        "person_uri": "http://dbpedia.org/resource/Ada",
        "licence": "CC BY 4.0",
        "licence_url": "https://creativecommons.org/licenses/by/4.0/",
        "author": "photographer of a",
        "page": "https://photos.test/page/a",
        "title": "title of a",
        "provider": "test",
        "url": "https://photos.test/a",
        "photo_sha256": Found("a", ONE).sha256,
        "score": 1.0,
        "detector": "spots",
        "box_left": 200.0,
        "box_top": 150.0,
        "box_width": 140.0,
        "box_height": 140.0,
    }
    assert {name: row[name] for name in expected} == expected


def test_a_photograph_is_credited_to_the_first_result_that_led_to_it(tmp_path: Path) -> None:
    first, again, later = Found("x", ONE, name="Ada"), Found("y", ONE, name="Bob"), Found("z", ONE, name="Cleo")
    other = Found("x", ONE, name="Dan")  # the same URL, for another person
    rows = read_rows(make_crops(tmp_path, [[Found("gone", None), first, other, again], [later, Found("w", TWO)]]))
    assert [(row["person"], row["url"].rpartition("/")[2]) for row in rows] == [
        ("Ada", "x"),
        ("Ada", "w"),
        ("Ada", "w"),
    ]


def test_what_the_provider_does_not_know_stays_unknown(tmp_path: Path) -> None:
    (row,) = read_rows(make_crops(tmp_path, [[Found("a", ONE, licence=None)]]))
    assert row["licence"] is None


def test_no_crops_at_all_leave_an_empty_stage(tmp_path: Path) -> None:
    crops = make_crops(tmp_path, [[Found("a", NONE)], []])
    assert crops.records == 0
    assert not crops.paths(".tar")


def test_only_shards_whose_tables_changed_are_cut_again(tmp_path: Path) -> None:
    shards = [[Found("a", ONE)], [Found("b", TWO)]]
    make_crops(tmp_path, shards)
    urls, photos = collect(tmp_path, [shards[0], [Found("b", TWO, licence="CC0")], [Found("c", picture((9, 9, 150)))]])
    boxes = run_stage(DetectStage(SpotDetector()), [photos], tmp_path, LocalExecutor(1))
    plan = plan_stage(CropStage(), [urls, photos, boxes], tmp_path)
    assert [task.name for task in plan.to_run] == ["00001", "00002"]
    assert len(plan_stage(CropStage(margin=0.2), [urls, photos, boxes], tmp_path).to_run) == 3


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    shards = [[Found("a", ONE), Found("b", TWO)]]
    one, other = (make_crops(tmp_path / name, shards) for name in ("one", "other"))
    first, second = (hashes_below(local_path(crops.folder), leave_out=["tasks"]) for crops in (one, other))
    assert first == second


def test_the_tables_are_those_of_the_contract(tmp_path: Path) -> None:
    urls, _ = collect(tmp_path, [[Found("a", ONE)]])
    assert pq.read_schema(urls.paths(".parquet")[0]).equals(pa.schema(URLS))
