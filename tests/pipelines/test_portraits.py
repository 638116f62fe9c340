"""Rendered photographs of people: reproducible, varied, true to what they say, and faces to whoever looks for faces."""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.portraits import Face, Photograph, render_photograph, render_portrait
from pipelines.portraits.backgrounds import draw_background
from pipelines.portraits.camera import develop
from pipelines.portraits.canvas import View
from pipelines.portraits.clothes import draw_outfit
from pipelines.portraits.figure import paint_figure
from pipelines.portraits.light import draw_lighting
from pipelines.portraits.people import Pose, draw_person, draw_pose

SEED = 6
Box = tuple[float, float, float, float]
Vector = npt.NDArray[np.float64]
FRONTAL = Pose(0.0, 0.0, 0.0, 0.0, 0.0, 1.0, (0.0, 0.0), 0.0, glasses=False)


@pytest.fixture(scope="module")
def photographs() -> list[Photograph]:
    return [render_photograph(SEED, person, shot) for person in range(10) for shot in range(3)]


def frontal_portraits(count: int) -> Iterator[Photograph]:
    pictures = (render_portrait(SEED, person, 0, width=300, height=375) for person in range(3 * count))
    for _, picture in zip(range(count), (p for p in pictures if abs(p.faces[0].yaw_deg) <= 20), strict=False):
        yield picture


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def is_inside(face: Face, picture: Photograph) -> bool:
    left, top, width, height = face.box
    return left >= 0 and top >= 0 and left + width <= picture.image.shape[1] and top + height <= picture.image.shape[0]


def cut_face(picture: Photograph) -> Vector:
    """The pixels of the first face, of length 1 around their mean, so that brightness does not count."""
    left, top, width, height = (round(value) for value in picture.faces[0].box)
    face = picture.image[max(top, 0) : top + height, max(left, 0) : left + width]
    values = cv2.resize(face, (24, 28), interpolation=cv2.INTER_AREA).astype(float).ravel()
    values -= values.mean()
    unit: Vector = values / np.linalg.norm(values)
    return unit


def paint(pose: Pose) -> tuple[npt.NDArray[np.float64], Box]:
    """Person 2, always in the same light and clothes."""
    person, rng = draw_person(SEED, 2), np.random.default_rng(SEED)
    canvas = np.full((400, 320, 3), 0.2, np.float32)
    outfit, lighting = draw_outfit(rng, person, 0.0), draw_lighting(rng, "studio")
    box = paint_figure(View(canvas, 160, 170, 10), person, pose, outfit, lighting)
    return canvas.astype(float), box


def change_by_band(pose: Pose) -> Vector:
    """How much each eighth of the face, from the top, differs from the same face without an expression."""
    (plain, box), (posed, _) = paint(FRONTAL), paint(pose)
    left, top, width, height = (round(value) for value in box)
    change = np.abs(posed - plain)[top : top + height, left : left + width].mean(axis=(1, 2))
    return np.array([band.mean() for band in np.array_split(change, 8)])


def test_the_same_arguments_give_the_same_bytes() -> None:
    for render in (render_portrait, render_photograph):
        first, again = render(1, 2, 3), render(1, 2, 3)
        assert first.image.tobytes() == again.image.tobytes()
        assert first.faces == again.faces


@pytest.mark.parametrize("other", [(2, 2, 3), (1, 3, 3), (1, 2, 4)], ids=["seed", "person", "shot"])
def test_every_argument_matters(other: tuple[int, int, int]) -> None:
    pictures = [render_portrait(*arguments, width=160, height=200).image for arguments in ((1, 2, 3), other)]
    assert np.abs(pictures[0].astype(float) - pictures[1]).mean() > 8


@settings(max_examples=12, deadline=None)
@given(st.integers(24, 260), st.integers(24, 260), st.integers(0, 2**31))
def test_portraits_of_any_size_show_their_one_face(width: int, height: int, person: int) -> None:
    picture = render_portrait(0, person, 0, width=width, height=height)
    assert picture.image.shape == (height, width, 3)
    assert picture.image.dtype == np.uint8
    assert [face.person for face in picture.faces] == [person]
    face = picture.faces[0]
    assert face.cut_off != is_inside(face, picture)
    assert -35 <= face.yaw_deg <= 35
    assert 0 <= face.smile <= 1


def test_detectors_find_portraits_where_they_say_they_are() -> None:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")  # type: ignore[attr-defined]
    hits = misses = false_alarms = 0
    for picture in frontal_portraits(24):
        grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
        found = cascade.detectMultiScale(grey, 1.1, 5, minSize=(40, 40))
        overlaps = [overlap(picture.faces[0].box, (float(x), float(y), float(w), float(h))) for x, y, w, h in found]
        right = sum(value >= 0.5 for value in overlaps)
        hits, misses, false_alarms = hits + bool(right), misses + (not right), false_alarms + len(overlaps) - right
    assert hits + misses == 24
    assert hits >= 0.9 * 24
    assert false_alarms <= 5


