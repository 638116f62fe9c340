"""Calibration: what is planted is found again, what is near by chance is counted, and the radius follows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dedup_set import PlantedSet
from helpers import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dedup.autoencoder import DEFAULT
from dedup.calibration.chance import draw_pairs
from dedup.calibration.curve import draw_curve
from dedup.calibration.false_pairs import at_least, at_most, estimate_false
from dedup.calibration.figures import (
    Measured,
    calibration_summary,
    choose_radius,
    measure,
)
from dedup.calibration.stages import Calibration, CalibrationStage, ChanceStage, read_sample
from dedup.codes import hamming_distance, mirror_codes
from dedup.images import Images
from dedup.stages import CodeStage, EncoderStage
from dedup.thumbnails import ThumbnailStage
from dedup.verification.verify import THRESHOLD
from pipelines.errors import ConfigError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.planting import KINDS
from pipelines.sources import Source, open_source
from pipelines.stage import run_stage

ALONE = LocalExecutor(1)
SHARD_SIZE = 16


class Encoded:
    """A data set with codes, in a folder."""

    def __init__(self, root: Path, source: Source, shard_size: int) -> None:
        self.root, self.source, self.shard_size = root, source, shard_size
        self.thumbnails = run_stage(ThumbnailStage(source, shard_size), [], root, ALONE)
        self.encoder = run_stage(EncoderStage(DEFAULT, "shipped", "cpu"), [self.thumbnails], root, ALONE)
        self.codes = run_stage(CodeStage(), [self.thumbnails, self.encoder], root, ALONE)
        self.images = Images(self.thumbnails, self.codes)

    def calibrate(self, sample: int = 1000, seed: int = 0, workers: int = 1) -> tuple[Manifest, Manifest]:
        upstream = [self.thumbnails, self.encoder, self.codes]
        stage = CalibrationStage(self.source, self.shard_size, sample, seed)
        calibration = run_stage(stage, upstream, self.root, LocalExecutor(workers))
        return calibration, run_stage(ChanceStage(seed), [self.thumbnails, self.codes, calibration], self.root, ALONE)


@pytest.fixture(scope="module")
def encoded(planted: PlantedSet, tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    return Encoded(tmp_path_factory.mktemp("encoded"), open_source(f"lmdb:{planted.lmdb}"), SHARD_SIZE)


@pytest.fixture(scope="module")
def calibrated(encoded: Encoded) -> tuple[Manifest, Manifest]:
    return encoded.calibrate()


def tables(manifest: Manifest, suffix: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in manifest.paths(suffix)])


def contents(*manifests: Manifest) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for manifest in manifests for path in manifest.paths("")}


def test_every_kind_is_planted_into_every_textured_picture(
    encoded: Encoded, calibrated: tuple[Manifest, Manifest], planted: PlantedSet
) -> None:
    table = tables(calibrated[0], ".planted.parquet")
    textured = {key for key in planted.values if not key.startswith(("b", "e", "f"))}
    assert sorted(zip(table["key"].to_pylist(), table["kind"].to_pylist(), strict=True)) == sorted(
        (key, kind) for key in textured for kind in KINDS
    )
    assert calibrated[0].records == len(textured)
    rows = table.to_pylist()
    for row in rows:
        if row["kind"] == "exact":
            assert (row["distance"], row["mirrored"]) == (0, False)
            assert row["score"] >= THRESHOLD
        if row["kind"] in {"mirror", "grey", "brighten"}:
            assert row["distance"] < 56  # unrelated pictures lie about 60 bits apart
            assert row["mirrored"] == (row["kind"] == "mirror")
    assert np.mean([row["score"] >= THRESHOLD for row in rows]) > 0.9


def test_the_bytes_depend_neither_on_workers_nor_on_an_earlier_run(
    encoded: Encoded, calibrated: tuple[Manifest, Manifest], tmp_path: Path
) -> None:
    before = contents(*calibrated)
    other = Encoded(tmp_path, encoded.source, SHARD_SIZE)
    assert contents(*other.calibrate(workers=2)) == before
    assert contents(*encoded.calibrate()) == before


def test_a_sample_is_chosen_by_key_and_not_by_position(encoded: Encoded, tmp_path: Path) -> None:
    part = Encoded(tmp_path / "a", encoded.source, 16).calibrate(sample=20)[0]
    other = Encoded(tmp_path / "b", encoded.source, 7).calibrate(sample=20)[0]
    keys = read_sample(part)["key"].to_pylist()
    assert 5 < len(keys) < 40
    assert tables(part, ".planted.parquet") == tables(other, ".planted.parquet")
    again = Encoded(tmp_path / "a", encoded.source, 16).calibrate(sample=20, seed=1)[0]
    assert read_sample(again)["key"].to_pylist() != keys


def test_near_pairs_are_counted_exactly(encoded: Encoded, calibrated: tuple[Manifest, Manifest]) -> None:
    measured = measure(encoded.codes, *calibrated)
    numbers = np.arange(len(encoded.images))
    codes, ids = encoded.images.codes.take(numbers), encoded.images.ids.take(numbers)
    textured = np.flatnonzero(encoded.images.flat.take(numbers) == 0)
    a, b = (side.ravel() for side in np.meshgrid(textured, textured, indexing="ij"))
    told = ids[a] != ids[b]
    a, b = a[told], b[told]
    distance = np.minimum(hamming_distance(codes[a], codes[b]), hamming_distance(codes[a], mirror_codes(codes[b])))
    assert measured.compared == len(a)
    assert measured.near.tolist() == [np.count_nonzero(distance <= radius) for radius in range(65)]
    assert (measured.scored[:20] == measured.near[:20]).all()
    assert (measured.found <= measured.within).all()
    for rising in (measured.recall, measured.false, measured.false_at_most, measured.dropped):
        assert (np.diff(rising) >= -1e-9).all()
    assert (measured.false <= measured.false_at_most + 1e-9).all()
    # Every other picture has a copy of one of four kinds; the fourth part of them, of equal bytes, is no pair.
    assert 10 < measured.dropped[40] < 40


def test_figures_are_told_as_plain_numbers_and_drawn(encoded: Encoded, calibrated: tuple[Manifest, Manifest]) -> None:
    summary = calibration_summary(measure(encoded.codes, *calibrated), 24)
    assert json.loads(json.dumps(summary)) == summary
    assert list(summary["by_kind"]) == list(KINDS)
    exact = summary["by_kind"]["exact"]
    assert exact["planted"] == exact["within_radius"] == exact["found"] == summary["sample"]
    assert 0.9 < exact["recall_at_least"] < 1
    assert summary["expected_false"] <= summary["false_at_most"]
    svg = draw_curve(summary)
    assert svg.count("<polyline") == 4
    assert "nan" not in svg and "inf" not in svg


def test_equal_codes_alone_are_measured_without_verification(
    encoded: Encoded, calibrated: tuple[Manifest, Manifest]
) -> None:
    measured = measure(encoded.codes, *calibrated, threshold=None)
    assert (measured.found == measured.within).all()
    assert (measured.passed == measured.scored).all()


def test_a_set_of_flat_pictures_is_measured_as_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for level in (0, 120, 255):
        (folder / f"{level}.png").write_bytes(encode(Image.new("RGB", (40, 40), (level,) * 3), "PNG"))
    flat = Encoded(tmp_path / "out", open_source(f"folder:{folder}"), 2)
    measured = measure(flat.codes, *flat.calibrate())
    assert (measured.sample, measured.compared) == (0, 0)
    summary = calibration_summary(measured, choose_radius(measured, 0.01, candidates_per_image=4, most=24))
    assert summary["radius"] == 24
    assert "<svg" in draw_curve(summary)


@given(st.integers(0, 12), st.integers(0, 40), st.integers(0, 2**32), st.booleans(), st.floats(0, 300))
@settings(max_examples=25, deadline=None)
def test_pairs_are_drawn_by_their_draw_alone(first: int, second: int, seed: int, mirrored: bool, budget: float) -> None:
    rng = np.random.default_rng(seed)
    sample, others = (rng.integers(0, 256, (count, 16), np.uint8) for count in (first, second))
    unrelated = rng.random((first, second)) < 0.9
    pairs = draw_pairs(sample, others, unrelated, budget, np.random.default_rng(seed), mirrored=mirrored)
    everything = draw_pairs(
        sample, others, unrelated, first * second + 1, np.random.default_rng(seed), mirrored=mirrored
    )
    assert pairs.histogram.sum() == np.count_nonzero(unrelated)
    assert (pairs.histogram == everything.histogram).all()
    assert (everything.rates == 1).all()
    assert len(everything.first) == everything.histogram[:65].sum()
    assert unrelated[everything.first, everything.second].all()
    distance = hamming_distance(sample[everything.first], others[everything.second])
    if mirrored:
        distance = np.minimum(
            distance, hamming_distance(sample[everything.first], mirror_codes(others)[everything.second])
        )
    kept = {(a, b) for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}
    wanted = everything.draw < pairs.rates.astype(np.float32)[distance]
    assert kept == set(zip(everything.first[wanted].tolist(), everything.second[wanted].tolist(), strict=True))
    assert (np.diff(pairs.rates) <= 0).all()


def test_false_pairs_are_estimated_from_those_that_fail() -> None:
    covered = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores = np.concatenate([rng.exponential(0.1, 20_000), rng.uniform(0.9, 1, 300)])  # natural near-duplicates
        expected, bound = estimate_false(scores, 0.8)
        assert expected is not None and expected <= bound
        assert expected < 60
        covered.append(bound >= np.count_nonzero((scores >= 0.8) & (scores < 0.9)))
        assert estimate_false(rng.normal(0, 0.1, 20_000), 0.8)[1] < 1
    assert np.mean(covered) >= 0.9


def test_where_few_fail_all_that_pass_are_counted() -> None:
    expected, bound = estimate_false(np.array([0.1, 0.2, 0.9, 0.95]), 0.8)
    assert expected is None
    assert 2 < bound < 4
    assert estimate_false(np.zeros(0), 0.8) == (None, 0.0)


@given(st.integers(0, 200), st.integers(0, 200))
def test_bounds_are_exact(count: int, more: int) -> None:
    of = count + more
    low, high = at_least(count, of), at_most(count, of)
    assert 0 <= low <= (count / of if of else 1) <= high <= 1
    if of and not count:
        assert high == pytest.approx(1 - 0.05 ** (1 / of))
    if of and not more:
        assert low == pytest.approx(0.05 ** (1 / of))


def made_up(near: Sequence[float], false: Sequence[float], dropped: float) -> Measured:
    whole = np.array(near, np.int64)
    kinds = np.zeros((65, len(KINDS)), np.int64)
    return Measured(
        images=1000,
        sample=1000,
        compared=999_000,
        planted=dict.fromkeys(KINDS, 0),
        within=kinds,
        found=kinds,
        near=whole,
        scored=whole,
        passed=whole,
        false=np.array(false, float),
        false_at_most=np.array(false, float),
        dropped=np.full(65, dropped),
    )


@given(st.integers(0, 64), st.floats(1e-4, 0.5), st.floats(1e-4, 0.5), st.floats(0.1, 100))
def test_a_radius_is_as_wide_as_its_limits_allow(most: int, rate: float, other_rate: float, candidates: float) -> None:
    growth = 1.3 ** np.arange(65)
    measured = made_up(10 * growth, growth / 50, dropped=100)
    radius = choose_radius(measured, rate, candidates_per_image=candidates, most=most)
    assert 0 <= radius <= most
    if rate <= other_rate:
        assert radius <= choose_radius(measured, other_rate, candidates_per_image=candidates, most=most)
    if 0 < radius < most:
        false, near = measured.in_all(measured.false), measured.in_all(measured.near)
        assert false[radius] <= rate * 100 and near[radius] <= candidates * 1000
        assert false[radius + 1] > rate * 100 or near[radius + 1] > candidates * 1000
    assert choose_radius(replace(measured, dropped=np.full(65, 1e6)), 0.5, candidates_per_image=1e9, most=most) == most


def test_wrong_options_are_refused() -> None:
    for wrong in ({"sample": 0}, {"false_rate": 0.0}, {"false_rate": 1.0}):
        with pytest.raises(ConfigError):
            Calibration(**wrong)  # type: ignore[arg-type]
