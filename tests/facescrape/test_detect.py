"""Which boxes are kept and why others are not; that each distinct photograph is looked at once."""

import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import encode, exif, hashes_below
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spots import SpotDetector, draw_spots
from stages import Found, collect

from facescrape.archive import picture_path
from facescrape.detect import BoxReason, DetectStage, FaceFilter, distinct_photos, measure_overlap, measure_sharpness
from facescrape.detectors import Faces, Haar, YuNet
from facescrape.tables import BOXES, IMAGES, PHOTOS
from pipelines.errors import IntegrityError
from pipelines.executors import LocalExecutor
from pipelines.images import Pixels
from pipelines.manifest import Manifest
from pipelines.stage import plan_stage, run_stage
from pipelines.store import local_path

FINE = draw_spots(800, 600, (0, 0, 800))
ANY_FILTER = FaceFilter(min_sharpness=0)


def faces_of(*boxes: tuple[float, float, float], scores: Iterable[float] | None = None) -> Faces:
    squares = np.float32([(left, top, side, side) for left, top, side in boxes]).reshape(-1, 4)
    return Faces(squares, np.float32(list(scores or [0.9] * len(boxes))))


def judge(faces: Faces, image: Pixels = FINE, rules: FaceFilter = ANY_FILTER) -> list[BoxReason | None]:
    height, width = image.shape[:2]
    return [verdict.reason for verdict in rules.judge(faces, 0.5, width, height, lambda: image)]


def test_a_good_box_is_kept() -> None:
    assert judge(faces_of((100, 100, 128)), rules=FaceFilter()) == [None]


def test_each_reason() -> None:
    faces = faces_of(
        (10, 10, 127), (10, 10, 200), (-20, 10, 200), (300, 300, 200), (310, 310, 190), scores=(1, 0.4, 1, 1, 0.9)
    )
    assert judge(faces) == [BoxReason.TOO_SMALL, BoxReason.LOW_SCORE, BoxReason.CUT_OFF, None, BoxReason.DUPLICATE]
    plain = np.full((600, 800, 3), 90, np.uint8)
    assert judge(faces_of((300, 300, 200)), plain, FaceFilter()) == [BoxReason.BLURRED]


def test_the_first_reason_counts() -> None:
    assert judge(faces_of((-50, -50, 60), scores=[0])) == [BoxReason.TOO_SMALL]
    assert judge(faces_of((-50, -50, 200), scores=[0])) == [BoxReason.LOW_SCORE]


@pytest.mark.parametrize(("left", "top"), [(-11, 0), (0, -11), (611, 0), (0, 411)])
def test_a_box_may_reach_a_little_beyond_each_border(left: float, top: float) -> None:
    assert judge(faces_of((left, top, 200))) == [BoxReason.CUT_OFF]
    nearer = (min(max(left, -10), 610), min(max(top, -10), 410), 200)
    assert judge(faces_of(nearer)) == [None]


def test_a_box_that_is_dropped_makes_no_duplicates() -> None:
    assert judge(faces_of((-20, 10, 200), (0, 10, 200))) == [BoxReason.CUT_OFF, None]


def test_of_a_box_inside_another_the_better_is_kept() -> None:
    assert judge(faces_of((100, 100, 400), (200, 200, 150))) == [None, BoxReason.DUPLICATE]


def test_two_faces_cheek_to_cheek_are_both_kept() -> None:
    assert judge(faces_of((100, 100, 200), (240, 110, 200))) == [None, None]


def test_the_picture_is_asked_for_only_where_it_matters() -> None:
    def fail() -> Pixels:
        raise AssertionError("nobody needs it")

    verdicts = FaceFilter().judge(faces_of((0, 0, 20), (-90, 0, 300)), 0.5, 800, 600, fail)
    assert [(verdict.reason, verdict.sharpness) for verdict in verdicts] == [
        (BoxReason.TOO_SMALL, None),
        (BoxReason.CUT_OFF, None),
    ]


PLACES, SIDES = st.floats(-100, 700, width=32), st.floats(1, 500, width=32)


@given(st.lists(st.tuples(PLACES, PLACES, SIDES, st.floats(0, 1, width=32)), max_size=8))
def test_every_box_has_a_verdict_and_kept_ones_do_not_overlap(rows: list[tuple[float, float, float, float]]) -> None:
    rows.sort(key=lambda row: -row[3])
    faces = faces_of(*(row[:3] for row in rows), scores=[row[3] for row in rows] or None)
    reasons = judge(faces)
    assert len(reasons) == len(faces)
    kept = [box for box, reason in zip(faces.boxes, reasons, strict=True) if reason is None]
    assert all(min(box[2:]) >= 128 for box in kept)
    assert all(measure_overlap(a, b) <= 0.5 for i, a in enumerate(kept) for b in kept[:i])


