import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from train.watch import CODE_BITS, Diversity, Watcher, measure_diversity

REAL = Diversity(60.0, 40.0)
GOOD = Diversity(50.0, 35.0)


def test_copies_of_one_image_have_no_diversity() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert measure_diversity(np.stack([image] * 5)) == Diversity(0.0, 0.0)


@given(st.integers(0, 1000))
def test_code_distance_is_the_mean_over_pairs(seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (3, 8, 8, 3), np.uint8)
    distances = [measure_diversity(images[[a, b]]).code_distance for a, b in ((0, 1), (0, 2), (1, 2))]
    assert np.isclose(measure_diversity(images).code_distance, np.mean(distances))
    assert all(0 <= distance <= CODE_BITS for distance in distances)


def test_early_grey_samples_are_no_sign() -> None:
    watcher = Watcher(REAL)
    assert watcher.look(0.6, 0.4, Diversity(3.0, 2.0)) == []
    assert watcher.look(0.6, 0.4, GOOD) == []


def test_samples_that_were_unlike_and_grow_alike_are() -> None:
    watcher = Watcher(REAL)
    watcher.look(0.6, 0.4, GOOD)
    (sign,) = watcher.look(0.6, 0.4, Diversity(20.0, 35.0))
    assert "20.0 levels, and did 50.0" in sign
    (sign,) = watcher.look(0.6, 0.4, Diversity(50.0, 10.0))
    assert "10 bits of 128" in sign


def test_a_certain_d_is_a_sign_when_it_stays_so() -> None:
    watcher = Watcher(REAL)
    signs = [watcher.look(0.999, 0.001, GOOD) for _ in range(10)]
    assert signs[:9] == [[]] * 9
    assert "D is certain" in signs[9][0]
    assert watcher.look(0.9, 0.001, GOOD) == []


def test_it_goes_on_where_it_was() -> None:
    watcher = Watcher(REAL)
    for _ in range(9):
        watcher.look(0.999, 0.001, GOOD)
    resumed = Watcher.from_json(json.loads(json.dumps(watcher.to_json())))
    assert resumed == watcher
    assert resumed.look(0.999, 0.001, GOOD) != []
