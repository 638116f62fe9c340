"""What is found in real photographs, how it is framed, and what happens without a model."""

import csv
import pickle
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spots import SpotDetector, draw_spots

from facescrape.detect import measure_overlap
from facescrape.detectors import (
    YUNET_BYTES,
    YUNET_NAME,
    YUNET_SHA256,
    FaceDetector,
    Faces,
    Haar,
    YuNet,
    choose_detector,
    ensure_yunet,
    find_faces,
)
from pipelines.download import Download
from pipelines.errors import ConfigError, DownloadError, IntegrityError, SourceError
from pipelines.images import decode
from pipelines.portraits import render_portrait


@pytest.fixture(scope="session")
def yunet_model(shared_data: Path) -> Path:
    return shared_data / "faces" / YUNET_NAME


@pytest.fixture(params=["haar", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return Haar() if request.param == "haar" else YuNet.open(request.getfixturevalue("yunet_model"))


def intersection_over_union(one: Any, other: Any) -> float:
    shared = measure_overlap(one, other) * min(one[2] * one[3], other[2] * other[3])
    return float(shared / (one[2] * one[3] + other[2] * other[3] - shared))


def recall_and_precision(detector: FaceDetector, folder: Path, table: Path) -> tuple[float, float]:
    """At an intersection over union of 0.5; each true box is found at most once."""
    truth = defaultdict(list)
    with table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            truth[row["file"]].append([float(row[name]) for name in ("left", "top", "width", "height")])
    found = matched = 0
    for name, boxes in truth.items():
        left = list(boxes)
        faces = find_faces(detector, decode((folder / name).read_bytes()), 1024)
        sure = faces.boxes[faces.scores >= detector.sure_score]
        found += len(sure)
        for box in sure:
            best = max(left, key=lambda true: intersection_over_union(box, true), default=None)
            if best is not None and intersection_over_union(box, best) >= 0.5:
                left.remove(best)
                matched += 1
    return matched / sum(map(len, truth.values())), matched / found


def test_yunet_finds_the_true_boxes_and_no_others(shared_data: Path, yunet_model: Path) -> None:
    faces = shared_data / "faces"
    recall, precision = recall_and_precision(YuNet.open(yunet_model), faces / "boxes", faces / "boxes.csv")
    assert recall >= 0.95
    assert precision >= 0.95


def test_haar_finds_most_true_boxes_and_no_others(shared_data: Path) -> None:
    faces = shared_data / "faces"
    recall, precision = recall_and_precision(Haar(), faces / "boxes", faces / "boxes.csv")
    assert recall >= 0.8
    assert precision >= 0.95


def test_a_portrait_has_one_face(detector: FaceDetector) -> None:
    portrait = render_portrait(0, 2, 0)
    faces = find_faces(detector, portrait.image, 1024)
    assert len(faces) == 1
    assert faces.scores[0] >= detector.sure_score
    assert intersection_over_union(faces.boxes[0], portrait.faces[0].box) > 0.6


def test_both_detectors_frame_a_face_alike(yunet_model: Path, shared_data: Path) -> None:
    photo = decode((shared_data / "faces" / "boxes" / "2008_002506.jpg").read_bytes())
    haar, yunet = (find_faces(detector, photo, 1024) for detector in (Haar(), YuNet.open(yunet_model)))
    assert len(haar) == len(yunet) == 3
    by_place = [faces.boxes[np.argsort(faces.boxes[:, 0])] for faces in (haar, yunet)]
    for one, other in zip(*by_place, strict=True):
        assert intersection_over_union(one, other) > 0.7
    assert haar.landmarks is None
    assert yunet.landmarks is not None
    right_eye, left_eye = yunet.landmarks[:, 0], yunet.landmarks[:, 2]
    assert (right_eye < left_eye).all()  # the person's right is the picture's left


def test_boxes_of_a_large_photograph_are_in_its_own_pixels(detector: FaceDetector) -> None:
    image = render_portrait(0, 2, 0).image
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    small, mapped = find_faces(detector, image, 800), find_faces(detector, np.asarray(large, np.uint8), 800)
    assert intersection_over_union(small.boxes[0] * 4, mapped.boxes[0]) > 0.8


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50))
def test_a_picture_of_any_size_can_be_looked_at(width: int, height: int, longest_side: int) -> None:
    faces = find_faces(Haar(), np.zeros((height, width, 3), np.uint8), longest_side)
    assert faces.boxes.shape == (0, 4)
    assert faces.scores.shape == (0,)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 900), (1024, 10), (32, 1024), (33, 31), (64, 40)])
