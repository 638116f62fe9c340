"""Near-duplicates of every kind, from pictures of every size."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.images import centre_square, decode, read_header
from pipelines.planting import HARD_KINDS, KINDS, Pixels, alter_image, encode_image, plant
from pipelines.rooms import render_room

ALL_KINDS = (*KINDS, *HARD_KINDS)


def room(width: int, height: int, index: int = 1) -> Pixels:
    image = render_room(1, index).image
    shrinks = width < image.shape[1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else 2), np.uint8)


def alter(image: Pixels, kind: str, seed: int = 0) -> Pixels:
    return alter_image(image, kind, np.random.default_rng(seed), room(40, 30, 2))


def test_every_kind_has_one_name() -> None:
    assert len(set(ALL_KINDS)) == len(KINDS) + len(HARD_KINDS)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(ALL_KINDS), st.integers(0, 99))
@settings(max_examples=120, deadline=None)
def test_pictures_of_any_size_give_pictures(width: int, height: int, kind: str, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    before = image.copy()
    data = plant(image, kind, np.random.default_rng(seed), encoded=encode_image(image, ".png"), other=image[:, ::-1])
    again = plant(image, kind, np.random.default_rng(seed), encoded=encode_image(image, ".png"), other=image[:, ::-1])
    assert data == again
    assert np.array_equal(image, before)
    planted = decode(data)
    assert planted.ndim == 3 and min(planted.shape) >= 1
    assert read_header(data).format in ({"png"} if kind == "exact" else {"jpeg", "webp"})


@pytest.mark.parametrize("kind", ["text", "watermark", "blur", "rotate5", "brighten", "mirror"])
@pytest.mark.parametrize("small", [32, 64])
def test_a_small_picture_is_altered_as_a_large_one_that_is_then_shrunk(kind: str, small: int) -> None:
    large = room(256, 256)
    shrunk_after = centre_square(alter(large, kind), 32).astype(int)
    shrunk_before = centre_square(alter(room(small, small), kind), 32).astype(int)
    assert np.abs(shrunk_after - shrunk_before).mean() < 4
    if kind in {"text", "watermark"}:
        plain = centre_square(large, 32).astype(int)
        assert np.abs(shrunk_after - plain).max() > 60
        assert np.abs(shrunk_after - shrunk_before).mean() < 0.4 * np.abs(shrunk_after - plain).mean()


@pytest.mark.parametrize("kind", ["text", "watermark"])
def test_letters_grow_with_the_picture(kind: str) -> None:
    written = []
    for width, height in ((320, 256), (1600, 1280)):
        grey = np.full((height, width, 3), 90, np.uint8)
        written.append(alter(grey, kind).mean() - 90)
    assert written[0] > 1
    assert written[1] == pytest.approx(written[0], rel=0.2)


@pytest.mark.parametrize("side", [32, 256, 2000])
def test_a_border_is_as_wide_as_the_picture_asks(side: int) -> None:
    framed = alter(np.zeros((side, side, 3), np.uint8), "border")
    width = (framed.shape[0] - side) / 2 / side
    assert 0.02 < width < 0.04
    assert (framed[[0, -1]] == 255).all() and (framed[:, [0, -1]] == 255).all()


def test_a_watermark_lies_over_the_middle_and_shines_through() -> None:
    grey = np.full((200, 300, 3), 40, np.uint8)
    rows, columns, _ = np.nonzero(alter(grey, "watermark") > 45)
    assert 90 < rows.mean() < 110 and 130 < columns.mean() < 170
    assert columns.min() > 15 and columns.max() < 285
    assert 120 < alter(grey, "watermark").max() < 220


def test_hard_kinds_have_the_strength_that_their_name_says() -> None:
    image = room(200, 100)
    shapes = {kind: alter(image, kind).shape[:2] for kind in HARD_KINDS}
    assert shapes["crop20"] == (80, 160)
    assert shapes["stretch10"] in {(110, 200), (100, 220)}
    assert shapes["turn90"] == (200, 100)
    assert shapes["collage"] == (100, 400)
    for kind in ("rotate5", "blur", "posterise", "colour_filter", "watermark"):
        assert shapes[kind] == (100, 200)
    assert len(np.unique(alter(image, "posterise"))) <= 4
    assert alter(image, "blur").std() < image.std()
    ratios = alter(image, "colour_filter").mean(axis=(0, 1)) / image.mean(axis=(0, 1))
    assert ratios.max() - ratios.min() > 0.3
    collage = alter(image, "collage")
    assert any(np.array_equal(collage[:, start : start + 200], image) for start in (0, 200))
    turned = alter(image, "turn90")
    assert any(np.array_equal(np.rot90(turned, turns), image) for turns in (1, 3))


def test_recompressed_pictures_are_smaller_and_exact_ones_equal() -> None:
    image = room(256, 192)
    stored = encode_image(image, ".jpg", 95)
    assert plant(image, "exact", np.random.default_rng(0), encoded=stored) == stored
    assert len(plant(image, "recompress", np.random.default_rng(0))) < len(stored) / 2


def test_what_is_missing_is_said() -> None:
    image, rng = room(32, 32), np.random.default_rng(0)
    with pytest.raises(ValueError, match="encoded bytes"):
        plant(image, "exact", rng)
    with pytest.raises(ValueError, match="another picture"):
        plant(image, "collage", rng)
    with pytest.raises(ValueError, match="upside-down"):
        plant(image, "upside-down", rng)
