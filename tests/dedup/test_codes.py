import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dedup.codes import code_words, flat_mask, hamming_distance, mirror_codes
from tests.dedup.pictures import draw_scenes, shrink

CODES = arrays.arrays(np.uint8, st.tuples(st.integers(0, 20), st.just(16)))


def test_blank_and_one_colour_pictures_are_flat() -> None:
    levels = np.random.default_rng(0).normal(250, 1.5, (1, 32, 32, 3)).clip(0, 255).astype(np.uint8)
    red = np.full((1, 32, 32, 3), (200, 10, 10), np.uint8)
    blank = np.zeros((1, 32, 32, 3), np.uint8)
    scenes = shrink(draw_scenes(3))
    assert flat_mask(np.concatenate([levels, red, blank, scenes])).tolist() == [True] * 3 + [False] * 3


def test_two_colours_of_one_brightness_are_not_flat() -> None:
    picture = np.full((1, 32, 32, 3), 100, np.uint8)
    picture[:, :, :16, 0] = 180
    assert not flat_mask(picture).any()


def test_flat_mask_of_nothing_is_empty() -> None:
    assert flat_mask(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0,)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="thumbnails"):
        flat_mask(np.zeros((2, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="codes"):
        hamming_distance(np.zeros((2, 8), np.uint8), np.zeros((2, 8), np.uint8))


@given(CODES)
def test_words_hold_the_bytes_in_order(codes: np.ndarray) -> None:
    rebuilt = [int(high).to_bytes(8, "big") + int(low).to_bytes(8, "big") for high, low in code_words(codes)]
    assert rebuilt == [row.tobytes() for row in codes]


@given(CODES)
def test_distance_counts_differing_bits(codes: np.ndarray) -> None:
    other = codes[::-1]
    expected = (np.unpackbits(codes, axis=1) != np.unpackbits(other, axis=1)).sum(axis=1)
    assert hamming_distance(codes, np.ascontiguousarray(other)).tolist() == expected.tolist()


@given(CODES)
def test_mirroring_twice_is_no_change_and_mirroring_keeps_distances(codes: np.ndarray) -> None:
    assert np.array_equal(mirror_codes(mirror_codes(codes)), codes)
    assert [row.tobytes() for row in mirror_codes(codes)] == [row[8:].tobytes() + row[:8].tobytes() for row in codes]
    other = np.ascontiguousarray(codes[::-1])
    assert np.array_equal(hamming_distance(mirror_codes(codes), mirror_codes(other)), hamming_distance(codes, other))
