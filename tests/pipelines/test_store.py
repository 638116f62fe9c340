import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import SLOW_NUMBERS, SumNumbers, WriteNumbers, jpeg, python_process, read_all, wait_until
from s3_server import s3, s3_root

from pipelines import cache, lease
from pipelines.cache import Cache, open_cache
from pipelines.errors import ConfigError, DatasetLocked, IntegrityError, StorageError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record
from pipelines.run import find_differences
from pipelines.shards import ShardWriter, read_records, remove_records
from pipelines.sources import open_source
from pipelines.stage import busy_seconds, dataset_lock, plan_stage, run_stage
from pipelines.store import File, Folder, LocalFolder, local_path, open_root

__all__ = ["s3", "s3_root"]

ONE = LocalExecutor(1)


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return open_root(tmp_path / "root" if request.param == "disk" else request.getfixturevalue("s3_root"))


def described(name: str, content: bytes) -> File:
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def publish(folder: Folder, **files: bytes) -> tuple[File, ...]:
    folder.make()
    with folder.workspace("test") as out:
        for name, content in files.items():
            (out / name).write_bytes(content)
        return folder.publish(sorted(out.iterdir()))


def outputs(folder: Folder) -> dict[str, bytes]:
    """What a stage leaves for others; its entries hold times, which differ."""
    return folder.read_all(sorted(folder.sizes()))


def entries(folder: Folder) -> dict[str, bytes]:
    return outputs(folder / "tasks")


def test_a_folder_holds_what_was_put_there(root: Folder) -> None:
    folder = root / "a"
    assert (folder.name, str(folder)) == ("a", f"{root}/a")
    assert not folder.names()
    assert not folder.sizes()
    with pytest.raises(FileNotFoundError):
        folder.read("one")
    folder.write("one", b"1")
    folder.write("one", b"11")
    (folder / "deeper").write("two", b"222")
    assert folder.names() == {"one", "deeper"}
    assert folder.sizes() == {"one": 2}
    assert folder.read("one") == b"11"
    assert folder.read_all(["one", "none"]) == {"one": b"11"}
    assert folder.hash("one") == described("one", b"11").sha256
    assert root.holding("two") == [folder / "deeper"]
    folder.remove("one")
    folder.remove("one")
    assert folder.names() == {"deeper"}


def test_what_is_not_to_be_kept_goes(root: Folder) -> None:
    folder = root / "a"
    (folder / "tasks").make()
    publish(folder, one=b"1", two=b"2")
    (folder / "stray").write("three", b"3")
    (folder / "tasks").write("0.json", b"{}")
    folder.keep_only({"one", "tasks"})
    (folder / "tasks").keep_only(set())
    assert folder.names() == {"one", "tasks"}
    assert not (folder / "tasks").names()


def test_published_files_are_described_and_fetched(root: Folder) -> None:
    files = publish(root, one=b"1", two=b"22")
    assert files == (described("one", b"1"), described("two", b"22"))
    assert [path.read_bytes() for path in root.fetch(files)] == [b"1", b"22"]
    assert root.fetch([]) == []


@pytest.mark.parametrize(("text", "path"), [("data", "data"), ("/a/b", "/a/b"), ("file:///a/b%20c", "/a/b c")])
def test_paths_are_folders_of_this_machine(text: str, path: str) -> None:
    assert open_root(text) == open_root(Path(path)) == open_root(LocalFolder(Path(path))) == LocalFolder(Path(path))


def test_what_nothing_can_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match="nosuch://a"):
        open_root("nosuch://a")
    with pytest.raises(ConfigError, match="s3://bucket/a is not on a disk") as caught:
        local_path(open_root("s3://bucket/a/"))
    assert "--data-root" in caught.value.hint


def test_a_missing_bucket_is_told(s3: str) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere/a failed: .*bucket") as caught:
        open_root("s3://nowhere/a").write("one", b"1")
    assert "credentials" in caught.value.hint