@given(st.tuples(PLACES, PLACES, SIDES), st.tuples(PLACES, PLACES, SIDES))
def test_overlap_is_a_part_and_the_same_both_ways(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    a, b = faces_of((one[0], one[1], one[2]), (other[0], other[1], other[2])).boxes
    assert 0 <= measure_overlap(a, b) <= 1.001
    assert measure_overlap(a, b) == measure_overlap(b, a)
    assert measure_overlap(a, a) == pytest.approx(1, abs=1e-3)


def test_sharpness_falls_with_blur_and_not_with_size() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, 64, 3), np.uint8)
    sharp = cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 16)
    box = np.float32([0, 0, 512, 512])
    assert (
        measure_sharpness(np.asarray(blurred, np.uint8), box) < measure_sharpness(np.asarray(sharp, np.uint8), box) / 50
    )
    half = cv2.resize(sharp, (256, 256), interpolation=cv2.INTER_AREA)
    assert measure_sharpness(np.asarray(half, np.uint8), box / 2) == pytest.approx(
        measure_sharpness(np.asarray(sharp, np.uint8), box), rel=0.05
    )


@given(st.floats(-150, 90), st.floats(-150, 90), st.floats(0.1, 300))
def test_sharpness_of_any_box_that_meets_the_picture(left: float, top: float, side: float) -> None:
    if min(left, top) + side > 0:
        assert measure_sharpness(FINE[:90, :90], np.float32([left, top, side, side])) >= 0


@pytest.mark.parametrize("wrong", [{"min_face": 0}, {"min_sharpness": -1}, {"max_outside": 1.5}, {"max_overlap": -0.1}])
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        FaceFilter(**wrong)
    with pytest.raises(ValueError, match="must be positive"):
        DetectStage(SpotDetector(), longest_side=0)


def jpeg_of(image: Pixels, **options: Any) -> bytes:
    return encode(Image.fromarray(image), "JPEG", quality=92, **options)


