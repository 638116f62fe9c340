"""Publishing: what strangers get is what was kept, whole or not at all, and nothing of this machine."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from helpers import hashes_below, jpeg, python_process, wait_until
from hub_server import TOKEN, Hub, Repository, serve_hub

from pipelines.cli import run_app
from pipelines.manifest import Manifest, Shard
from pipelines.record import Record, Scalar
from pipelines.run import app
from pipelines.shards import ShardWriter
from pipelines.store import File, LocalFolder, hash_file

REPOSITORY = Path(__file__).parents[2]
CARD = "---\npretty_name: rooms\nconfigs:\n- config_name: default\n  data_files: data/*.tar\n---\n\n# rooms\n\n{}\n"
SHARDS, PER_SHARD = 3, 8


def write_stage(folder: Path, name: str, shards: list[Shard], lineage: dict[str, str]) -> Manifest:
    manifest = Manifest(
        LocalFolder(folder / name), name, hashlib.sha256(name.encode()).hexdigest(), tuple(shards), lineage
    )
    manifest.save()
    return manifest


def write_finished(root: Path, shards: int = SHARDS, seed: int = 0) -> Path:
    """What de-duplication leaves of a set that is published: two stages, the report's figures, the card."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "clean").mkdir(parents=True)
    (root / "groups").mkdir()
    for name in ("duplicates.parquet", "rejected.parquet"):
        pq.write_table(pa.table({"key": ["x"], "seed": [seed]}), root / "groups" / name)
    (root / "groups" / "grouped.npy").write_bytes(b"numbers")
    tables = tuple(File.of(path) for path in sorted((root / "groups").iterdir()))
    groups = write_stage(root, "groups", [Shard("groups", 1, tables)], {})
    done = []
    for number in range(shards):
        name = f"{number:05d}"
        with ShardWriter(root / "clean", name) as writer:
            for place in range(PER_SHARD):
                image = jpeg(seed * 1000 + number * PER_SHARD + place)
                record = Record(f"a b/{number}.{place}.é", image, metadata(number, place))
                writer.add(record, source="lmdb:rooms", sha256=hashlib.sha256(image).hexdigest())
        (root / "clean" / f"{name}.previews").write_bytes(b"small pictures")
        files = tuple(File.of(path) for path in sorted((root / "clean").glob(f"{name}.*")))
        done.append(Shard(name, writer.records, files))
    clean = write_stage(root, "clean", done, {"groups": groups.digest})
    (root / "report.json").write_text(json.dumps({"fingerprint": clean.fingerprint, "kept": clean.records}))
    (root / "card.md").write_text(CARD.format(clean.fingerprint), encoding="utf-8")
    return root


def metadata(number: int, place: int) -> dict[str, Scalar]:
    """None in the second shard; elsewhere a field that is empty first, one of two types, and one that comes late."""
    if number == 1:
        return {}
    late: dict[str, Scalar] = {"late: #": 2**70} if place == 7 else {}
    return {"licence": "CC0" if place > 5 else None, "rank": place if place % 2 else f"{place}th", "size": 1.5, **late}


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    write_finished(tmp_path / "me" / "rooms")
    return tmp_path / "me"


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "CLEANSHARDS", "FORCE_C"))}
    paths = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    offline = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | offline | {"PYTHONPATH": paths, "NO_PROXY": "127.0.0.1", "NO_COLOR": "1", "COLUMNS": "200"} | more


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


class Publishing:
    """``python -m pipelines.run publish`` in a folder of its own; as another process where it speaks to the Hub."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("COLUMNS", "200")

    def run(self, *arguments: object, **more: str) -> Ended:
        words = ["publish", *map(str, arguments), "--data-root", str(self.folder / "me")]
        if more:
            command = [sys.executable, "-m", "pipelines.run", *words]
            process = subprocess.run(
                command, env=environment(self.folder, **more), capture_output=True, text=True, timeout=120, check=False
            )
            return Ended(process.returncode, process.stdout, process.stderr)
        self.monkeypatch.setattr(sys, "argv", ["pipelines.run", *words])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, "python -m pipelines.run")
        return Ended(int(ended.value.code or 0), *self.capsys.readouterr())

    def __call__(self, *arguments: object, **more: str) -> str:
        """What a command that ends well says."""
        done = self.run(*arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: object, **more: str) -> str:
        """The one line that a command ends with, and its hint."""
        done = self.run(*arguments, **more)
        lines = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
        assert done.returncode == 1 and len(lines) == 2 and "Traceback" not in done.stderr, done.stderr
        return " ".join(lines)


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Publishing:
    return Publishing(tmp_path, monkeypatch, capsys)


LOAD = """
import hashlib, json, sys, datasets
datasets.disable_progress_bars()
found = []
for streaming in (False, True):
    rows = datasets.load_dataset(sys.argv[1], split="train", streaming=streaming, cache_dir=sys.argv[2])
    rows = rows.cast_column("jpg", datasets.Image(decode=False))
    found.append([(row["__key__"], hashlib.sha256(row["jpg"]["bytes"]).hexdigest(), row["json"]) for row in rows])
    size = next(iter(rows.cast_column("jpg", datasets.Image())))["jpg"].size
