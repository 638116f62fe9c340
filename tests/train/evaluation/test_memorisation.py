from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from train.data import PackedImages, Pixels
from train.evaluation.memorisation import describe, find_memorised, find_nearest, judge
from train.evaluation.reference import Split

Paint = Callable[..., Pixels]
Pack = Callable[..., PackedImages]


@pytest.fixture
def training(paint: Paint, pack: Pack) -> Split:
    return Split.whole("waves", pack(paint(150, 0)))


def photograph(images: Pixels) -> Pixels:
    """As a generator repeats what it knows by heart: softer, paler, and not exact."""
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), 0.8) for image in images]).astype(np.float64)
    return (20 + 0.8 * soft + np.random.default_rng(0).normal(0, 3, soft.shape)).clip(0, 255).astype(np.uint8)


def test_copies_among_samples_are_found(training: Split, paint: Paint) -> None:
    known = training.images.take(np.array([3, 70, 149]))
    copies = photograph(np.concatenate([known[:2], known[2:, :, ::-1]]))
    found = find_memorised(np.concatenate([paint(40, 1), copies]), training)
    assert found.nearest.place[40:].tolist() == [3, 70, 149]
    assert found.nearest.mirrored[40:].tolist() == [False, False, True]
    assert found.verdict.nearer[40:].all()
    assert found.verdict.nearer.sum() <= 5
    assert found.nearest.similarity[40:].min() > 0.95


def test_fresh_images_are_not_by_heart_and_copies_all_are(training: Split, paint: Paint) -> None:
    fresh = find_memorised(paint(100, 1), training).verdict
    assert fresh.interval[0] <= fresh.expected <= fresh.interval[1]
    by_heart = find_memorised(photograph(training.images.take(np.arange(100))), training).verdict
    assert by_heart.interval[0] > 0.8


def test_images_held_out_are_the_measure_where_there_are_some(training: Split, paint: Paint) -> None:
    kept, held_out = training.part(0.2, seed=1)
    found = find_memorised(paint(30, 1), kept, held_out)
    assert found.to_json() | {"limit": 0, "interval": [], "nearer": 0, "share": 0} == {
        "samples": 30,
        "nearer": 0,
        "share": 0,
        "interval": [],
        "expected_share": pytest.approx(1 / 31),
        "limit": 0,
        "training_split": "waves",
        "training_images": 120,
        "held_out_split": "waves, held out",
        "held_out_images": 30,
        "compared_by": "correlation of luma at 32 × 32 pixels, mirrored too",
    }
    assert find_memorised(paint(30, 1), training).held_out_split == "waves, each left out in turn"


def test_places_are_those_of_the_packed_images(training: Split) -> None:
    some = Split("some", training.images, np.array([5, 60, 61, 140]))
    nearest = find_nearest(training.images.take(np.array([140, 5])), some)
    assert nearest.place.tolist() == [140, 5]
    np.testing.assert_allclose(nearest.similarity, 1)


def test_a_picture_left_out_is_not_its_own_neighbour(training: Split) -> None:
    own = np.array([0, 80])
    nearest = find_nearest(training.images.take(own), training, own=own)
    assert not (nearest.place == own).any()
    assert (nearest.similarity < 0.999).all()


def test_nearest_is_that_of_the_plain_search(training: Split, paint: Paint) -> None:
    pictures = paint(30, 2)
    theirs = describe(training.images.take(training.indices)).numpy()
    plain, flipped = (
        describe(np.ascontiguousarray(side)).numpy() @ theirs.T for side in (pictures, pictures[:, :, ::-1])
    )
    nearest = find_nearest(pictures, training)
    assert nearest.place.tolist() == np.maximum(plain, flipped).argmax(1).tolist()
    np.testing.assert_allclose(nearest.similarity, np.maximum(plain, flipped).max(1), rtol=1e-12)
    assert nearest.mirrored.tolist() == (flipped.max(1) > plain.max(1)).tolist()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), block_images=st.integers(1, 40), query_rows=st.integers(1, 40))
def test_neither_order_nor_block_size_matters(seed: int, block_images: int, query_rows: int) -> None:
    rng = np.random.default_rng(seed)
    training = Split.whole("noise", PackedImages([rng.integers(0, 256, (30, 32, 32, 3), np.uint8)], 32, "digest"))
    pictures = rng.integers(0, 256, (12, 32, 32, 3), np.uint8)
    order = rng.permutation(len(pictures))
    expected = find_nearest(pictures, training)
    found = find_nearest(pictures[order], training, block_images=block_images, query_rows=query_rows)
    assert found.place.tolist() == expected.place[order].tolist()
    np.testing.assert_allclose(found.similarity, expected.similarity[order], rtol=1e-12)


def test_of_equal_training_images_the_first_is_named(paint: Paint) -> None:
    image = paint(1, 0)
    training = Split.whole("copies", PackedImages([np.repeat(image, 9, axis=0)], 32, "digest"))
    assert find_nearest(image, training, block_images=4).place.tolist() == [0]


@pytest.mark.parametrize("side", [32, 64, 128])
def test_light_does_not_matter(side: int, paint: Paint) -> None:
    dark = paint(2, 5, side) // 2
    one, other = describe(dark), describe(dark + 60)
    assert one.shape == (2, 32 * 32)
    np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-12)


def test_a_picture_of_one_colour_is_near_to_nothing(training: Split) -> None:
    flat = np.full((1, 32, 32, 3), (200, 10, 10), np.uint8)
    flat[0, 0, 0] += 1
    found = find_memorised(flat, training)
    assert found.nearest.similarity.tolist() == [0]
    assert found.verdict.share == 0


@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=50),
    st.lists(st.floats(-1, 1), min_size=1, max_size=300),
)
def test_a_verdict_counts_what_is_nearer_than_a_hundredth_of_the_held_out(
    samples: list[float], held_out: list[float]
) -> None:
    verdict = judge(np.array(samples), np.array(held_out))
    assert verdict.nearer.tolist() == [sample > verdict.limit for sample in samples]
    others_nearer = sum(other > verdict.limit for other in held_out)
    assert others_nearer / len(held_out) < max(0.01, 1 / len(held_out))
    assert verdict.expected <= max(0.01, 1 / (len(held_out) + 1))
    assert 0 <= verdict.interval[0] <= verdict.share <= verdict.interval[1] <= 1


def test_too_few_images_are_one_line(training: Split, paint: Paint) -> None:
    with pytest.raises(ConfigError, match="0 samples and 150 training images are too few"):
        find_memorised(paint(0, 0), training)
    with pytest.raises(ConfigError, match="1 samples and 1 training images are too few"):
        find_memorised(paint(1, 0), Split("one", training.images, np.array([0])))


def test_a_fair_share_of_many_held_out_images_is_enough(
    training: Split, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.evaluation.memorisation.HELD_OUT_MOST", 10)
    kept, held_out = training.part(0.5)
    assert find_memorised(paint(5, 1), kept, held_out).held_out_images == 10
    assert find_memorised(paint(5, 1), training).held_out_images == 10


def test_images_that_were_trained_on_are_not_held_out(training: Split, paint: Paint) -> None:
    with pytest.raises(ConfigError, match="holds images of waves"):
        find_memorised(paint(1, 0), training, replace(training.sample(9), name="some"))
