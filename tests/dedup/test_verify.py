import os

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dedup.verification.evidence import NAMES
from dedup.verification.verify import THRESHOLD, score_pairs
from pipelines.images import make_thumbnail
from pipelines.planting import HARD_KINDS, KINDS, encode_image, plant
from tests.dedup import pictures

Pictures = NDArray[np.uint8]
SCENES = pictures.draw_scenes(100)
THUMBNAILS = pictures.shrink(SCENES)
VERIFIED_HARD_KINDS = [kind for kind in HARD_KINDS if kind not in ("turn90", "collage")]


def plant_all(scenes: Pictures, kind: str) -> Pictures:
    """Thumbnails of a near-duplicate of each scene, turned back if it is the mirrored one."""
    rng = np.random.default_rng(0)
    planted = [plant(scene, kind, rng, encoded=encode_image(scene, ".png")) for scene in scenes]
    thumbnails = np.stack([make_thumbnail(image)[1] for image in planted])
    return thumbnails[:, :, ::-1] if kind == "mirror" else thumbnails


@pytest.fixture(scope="module")
def mixed() -> tuple[Pictures, Pictures]:
    """Pairs of which some are duplicates, some look alike at a glance and some do not."""
    cropped = pictures.shrink(pictures.crop(SCENES, 4, 4, 118))
    captioned = pictures.shrink(pictures.caption(SCENES))
    others = [np.roll(THUMBNAILS, step, axis=0) for step in (1, 2)]
    blended = (THUMBNAILS.astype(np.uint16) * 2 + others[0]) // 3
    return np.tile(THUMBNAILS, (5, 1, 1, 1)), np.concatenate([cropped, captioned, *others, blended.astype(np.uint8)])


@pytest.mark.parametrize("kind", KINDS)
def test_near_duplicates_pass(kind: str) -> None:
    assert (score_pairs(THUMBNAILS, plant_all(SCENES, kind)) >= THRESHOLD).mean() >= 0.97


@pytest.mark.parametrize("kind", VERIFIED_HARD_KINDS)
def test_most_hard_near_duplicates_pass(kind: str) -> None:
    assert (score_pairs(THUMBNAILS, plant_all(SCENES, kind)) >= THRESHOLD).mean() >= 0.8


def test_two_near_duplicates_of_one_picture_pass() -> None:
    scores = score_pairs(plant_all(SCENES, "crop5"), plant_all(SCENES, "grey"))
    assert (scores >= THRESHOLD).mean() >= 0.97


def test_different_pictures_fail() -> None:
    scores = [score_pairs(THUMBNAILS, np.roll(THUMBNAILS, step, axis=0)) for step in range(1, 20)]
    assert (np.concatenate(scores) < THRESHOLD).all()


@pytest.mark.parametrize("kind", ["text", "watermark", "border", "grey", "blur"])
def test_what_is_done_to_both_makes_no_duplicates_of_different_pictures(kind: str) -> None:
    altered = plant_all(SCENES, kind)
    assert (score_pairs(altered, np.roll(altered, 1, axis=0)) < THRESHOLD).all()


def test_pictures_that_share_only_their_light_fail() -> None:
    """A pale half over a dark half, each with a texture of its own: plain correlation is above 0.9."""
    rng = np.random.default_rng(0)
    halves = np.repeat([220.0, 40.0], 16)[None, :, None, None]
    textures = rng.normal(0, 18, (2, 32, 32, 32, 1))
    first, second = (halves + textures).clip(0, 255).astype(np.uint8).repeat(3, axis=-1)
    plain = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    assert min(plain) > 0.9
    assert (score_pairs(first, second) < THRESHOLD).all()


def test_different_objects_on_one_plain_ground_fail() -> None:
    """Crosses and rings of one size, in the same place of white pages."""
    rng = np.random.default_rng(0)
    crosses, rings = np.full((2, 40, 128, 128, 3), 250, np.uint8)
    for cross, ring in zip(crosses, rings, strict=True):
        x, y, reach = (int(value) for value in rng.integers((40, 40, 14), (88, 88, 26)))
        for step in (-1, 1):
            cv2.line(cross, (x - reach, y - step * reach), (x + reach, y + step * reach), (60, 60, 60), 7)
        cv2.circle(ring, (x, y), reach, (60, 60, 60), 7)
    assert (score_pairs(pictures.shrink(crosses), pictures.shrink(rings)) < THRESHOLD).all()


def test_a_mirror_image_passes_only_when_it_is_turned_back() -> None:
    turned = THUMBNAILS[:, :, ::-1]
    assert (score_pairs(THUMBNAILS, turned) < THRESHOLD).all()
    assert (score_pairs(THUMBNAILS, turned[:, :, ::-1]) >= THRESHOLD).all()


def test_flat_pictures_never_pass() -> None:
    blank = np.full((3, 32, 32, 3), 255, np.uint8)
    assert (score_pairs(blank, blank) < -10).all()
    assert (score_pairs(blank, THUMBNAILS[:3]) < -10).all()


def test_a_score_depends_on_its_two_pictures_alone(mixed: tuple[Pictures, Pictures]) -> None:
    first, second = mixed
    together = score_pairs(first, second)
    order = np.random.default_rng(0).permutation(len(first))
    assert score_pairs(first[order], second[order]).tobytes() == together[order].tobytes()
    parts = [score_pairs(first[start : start + 37], second[start : start + 37]) for start in range(0, len(first), 37)]
    assert np.concatenate(parts).tobytes() == together.tobytes()
    alone = [score_pairs(first[row : row + 1], second[row : row + 1]) for row in order[:40]]
    assert np.concatenate(alone).tobytes() == together[order[:40]].tobytes()


def test_scores_do_not_depend_on_the_cores(mixed: tuple[Pictures, Pictures], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = []
    for cores in (1, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        scores.append(score_pairs(*mixed).tobytes())
    assert scores[0] == scores[1]


def test_a_score_has_no_direction(mixed: tuple[Pictures, Pictures]) -> None:
    first, second = mixed
    assert score_pairs(first, second).tobytes() == score_pairs(second, first).tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 16, 32]), st.integers(0, 255))
def test_any_pixels_have_a_finite_score_without_direction(seed: int, cells: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    cell = rng.integers(0, spread + 1, (2, 3, cells, cells, 3), dtype=np.uint8)
    first, second = cell.repeat(32 // cells, axis=2).repeat(32 // cells, axis=3)
    scores = score_pairs(first, second)
    assert np.isfinite(scores).all()
    assert (scores == score_pairs(second, first)).all()
    assert np.isfinite(score_pairs(first, first)).all()


def test_figures_have_names_of_their_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_no_pairs_have_no_scores() -> None:
    assert score_pairs(THUMBNAILS[:0], THUMBNAILS[:0]).shape == (0,)


def test_uneven_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="first"):
        score_pairs(THUMBNAILS[:2], THUMBNAILS[:3])
