"""``python -m dedup.audit``: copies hidden among samples, and the arithmetic of memorisation."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from axe import assert_presentable, open_browser
from dedup_set import picture
from helpers import encode
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_against import WHITE, Finished, call, encode_set

import dedup.audit
from dedup.comparison.memorisation import Nearness, judge

TRAINED, SAMPLED, HELD_OUT = range(120), range(500, 540), range(800, 860)


def copies() -> dict[str, bytes]:
    """Three altered copies of training pictures, and the keys of these in the names."""
    cropped = picture(44).crop((4, 3, 116, 93))
    return {
        "copy_of_21.jpg": encode(picture(21), "JPEG", quality=70),
        "copy_of_44.png": encode(cropped, "PNG"),
        "copy_of_93.png": encode(picture(93).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
    }


def write_pictures(folder: Path, seeds: range) -> None:
    folder.mkdir()
    for seed in seeds:
        picture(seed).save(folder / f"{seed:02d}.png")


def audit(folder: Path, *arguments: str) -> Finished:
    return call(dedup.audit, "set", *arguments, "--data-root", str(folder / "data"), "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training set, and samples: others, three copies, a white one and a broken one. Both kinds of audit."""
    folder = tmp_path_factory.mktemp("audit")
    for name, seeds in (("trained", TRAINED), ("samples", SAMPLED), ("real", HELD_OUT)):
        write_pictures(folder / name, seeds)
    for name, content in {**copies(), "white.png": WHITE, "broken.jpg": b"<html>"}.items():
        (folder / "samples" / name).write_bytes(content)
    encode_set(folder / "data" / "set", folder / "trained", shard_size=50)
    trained = ["--source", f"folder:{folder / 'trained'}"]
    for options in (["--held-out", str(folder / "real")], ["--name", "alone"]):
        result = audit(folder, str(folder / "samples"), *options, *trained)
        assert result.code == 0, result.err
    return folder


def rows_of(folder: Path, name: str) -> dict[str, dict[str, object]]:
    table = pq.read_table(folder / "data" / "set" / "audit" / name / "audit.parquet")
    return {row["key"]: row for row in table.to_pylist()}


def report_of(folder: Path, name: str) -> dict[str, object]:
    report: dict[str, object] = json.loads((folder / "data" / "set" / "audit" / name / "report.json").read_bytes())
    return report


@pytest.mark.parametrize("name", ["samples", "alone"])
def test_copies_are_found_and_other_samples_are_not_flagged(folder: Path, name: str) -> None:
    rows = rows_of(folder, name)
    assert {key for key, row in rows.items() if row["copy"]} == set(copies())
    for key in copies():
        assert rows[key]["reference_key"] == f"{key[8:10]}.png"
        assert rows[key]["nearer"]
    assert [key for key in copies() if rows[key]["mirrored"]] == ["copy_of_93.png"]
    assert {key for key, row in rows.items() if row["nearer"]} - set(copies()) <= {f"{seed}.png" for seed in SAMPLED}


def test_every_sample_has_a_row_and_those_that_cannot_be_compared_a_reason(folder: Path) -> None:
    rows = rows_of(folder, "samples")
    assert list(rows) == sorted([*copies(), "white.png", "broken.jpg", *(f"{seed}.png" for seed in SAMPLED)])
    assert {key: row["reason"] for key, row in rows.items() if row["reason"]} == {
        "broken.jpg": "not_an_image",
        "white.png": "flat",
    }
    assert all((row["score"] is None) == (row["reason"] is not None) for row in rows.values())


def test_the_report_says_what_the_samples_were_compared_with(folder: Path) -> None:
    report = report_of(folder, "samples")
    assert (report["read"], report["compared"], report["training_images"]) == (45, 43, 120)
    assert report["copies"] == 3
    assert report["held_out"] == {"images": 60, "copies": 0, "left_out": False}
    assert report["expected_share"] == round(1 / 61, 6)
    assert report["share"] == round(report["nearer"] / 43, 6)  # type: ignore[operator]
    low, high = report["interval"]  # type: ignore[misc]
    assert low < report["share"] < high
    left_out = report_of(folder, "alone")["held_out"]
    assert left_out["left_out"]  # type: ignore[index]
    assert 12 <= left_out["images"] <= 36  # type: ignore[index]


def test_the_page_marks_the_copies_and_shows_them_first(folder: Path) -> None:
    page = (folder / "data" / "set" / "audit" / "samples" / "report" / "index.html").read_text()
    assert page.count('<figure class="copy">') == 3
    assert page.rindex('<figure class="copy">') < page.index('<figure class="sample">')
    assert page.count("<svg") == 2
    assert 'class="thumb"' not in page


def test_the_page_is_presentable(folder: Path) -> None:
    with open_browser() as browser:
        assert_presentable(browser, folder / "data" / "set" / "audit" / "samples" / "report" / "index.html")


def test_a_second_audit_does_nothing(folder: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*/tasks/*")}

    before = stamps()
    table = (folder / "data" / "set" / "audit" / "alone" / "audit.parquet").read_bytes()
    result = audit(folder, str(folder / "samples"), "--name", "alone", "--source", f"folder:{folder / 'trained'}")
    assert result.code == 0, result.err
    assert stamps() == before
    assert (folder / "data" / "set" / "audit" / "alone" / "audit.parquet").read_bytes() == table


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/nowhere"], "'/nowhere' names no source"),
        (["folder:/nowhere"], "no folder at /nowhere"),
        (["{}/samples", "--held-out", "folder:/nowhere"], "no folder at /nowhere"),
        (["{}/samples", "--name", "a/b"], "'a/b' cannot name the result"),
        (["{}/white"], "no sample can be compared"),
    ],
)
def test_wrong_arguments_get_one_line_and_a_hint(folder: Path, arguments: list[str], says: str) -> None:
    (folder / "white").mkdir(exist_ok=True)
    (folder / "white" / "white.png").write_bytes(WHITE)
    result = audit(folder, *(argument.format(folder) for argument in arguments), "--quiet")
    assert result.code == 1
    assert says in result.err
    assert len(result.err.splitlines()) == 2


def nearness(values: list[tuple[float, int]]) -> Nearness:
    return Nearness(
        np.array([score for score, _ in values], np.float32), np.array([bits for _, bits in values], np.int64)
    )


places = st.tuples(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.875]), st.integers(0, 5))


@given(st.lists(places, min_size=1, max_size=300), st.lists(places, min_size=1, max_size=30))
def test_the_limit_is_a_held_out_image_and_few_of_them_are_nearer(
    held_out: list[tuple[float, int]], samples: list[tuple[float, int]]
) -> None:
    verdict = judge(nearness(samples), nearness(held_out))
    assert verdict.limit in held_out
    score, bits = verdict.limit
    assert sum((-s, b) < (-score, bits) for s, b in held_out) < max(1, 0.01 * (len(held_out) + 1))
    assert verdict.nearer.tolist() == [(-s, b) < (-score, bits) for s, b in samples]
    low, high = verdict.interval
    assert 0 <= low <= verdict.nearer.mean() <= high <= 1


def test_samples_like_held_out_images_are_nearer_as_often_as_expected() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        score = rng.normal(size=1500).astype(np.float32)
        both = Nearness(score[:500], np.zeros(500, np.int64)), Nearness(score[500:], np.zeros(1000, np.int64))
        verdict = judge(*both)
        shares.append(verdict.nearer.mean() - verdict.expected)
        assert verdict.expected == 10 / 1001
    assert abs(np.mean(shares)) < 0.002
