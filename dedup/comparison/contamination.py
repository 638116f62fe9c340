"""Contamination: matches across two data sets in; their table, the accounts as ``report.json``, and one page out.

The report of `dedup.against`, beside the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit
semantic codes → duplicate groups → clean shards → DCGAN". The accounts balance or there is no report: read = kept +
dropped + rejected.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedup.comparison.crossed import Crossed
from dedup.comparison.crossing import MATCHES
from dedup.comparison.exhibits import Galleries, count_values, make_gallery, parquet_bytes
from dedup.verification.verify import THRESHOLD
from pipelines import page
from pipelines.errors import IntegrityError
from pipelines.executors import Executor
from pipelines.progress import Progress
from pipelines.sources import Source
from pipelines.store import Folder

SHOWN, DOUBTFUL_SHOWN = 100, 24
RULES = ("same_bytes", "near", "near_mirrored")


def read_matches(crossed: Crossed) -> pa.Table:
    """A row per image that has a match, by key: columns `dedup.comparison.crossing.NUMBERED`."""
    return pa.concat_tables([pq.read_table(path) for path in crossed.matches.paths(".parquet")]).sort_by("key")


def read_rejected(crossed: Crossed) -> pa.Table:
    """A row per image that cannot be used, in the source's order: key, reason, size_bytes, sha256."""
    columns, is_rejected = ["key", "reason", "size_bytes", "sha256"], pc.field("reason").is_valid()
    paths = crossed.images.thumbnails.paths(".parquet")
    return pa.concat_tables([pq.read_table(path, columns=columns, filters=is_rejected) for path in paths])


def order_by_sureness(matches: pa.Table) -> pa.Table:
    """The surest first: equal bytes, then the highest score, the smallest distance, the smallest key."""
    keys = [("same_bytes", "descending"), ("score", "descending"), ("distance", "ascending"), ("key", "ascending")]
    return matches.sort_by(keys)


def make_report(dataset: str, reference: str, crossed: Crossed) -> dict[str, Any]:
    """Count everything, from the tables and not from memory.

    Returns:
        The content of ``report.json``: dataset, reference, radius, threshold, candidates, read, images (usable ones),
        flat, reference_images, matched, share (of the usable images), matched_by_rule, rejected, rejected_by_reason,
        encoder_sha256, fingerprint, version and, where images were dropped, kept and dropped.

    Raises:
        IntegrityError: the accounts do not balance.
    """
    matches, rejected = read_matches(crossed), read_rejected(crossed)
    same, mirrored = matches["same_bytes"].to_numpy(), matches["mirrored"].to_numpy()
    rule = np.where(same, RULES[0], np.where(mirrored, RULES[2], RULES[1]))
    read, images = crossed.images.thumbnails.records, crossed.images.codes.records
    report: dict[str, Any] = {
        "dataset": dataset,
        "reference": reference,
        "radius": json.loads(crossed.search.path("search.json").read_bytes())["radius"],
        "threshold": round(float(THRESHOLD), 4),
        "candidates": sum(json.loads(path.read_bytes()) for path in crossed.matches.paths(".candidates.json")),
        "read": read,
        "images": images,
        "flat": sum(int(np.count_nonzero(part)) for part in crossed.images.images().flat.parts),
        "reference_images": crossed.reference.codes.records,
        "matched": matches.num_rows,
        "share": round(matches.num_rows / max(images, 1), 6),
        "matched_by_rule": {name: int(np.count_nonzero(rule == name)) for name in RULES},
        "rejected": rejected.num_rows,
        "rejected_by_reason": count_values(rejected["reason"]),
        "encoder_sha256": crossed.images.encoder_sha256,
        "fingerprint": crossed.matches.fingerprint,
        "version": version("cleanshards"),
    }
    accounts = {"kept": images - matches.num_rows, "dropped": matches.num_rows, "rejected": rejected.num_rows}
    if crossed.clean is not None:
        accounts["kept"] = crossed.clean.records
        report |= accounts
    if read != sum(accounts.values()):
        raise IntegrityError(
            f"the accounts of {dataset} do not balance: {read} read, {accounts}",
            hint="please report this with the command",
        )
    return report


def make_galleries(
    crossed: Crossed, sources: tuple[Source | None, Source | None], root: Folder, executor: Executor, progress: Progress
) -> Galleries:
    """The pictures that the page shows, of the images and of the reference; thumbnails where a source is None."""
    shown = pa.concat_tables(choose_shown(read_matches(crossed)))
    ours, theirs = (shown[column].to_pylist() for column in ("number", "reference_number"))
    images, reference = crossed.images.thumbnails, crossed.reference.thumbnails
    return (
        make_gallery(sources[0], images, ours, root, executor, progress),
        make_gallery(sources[1], reference, theirs, root / "reference", executor, progress),
    )


def write_report(report: Mapping[str, Any], crossed: Crossed, galleries: Galleries, root: Folder) -> None:
    """Write ``against.parquet``, ``rejected.parquet``, ``report/index.html`` and ``report.json`` below ``root``."""
    matches = read_matches(crossed)
    root.write("against.parquet", parquet_bytes(matches.select(MATCHES.names)))
    root.write("rejected.parquet", parquet_bytes(read_rejected(crossed)))
    (root / "report").write("index.html", render_page(report, matches, galleries).encode())
    root.write("report.json", json.dumps(report, indent=1).encode())


def choose_shown(matches: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The matches that the page shows: the surest, from the surest on; and the least sure of the others."""
    ordered = order_by_sureness(matches)
    return ordered.slice(0, SHOWN), ordered.slice(max(SHOWN, ordered.num_rows - DOUBTFUL_SHOWN))


def render_page(report: Mapping[str, Any], matches: pa.Table, galleries: Galleries) -> str:
    """The report as one HTML page that needs nothing beside itself."""
    surest, doubtful = ([_show(row, report, galleries) for row in table.to_pylist()] for table in choose_shown(matches))
    return page.render_page("dedup", "against.html.jinja", report=report, surest=surest, doubtful=doubtful)


def _show(row: Mapping[str, Any], report: Mapping[str, Any], galleries: Galleries) -> list[dict[str, Any]]:
    """Both pictures of a match: how alike they are below the one, the reference's name below the other."""
    note = "same bytes" if row["same_bytes"] else f"score {row['score']:.1f}, {row['distance']} bits"
    note += ", mirrored" * row["mirrored"] + (f", {row['matches']:,} matches" if row["matches"] > 1 else "")
    return [
        galleries[0].show(row["number"], row["key"], note, "dropped"),
        galleries[1].show(row["reference_number"], row["reference_key"], report["reference"], "kept"),
    ]
