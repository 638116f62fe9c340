"""De-duplication through its front door: python -m dedup.run, on a real LMDB, in processes of its own."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from axe import assert_presentable, open_browser
from dedup_set import PICTURES, PlantedSet, finish, outputs_below, picture, run, start

from pipelines.images import decode
from pipelines.manifest import Manifest
from pipelines.shards import read_shard
from pipelines.store import hash_file

STAGES = ["thumbnails", "encoder", "codes", "search", "candidates", "pairs", "groups", "clean"]


def report_of(root: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads((root / "report.json").read_bytes())
    return report


def without_clocks(root: Path) -> dict[str, object]:
    return {name: value for name, value in report_of(root).items() if name != "stages"}


def test_every_record_ends_in_exactly_one_place(clean_run: Path, planted: PlantedSet) -> None:
    kept = [record.key for path in Manifest.load(clean_run / "clean").paths(".tar") for record in read_shard(path)]
    dropped = pq.read_table(clean_run / "duplicates.parquet")["key"].to_pylist()
    rejected = pq.read_table(clean_run / "rejected.parquet")["key"].to_pylist()
    assert sorted(kept + dropped + rejected) == sorted(planted.values)
    report = report_of(clean_run)
    assert [report[name] for name in ("read", "kept", "dropped", "rejected")] == [
        len(planted.values),
        len(kept),
        len(dropped),
        len(rejected),
    ]


def test_clean_shards_hold_the_sources_own_bytes_and_say_what_they_are(clean_run: Path, planted: PlantedSet) -> None:
    manifest = Manifest.load(clean_run / "clean")
    for tar in manifest.paths(".tar"):
        rows = pq.read_table(tar.with_suffix(".parquet")).to_pylist()
        for record, row in zip(read_shard(tar), rows, strict=True):
            assert record.image == planted.values[record.key]
            assert row["source"] == "lmdb:set_lmdb"
            assert (row["height"], row["width"]) == decode(record.image).shape[:2]
            assert row["size_bytes"] == len(record.image)
            assert row["group_size"] >= 1


def test_planted_copies_are_found_and_no_two_pictures_are_mixed(clean_run: Path) -> None:
    truth = report_of(clean_run)["truth"]
    assert isinstance(truth, dict)
    assert truth["across"] == []
    assert truth["by_kind"]["exact"] == {"planted": 5, "found": 5}
    assert truth["by_kind"]["mirror"] == {"planted": 5, "found": 5}
    assert truth["recall"] >= 0.9


def test_flat_pictures_are_grouped_by_exact_bytes_only(clean_run: Path) -> None:
    rows = {row["key"]: row for row in pq.read_table(clean_run / "duplicates.parquet").to_pylist()}
    blank = rows.pop("e" * 39 + "f")
    assert (blank["kept_key"], blank["rule"], blank["distance"]) == ("e" * 40, "same_bytes", 0)
    assert not {"e" * 40, "f" * 40} & {*rows, *(row["kept_key"] for row in rows.values())}
    assert report_of(clean_run)["flat"] == 3


def test_rejected_values_carry_a_reason(clean_run: Path) -> None:
    reasons = {row["key"][-1]: row["reason"] for row in pq.read_table(clean_run / "rejected.parquet").to_pylist()}
    assert reasons == {"0": "empty", "1": "not_an_image", "2": "truncated"}


def test_keeper_is_the_largest_then_the_heaviest_then_the_first(clean_run: Path, planted: PlantedSet) -> None:
    for row in pq.read_table(clean_run / "duplicates.parquet").to_pylist():
        order = [(-len(planted.values[key]), key) for key in (row["kept_key"], row["key"])]
        assert order == sorted(order)  # all pictures of a group have one size here


def test_report_names_encoder_and_fingerprint(clean_run: Path) -> None:
    report = report_of(clean_run)
    assert report["encoder"] == {
        "origin": "shipped",
        "fitted_to": 0,
        "sha256": hash_file(clean_run / "encoder" / "encoder.safetensors"),
    }
    assert report["fingerprint"] == Manifest.load(clean_run / "clean").fingerprint
    assert list(report["stages"]) == STAGES  # type: ignore[call-overload]


def test_every_manifest_after_the_encoder_says_which_it_was(clean_run: Path) -> None:
    encoder = Manifest.load(clean_run / "encoder")
    for stage in ("codes", "pairs", "groups", "clean"):
        assert Manifest.load(clean_run / stage).lineage["encoder"] == encoder.digest
    assert "encoder" not in Manifest.load(clean_run / "thumbnails").lineage


def test_two_workers_end_with_the_same_bytes(clean_run: Path, planted: PlantedSet, tmp_path: Path) -> None:
    result = run(tmp_path, planted.lmdb, "--workers", "2", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert outputs_below(tmp_path / "set") == outputs_below(clean_run)
    assert without_clocks(tmp_path / "set") == without_clocks(clean_run)


def test_the_source_is_not_touched(clean_run: Path, planted: PlantedSet) -> None:
    assert [path.name for path in planted.lmdb.iterdir()] == ["data.mdb"]


@pytest.fixture
def copied_run(clean_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(clean_run, tmp_path / "set")
    return tmp_path / "set"


def test_a_second_run_does_nothing(copied_run: Path, planted: PlantedSet) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied_run.glob("*/*") if path.parent.name != "report"}
    result = run(copied_run.parent, planted.lmdb, "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert result.stderr.count("done already") == len(STAGES)


def test_a_changed_option_runs_again_what_depends_on_it(copied_run: Path, planted: PlantedSet) -> None:
    def stamps(*stages: str) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for stage in stages for path in (copied_run / stage).glob("*.*")}

    upstream, matched = stamps("thumbnails", "encoder", "codes"), stamps("candidates")
    plan = run(copied_run.parent, planted.lmdb, "--radius", "3", "--dry-run")
    assert "codes        done already" in plan.stdout
    assert "search       would run 1 of 1 tasks" in plan.stdout
    assert run(copied_run.parent, planted.lmdb, "--radius", "3").returncode == 0
    assert stamps("thumbnails", "encoder", "codes") == upstream
    assert stamps("candidates") != matched
    assert run(copied_run.parent, planted.lmdb, "--encoder", "fitted", "--steps", "5").returncode == 0
    assert stamps("thumbnails").items() <= upstream.items()
    assert not stamps("encoder").items() <= upstream.items()


def test_killed_at_any_instant_it_resumes_to_the_same_bytes(
    clean_run: Path, planted: PlantedSet, tmp_path: Path
) -> None:
    moments = random.Random(0)
    for stage in ("thumbnails", "codes", "candidates", "groups", "clean"):
        process = start(tmp_path, planted.lmdb, "--workers", "2", "--truth", str(planted.truth))
        while not (tmp_path / "set" / stage).exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        finish(process)
    result = run(tmp_path, planted.lmdb, "--workers", "2", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert outputs_below(tmp_path / "set") == outputs_below(clean_run)
    assert without_clocks(tmp_path / "set") == without_clocks(clean_run)


def test_a_second_run_at_once_fails_and_names_the_holder(planted: PlantedSet, tmp_path: Path) -> None:
    first = start(tmp_path, planted.lmdb)
    while not (tmp_path / "set" / ".lock-holder").exists() and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    second = run(tmp_path, planted.lmdb)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"process {first.pid} since" in second.stderr
    assert finish(first).returncode == 0


def test_ctrl_c_says_how_to_go_on(planted: PlantedSet, tmp_path: Path) -> None:
    process = start(tmp_path, planted.lmdb)
    while not (tmp_path / "set" / ".lock-holder").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert result.returncode == 130
    assert "the same command goes on where it was" in result.stderr
    assert "Traceback" not in result.stderr


def test_paper_profile_drops_equal_codes_alone(planted: PlantedSet, tmp_path: Path) -> None:
    result = run(tmp_path, planted.lmdb, "--profile", "paper", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    rows = pq.read_table(tmp_path / "set" / "duplicates.parquet").to_pylist()
    assert {row["rule"] for row in rows} <= {"equal_codes", "same_bytes"}
    assert {row["distance"] for row in rows} == {0}
    report = report_of(tmp_path / "set")
    assert report["truth"]["by_kind"]["exact"]["found"] == 5  # type: ignore[index]


@pytest.fixture(scope="module")
def calibrated_run(clean_run: Path, planted: PlantedSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data set's folder after a run with ``--calibrate``, and what that said."""
    folder = tmp_path_factory.mktemp("calibrated") / "set"
    shutil.copytree(clean_run, folder)
    result = run(folder.parent, planted.lmdb, "--calibrate", "--false-rate", "0.05")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_calibration_measures_on_the_users_own_images(calibrated_run: tuple[Path, str]) -> None:
    folder, said = calibrated_run
    report = report_of(folder)
    calibration = report["calibration"]
    assert isinstance(calibration, dict)
    assert calibration["false_rate"] == 0.05
    assert calibration["radius"] == report["radius"]
    assert calibration["sample"] == PICTURES + 20  # all that have a code: the set is smaller than a sample
    assert calibration["planted"] == 13 * calibration["sample"]
    assert f"calibration: {calibration['recall']:.1%} of {calibration['planted']:,} planted" in said
    page = (folder / "report" / "index.html").read_text()
    assert "Measured on this data" in page
    assert "crop10" in page