def test_a_stage_leaves_the_same_bytes_everywhere(tmp_path: Path, s3_root: str) -> None:
    places = [open_root(tmp_path / "local"), open_root(s3_root)]
    for workers, place in enumerate(places, start=1):
        numbers = run_stage(WriteNumbers(), [], place, LocalExecutor(workers))
        run_stage(SumNumbers(), [numbers], place, ONE)
        assert busy_seconds(place, "numbers") > 0
    for stage in ("numbers", "sum"):
        here, there = (outputs(place / stage) for place in places)
        assert here == there


def test_a_second_run_does_nothing_and_what_is_missing_is_made_again(root: Folder) -> None:
    manifest = run_stage(WriteNumbers(), [], root, ONE)
    folder = root / "numbers"
    before, times = outputs(folder), entries(folder)
    assert Manifest.load(folder) == manifest
    assert run_stage(WriteNumbers(), [], root, ONE) == manifest
    assert entries(folder) == times
    folder.remove("00002.bin")
    with pytest.raises(IntegrityError, match="00002"):
        Manifest.load(folder)
    folder.write("stray", b"x")
    assert [task.name for task in plan_stage(WriteNumbers(), [], root).to_run] == ["00002"]
    run_stage(WriteNumbers(), [], root, ONE)
    assert outputs(folder) == before
    assert {name for name, entry in entries(folder).items() if entry != times[name]} == {"00002.json"}


def test_a_folder_of_somebody_else_is_not_swept(root: Folder) -> None:
    (root / "numbers").write("holiday.jpg", jpeg())
    with pytest.raises(ConfigError, match="numbers"):
        run_stage(WriteNumbers(), [], root, ONE)
    assert (root / "numbers").names() == {"holiday.jpg"}


def test_a_begun_folder_without_any_entry_is_ours(root: Folder) -> None:
    (root / "numbers" / "tasks").make()
    publish(root / "numbers", half=b"x")
    run_stage(WriteNumbers(), [], root, ONE)
    assert "half" not in (root / "numbers").names()


def test_parts_of_a_manifest(root: Folder) -> None:
    manifest = run_stage(WriteNumbers(), [], root, ONE)
    part = manifest.part("00003", "00001")
    assert [path.read_text() for path in part.paths(".txt")] == ["3", "1"]
    assert [part.shards[0].name for part in manifest.parts()] == [shard.name for shard in manifest.shards]
    assert manifest.path("00004.txt").read_text() == "4"
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        manifest.path("none.txt")


def write_shards(folder: Folder, name: str, keys: list[str]) -> Manifest:
    folder.make()
    with folder.workspace(name) as out:
        with ShardWriter(out, name) as writer:
            for key in keys:
                writer.add(Record(key, jpeg(len(key)), {"label": key}))
        shard = Shard(name, len(keys), folder.publish(sorted(out.iterdir())))
    manifest = Manifest(folder, "clean", "f", (shard,))
    manifest.save()
    return manifest


def test_shards_are_read_from_anywhere_and_records_removed(root: Folder) -> None:
    manifest = write_shards(root / "clean", "00000", ["a", "bb", "ccc"])
    assert [record.key for record in read_records(manifest)] == ["a", "bb", "ccc"]
    source = open_source(f"shards:{root / 'clean'}")
    assert source.name == "shards:clean"
    assert [record.meta["label"] for record in read_all(source)] == ["a", "bb", "ccc"]
    assert not list(find_differences(root / "clean"))
    remaining = remove_records(manifest, {"bb"})
    assert Manifest.load(root / "clean") == remaining
    assert [record.key for record in read_all(open_source(f"shards:{root / 'clean'}"))] == ["a", "ccc"]


def test_a_changed_file_is_found_by_whoever_reads_it(s3_root: str) -> None:
    folder = open_root(s3_root) / "clean"
    manifest = write_shards(folder, "00000", ["a"])
    for path in open_cache().folder.glob("??/*"):
        path.unlink()
    content = folder.read("00000.tar")
    folder.write("00000.tar", content[:-1] + b"x")
    assert list(find_differences(folder)) == [f"{folder}/00000.tar"]
    with pytest.raises(IntegrityError, match=r"00000\.tar is not what its manifest says"):
        manifest.paths(".tar")
    assert not list(open_cache().folder.glob("??/.tmp-*"))


