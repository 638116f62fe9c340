"""The classifier of attributes: learns from pictures with known attributes, and is the same after saving."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import ConfigError, IntegrityError, SourceError
from pipelines.sources import open_source
from pipelines.synthetic_portraits import write_portraits
from train.explore.attributes import (
    NAMES,
    Attributes,
    LabelledPortraits,
    find_calibration_error,
    make_view,
    read_portraits,
)


def draw_faces(count: int, seed: int, side: int = 32) -> LabelledPortraits:
    """Discs for heads: hair beside those of women, a white mouth for a smile, a dark bar for glasses, turned noses."""
    rng = np.random.default_rng(seed)
    shown = rng.random((count, len(NAMES))) < 0.5
    y, x = np.mgrid[:side, :side] * (2 / side) - 1
    pixels = np.empty((count, side, side, 3))
    for picture, (male, smile, glasses, left) in zip(pixels, shown, strict=True):
        picture[:] = rng.uniform(60, 120)
        if not male:
            picture[(np.abs(x) < 0.9) & (y > -0.8)] = 20
        picture[x**2 + y**2 < 0.5] = 180
        if glasses:
            picture[(np.abs(x) < 0.6) & (np.abs(y + 0.2) < 0.1)] = 10
        if smile:
            picture[(np.abs(x) < 0.3) & (np.abs(y - 0.4) < 0.1)] = 255
        picture[(np.abs(x - (-0.3 if left else 0.3)) < 0.1) & (np.abs(y - 0.1) < 0.1)] = 90
    pixels += rng.normal(0, 5, pixels.shape)
    return LabelledPortraits(pixels.clip(0, 255).astype(np.uint8), shown, "drawn", f"{seed}")


@pytest.fixture(scope="module")
def fitted() -> Attributes:
    torch.set_num_threads(1)
    return Attributes.fit(draw_faces(300, 0), steps=60)


def test_it_tells_attributes_of_pictures_that_it_has_not_seen(fitted: Attributes) -> None:
    others = draw_faces(80, 1)
    right = (fitted.score(others.pixels) > 0.5) == others.shown
    assert right.mean(0).min() > 0.85, dict(zip(NAMES, right.mean(0), strict=True))


def test_its_origin_says_what_it_was_fitted_to_and_how_often_it_is_right(fitted: Attributes) -> None:
    origin, drawn = fitted.origin, draw_faces(300, 0)
    assert (origin.data, origin.data_digest, origin.pictures, origin.held_out) == ("drawn", "0", 240, 60)
    right = (fitted.score(drawn.pixels[::5]) > 0.5) == drawn.shown[::5]
    assert origin.accuracy == dict(zip(NAMES, right.mean(0).tolist(), strict=True))
    assert origin.calibration_error.keys() == set(NAMES)
    assert all(0 <= error <= 1 for error in origin.calibration_error.values())


def test_scores_are_of_each_picture_alone_and_of_any_size(fitted: Attributes) -> None:
    pixels = draw_faces(300, 2).pixels
    scores = fitted.score(pixels)
    assert scores.shape == (300, len(fitted.names))
    assert scores.dtype == np.float32
    assert scores.min() >= 0 and scores.max() <= 1
    np.testing.assert_allclose(fitted.score(pixels[7:9]), scores[7:9], atol=1e-5)
    np.testing.assert_allclose(fitted.score(pixels[:9].repeat(2, 1).repeat(2, 2)), scores[:9], atol=1e-5)
    assert fitted.score(pixels[:0]).shape == (0, len(NAMES))


def test_it_is_the_same_after_saving(tmp_path: Path, fitted: Attributes) -> None:
    path = tmp_path / "new" / "attributes.safetensors"
    fitted.save(path)
    opened = Attributes.open(path)
    assert (opened.origin, opened.sha256, opened.names) == (fitted.origin, fitted.sha256, NAMES)
    pixels = draw_faces(5, 3).pixels
    assert np.array_equal(opened.score(pixels), fitted.score(pixels))


def test_fitting_repeats_itself_whatever_the_global_generator() -> None:
    portraits, digests = draw_faces(30, 0), []
    for seed in (4, 4, 5):
        torch.manual_seed(len(digests))
        digests.append(Attributes.fit(portraits, seed=seed, steps=2).sha256)
    assert digests[0] == digests[1] != digests[2]


def test_what_it_is_measured_by_is_not_learned_from() -> None:
    portraits = draw_faces(30, 0)
    changed = portraits.pixels.copy()
    changed[::5] = 0
    others = replace(portraits, pixels=changed)
    assert Attributes.fit(portraits, steps=2).sha256 == Attributes.fit(others, steps=2).sha256


def test_a_changed_file_is_refused(tmp_path: Path, fitted: Attributes) -> None:
    path = tmp_path / "attributes.safetensors"
    fitted.save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not those that were saved"):
        Attributes.open(path)
    path.write_bytes(content[:100])
    with pytest.raises(IntegrityError, match="cannot be read"):
        Attributes.open(path)
    with pytest.raises(ConfigError, match="no classifier"):
        Attributes.open(tmp_path / "other")


def test_rendered_portraits_are_read_with_what_they_show(tmp_path: Path) -> None:
    write_portraits(tmp_path / "portraits.parquet", count=4, workers=1)
    source = open_source(f"parquet:{tmp_path / 'portraits.parquet'}")
    portraits = read_portraits(source)
    assert portraits.pixels.shape == (4, 32, 32, 3)
    metas = [record.meta for split in source.splits() for record in source.read(split)]
    assert portraits.shown.tolist() == [[meta[name] for name in NAMES] for meta in metas]
    with pytest.raises(ConfigError, match="4 portraits are too few"):
        Attributes.fit(portraits)


def test_a_source_that_does_not_say_what_it_shows_is_refused(tmp_path: Path, make_png: Callable[[int], bytes]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "one.png").write_bytes(make_png(0))
    with pytest.raises(SourceError, match="whether it shows 'male'"):
        read_portraits(open_source(f"folder:{folder}"))


def test_views_keep_their_shape_and_differ() -> None:
    images = torch.from_numpy(draw_faces(6, 0).pixels).permute(0, 3, 1, 2) / 127.5 - 1
    first, second, again = (make_view(images, torch.Generator().manual_seed(seed)) for seed in (1, 2, 1))
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert (first - second).abs().mean() > 0.05


@pytest.mark.parametrize(("said", "found", "error"), [(0.75, 0.75, 0.0), (0.95, 0.5, 0.45), (0.05, 0.0, 0.05)])
def test_the_calibration_error_is_how_far_what_is_said_is_off(said: float, found: float, error: float) -> None:
    shown = np.arange(100) < 100 * found
    assert find_calibration_error(np.full(100, said, np.float32), shown) == pytest.approx(error, abs=1e-6)