def test_the_page_of_a_calibration_is_presentable(calibrated_run: tuple[Path, str]) -> None:
    with open_browser() as browser:
        assert_presentable(browser, calibrated_run[0] / "report" / "index.html")


def test_dry_run_makes_nothing(planted: PlantedSet, tmp_path: Path) -> None:
    result = run(tmp_path, planted.lmdb, "--dry-run")
    assert result.returncode == 0
    assert "thumbnails   would run" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--source", "ftp:somewhere"], "names no source"),
        (["--source", "lmdb:/nowhere"], "no LMDB at /nowhere"),
        (["--profile", "best"], "there are paper, default"),
        (["--keep", "nicest"], "--keep is 'nicest'"),
        (["--prefer", "nobody"], "--prefer nobody is none of the sources"),
        (["--encoder", "none"], "--encoder is 'none'"),
        (["--profile", "paper", "--encoder", "shipped"], "no encoder of profile paper ships"),
        (["--profile", "paper", "--radius", "3"], "takes equal codes and no --radius"),
        (["--truth", "/nowhere.csv"], "no truth table at /nowhere.csv"),
        (["--wrong"], "No such option: --wrong"),
    ],
)
def test_wrong_options_get_one_line_and_a_hint(
    planted: PlantedSet, tmp_path: Path, options: list[str], says: str
) -> None:
    result = run(tmp_path, None if "--source" in options else planted.lmdb, *options)
    assert result.returncode != 0
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 2
    assert not (tmp_path / "set").exists()


