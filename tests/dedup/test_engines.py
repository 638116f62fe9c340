"""Another engine, another storage: the same bytes, and a kill in the middle costs nothing."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
from dedup_set import PlantedSet, finish, outputs_below, run, start
from s3_server import s3, s3_root

from pipelines.lease import PREFIX
from pipelines.store import open_root

__all__ = ["s3", "s3_root"]


def copy_of(url: str, folder: Path) -> Path:
    """What stands below a URL, on this machine; names with a dot are the storage's own."""
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    prefix = url.removeprefix("s3://")
    for path in files.find(prefix):
        name = path.removeprefix(f"{prefix}/")
        if not name.rpartition("/")[2].startswith("."):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(files.cat_file(path))
    return folder


def give_up_leases(url: str) -> None:
    """Let the killed run's lease be as old as it would be a minute later."""
    folder = open_root(url) / "set"
    import s3fs

    for path in s3fs.S3FileSystem(skip_instance_cache=True).ls(str(folder).removeprefix("s3://"), detail=False):
        name = path.rpartition("/")[2]
        if name.startswith(PREFIX):
            folder.write(name, json.dumps({**json.loads(folder.read(name)), "alive_at": 0}).encode())


def test_ray_ends_with_the_same_bytes(clean_run: Path, planted: PlantedSet, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    result = run(tmp_path, planted.lmdb, "--executor", "ray", "--workers", "2", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert outputs_below(tmp_path / "set") == outputs_below(clean_run)


def test_a_data_root_on_s3_holds_the_same_bytes(
    clean_run: Path, planted: PlantedSet, s3_root: str, tmp_path: Path
) -> None:
    result = run(s3_root, planted.lmdb, "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert f"{s3_root}/set/report/index.html" in result.stdout
    assert outputs_below(copy_of(f"{s3_root}/set", tmp_path / "copy")) == outputs_below(clean_run)
    again = run(s3_root, planted.lmdb, "--truth", str(planted.truth))
    assert again.stderr.count("done already") == 8


def test_killed_on_s3_it_resumes_to_the_same_bytes(
    clean_run: Path, planted: PlantedSet, s3_root: str, tmp_path: Path
) -> None:
    for stage in ("thumbnails", "groups"):
        process = start(s3_root, planted.lmdb, "--workers", "2", "--truth", str(planted.truth))
        tasks = open_root(s3_root) / "set" / stage / "tasks"
        while not tasks.names() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        finish(process)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)  # the next run may be on another machine
        give_up_leases(s3_root)
    result = run(s3_root, planted.lmdb, "--workers", "2", "--truth", str(planted.truth))
    assert result.returncode == 0, result.stderr
    assert outputs_below(copy_of(f"{s3_root}/set", tmp_path / "copy")) == outputs_below(clean_run)
    report = json.loads((open_root(s3_root) / "set").read("report.json"))
    assert report["read"] == len(planted.values)