print(json.dumps([*found, size]))
"""


def test_load_dataset_gives_the_same_keys_and_bytes(tmp_path: Path, data_root: Path, publish: Publishing) -> None:
    publish("rooms", "--to", "out")
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    loaded = subprocess.run(
        [sys.executable, "-c", LOAD, str(moved), str(tmp_path / "cache")],
        env=environment(tmp_path, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stderr
    rows, streamed, size = json.loads(loaded.stdout)
    kept = pa.concat_tables(
        pq.read_table(path, columns=["key", "sha256"]) for path in sorted((data_root / "rooms/clean").glob("*.parquet"))
    ).to_pylist()
    assert rows == streamed
    assert [(unquote(key), sha256) for key, sha256, _ in rows] == [(row["key"], row["sha256"]) for row in kept]
    assert size == [24, 20]
    empty = {"late: #": None, "licence": None, "size": 1.5}
    assert [meta for _, _, meta in rows[:2]] == [{**empty, "rank": "0th"}, {**empty, "rank": "1"}]
    assert rows[7][2] == {"late: #": str(2**70), "licence": "CC0", "rank": "7", "size": 1.5}
    assert rows[PER_SHARD][2] is None


def test_folder_holds_card_shards_and_tables_and_no_path_of_this_machine(
    tmp_path: Path, data_root: Path, publish: Publishing
) -> None:
    said = publish("rooms", "--to", "out")
    out, clean = tmp_path / "out", data_root / "rooms" / "clean"
    assert f"{SHARDS * PER_SHARD} images in out" in said
    names = {f"data/0000{n}.{suffix}" for n in range(SHARDS) for suffix in ("tar", "parquet")}
    found = hashes_below(out)
    assert set(found) == names | {
        *("README.md", "SHA256SUMS", "data/manifest.json", "duplicates.parquet", "rejected.parquet")
    }
    assert all(found[name] == hash_file(clean / name.removeprefix("data/")) for name in names)
    assert all(found[table] == hash_file(data_root / "rooms/groups" / table) for table in ("duplicates.parquet",))
    assert (out / "data/00000.tar").samefile(clean / "00000.tar")
    sums = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert sums.returncode == 0
    assert Manifest.load(out / "data").records == SHARDS * PER_SHARD
    card = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    assert card["dataset_info"]["features"][1] == {
        "name": "json",
        "struct": [
            {"name": "late: #", "dtype": "string"},
            {"name": "licence", "dtype": "string"},
            {"name": "rank", "dtype": "string"},
            {"name": "size", "dtype": "float64"},
        ],
    }
    for path in out.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path


def test_metadata_that_is_a_path_of_this_machine_is_refused(tmp_path: Path, publish: Publishing) -> None:
    root = write_finished(tmp_path / "me" / "rooms", shards=1)
    lineage = dict(Manifest.load(root / "clean").lineage)
    with ShardWriter(root / "clean", "00000") as writer:
        writer.add(Record("k", jpeg(), {"taken_from": f"{tmp_path}/holiday/1.jpg"}))
    files = tuple(File.of(path) for path in sorted((root / "clean").glob("00000.*")))
    clean = write_stage(root, "clean", [Shard("00000", 1, files)], lineage)
    (root / "report.json").write_text(json.dumps({"fingerprint": clean.fingerprint, "kept": 1}))
    refused = publish.refused("rooms", "--to", "out")
    assert "the metadata 'taken_from' of image k would show a path of this machine" in refused
    assert not (tmp_path / "out").exists()


def test_publishing_again_changes_nothing_and_a_newer_set_replaces_it(
    tmp_path: Path, data_root: Path, publish: Publishing
) -> None:
    publish("rooms", "--to", "out")
    before = hashes_below(tmp_path / "out")
    stood = (tmp_path / "out/README.md").stat()
    assert "as they were already" in publish("rooms", "--to", "out")
    assert (tmp_path / "out/README.md").stat() == stood

    (tmp_path / "out/data/00001.tar").unlink()  # a hard link: the clean shard stays
    publish("rooms", "--to", "out", "--quiet")
    assert hashes_below(tmp_path / "out") == before

    write_finished(data_root / "rooms", shards=2, seed=1)
    publish("rooms", "--to", "out")
    after = hashes_below(tmp_path / "out")
    assert "data/00002.tar" not in after and after["data/00000.tar"] != before["data/00000.tar"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_shards_are_copied_where_the_disk_knows_no_hard_links(
    tmp_path: Path, data_root: Path, publish: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    publish("rooms", "--to", "linked")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    publish("rooms", "--to", "copied")
    assert hashes_below(tmp_path / "copied") == hashes_below(tmp_path / "linked")
    assert not (tmp_path / "copied/data/00000.tar").samefile(data_root / "rooms/clean/00000.tar")


def test_killed_between_two_renames_the_older_folder_comes_back(
    tmp_path: Path, data_root: Path, publish: Publishing
) -> None:
    publish("rooms", "--to", "out")
    (tmp_path / "out").rename(tmp_path / ".old-out")
    assert "as they were already" in publish("rooms", "--to", "out")
    assert not (tmp_path / ".old-out").exists()


def test_a_folder_of_others_is_left_alone(tmp_path: Path, data_root: Path, publish: Publishing) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("long")
    assert "holds files that were not published by this: chapter.txt" in publish.refused("rooms", "--to", "thesis")
    assert hashes_below(tmp_path / "thesis").keys() == {"chapter.txt"}
    assert "is a file" in publish.refused("rooms", "--to", "thesis/chapter.txt")

    publish("rooms", "--to", "out")
    (tmp_path / "out/notes.txt").write_text("mine")
    assert "not published by this: notes.txt" in publish.refused("rooms", "--to", "out")
    (tmp_path / "out/notes.txt").unlink()
    card = tmp_path / "out/README.md"
    card.write_text(card.read_text() + "\nAsk me for more.\n")
    assert "README.md was changed since it was published" in publish.refused("rooms", "--to", "out")
    assert "Ask me for more" in card.read_text()


def test_what_cannot_be_published_is_said_in_a_line(tmp_path: Path, data_root: Path, publish: Publishing) -> None:
    assert "there is no" in publish.refused("attic", "--to", "out")
    assert not (data_root / "attic").exists()
    assert "lies in the data set's own folder" in publish.refused("rooms", "--to", "me/rooms/clean/out")
    assert "nothing can be published to s3://b/x" in publish.refused("rooms", "--to", "s3://b/x")
    assert "no address of a data set" in publish.refused("rooms", "--to", "hf://datasets/me")

    (data_root / "rooms/card.md").write_text("of another run")
    assert "are not of one run" in publish.refused("rooms", "--to", "out")
    write_finished(data_root / "rooms")
    damaged = bytearray((data_root / "rooms/clean/00001.tar").read_bytes())
    damaged[700] ^= 1  # of an image
    (data_root / "rooms/clean/00001.tar").write_bytes(damaged)
    assert "00001.tar differs from its manifest" in publish.refused("rooms", "--to", "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".tmp-*"))


def test_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path, data_root: Path, publish: Publishing) -> None:
    said = publish("rooms", "--to", "out", "--dry-run")
    assert "would publish out\n" in said
    assert f"{SHARDS * PER_SHARD} images, {2 * SHARDS + 5} files" in said
    assert "metadata of the sources that goes with them: late: #, licence, rank, size" in said
    assert not (tmp_path / "out").exists()
    to_hub = publish("rooms", "--to", "hf://datasets/me/rooms", "--dry-run")
    assert "would publish hf://datasets/me/rooms, private" in to_hub


SLOWLY = """
import sys, time
import pipelines.publish.folder as folder
place = folder._place
def slowly(*arguments):
    place(*arguments)
    time.sleep(0.3)