def run_detect(root: Path, photos: Manifest, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    stage = DetectStage(SpotDetector(**options.pop("detector", {})), **options)
    boxes = run_stage(stage, [photos], root, LocalExecutor(1))
    images, found = (
        [row for path in boxes.paths(suffix) for row in pq.read_table(path).to_pylist()]
        for suffix in (".images.parquet", ".boxes.parquet")
    )
    assert boxes.records == len(images)
    return images, found


def test_photographs_and_boxes_have_their_rows(tmp_path: Path) -> None:
    two = draw_spots(700, 500, (60, 100, 130), (300, 200, 40))
    _, photos = collect(
        tmp_path, [[Found("a", jpeg_of(two)), Found("b", b"GIF89a"), Found("c", jpeg_of(draw_spots(9, 7)))]]
    )
    images, boxes = run_detect(tmp_path, photos)
    assert [(row["reason"], row["width"], row["height"], row["faces"], row["kept"]) for row in images] == [
        (None, 700, 500, 2, 1),
        ("truncated", None, None, None, None),
        (None, 9, 7, 0, 0),
    ]
    assert [(row["sha256"], row["face"], row["reason"], row["detector"]) for row in boxes] == [
        (images[0]["sha256"], 0, None, "spots"),
        (images[0]["sha256"], 1, "too_small", "spots"),
    ]
    assert [boxes[0][name] for name in ("left", "top", "width", "height")] == pytest.approx([60, 100, 130, 130], abs=2)
    assert boxes[0]["sharpness"] > 60
    assert boxes[1]["sharpness"] is None


def test_tables_have_the_schemas_of_the_contract(tmp_path: Path) -> None:
    _, photos = collect(tmp_path, [[], [Found("a", jpeg_of(draw_spots(700, 500, (60, 100, 130))))]])
    _, boxes = run_detect(tmp_path, photos, detector={"has_landmarks": True})
    assert boxes[0]["landmarks"] == pytest.approx([125, 165] * 5, abs=2)
    for shard in ("00000", "00001"):
        assert pq.read_schema(tmp_path / "boxes" / f"{shard}.images.parquet").equals(IMAGES)
        assert pq.read_schema(tmp_path / "boxes" / f"{shard}.boxes.parquet").equals(BOXES)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_boxes_of_large_photographs_are_upright_at_full_size(
    tmp_path: Path, orientation: int, format_name: str
) -> None:
    upright = Image.fromarray(draw_spots(1203, 900, (700, 100, 300)))
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = turns[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    data = encode(stored, format_name, exif=exif(orientation))
    _, photos = collect(tmp_path, [[Found("a", data)]])
    (image,), (box,) = run_detect(tmp_path, photos, longest_side=200)
    assert (image["width"], image["height"]) == (1203, 900)
    assert [box[name] for name in ("left", "top", "width", "height")] == pytest.approx([700, 100, 300, 300], abs=8)
    assert box["reason"] is None


def test_a_photograph_belongs_to_the_first_shard_that_has_it(tmp_path: Path) -> None:
    one, two, three = (jpeg_of(draw_spots(300, 300, (9, 9, side))) for side in (130, 150, 170))
    shards = [
        [Found("a", one), Found("b", None), Found("c", one)],
        [Found("a", one), Found("d", two), Found("e", one)],
        [Found("f", two), Found("g", three)],
    ]
    _, photos = collect(tmp_path, shards)
    images, _ = run_detect(tmp_path, photos)
    assert [row["sha256"] for row in images] == [Found("", picture).sha256 for picture in (one, two, three)]


HASHES = st.integers(0, 5).map(lambda number: f"{number:02x}" + "00" * 31) | st.integers(0, 5).map(
    lambda n: f"{n:064x}"
)


@given(st.lists(st.lists(st.tuples(HASHES, st.booleans()), max_size=6), max_size=4))
def test_distinct_photographs_are_those_of_a_plain_loop(shards: list[list[tuple[str, bool]]]) -> None:
    seen: set[str] = set()
    expected = [[h for h, ok in rows if ok and not (h in seen or seen.add(h))] for rows in shards]  # type: ignore[func-returns-value]
    with TemporaryDirectory() as folder:
        paths = []
        for number, rows in enumerate(shards):
            path = Path(folder) / f"{number:05d}.photos.parquet"
            photos = [{"status": "ok", "sha256": h} if ok else {"status": "timeout"} for h, ok in rows]
            pq.write_table(pa.Table.from_pylist(photos, PHOTOS), path)
            paths.append(path)
        assert [[row.tobytes().hex() for row in own] for own in distinct_photos(paths)] == expected


def test_a_collection_grows_without_being_looked_at_again(tmp_path: Path) -> None:
    one, two, three = (jpeg_of(draw_spots(300, 300, (9, 9, side))) for side in (130, 150, 170))
    stage = DetectStage(SpotDetector())
    _, photos = collect(tmp_path, [[Found("a", one)], [Found("b", two)]])
    run_stage(stage, [photos], tmp_path, LocalExecutor(1))
    _, photos = collect(tmp_path, [[Found("a", one)], [Found("b", two), Found("c", three)], [Found("d", three)]])
    assert [task.name for task in plan_stage(stage, [photos], tmp_path).to_run] == ["00001", "00002"]
    changed = DetectStage(SpotDetector(sure_score=0.9))
    assert len(plan_stage(changed, [photos], tmp_path).to_run) == 3


def test_two_workers_write_the_same_bytes(tmp_path: Path) -> None:
    shards = [[Found(str(side), jpeg_of(draw_spots(300, 300, (9, 9, side))))] for side in (100, 130, 150)]
    _, photos = collect(tmp_path, shards)
    one = run_stage(DetectStage(Haar()), [photos], tmp_path, LocalExecutor(1))
    first = hashes_below(local_path(one.folder), leave_out=["tasks"])
    (local_path(one.folder) / "manifest.json").unlink()
    for entry in (local_path(one.folder) / "tasks").iterdir():
        entry.unlink()
    two = run_stage(DetectStage(Haar()), [photos], tmp_path, LocalExecutor(2))
    assert hashes_below(local_path(two.folder), leave_out=["tasks"]) == first


def test_a_picture_that_is_gone_from_the_archive_is_an_error(tmp_path: Path) -> None:
    found = Found("a", jpeg_of(draw_spots(300, 300)))
    _, photos = collect(tmp_path, [[found]])
    picture_path(tmp_path / "archive", found.sha256).unlink()
    with pytest.raises(IntegrityError, match="is gone"):
        run_detect(tmp_path, photos)


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_web_photographs_keep_one_face_in_two(shared_data: Path, name: str) -> None:
    faces = shared_data / "faces"
    detector = Haar() if name == "haar" else YuNet.open(faces / "face_detection_yunet_2023mar.onnx")
    stage, reasons = DetectStage(detector), Counter[str | None]()
    for path in sorted(faces.glob("photos/*/*.jpg"))[::60]:
        image, boxes = stage.look(path.read_bytes())
        with Image.open(io.BytesIO(path.read_bytes())) as photo:
            assert (image["width"], image["height"]) == photo.size
        assert (image["faces"], image["kept"]) == (len(boxes), sum(box["reason"] is None for box in boxes))
        reasons.update(box["reason"] for box in boxes)
    assert 2 <= reasons[None] <= 7
