"""A small set whose duplicates are known, and de-duplication through its front door."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers import encode, write_lmdb
from PIL import Image, ImageEnhance

REPOSITORY = Path(__file__).parents[2]
PICTURES = 40


def picture(seed: int) -> Image.Image:
    """An RGB picture of 120 × 96 with edges and areas, unlike every other seed's."""
    rng = np.random.default_rng([7, seed])
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    canvas = np.asarray(Image.fromarray(coarse).resize((120, 96), Image.Resampling.BICUBIC)).copy()
    for _ in range(6):
        left, top = rng.integers(0, 90), rng.integers(0, 70)
        canvas[top : top + rng.integers(8, 40), left : left + rng.integers(8, 40)] = rng.integers(0, 256, 3)
    return Image.fromarray(canvas)


@dataclass(frozen=True)
class PlantedSet:
    """An LMDB, the truth table beside it, and what is in it."""

    lmdb: Path
    truth: Path
    values: dict[str, bytes]
    truth_rows: dict[str, tuple[str, str]]


def write_planted_set(folder: Path) -> PlantedSet:
    """Pictures; copies of four kinds of every other one; two flat pictures, one of them twice; three broken values."""
    values: dict[str, bytes] = {}
    truth: dict[str, tuple[str, str]] = {}

    def add(key: str, image: bytes, duplicate_of: str, what: str) -> None:
        values[key], truth[key] = image, (duplicate_of, what)

    for seed in range(PICTURES):
        key, original = f"{seed:040x}", picture(seed)
        stored = encode(original, "WEBP" if seed % 3 else "JPEG", quality=92)
        add(key, stored, "", "original")
        decoded = Image.open(io.BytesIO(stored)).convert("RGB")
        copies = (
            ("exact", stored),
            ("recompress", encode(decoded, "JPEG", quality=60)),
            ("brighten", encode(ImageEnhance.Brightness(decoded).enhance(1.15), "PNG")),
            ("mirror", encode(decoded.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG")),
        )
        if seed % 2 == 0:
            kind, copy = copies[seed // 2 % len(copies)]
            add(f"d{seed:039x}", copy, key, kind)
    white = encode(Image.new("RGB", (80, 80), "white"), "PNG")
    add("e" * 40, white, "", "odd:blank")
    add("e" * 39 + "f", white, "e" * 40, "odd:blank")
    add("f" * 40, encode(Image.new("RGB", (80, 80), (254, 254, 254)), "JPEG"), "", "odd:blank-2")
    for index, (what, value) in enumerate({"empty": b"", "html": b"<html>", "cut": values["0" * 40][:200]}.items()):
        add(f"{'b' * 39}{index}", value, "", f"broken:{what}")

    write_lmdb(folder / "set_lmdb", {key.encode(): value for key, value in values.items()})
    (folder / "set_lmdb" / "lock.mdb").unlink()
    lines = ["key,duplicate_of,what", *(f"{key},{of},{what}" for key, (of, what) in truth.items())]
    (folder / "truth.csv").write_text("\n".join(lines))
    return PlantedSet(folder / "set_lmdb", folder / "truth.csv", values, truth)


def start(data_root: Path | str, source: Path | None, *options: str) -> subprocess.Popen[str]:
    """``python -m dedup.run set``; None: ``options`` give the source."""
    command = [sys.executable, "-m", "dedup.run", "set", "--data-root", str(data_root), "--shard-size", "8"]
    return subprocess.Popen(
        [*command, *(["--source", f"lmdb:{source}"] if source else []), *options],
        cwd=REPOSITORY,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run(data_root: Path | str, source: Path | None, *options: str) -> subprocess.CompletedProcess[str]:
    return finish(start(data_root, source, *options))


def outputs_below(root: Path, *, leave_out: Sequence[str] = ()) -> dict[str, bytes]:
    """Every byte of a run's results; clocks stand in task entries and in the report, nowhere else."""
    clocked = {"report.json", "report/index.html", ".lock", *leave_out}
    return {
        name: path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and (name := path.relative_to(root).as_posix()) not in clocked and path.parent.name != "tasks"
    }
