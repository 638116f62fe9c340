"""The commands as people give them, with a loopback publisher and a registry in the working directory."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers import WriteNumbers, jpeg, wait_until, write_lmdb
from loopback import CutsConnection, IsMissing, Publisher, SendsWebPage, StallsHalfway, serve, zipped_lmdb

from pipelines.cli import run_app
from pipelines.download import CHUNK_BYTES
from pipelines.executors import LocalExecutor
from pipelines.run import app
from pipelines.stage import dataset_lock, run_stage
from pipelines.store import local_path
from pipelines.synthetic_portraits import write_portraits

REPOSITORY = Path(__file__).parents[2]
ZIP = zipped_lmdb(50)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Ended]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``python -m pipelines.run`` in a folder of its own, which is where datasets.toml and data/ are looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLEANSHARDS_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pipelines.run", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_app(app, "python -m pipelines.run")
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def program(tmp_path: Path) -> Command:
    """The same as a process of its own, as a shell starts it."""

    def run(*arguments: str, **environment: str) -> Ended:
        kept = {name: value for name, value in os.environ.items() if name not in {"CLEANSHARDS_DATA", "FORCE_COLOR"}}
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.run", *arguments],
            cwd=tmp_path,
            env=kept | {"PYTHONPATH": str(REPOSITORY), "NO_PROXY": "127.0.0.1"} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def register(folder: Path, url: str, images: int = 50) -> None:
    (folder / "datasets.toml").write_text(
        f"""
        [rooms]
        description = "Rooms [of a house]"
        source = "lmdb:raw/rooms_train_lmdb"
        url = "{url}"
        images = {images}
        size_bytes = {len(ZIP)}
        sha256 = "{hashlib.sha256(ZIP).hexdigest()}"
        """
    )


def line_of(output: str, name: str) -> str:
    return next(" ".join(line.split()) for line in output.splitlines() if line.startswith(f"{name} "))


def make_clean(folder: Path) -> None:
    """A finished stage where de-duplication leaves its own; 21 records in 12 files."""
    stage = run_stage(WriteNumbers(), [], folder, LocalExecutor(1))
    local_path(stage.folder).rename(folder / "clean")


def test_list_shows_every_name_and_what_is_on_disk(command: Command, tmp_path: Path) -> None:
    register(tmp_path, "http://127.0.0.1:1/rooms.zip")
    (tmp_path / "data/lsun_cat/raw").mkdir(parents=True)
    write_lmdb(tmp_path / "data/lsun_cat/raw/cat", {b"a": jpeg()})
    (tmp_path / "data/lsun_dog/raw").mkdir(parents=True)
    (tmp_path / "data/lsun_dog/raw/dog.zip.part").write_bytes(bytes(5_000_000))
    make_clean(tmp_path / "data" / "cifar10")
    make_clean(tmp_path / "data" / "street")

    listed = command("list")
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) == 1 + 47 + 2
    assert line_of(listed.stdout, "lsun_bedroom") == "lsun_bedroom 3,033,042 45.9 GB LSUN scenes, training set: bedroom"
    assert line_of(listed.stdout, "lsun_test").startswith("lsun_test 10,000 ~173.0 MB LSUN")
    assert line_of(listed.stdout, "demo").startswith("demo rendered Rendered bedrooms")
    assert line_of(listed.stdout, "portraits").startswith("portraits rendered Rendered faces")
    assert line_of(listed.stdout, "imagenet_1k").startswith("imagenet_1k 1,281,167 by hand ImageNet-1k")
    assert line_of(listed.stdout, "lsun_cat").startswith("lsun_cat 1,657,266 44.8 GB raw LSUN")
    assert line_of(listed.stdout, "lsun_dog").startswith("lsun_dog 5,054,817 155.6 GB 5.0 MB fetched LSUN")
    assert line_of(listed.stdout, "cifar10").startswith("cifar10 50,000 by hand clean (21 images) CIFAR")
    assert line_of(listed.stdout, "rooms").endswith("Rooms [of a house]")
    assert line_of(listed.stdout, "street") == "street clean (21 images) made with --source"


def test_list_says_all_about_one(command: Command) -> None:
    shown = command("list", "faces").stdout
    assert "on disk nothing" in " ".join(shown.split())
    assert "run: make faces" in " ".join(shown.split())
    assert "http://dl.yf.io/lsun/scenes/test_lmdb.zip" in command("list", "lsun_test").stdout


def test_download_fetches_verifies_and_unpacks(program: Command, tmp_path: Path) -> None:
    with serve(CutsConnection, ZIP, most=4 * CHUNK_BYTES) as (url, asked):
        register(tmp_path, url)
        done = program("download", "rooms")
        assert done.returncode == 0, done.stderr
        assert "50 images in data/rooms/raw/rooms_train_lmdb" in done.stdout
        assert "next: python -m dedup.run rooms" in done.stdout
        assert asked == ["", f"bytes={4 * CHUNK_BYTES}-"]
    assert [path.name for path in (tmp_path / "data/rooms/raw").iterdir()] == ["rooms_train_lmdb"]


def test_killed_download_goes_on(program: Command, tmp_path: Path) -> None:
    part = tmp_path / "data/rooms/raw/rooms_train_lmdb.zip.part"
    with serve(StallsHalfway, ZIP) as (url, asked):
        register(tmp_path, url)
        command = [sys.executable, "-m", "pipelines.run", "download", "rooms", "--data-root", "data", "--quiet"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "NO_PROXY": "127.0.0.1"}
        with subprocess.Popen(command, cwd=tmp_path, env=environment) as killed:
            assert wait_until(lambda: part.exists() and part.stat().st_size >= CHUNK_BYTES)
            killed.kill()
        assert not (tmp_path / "data/rooms/raw/rooms_train_lmdb").exists()
        reached = part.stat().st_size
        done = program("download", "rooms")
    assert done.returncode == 0, done.stderr
    assert asked == ["", f"bytes={reached}-"]
    assert [path.name for path in (tmp_path / "data/rooms/raw").iterdir()] == ["rooms_train_lmdb"]


def test_download_goes_to_the_data_root_and_can_keep_the_zip(program: Command, tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, _):
        register(tmp_path, url)
        done = program("download", "rooms", "--keep-zip", "--quiet", CLEANSHARDS_DATA=str(tmp_path / "big"))
    assert done == Ended(0, "", "")
    assert sorted(path.name for path in (tmp_path / "big/rooms/raw").iterdir()) == [
        "rooms_train_lmdb",
        "rooms_train_lmdb.zip",
    ]


def test_dry_run_touches_nothing(command: Command, tmp_path: Path) -> None:
    with serve(Publisher, ZIP) as (url, asked):
        register(tmp_path, url)
        planned = command("download", "rooms", "--dry-run")
        assert f"would fetch {url}" in planned.stdout
        assert not (tmp_path / "data").exists()
        assert asked == []
        command("download", "rooms")
        assert "is there already" in command("download", "rooms", "--dry-run").stdout
    assert "would render data/demo/raw" in command("download", "demo", "--dry-run").stdout
    assert "would render data/portraits/raw" in command("download", "portraits", "--dry-run").stdout


def test_what_is_rendered_already_is_counted(command: Command) -> None:
    write_portraits(Path("data/portraits/raw/portraits.parquet"), count=3, workers=1)
    done = command("download", "portraits")
    assert "3 images in data/portraits/raw/portraits.parquet" in done.stdout
    assert "next: python -m dedup.run portraits --radius 2" in done.stdout


@pytest.mark.parametrize(("kind", "says"), [(SendsWebPage, "sent a web page"), (IsMissing, "answered 404")])
def test_failed_download_is_one_line_and_a_hint(
    program: Command, tmp_path: Path, kind: type[Publisher], says: str
) -> None:
    with serve(kind) as (url, _):
        register(tmp_path, url)
        failed = program("download", "rooms")
    lines = [line for line in failed.stderr.splitlines() if line.strip()]
    assert failed.returncode == 1
    assert lines[0].startswith("error: ") and says in lines[0]
    assert lines[1].startswith("hint: ") and len(lines) == 2


def test_what_cannot_be_downloaded_says_how_to_get_it(command: Command) -> None:
    refused = command("download", "imagenet_1k")
    assert refused.returncode == 1
    assert "imagenet_1k cannot be downloaded" in refused.stderr
    assert "https://image-net.org/download" in refused.stderr
    assert "data/imagenet_1k/raw/ILSVRC2012_img_train.tar" in refused.stderr


def test_unknown_name_and_wrong_entry(command: Command, tmp_path: Path) -> None:
    assert "did you mean lsun_bedroom" in command("download", "lsun_bedrom").stderr
    (tmp_path / "datasets.toml").write_text("[x]\ndescription = 'x'\nsource = 7\n")
    wrong = command("list")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: datasets.toml: [x] source must be a string, not 7")


def test_two_downloads_at_once(command: Command, tmp_path: Path) -> None:
    register(tmp_path, "http://127.0.0.1:1/rooms.zip")
    with dataset_lock(tmp_path / "data" / "rooms", "another download"):
        refused = command("download", "rooms")
    assert refused.returncode == 1
    assert "in use by" in refused.stderr and "another download" in refused.stderr


def test_verify_says_which_files_differ(command: Command, tmp_path: Path) -> None:
    make_clean(tmp_path / "data" / "rooms")
    assert command("verify", "rooms").returncode == 0
    assert command("verify", str(tmp_path / "data" / "rooms" / "clean")).returncode == 0

    changed = tmp_path / "data/rooms/clean/00003.bin"
    content = bytearray(changed.read_bytes())
    content[500] ^= 1
    changed.write_bytes(content)
    found = command("verify", "rooms")
    assert found.returncode == 1
    assert "differs  data/rooms/clean/00003.bin" in found.stderr
    assert "1 file differs in data/rooms" in found.stderr
    assert "as it was" not in found.stdout

    changed.unlink()
    missing = command("verify", "rooms")
    assert missing.returncode == 1
    assert "a file of shard 00003" in missing.stderr
    assert line_of(command("list").stdout, "rooms") == "rooms clean, but damaged made with --source"


def test_verify_needs_something_finished(command: Command) -> None:
    nothing = command("verify", "lsun_bedroom")
    assert nothing.returncode == 1
    assert "nothing finished lies in lsun_bedroom" in nothing.stderr


def test_help_reads_like_documentation(command: Command) -> None:
    for arguments in ([], ["list"], ["download"], ["verify"]):
        shown = command(*arguments, "--help")
        assert shown.returncode == 0
        assert "Usage: python -m pipelines.run" in shown.stdout
        assert not arguments or f"  python -m pipelines.run {arguments[0]} " in shown.stdout
