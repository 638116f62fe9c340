from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dedup.verify import THRESHOLD, score_pairs
from tests.dedup import pictures

Pictures = NDArray[np.uint8]
SCENES = pictures.draw_scenes(200)
THUMBNAILS = pictures.shrink(SCENES)

NEAR_DUPLICATES: dict[str, Callable[[Pictures], Pictures]] = {
    "cropped by 5%": lambda scenes: pictures.crop(scenes, 2, 5, 121),
    "cropped by 10%": lambda scenes: pictures.crop(scenes, 12, 0, 115),
    "framed": lambda scenes: pictures.frame(scenes, 6, 255),
    "captioned": pictures.caption,
    "darkened": lambda scenes: pictures.change_tone(scenes, 1.4, 0.9),
    "brightened": lambda scenes: pictures.change_tone(scenes, 0.7, 1.0),
    "grey": pictures.drop_colour,
    "noisy": lambda scenes: pictures.add_noise(scenes, 12),
}


def test_a_picture_agrees_with_itself() -> None:
    assert score_pairs(THUMBNAILS, THUMBNAILS) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", NEAR_DUPLICATES)
def test_near_duplicates_pass_in_either_order(kind: str) -> None:
    changed = pictures.shrink(NEAR_DUPLICATES[kind](SCENES))
    assert (score_pairs(THUMBNAILS, changed) >= THRESHOLD).mean() >= 0.97
    assert (score_pairs(changed, THUMBNAILS) >= THRESHOLD).mean() >= 0.97


def test_different_pictures_fail() -> None:
    scores = score_pairs(THUMBNAILS, np.roll(THUMBNAILS, 1, axis=0))
    assert (scores < THRESHOLD).all()


def test_pictures_that_share_only_their_light_fail() -> None:
    """A pale half over a dark half, each with a texture of its own: plain correlation is above 0.9."""
    rng = np.random.default_rng(0)
    halves = np.repeat([220.0, 40.0], 16)[None, :, None, None]
    textures = rng.normal(0, 18, (2, 32, 32, 32, 1))
    first, second = (halves + textures).clip(0, 255).astype(np.uint8).repeat(3, axis=-1)
    plain = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    assert min(plain) > 0.9
    assert (score_pairs(first, second) < THRESHOLD).all()


def test_a_mirror_image_passes_only_when_it_is_turned_back() -> None:
    turned = THUMBNAILS[:, :, ::-1]
    assert (score_pairs(THUMBNAILS, turned) < THRESHOLD).all()
    assert (score_pairs(THUMBNAILS, turned[:, :, ::-1]) >= THRESHOLD).all()


def test_flat_pictures_never_pass() -> None:
    blank = np.full((3, 32, 32, 3), 255, np.uint8)
    assert (score_pairs(blank, blank) == -1).all()
    assert (score_pairs(blank, THUMBNAILS[:3]) == -1).all()


def test_a_score_does_not_depend_on_the_other_pairs() -> None:
    changed = pictures.shrink(pictures.crop(SCENES, 4, 4, 118))
    together = score_pairs(np.tile(THUMBNAILS, (2, 1, 1, 1)), np.tile(changed, (2, 1, 1, 1)))
    alone = np.concatenate([score_pairs(THUMBNAILS[i : i + 1], changed[i : i + 1]) for i in range(20)])
    assert together[:20] == pytest.approx(alone, abs=1e-3)
    assert together[:200] == pytest.approx(together[200:], abs=1e-3)


def test_no_pairs_have_no_scores() -> None:
    assert score_pairs(THUMBNAILS[:0], THUMBNAILS[:0]).shape == (0,)


def test_uneven_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="first"):
        score_pairs(THUMBNAILS[:2], THUMBNAILS[:3])
