"""Does a set that grows part by part end as the whole would, and does an addition cost what is new?

    python -m benchmarks.growing --source URI [--parts 5]

The source's records are dealt to LMDBs by the hash of their keys, and these are added to a data set one by one, each
by a run of ``python -m dedup.run`` in a process of its own; another data set gets all of them at once. Seconds are
those in which tasks ran, start-up aside. The last line says whether both have the same duplicates, keepers and clean
shards.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import lmdb
import pyarrow.parquet as pq

from benchmarks.tables import console, print_machine, print_table
from pipelines.manifest import Manifest
from pipelines.sources import open_source

READING, SCORING, WRITING = ("thumbnails", "codes"), ("pairs",), ("clean",)


def deal(uri: str, parts: int, folder: Path) -> tuple[list[Path], list[int]]:
    """Write a source's records to LMDBs; their folders, and how many records each has."""
    values: list[dict[bytes, bytes]] = [{} for _ in range(parts)]
    source = open_source(uri)
    for split in source.splits():
        for record in source.read(split):
            key = record.key.encode()
            values[hashlib.sha256(key).digest()[0] % parts][key] = record.image
    paths = []
    for number, part in enumerate(values):
        paths.append(folder / f"part{number + 1}")
        size = sum(len(key) + len(image) + 8192 for key, image in part.items()) + (1 << 20)
        with lmdb.open(str(paths[-1]), map_size=size) as environment, environment.begin(write=True) as transaction:
            for key, image in part.items():
                transaction.put(key, image)
    return paths, [len(part) for part in values]


def run(root: Path, parts: Sequence[Path]) -> dict[str, float]:
    """De-duplicate parts as one set; seconds of this run, in all and by stage."""
    sources = [option for part in parts for option in ("--source", f"lmdb:{part}")]
    before, start = _done(root), time.time()
    command = [sys.executable, "-m", "dedup.run", "set", "--data-root", str(root), "--quiet", *sources]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    seconds = {"in all": time.time() - start}
    for entry, stamp in _done(root).items():
        if before.get(entry) != stamp:
            stage = entry.parent.parent.name
            seconds[stage] = seconds.get(stage, 0.0) + _seconds(entry)
    return seconds


def _done(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (root / "set").glob("*/tasks/*.json")}


def _seconds(entry: Path) -> float:
    return float(json.loads(entry.read_bytes())["seconds"])


def describe(name: str, new: int, seconds: dict[str, float]) -> tuple[str, ...]:
    """A line of the table."""
    work = sum(value for stage, value in seconds.items() if stage != "in all")
    columns = [sum(seconds.get(stage, 0.0) for stage in stages) for stages in (READING, SCORING, WRITING)]
    rest = work - sum(columns)
    return (
        name,
        f"{new:,}",
        f"{work:.1f}",
        *(f"{value:.1f}" for value in (*columns, rest)),
        f"{seconds['in all']:.1f}",
    )


def main() -> None:
    """Grow, make at once, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="source URI")
    parser.add_argument("--parts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        parts, counts = deal(options.source, options.parts, folder)
        grown, whole = folder / "grown", folder / "whole"
        rows = [describe(f"part {number}", count, run(grown, parts[:number])) for number, count in enumerate(counts, 1)]
        rows.append(describe("all at once", sum(counts), run(whole, parts)))
        print_machine("numpy", "torch")
        columns = ("run", "new images", "seconds of work", "reading", "scoring", "writing", "the rest", "with start-up")
        print_table(f"{options.source} in {options.parts} parts", columns, rows)
        tables = [pq.read_table(root / "set" / "duplicates.parquet") for root in (grown, whole)]
        clean = [Manifest.load(root / "set" / "clean").digest for root in (grown, whole)]
        same = tables[0].equals(tables[1]) and clean[0] == clean[1]
        console.print(f"{tables[1].num_rows:,} duplicates; grown and at once are {'equal' if same else 'DIFFERENT'}")
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