def test_many_may_fetch_a_file_at_once(s3_root: str) -> None:
    folder = open_root(s3_root)
    files = publish(folder, one=os.urandom(200_000))
    for path in open_cache().folder.glob("??/*"):
        path.unlink()
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: folder.fetch(files)[0].read_bytes(), range(12)))
    assert {described("one", content) for content in found} == set(files)


def test_the_cache_makes_room_but_not_of_what_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Cache(tmp_path)
    files = [described("a.bin", bytes([number]) * 1000) for number in range(6)]
    now = time.time()
    for number, file in enumerate(files):
        path = store.bring(file, lambda path, number=number: path.write_bytes(bytes([number]) * 1000), "there")
        age_s = 0 if number == 0 else 2 * cache.KEPT_S - number
        os.utime(path, (now - age_s, now - age_s))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4000}))
    store.prune()
    assert [store.find(file) is not None for file in files] == [True, False, False, True, True, True]
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    store.prune()
    assert [store.find(file) is not None for file in files].count(True) == 4, "all were in use just now"


def test_a_lease_is_held_and_given_back(s3_root: str) -> None:
    folder = open_root(s3_root)
    with (
        dataset_lock(folder, "first"),
        pytest.raises(DatasetLocked, match=f"process {os.getpid()} of .*: first"),
        dataset_lock(folder, "second"),
    ):
        pass
    with pytest.raises(KeyError), dataset_lock(folder, "third"):
        raise KeyError
    with dataset_lock(folder, "fourth"):
        pass


def test_a_lease_without_a_sign_of_life_is_taken_over(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_root(s3_root)
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    folder.write(".lease-00000007", json.dumps({"alive_at": time.time() - 0.5, **HOLDER}).encode())
    with pytest.raises(DatasetLocked, match="process 1 of elsewhere since then: away") as caught:
        dataset_lock(folder, "me").__enter__()
    assert "had it been killed" in caught.value.hint
    time.sleep(0.6)
    with dataset_lock(folder, "me"), pytest.raises(DatasetLocked, match="me"), dataset_lock(folder, "another"):
        pass


HOLDER = {"pid": 1, "host": "elsewhere", "since": "then", "holder": "away", "token": "t"}


def test_who_lost_its_lease_stops(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_root(s3_root)
    monkeypatch.setattr(lease, "LEASE_S", 0.6)
    with pytest.raises(DatasetLocked, match="taken over"), dataset_lock(folder, "me"):
        folder.write(".lease-00000099", json.dumps({"alive_at": time.time(), **HOLDER}).encode())
        time.sleep(20)


def test_one_of_many_gets_the_lease(s3_root: str) -> None:
    held, refused, all_tried = [], [], threading.Barrier(6)

    def take(number: int) -> None:
        try:
            with dataset_lock(open_root(s3_root), str(number)):
                held.append(number)
                all_tried.wait(30)
        except DatasetLocked:
            refused.append(number)
            all_tried.wait(30)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(take, range(6)))
    assert (len(held), len(refused)) == (1, 5)


RUN = """
import sys, helpers
from pipelines import lease
lease.LEASE_S = 2.0
helpers.make_numbers(*sys.argv[1:])
"""


@contextmanager
def begun(root: str, workers: int) -> Iterator[None]:
    """A run of `SLOW_NUMBERS` in a process of its own, until the block kills it."""
    process = python_process(RUN, root, workers)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_killed_run_is_taken_over_and_goes_on(tmp_path: Path, s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_root(s3_root) / "numbers"
    with begun(s3_root, 2):
        assert wait_until(lambda: len(entries(folder)) >= 3)
    done = entries(folder)
    assert "manifest.json" not in folder.names()
    assert len(done) < SLOW_NUMBERS.count
    monkeypatch.setattr(lease, "LEASE_S", 2.0)
    with pytest.raises(DatasetLocked, match="make numbers"), dataset_lock(open_root(s3_root), "too soon"):
        pass
    time.sleep(2.1)
    with dataset_lock(open_root(s3_root), "the last run"):
        run_stage(SLOW_NUMBERS, [], open_root(s3_root), ONE)
    run_stage(SLOW_NUMBERS, [], tmp_path, ONE)
    assert outputs(folder) == outputs(LocalFolder(tmp_path / "numbers"))
    assert done.items() <= entries(folder).items(), "finished tasks were not repeated"
