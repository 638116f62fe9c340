"""A collection through its front door: python -m facescrape.run, against the replay world, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
from helpers import hashes_below

from facescrape.tables import PHOTOS
from pipelines.manifest import Manifest
from pipelines.portraits import render_portrait
from pipelines.record import Record
from pipelines.sources import open_source

REPOSITORY = Path(__file__).parents[2]
PEOPLE = ("ada_example", "ben_example", "cleo_example")
SHOTS = 5
CLOCKED = ("fetched_at", "seconds")


def write_photographs(folder: Path) -> Path:
    """Three people with five portraits each, and of the first: a copy, a landscape without a face, a broken file."""
    for number, person in enumerate(PEOPLE):
        (folder / person).mkdir(parents=True)
        for shot in range(SHOTS):
            image = render_portrait(1, number, shot, width=360, height=450).image
            cv2.imwrite(str(folder / person / f"{shot}.jpg"), image[..., ::-1])
    first = folder / PEOPLE[0]
    (first / "9_copy.jpg").write_bytes((first / "0.jpg").read_bytes())
    (first / "9_cut.jpg").write_bytes((first / "1.jpg").read_bytes()[:9000])
    (first / "9_page.jpg").write_bytes(b"<html>gone</html>")
    sky = cv2.resize(cv2.imread(str(first / "2.jpg"))[:40, :40], (640, 480), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(first / "9_sky.jpg"), sky)
    return folder


def start(*arguments: object) -> subprocess.Popen[str]:
    """``python -m facescrape.run`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "facescrape.run", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def collect(data_root: Path, photographs: Path, *options: object) -> subprocess.CompletedProcess[str]:
    """The demo on a folder of photographs, as data set ``people``."""
    return run("demo", *demo_options(data_root, photographs), *options)


def demo_options(data_root: Path, photographs: Path) -> list[object]:
    return ["--photos", photographs, "--dataset", "people", "--data-root", data_root, "--min-face", 64]


def table(root: Path, stage: str, suffix: str) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in Manifest.load(root / stage).paths(suffix)])


def crops(root: Path) -> list[Record]:
    source = open_source(f"shards:{root / 'crops'}")
    return [record for split in source.splits() for record in source.read(split)]


def outcome(root: Path) -> dict[str, object]:
    """All that a collection left, but for clocks: tables, and the bytes of boxes, crops and archived pictures."""
    assert set(CLOCKED) < set(PHOTOS.names)
    return {
        "names": table(root, "names", ".parquet").to_pylist(),
        "urls": table(root, "urls", ".urls.parquet").to_pylist(),
        "photos": table(root, "photos", ".photos.parquet").drop_columns(list(CLOCKED)).to_pylist(),
        "files": {
            name: digest
            for stage in ("boxes", "crops", "archive/pictures")
            for name, digest in hashes_below(root / stage, leave_out=["tasks", "manifest.json"]).items()
        },
    }
