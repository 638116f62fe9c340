"""``python -m dedup.against``: a test set with known contamination, through the front door."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from axe import assert_presentable, open_browser
from dedup_set import REPOSITORY, picture
from helpers import encode
from PIL import Image, ImageEnhance

import dedup.against
from dedup.encoder import DEFAULT, PAPER, EncoderConfig
from dedup.stages.encoding import CodeStage, EncoderStage, Origin
from dedup.thumbnails import ThumbnailStage
from pipelines.cli import run_app
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.shards import read_shard
from pipelines.sources import Member, SeveralSources, open_source
from pipelines.stage import run_stage

WHITE = encode(Image.new("RGB", (64, 64), "white"), "PNG")
COPIES = ("same.png", "recompressed.jpg", "brighter.png", "mirrored.png")
NEARLY_WHITE = encode(Image.new("RGB", (64, 64), (254, 254, 254)), "PNG")


def write_sets(folder: Path) -> None:
    """``train``: 30 pictures, a white one twice. ``test``: 8 others, 4 copies, the white one, a near-white, a page."""
    for name in ("train", "test"):
        (folder / name).mkdir()
    for seed in range(30):
        picture(seed).save(folder / "train" / f"{seed:02d}.png")
    for seed in range(100, 108):
        picture(seed).save(folder / "test" / f"other{seed}.png")
    copies = {
        "same.png": (folder / "train" / "03.png").read_bytes(),
        "recompressed.jpg": encode(picture(7), "JPEG", quality=60),
        "brighter.png": encode(ImageEnhance.Brightness(picture(11)).enhance(1.15), "PNG"),
        "mirrored.png": encode(picture(19).transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
        "white.png": WHITE,
        "nearly_white.png": NEARLY_WHITE,
        "broken.jpg": b"<html>",
    }
    for name, content in copies.items():
        (folder / "test" / name).write_bytes(content)
    (folder / "train" / "white.png").write_bytes(WHITE)
    (folder / "train" / "white_again.png").write_bytes(WHITE)


def encode_set(root: Path, images: Path, shard_size: int, config: EncoderConfig = DEFAULT) -> None:
    """Thumbnails, encoder and codes of a folder of images, as `dedup.run` leaves them."""
    source = SeveralSources((Member(open_source(f"folder:{images}")),))
    origin: Origin = "shipped" if config == DEFAULT else "fitted"
    thumbnails = run_stage(ThumbnailStage(source, shard_size), [], root, LocalExecutor(1))
    encoder = run_stage(EncoderStage(config, origin, "cpu"), [thumbnails], root, LocalExecutor(1))
    run_stage(CodeStage(), [thumbnails, encoder], root, LocalExecutor(1))


@dataclass(frozen=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def call(module: ModuleType, *arguments: str, content: bytes = b"") -> Finished:
    """What ``python -m MODULE ARGUMENTS`` does, in this process, which has imported torch already."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", [module.__name__, *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        with pytest.raises(SystemExit) as ended:
            run_app(module.app, f"python -m {module.__name__}")
    assert isinstance(ended.value.code, int)
    return Finished(ended.value.code, out.getvalue(), err.getvalue())


def against(folder: Path, *options: str, dataset: str = "test", other: str = "train") -> Finished:
    return call(dedup.against, dataset, "--reference", other, "--data-root", str(folder / "data"), *options)


def sources(folder: Path) -> list[str]:
    return ["--source", f"folder:{folder / 'test'}", "--reference-source", f"folder:{folder / 'train'}"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed comparison with ``--drop``. Tests only read it."""
    folder = tmp_path_factory.mktemp("against")
    write_sets(folder)
    command = [sys.executable, "-m", "dedup.against", "test", "--reference", "train", "--drop"]
    command += ["--data-root", str(folder / "data"), *sources(folder), "--workers", "1"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return folder


def result_of(folder: Path) -> Path:
    return folder / "data" / "test" / "against" / "train"


def test_copies_are_found_and_other_pictures_are_not(compared: Path) -> None:
    rows = {row["key"]: row for row in pq.read_table(result_of(compared) / "against.parquet").to_pylist()}
    assert {key: row["reference_key"] for key, row in rows.items()} == {
        "same.png": "03.png",
        "recompressed.jpg": "07.png",
        "brighter.png": "11.png",
        "mirrored.png": "19.png",
        "white.png": "white.png",
    }
    assert [key for key, row in rows.items() if row["mirrored"]] == ["mirrored.png"]
    assert [key for key, row in rows.items() if row["same_bytes"]] == ["same.png", "white.png"]
    assert rows["white.png"]["score"] is None
    assert rows["same.png"]["distance"] == 0
    assert {row["matches"] for row in rows.values()} == {1}


def test_the_report_counts_what_the_tables_hold(compared: Path) -> None:
    report = json.loads((result_of(compared) / "report.json").read_bytes())
    assert (report["images"], report["matched"], report["reference_images"]) == (14, 5, 32)
    assert report["share"] == round(5 / 14, 6)
    assert report["matched_by_rule"] == {"same_bytes": 2, "near": 2, "near_mirrored": 1}
    assert [report[name] for name in ("read", "kept", "dropped", "rejected")] == [15, 9, 5, 1]
    assert report["rejected_by_reason"] == {"not_an_image": 1}
    rejected = pq.read_table(result_of(compared) / "rejected.parquet").to_pylist()
    assert [(row["key"], row["reason"]) for row in rejected] == [("broken.jpg", "not_an_image")]


def test_clean_shards_hold_the_rest_byte_for_byte(compared: Path) -> None:
    records = [
        record for tar in Manifest.load(result_of(compared) / "clean").paths(".tar") for record in read_shard(tar)
    ]
    assert {record.key for record in records} == {
        "nearly_white.png",
        *(f"other{seed}.png" for seed in range(100, 108)),
    }
    assert all(record.image == (compared / "test" / record.key).read_bytes() for record in records)


def test_the_page_shows_each_pair_from_the_sources_bytes(compared: Path) -> None:
    page = (result_of(compared) / "report" / "index.html").read_text()
    assert page.count('<div class="pair">') == 5
    assert page.index("same.png") < page.index("recompressed.jpg")
    assert 'class="thumb"' not in page


def test_the_page_is_presentable(compared: Path) -> None:
    with open_browser() as browser:
        assert_presentable(browser, result_of(compared) / "report" / "index.html")


def test_a_second_run_does_nothing_and_changes_nothing(compared: Path) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in compared.rglob("*/tasks/*")}

    before = stamps()
    result = against(compared, "--drop", *sources(compared))
    assert result.code == 0, result.err
    assert stamps() == before
    assert "would" not in result.err


def test_codes_of_profile_paper_are_not_used_and_stay_as_they_are(compared: Path, tmp_path: Path) -> None:
    write_sets(tmp_path)
    encode_set(tmp_path / "data" / "train", tmp_path / "train", 8, replace(PAPER, steps=5))
    codes = tmp_path / "data" / "train" / "codes" / "manifest.json"
    before = codes.read_bytes()
    result = against(tmp_path, *sources(tmp_path), "--workers", "2")
    assert result.code == 0, result.err
    assert codes.read_bytes() == before
    tables = [pq.read_table(result_of(folder) / "against.parquet") for folder in (compared, tmp_path)]
    assert tables[0].equals(tables[1])


def test_a_set_that_has_an_encoder_lends_it_to_the_other(tmp_path: Path) -> None:
    write_sets(tmp_path)
    encode_set(tmp_path / "data" / "train", tmp_path / "train", 8, replace(DEFAULT, steps=5))
    encoder = Manifest.load(tmp_path / "data" / "train" / "encoder")
    result = against(tmp_path, *sources(tmp_path))
    assert result.code == 0, result.err
    assert Manifest.load(result_of(tmp_path) / "codes").lineage["encoder"] == encoder.digest
    assert not (result_of(tmp_path) / "reference" / "codes").exists()
    keys = pq.read_table(result_of(tmp_path) / "against.parquet")["key"].to_pylist()
    assert {"same.png", "white.png", "recompressed.jpg"} <= set(keys) <= {*COPIES, "white.png"}


def test_the_same_without_the_sources_shows_thumbnails(compared: Path, tmp_path: Path) -> None:
    write_sets(tmp_path)
    assert against(tmp_path, *sources(tmp_path)).code == 0
    for name in ("train", "test"):
        (tmp_path / name).rename(tmp_path / f"{name}_is_gone")
    result = against(tmp_path)
    assert result.code == 0, result.err
    assert 'class="thumb"' in (result_of(tmp_path) / "report" / "index.html").read_text()
    tables = [pq.read_table(result_of(folder) / "against.parquet") for folder in (compared, tmp_path)]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    ("options", "dataset", "other", "says"),
    [
        ([], "test", "test", "test cannot be compared with itself"),
        ([], "nobody", "train", "no data set is called 'nobody'"),
        (["--source", "folder:/nowhere"], "other", "train", "no folder at /nowhere"),
        (["--radius", "99"], "test", "train", "the radius is 99 bits"),
    ],
)
def test_wrong_options_get_one_line_and_a_hint(
    tmp_path: Path, options: list[str], dataset: str, other: str, says: str
) -> None:
    result = against(tmp_path, *options, "--quiet", dataset=dataset, other=other)
    assert result.code == 1
    assert says in result.err
    assert len(result.err.splitlines()) == 2


def test_a_source_that_is_not_the_one_it_was_made_of_is_an_error(compared: Path, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    picture(1).save(tmp_path / "test" / "one.png")
    result = against(compared, "--quiet", "--source", f"folder:{tmp_path / 'test'}")
    assert result.code == 1
    assert "is not as it was when" in result.err