def test_a_source_without_usable_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "page.jpg").write_bytes(b"<html>")
    result = run(tmp_path, None, "--source", f"folder:{tmp_path / 'images'}")
    assert result.returncode == 1
    assert "no image of the source can be used" in result.stderr


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_one_clear_line_and_a_resume_finishes(
    clean_run: Path, planted: PlantedSet, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=300k none {disk} 2>/dev/null"):
        pytest.skip("this machine allows no mounts")
    try:
        result = run(disk, planted.lmdb)
        assert result.returncode == 1
        assert result.stderr.splitlines()[-2].startswith("error: no space left on the disk of")
        assert "Traceback" not in result.stderr
        os.system(f"mount -o remount,size=64m {disk}")
        assert run(disk, planted.lmdb, "--truth", str(planted.truth)).returncode == 0
        assert outputs_below(disk / "set") == outputs_below(clean_run)
    finally:
        os.system(f"umount {disk}")


def test_a_source_that_changed_between_the_passes_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(6):
        picture(seed).save(folder / f"{seed}.png")
    options = ("--source", f"folder:{folder}", "--data-root", str(tmp_path))
    assert run(tmp_path, None, *options).returncode == 0
    victim = folder / "3.png"
    stat = victim.stat()
    content = bytearray(victim.read_bytes())
    content[-20] ^= 1
    victim.write_bytes(content)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    shutil.rmtree(tmp_path / "set" / "clean")
    result = run(tmp_path, None, *options)
    assert result.returncode == 1
    assert "the source folder:images changed while it was read (at key 3.png)" in result.stderr


def test_results_are_not_taken_for_their_own_source(copied_run: Path) -> None:
    result = run(copied_run.parent, None, "--source", f"shards:{copied_run / 'clean'}")
    assert result.returncode == 1
    assert "is what this run would write" in result.stderr
    assert Manifest.load(copied_run / "clean").records > 0


def test_clean_shards_are_a_source_again_without_duplicates(copied_run: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "again", None, "--source", f"shards:{copied_run / 'clean'}")
    assert result.returncode == 0, result.stderr
    report = report_of(tmp_path / "again" / "set")
    assert (report["dropped"], report["rejected"]) == (0, 0)
    assert report["kept"] == Manifest.load(copied_run / "clean").records
