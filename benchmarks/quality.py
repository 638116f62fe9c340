"""How many planted near-duplicates are found, and how many pairs of different pictures are mixed, beside imagededup?

    python -m benchmarks.quality --source URI --truth CSV [--report report.json …]

Needs: pip install imagededup. Our rows are read from the report.json of finished runs on the same source
(``python -m dedup.run … --truth CSV``); imagededup's perceptual and difference hashes (within 10 bits, its default)
run here on the images that decode. Recall: the copy is linked with its original, over any number of
steps. Across: pairs of two different pictures by the table; ours count dropped images, imagededup's pairs within the
distance.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from benchmarks.tables import print_machine, print_table
from dedup.truth import NOT_PLANTED, Truth, read_truth
from pipelines.images import ImageRejected, decode
from pipelines.sources import open_source

KINDS_SHOWN = ("crop5", "crop10", "border", "text", "grey", "mirror")


def write_images(uri: str, folder: Path) -> int:
    """Write the images that decode as files named by their keys; returns how many."""
    source = open_source(uri)
    count = 0
    for split in source.splits():
        for record in source.read(split):
            try:
                decode(record.image)
            except ImageRejected:
                continue
            (folder / record.key).write_bytes(record.image)
            count += 1
    return count


def measure_hashes(method: str, folder: Path, truth: Truth) -> tuple[dict[str, tuple[int, int]], int, float]:
    """Kind → (found, planted), pairs across pictures, and seconds of one of imagededup's hashes."""
    from imagededup import methods

    hasher = getattr(methods, method)(verbose=False)
    start = time.perf_counter()
    encodings = hasher.encode_images(image_dir=str(folder))
    neighbours = hasher.find_duplicates(encoding_map=encodings, max_distance_threshold=10)
    seconds = time.perf_counter() - start
    keys = sorted(neighbours)
    number = {key: index for index, key in enumerate(keys)}
    pairs = [(a, b) for a in keys for b in neighbours[a] if a < b]
    ends = np.array([[number[a], number[b]] for a, b in pairs]).reshape(-1, 2)
    links = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (len(keys), len(keys)))
    _, component = connected_components(links, directed=False)
    found: dict[str, tuple[int, int]] = {}
    for key, (original, what) in truth.items():
        if original and not what.startswith(NOT_PLANTED):
            linked = key in number and component[number[key]] == component[number[original]]
            hits, planted = found.get(what, (0, 0))
            found[what] = (hits + bool(linked), planted + 1)
    across = sum((truth[a][0] or a) != (truth[b][0] or b) for a, b in pairs)
    return found, across, seconds


def make_row(name: str, found: Mapping[str, tuple[int, int]], across: int, images_per_s: float) -> tuple[str, ...]:
    """One line of the table."""
    hits, planted = (sum(column) for column in zip(*found.values(), strict=True))
    kinds = [f"{found[kind][0] / found[kind][1]:.2f}" if kind in found else "" for kind in KINDS_SHOWN]
    return (name, f"{hits / planted:.3f}", *kinds, str(across), f"{images_per_s:,.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="source URI")
    parser.add_argument("--truth", type=Path, required=True, help="truth table")
    parser.add_argument("--report", type=Path, nargs="*", default=[], help="report.json of finished runs")
    options = parser.parse_args()
    truth = read_truth(options.truth)
    rows = []
    for path in options.report:
        report = json.loads(path.read_bytes())
        found = {kind: (row["found"], row["planted"]) for kind, row in report["truth"]["by_kind"].items()}
        seconds = sum(stage["seconds"] for stage in report["stages"].values())
        name = f"cleanshards, {report['profile']}"
        rows.append(make_row(name, found, len(report["truth"]["across"]), report["read"] / seconds))
    with tempfile.TemporaryDirectory() as folder:
        count = write_images(options.source, Path(folder))
        for method in ("PHash", "DHash"):
            found, across, seconds = measure_hashes(method, Path(folder), truth)
            rows.append(make_row(f"imagededup {method}, 10 bits", found, across, count / seconds))
    print_machine("imagededup", "numpy")
    print_table("Planted near-duplicates", ("method", "recall", *KINDS_SHOWN, "across", "images/s"), rows)


if __name__ == "__main__":
    main()