folder._place = slowly
from pipelines.cli import run_app
from pipelines.run import app
sys.argv = ["pipelines.run", *sys.argv[1:]]
run_app(app, "python -m pipelines.run")
"""


@pytest.mark.parametrize("replaces", [False, True])
def test_killed_in_the_middle_it_leaves_all_or_nothing(
    tmp_path: Path, data_root: Path, publish: Publishing, replaces: bool
) -> None:
    before: dict[str, str] = {}
    if replaces:
        publish("rooms", "--to", tmp_path / "out")
        before = hashes_below(tmp_path / "out")
        write_finished(data_root / "rooms", shards=2, seed=1)
    killed = python_process(SLOWLY, "publish", "rooms", "--to", tmp_path / "out", "--data-root", data_root)
    assert wait_until(lambda: len(list((tmp_path / ".tmp-out" / "data").glob("*"))) >= 2)
    killed.kill()
    killed.communicate()
    assert hashes_below(tmp_path / "out") == before
    publish("rooms", "--to", "out")
    assert hash_file(tmp_path / "out/data/00001.tar") == hash_file(data_root / "rooms/clean/00001.tar")
    assert not list(tmp_path.glob(".tmp-*")) and not list(tmp_path.glob(".old-*"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="needs the extra [hub]")
    with serve_hub() as served:
        yield served


def test_upload_gives_the_hub_the_folders_bytes(tmp_path: Path, data_root: Path, publish: Publishing, hub: Hub) -> None:
    to = ("rooms", "--to", "hf://datasets/me/rooms")
    publish("rooms", "--to", "out")
    said = publish(*to, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    repository = hub.repositories["me/rooms"]
    assert "/datasets/me/rooms/commit/" in said and "(private)" in said
    assert repository.private and repository.commits == [f"rooms: {SHARDS * PER_SHARD} images"]
    folder = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")
    }
    assert {name: repository.branches["main"][name] for name in folder} == folder
    assert repository.branches["main"].keys() - folder.keys() == {".gitattributes", "SHA256SUMS"}

    uploaded = len(hub.put)
    assert "as they were already" in publish(*to, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert (len(hub.put), len(repository.commits)) == (uploaded, 1)

    write_finished(data_root / "rooms", shards=2, seed=1)
    publish(*to, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert {name for name in repository.branches["main"] if name.endswith(".tar")} == {
        "data/00000.tar",
        "data/00001.tar",
    }
    assert len(repository.commits) == 2


def test_killed_upload_goes_on_and_nobody_sees_a_half(
    tmp_path: Path, data_root: Path, publish: Publishing, hub: Hub
) -> None:
    hub.stalls_after = 3
    command = [sys.executable, "-m", "pipelines.run", "publish", "rooms", "--to", "hf://datasets/me/rooms@v1"]
    command += ["--data-root", str(data_root), "--quiet", "--public"]
    variables = environment(tmp_path, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    with subprocess.Popen(command, cwd=tmp_path, env=variables) as killed:
        assert wait_until(lambda: len(hub.put) == 3, timeout_s=60)
        killed.kill()
    assert hub.repositories["me/rooms"].commits == []
    there = set(hub.objects)
    hub.stalls_after = None
    hub.put.clear()
    publish("rooms", "--to", "hf://datasets/me/rooms@v1", "--public", HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert not there & set(hub.put)
    branches = hub.repositories["me/rooms"].branches
    assert branches["v1"]["data/00002.tar"] == (data_root / "rooms/clean/00002.tar").read_bytes()
    assert "data/00002.tar" not in branches["main"]
    assert not hub.repositories["me/rooms"].private


def test_hub_that_cannot_be_used_is_said_in_a_line(
    tmp_path: Path, data_root: Path, publish: Publishing, hub: Hub
) -> None:
    to = ("rooms", "--to", "hf://datasets/me/rooms")
    without_token = publish.refused(*to, HF_ENDPOINT=hub.url)
    assert "there is no token" in without_token and "hf auth login" in without_token
    (tmp_path / "none/huggingface_hub").mkdir(parents=True)
    (tmp_path / "none/huggingface_hub/__init__.py").write_text("raise ImportError('no huggingface_hub')")
    without_package = publish.refused(*to, PYTHONPATH=f"{tmp_path}/none{os.pathsep}{REPOSITORY}")
    assert "pip install 'cleanshards[hub]'" in without_package

    hub.refused = 403
    refused = publish.refused(*to, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN)
    assert "hf://datasets/me/rooms failed" in refused and "You may not write here" in refused
    assert TOKEN not in refused


def test_what_others_see_or_put_there_is_left_alone(data_root: Path, publish: Publishing, hub: Hub) -> None:
    to = ("rooms", "--to", "hf://datasets/me/rooms")
    variables = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN}
    hub.repositories["me/rooms"] = Repository(private=False)
    assert "for everybody to see" in publish.refused(*to, **variables)
    hub.repositories["me/rooms"].branches["main"]["data/others.csv"] = b"1,2"
    refused = publish.refused(*to, "--public", **variables)
    assert "holds data that was not published by this: data/others.csv" in refused
    assert hub.repositories["me/rooms"].commits == [] and hub.put == []


def test_help_says_why_it_is_private() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines.run", "publish", "--help"], capture_output=True, text=True, check=True
    ).stdout
    plain = re.sub(r"[│\s]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", shown))
    assert "what was public once cannot be taken back" in plain
    assert "  python -m pipelines.run publish rooms" in shown
