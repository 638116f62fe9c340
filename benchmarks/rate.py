"""How fast does a whole run go, from source to groups and clean shards, beside imagededup and fastdup?

    python -m benchmarks.rate --data ../shared/data [--peer-python PATH …] [--sets cifar10 rooms]

Every program is a command, timed from its start to its end, imports included, one after another. Ours reads the source
as it is and writes clean shards, tables and the report; the peers read the images as files, written before, and write
nothing: imagededup's PHash encodes them and finds all duplicates within its default of 10 bits, in a process per core;
fastdup finds neighbours within a cosine of 0.90. Processor seconds are of all processes of a command, and say more than
the clock where others use the machine. The second table says where our seconds go.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.corpus import write_files
from benchmarks.peers import METHODS, find_pythons, run_peer, run_timed
from benchmarks.tables import console, print_machine, print_table

OURS = "ours, default"
PEERS = ("phash", "fastdup")
SETS: Mapping[str, tuple[str, str]] = {
    "rooms": ("lmdb", "rooms_train_lmdb"),
    "cifar10": ("parquet", "cifar10/train.parquet"),
}


def run_ours(uri: str, data_root: Path) -> tuple[float, float, dict[str, Any]]:
    """Seconds, processor seconds and the report of a run with the default profile."""
    command = [sys.executable, "-m", "dedup.run", "measured", "--source", uri, "--data-root", str(data_root), "--quiet"]
    seconds, cpu_s = run_timed(command, os.environ, Path.cwd())
    return seconds, cpu_s, json.loads((data_root / "measured" / "report.json").read_bytes())


def measure(name: str, data: Path, folder: Path, pythons: Mapping[str, tuple[str, str]]) -> None:
    """Run all programs on one set and print its tables."""
    scheme, path = SETS[name]
    uri = f"{scheme}:{data / path}"
    seconds, cpu_s, report = run_ours(uri, folder / "data")
    measured = {OURS: (seconds, cpu_s)}
    count = len(write_files(uri, folder / "files"))
    for method in PEERS:
        package, heading, _ = METHODS[method]
        if package in pythons:
            done = run_peer(method, pythons[package][0], folder / "files")
            measured[heading] = (done.seconds, done.cpu_s)
    peers = [heading for heading in measured if heading != OURS]
    rows = [
        (
            program,
            f"{count / wall:,.0f}",
            f"{wall:,.1f}",
            f"{cpu:,.1f}",
            *(f"{measured[peer][0] / wall:.2f}" for peer in peers),
            *(f"{measured[peer][1] / cpu:.2f}" for peer in peers),
        )
        for program, (wall, cpu) in measured.items()
    ]
    ratios = [f"times {peer}" for peer in peers] + [f"times {peer}, by CPU" for peer in peers]
    print_table(f"{name}: {count:,} images", ("program", "images/s", "seconds", "CPU s", *ratios), rows)
    stages = {stage: row["seconds"] for stage, row in report["stages"].items()}
    stages["everything else (imports, report)"] = seconds - sum(stages.values())
    shares = [(stage, f"{value:.1f}", f"{value / seconds:.0%}") for stage, value in stages.items()]
    print_table(f"{name}: where our seconds go", ("stage", "seconds", "of all"), shares)


def main() -> None:
    """Measure each set and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with rooms_train_lmdb and cifar10")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--peer-python", nargs="+", default=[], help="Pythons that have peers; the first with each")
    options = parser.parse_args()
    pythons = find_pythons(options.peer_python)
    print_machine("numpy", "torch", "opencv-python-headless")
    console.print("  ".join(f"{package} {version}" for package, (_, version) in pythons.items()))
    for name in options.sets:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options.data, Path(folder), pythons)


if __name__ == "__main__":
    main()