def test_a_person_is_more_like_themselves_than_like_others() -> None:
    people, shots = 6, 4
    faces = np.array(
        [[cut_face(render_portrait(SEED, p, s, width=200, height=250)) for s in range(shots)] for p in range(people)]
    ).reshape(people * shots, -1)
    likeness, who = faces @ faces.T, np.repeat(np.arange(people), shots)
    same = who[:, None] == who
    other_shot = same & ~np.eye(len(who), dtype=bool)
    assert likeness[other_shot].mean() > likeness[~same].mean() + 0.05
    assert likeness[other_shot].max() < 0.995


def test_shots_of_a_person_are_not_near_duplicates() -> None:
    thumbnails = []
    for shot in range(8):
        image = render_portrait(SEED, 1, shot, width=200, height=250).image
        grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA).astype(float)
        grey -= grey.mean()
        thumbnails.append(grey.ravel() / np.linalg.norm(grey))
    likeness = np.array(thumbnails) @ np.array(thumbnails).T
    assert likeness[~np.eye(8, dtype=bool)].max() < 0.97


def test_what_stays_stays_and_what_changes_changes() -> None:
    person, again = draw_person(SEED, 3), draw_person(SEED, 3)
    assert (person.style, person.beard, person.seed, person.jaw) == (again.style, again.beard, again.seed, again.jaw)
    assert len({draw_pose(np.random.default_rng(shot), person).yaw_deg for shot in range(20)}) == 20
    everyone = [draw_person(SEED, number) for number in range(200)]
    assert len({person.style for person in everyone}) >= 10
    assert {person.beard for person in everyone} == {"none", "stubble", "full", "goatee", "moustache"}
    tones = np.array([person.skin.mean() for person in everyone])
    assert tones.min() < 0.4
    assert tones.max() > 0.75


def test_a_smile_changes_the_mouth_most() -> None:
    change = change_by_band(replace(FRONTAL, smile=1.0, mouth_open=0.2))
    assert change[5:].max() > 0.01
    assert change[5:].max() > 4 * change[0]


def test_glasses_change_the_eyes_most() -> None:
    change = change_by_band(replace(FRONTAL, glasses=True))
    assert change[2:5].max() > 0.02
    assert change[2:5].max() > 4 * max(change[0], change[6], change[7])


def test_the_box_follows_a_face_that_turns() -> None:
    (_, ahead), (_, right) = paint(FRONTAL), paint(replace(FRONTAL, yaw_deg=25.0))
    assert right[0] > ahead[0] + 5
    assert right[2:] == pytest.approx(ahead[2:])


def test_a_person_out_of_sight_leaves_the_picture_alone() -> None:
    person, rng = draw_person(SEED, 0), np.random.default_rng(0)
    canvas = np.full((50, 60, 3), 0.5, np.float32)
    paint_figure(View(canvas, 5000, 5000, 5), person, FRONTAL, draw_outfit(rng, person, 0.0), draw_lighting(rng, "sun"))
    assert (canvas == np.float32(0.5)).all()


def test_boxes_are_inside_unless_cut_off(photographs: list[Photograph]) -> None:
    for picture in photographs:
        for face in picture.faces:
            assert face.cut_off != is_inside(face, picture), (face, picture.image.shape)


def test_photographs_are_as_mixed_as_the_web(photographs: list[Photograph]) -> None:
    counts = [len(picture.faces) for picture in photographs]
    assert counts.count(1) > len(photographs) / 2
    assert 0 in counts
    assert max(counts) >= 2
    sizes = [picture.image.shape[:2] for picture in photographs]
    assert all(320 <= max(size) <= 1600 and min(size) >= 160 for size in sizes)
    assert any(height > width for height, width in sizes)
    assert any(height < width for height, width in sizes)
    shares = [face.box[3] / picture.image.shape[0] for picture in photographs for face in picture.faces]
    assert min(shares) < 0.2
    assert max(shares) > 0.4


def test_the_person_asked_for_comes_first(photographs: list[Photograph]) -> None:
    for number, picture in enumerate(photographs):
        if picture.faces:
            assert picture.faces[0].person == number // 3
            assert len({face.person for face in picture.faces}) == len(picture.faces)


def test_faces_out_of_focus_are_soft(photographs: list[Photograph]) -> None:
    blurred = next(picture for picture in photographs if any(face.blurred for face in picture.faces))
    left, top, width, height = (max(0, round(value)) for value in blurred.faces[0].box)
    face = cv2.cvtColor(blurred.image[top : top + height, left : left + width], cv2.COLOR_RGB2GRAY)
    face = cv2.GaussianBlur(face, (0, 0), 1.5)  # the camera's grain is sharp all the same
    assert cv2.Laplacian(face, cv2.CV_64F).std() < 3


def test_backgrounds_are_bright_enough_to_see_and_varied() -> None:
    rng = np.random.default_rng(SEED)
    pictures = [draw_background(rng, 96, 80) for _ in range(40)]
    assert {picture.mood for picture in pictures} == {"studio", "daylight", "sun", "indoor", "stage"}
    assert all(picture.image.shape == (80, 96, 3) and np.isfinite(picture.image).all() for picture in pictures)


def test_the_camera_keeps_to_bytes_whatever_the_light() -> None:
    light = np.linspace(-0.5, 40, 60 * 70 * 3, dtype=np.float32).reshape(60, 70, 3)
    image = develop(light, np.random.default_rng(0))
    assert image.shape == (60, 70, 3)
    assert image.dtype == np.uint8
    assert image[0].mean() < image[30].mean()