def test_yunet_finds_nothing_in_a_black_picture_of_any_size(yunet_model: Path, width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    detector = YuNet.open(yunet_model)
    for least_score in (0.3, 0.4, 0.5):  # a new network each
        litter = [np.full(size, 3e38, np.float32) for size in rng.integers(100, 200_000, 50)]
        del litter  # what a network that reads memory which nobody wrote would find there
        faces = find_faces(replace(detector, least_score=least_score), np.zeros((height, width, 3), np.uint8), 1024)
        assert faces.boxes.shape == (0, 4)
        assert faces.landmarks is not None
        assert faces.landmarks.shape == (0, 10)


def test_yunet_finds_the_same_face_in_a_small_picture(yunet_model: Path) -> None:
    detector, image = YuNet.open(yunet_model), render_portrait(0, 2, 0).image[150:700, 110:550]
    small = np.asarray(cv2.resize(image, (60, 75), interpolation=cv2.INTER_AREA), np.uint8)
    large_box, small_box = (detector.detect(np.ascontiguousarray(picture)).boxes[0] for picture in (image, small))
    assert intersection_over_union(small_box * 440 / 60, large_box) > 0.7


def test_find_faces_scales_boxes_and_landmarks_back() -> None:
    image = draw_spots(1000, 500, (100, 200, 120), (600, 40, 160))
    faces = find_faces(SpotDetector(has_landmarks=True), image, 250)
    np.testing.assert_allclose(faces.boxes, [[100, 200, 120, 120], [600, 40, 160, 160]], atol=4)
    assert faces.landmarks is not None
    np.testing.assert_allclose(faces.landmarks[0], [160, 260] * 5, atol=4)
    assert {faces.boxes.dtype, faces.scores.dtype, faces.landmarks.dtype} == {np.dtype(np.float32)}


def test_faces_are_scaled_along_each_axis() -> None:
    faces = Faces(np.float32([[1, 2, 3, 3]]), np.float32([1]), np.arange(10, dtype=np.float32)[None])
    scaled = faces.scaled(2, 3)
    assert scaled.boxes.tolist() == [[2, 6, 6, 9]]
    assert scaled.landmarks is not None
    assert scaled.landmarks.tolist() == [[0, 3, 4, 9, 8, 15, 12, 21, 16, 27]]


def test_a_detector_crosses_process_borders_and_finds_the_same(detector: FaceDetector) -> None:
    image = render_portrait(0, 2, 0).image
    before = detector.detect(image)
    copy = pickle.loads(pickle.dumps(detector))
    assert copy == detector
    np.testing.assert_array_equal(copy.detect(image).boxes, before.boxes)


def test_the_digest_says_what_decides_and_no_path(yunet_model: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.onnx"
    shutil.copy(yunet_model, moved)
    yunet = YuNet.open(yunet_model)
    assert YuNet.open(moved).digest() == yunet.digest()
    variants = [yunet, *(replace(yunet, **change) for change in ({"sha256": "0"}, {"sure_score": 0.9}))]
    variants += [replace(yunet, least_score=0.1), replace(yunet, most_overlap=0.5)]
    haars: list[FaceDetector] = [
        Haar(),
        Haar(scale_step=1.2),
        Haar(neighbours=4),
        Haar(smallest=30),
        Haar(sure_score=0),
    ]
    assert len({detector.digest() for detector in [*variants, *haars]}) == 10


@pytest.mark.parametrize("wrong", [{"scale_step": 1.0}, {"neighbours": -1}, {"smallest": 0}])
def test_haar_refuses_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Haar(**wrong)


@pytest.mark.parametrize("wrong", [{"least_score": -0.1}, {"most_overlap": 1.1}, {"sure_score": 2}])
def test_yunet_refuses_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        YuNet(Path("model.onnx"), "0" * 64, **wrong)


def test_a_model_that_opencv_cannot_load_says_what_to_do(shared_data: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot load .*broken_yunet\.onnx") as error:
        choose_detector("yunet", Path("nowhere"), shared_data / "faces" / "broken_yunet.onnx")
    assert "--detector haar" in error.value.hint
    assert "\n" not in error.value.message


@pytest.mark.parametrize("content", [b"", b"<html>", bytes(1000)])
def test_a_file_that_is_no_model_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cannot load") as error:
        YuNet.open(path)
    assert "--yunet-model" in error.value.hint


def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no model at") as error:
        choose_detector("yunet", tmp_path, tmp_path / "gone.onnx")
    assert "--detector haar" in error.value.hint


def test_a_model_that_changes_during_a_run_is_noticed(yunet_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(yunet_model, path)
    detector = YuNet.open(path)
    path.write_bytes(b"other")
    with pytest.raises(IntegrityError, match="changed"):
        replace(detector, sure_score=0.7).detect(np.zeros((32, 32, 3), np.uint8))


def test_the_model_is_fetched_once_and_checked(yunet_model: Path, tmp_path: Path) -> None:
    asked: list[Download] = []

    def fetch_model(download: Download, **_: object) -> None:
        if not download.target.exists():
            asked.append(download)
            download.target.parent.mkdir(parents=True)
            shutil.copy(yunet_model, download.target)

    models = tmp_path / "models"
    assert choose_detector("yunet", models, fetch=fetch_model) == YuNet(models / YUNET_NAME, YUNET_SHA256)
    choose_detector("yunet", models, fetch=fetch_model)
    assert [(download.url.partition("/raw/")[0], download.size_bytes) for download in asked] == [
        ("https://github.com/opencv/opencv_zoo", YUNET_BYTES)
    ]
    assert yunet_model.read_bytes().startswith(asked[0].begins_with)


def test_another_model_than_the_published_one_is_refused_and_removed(tmp_path: Path) -> None:
    def fetch_other(download: Download, **_: object) -> None:
        download.target.write_bytes(b"\x08something else")

    with pytest.raises(IntegrityError, match="not the model that was published") as error:
        ensure_yunet(tmp_path, fetch=fetch_other)
    assert "--yunet-model" in error.value.hint
    assert not list(tmp_path.iterdir())


def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DownloadError("https://github.com/…: the connection failed", hint="give the data set another url")

    with pytest.raises(DownloadError, match=r"could not be fetched: https://github\.com") as error:
        choose_detector("yunet", tmp_path, fetch=fail)
    assert "--detector haar" in error.value.hint


def test_the_detectors_have_names(tmp_path: Path) -> None:
    assert choose_detector("haar", tmp_path) == Haar()
    with pytest.raises(ConfigError, match="no detector is called 'hog'") as error:
        choose_detector("hog", tmp_path)
    assert "haar and yunet" in error.value.hint
