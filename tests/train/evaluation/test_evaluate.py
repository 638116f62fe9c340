import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError, IntegrityError
from train.data import PackedImages, Pixels
from train.evaluation.evaluate import Draw, Evaluation, Sampling, evaluate
from train.evaluation.extractors import RandomExtractor
from train.evaluation.reference import Reference, Split, open_reference

Paint = Callable[..., Pixels]
Pack = Callable[..., PackedImages]

SAMPLING = Sampling(weights="trained", norm_statistics="running", seed=2020)


def draw_from(images: Pixels, block: int = 16) -> Draw:
    """Draws the images one after the other."""

    def draw(count: int) -> Iterator[Pixels]:
        for start in range(0, count, block):
            yield images[start : min(start + block, count)]

    return draw


@pytest.fixture
def split(paint: Paint, pack: Pack) -> Split:
    return Split.whole("waves/clean", pack(paint(60, 0)))


@pytest.fixture
def reference(tmp_path: Path, split: Split) -> Reference:
    return open_reference(tmp_path, split, RandomExtractor(), neighbours=3)


def run(reference: Reference, images: Pixels, count: int | None = None, block: int = 16) -> Evaluation:
    return evaluate(
        draw_from(images, block), reference, RandomExtractor(), count=count or len(images), sampling=SAMPLING
    )


def test_the_real_images_themselves_are_perfect(reference: Reference, paint: Paint) -> None:
    evaluation = run(reference, paint(60, 0))
    assert evaluation.frechet_distance == pytest.approx(0, abs=1e-9)
    assert (evaluation.precision, evaluation.recall, evaluation.coverage) == (1, 1, 1)


def test_worse_images_are_worse(reference: Reference, paint: Paint) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    good, bad = run(reference, paint(60, 1)), run(reference, noise)
    assert good.frechet_distance < bad.frechet_distance
    assert good.kernel_distance < bad.kernel_distance
    assert good.precision > bad.precision == 0
    assert good.coverage > bad.coverage == 0


def test_an_evaluation_says_all_that_it_depends_on(reference: Reference, paint: Paint) -> None:
    evaluation = run(reference, paint(50, 1), count=40)
    note = json.loads(json.dumps(evaluation.to_json()))
    metrics = note.pop("metrics")
    assert set(metrics) == {
        f"random/{name}"
        for name in (
            "frechet_distance",
            "kernel_distance",
            "kernel_distance_std",
            "precision",
            "recall",
            "density",
            "coverage",
        )
    }
    assert note == {
        "samples": 40,
        "reference_images": 60,
        "reference_split": "waves/clean",
        "reference_sha256": reference.digest,
        "resolution": 32,
        "extractor_name": "random",
        "extractor": "random, seed 0",
        "extractor_sha256": RandomExtractor().sha256,
        "resizer": "none: images as they are",
        "neighbours": 3,
        "kernel_subsets": 100,
        "kernel_subset_size": 40,
        "weights": "trained",
        "norm_statistics": "running",
        "seed": 2020,
    }


def test_only_the_known_inception_speaks_of_fid(reference: Reference, paint: Paint) -> None:
    evaluation = run(reference, paint(20, 1))
    known = dataclasses.replace(evaluation, extractor_name="inception").scalars()
    assert known["inception/fid"] == evaluation.frechet_distance
    assert known["inception/kid"] == evaluation.kernel_distance
    for name in ("inception_unknown", "random", "self_trained"):
        names = dataclasses.replace(evaluation, extractor_name=name).scalars()
        assert not [scalar for scalar in names if "fid" in scalar.split("/")[1] or "kid" in scalar.split("/")[1]]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_blocks_in_which_images_are_drawn_do_not_matter(block: int, reference: Reference, paint: Paint) -> None:
    images = paint(30, 1)
    one, other = run(reference, images), run(reference, images, block=block)
    assert one.frechet_distance == pytest.approx(other.frechet_distance, rel=1e-5)
    assert (one.precision, one.recall) == (other.precision, other.recall)


def test_too_few_samples_are_one_line(reference: Reference, paint: Paint) -> None:
    with pytest.raises(ConfigError, match="3 images are too few for 3 neighbours of each"):
        run(reference, paint(3, 1))


def test_another_extractor_or_resolution_is_refused(reference: Reference, paint: Paint) -> None:
    with pytest.raises(ConfigError, match=r"another extractor \(random, seed 0\) than the samples \(random, seed 1\)"):
        evaluate(draw_from(paint(9, 1)), reference, RandomExtractor(1), count=9, sampling=SAMPLING)
    with pytest.raises(ConfigError, match="samples are 64 × 64 pixels, and the reference's images 32"):
        run(reference, paint(9, 1, 64))


def test_a_reference_is_computed_once(
    tmp_path: Path, reference: Reference, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, pixels: Pixels) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(RandomExtractor, "features", fail)
    again = open_reference(tmp_path, split, RandomExtractor(), neighbours=3)
    assert (again.note, again.digest) == (reference.note, reference.digest)
    np.testing.assert_array_equal(again.gaussian.covariance, reference.gaussian.covariance)
    np.testing.assert_array_equal(again.features, reference.features)


def test_each_choice_has_a_reference_of_its_own(tmp_path: Path, split: Split, pack: Pack, paint: Paint) -> None:
    fewer = split.sample(30)
    others = Split.whole("waves/clean", pack(paint(60, 0), "another digest"))
    digests = {
        open_reference(tmp_path, which, extractor, neighbours=neighbours).digest
        for which, extractor, neighbours in (
            (split, RandomExtractor(), 3),
            (fewer, RandomExtractor(), 3),
            (others, RandomExtractor(), 3),
            (split, RandomExtractor(1), 3),
            (split, RandomExtractor(), 4),
        )
    }
    assert len(digests) == len(list(tmp_path.iterdir())) == 5


def test_a_damaged_reference_is_refused(tmp_path: Path, reference: Reference, split: Split) -> None:
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    for damaged in (bytes(content), bytes(content[:50]), b""):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="cannot be read"):
            open_reference(tmp_path, split, RandomExtractor(), neighbours=3)


@given(st.integers(1, 80), st.integers(0, 2**32), st.floats(0, 1))
def test_parts_of_a_split_are_disjoint_and_complete(count: int, seed: int, share: float) -> None:
    images = PackedImages([np.zeros((100, 2, 2, 3), np.uint8)], 2, "digest")
    whole = Split.whole("set", images).sample(count, seed)
    kept, held_out = whole.part(share, seed)
    assert len(whole) == count
    assert sorted([*kept.indices, *held_out.indices]) == whole.indices.tolist()
    assert len(held_out) == round(share * count)
    assert held_out.name == "set, held out"


def test_a_split_yields_its_images_in_order(split: Split, paint: Paint) -> None:
    chosen = split.sample(25, seed=3)
    np.testing.assert_array_equal(np.concatenate(list(chosen.blocks(7))), paint(60, 0)[chosen.indices])
