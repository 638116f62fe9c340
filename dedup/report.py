"""Report: finished stages in; the accounts as ``report.json`` and one self-contained page out.

The accounts balance or there is no report: read = kept + dropped + rejected.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup

from dedup.calibration.curve import draw_curve
from dedup.clean import read_previews
from dedup.images import ArrayShards, read_usable
from dedup.profiles import Profile
from dedup.review.judging.summary import summarise
from dedup.truth import Truth, Verdict, judge
from pipelines import page
from pipelines.errors import IntegrityError
from pipelines.images import THUMBNAIL_SIZE, encode_preview
from pipelines.manifest import Manifest
from pipelines.sources import SeveralSources
from pipelines.stage import busy_seconds
from pipelines.store import Folder, hash_file, open_root

ACROSS_SHOWN = 24


Finished = Mapping[str, Manifest]  # stage name → manifest


def make_report(
    dataset: str,
    sources: SeveralSources,
    uris: Sequence[str],
    profile: Profile,
    finished: Finished,
    root: Folder | Path,
    truth: Truth | None = None,
) -> dict[str, Any]:
    """Count everything, from the tables and not from memory.

    Args:
        dataset: its name.
        sources: what was read.
        uris: what ``--source`` gave for each of them; none where the data set is a registered one.
        profile: what counted as a duplicate.
        finished: the stages.
        root: the data set's folder.
        truth: known near-duplicates.

    Returns:
        The content of ``report.json``: dataset, source, sources (name, uri, images), profile, threshold, radius,
        searched, candidates, read, kept, dropped, rejected, groups, flat, split_off, decisions, population,
        rejected_by_reason, dropped_by_rule, stages (seconds, images_per_s), encoder (origin, fitted_to, sha256),
        fingerprint, version, review (see `dedup.review.judging.summary.summarise`) and, where they were asked for,
        calibration and truth.

    Raises:
        IntegrityError: the accounts do not balance.
    """
    groups, thumbnails = finished["groups"], finished["thumbnails"]
    duplicates, rejected = read_duplicates(finished), pq.read_table(groups.path("rejected.parquet"), columns=["reason"])
    by_source = _count(pa.chunked_array([_read_column(path, "source") for path in thumbnails.paths(".parquet")]))
    read = sum(by_source.values())
    accounts = {
        "read": read,
        "kept": finished["clean"].records,
        "dropped": duplicates.num_rows,
        "rejected": rejected.num_rows,
    }
    if read != accounts["kept"] + accounts["dropped"] + accounts["rejected"]:
        raise IntegrityError(
            f"the accounts of {dataset} do not balance: {accounts}", hint="please report this with the command"
        )
    encoder = finished["encoder"]
    report = {
        "dataset": dataset,
        "source": sources.name,
        "sources": [
            {"name": member.name, "uri": uri, "images": by_source.get(member.name, 0)}
            for member, uri in zip_longest(sources.members, uris)
        ],
        "profile": profile.name,
        "threshold": profile.matching.threshold,
        **_read_json(finished["search"], "search.json"),
        "candidates": sum(json.loads(path.read_bytes()) for path in finished["pairs"].paths(".candidates.json")),
        **accounts,
        **_read_json(groups, "summary.json"),
        "rejected_by_reason": _count(rejected["reason"]),
        "dropped_by_rule": _count(duplicates["rule"]),
        "stages": {stage: _speed(root, stage, read) for stage in finished},
        "encoder": {
            **_read_json(encoder, "encoder.json"),
            "sha256": hash_file(encoder.path("encoder.safetensors")),
        },
        "fingerprint": finished["clean"].fingerprint,
        "version": version("cleanshards"),
    }
    report["review"] = summarise(open_root(root), report["population"])
    if "calibration" in finished:
        report["calibration"] = _read_json(finished["search"], "calibration.json")
    if truth is not None:
        kept_for = dict(zip(duplicates["key"].to_pylist(), duplicates["kept_key"].to_pylist(), strict=True))
        report["truth"] = _describe(judge(truth, kept_for))
    return report


def write_report(report: Mapping[str, Any], finished: Finished, root: Folder | Path) -> None:
    """Write ``report.json`` and ``report/index.html`` below the data set's folder."""
    folder = open_root(root)
    (folder / "report").write("index.html", render_page(report, finished).encode())
    folder.write("report.json", json.dumps(report, indent=1).encode())


def read_duplicates(finished: Finished) -> pa.Table:
    """The table of dropped images: columns `dedup.stages.grouping.DUPLICATES`."""
    return pq.read_table(finished["groups"].path("duplicates.parquet"))


def render_page(report: Mapping[str, Any], finished: Finished) -> str:
    """The report as one HTML page that needs nothing beside itself."""
    duplicates = read_duplicates(finished)
    pictures = _Pictures(finished, duplicates)
    exhibits = pq.read_table(finished["groups"].path("exhibits.parquet")).to_pylist()
    shown: dict[str, dict[int, list[dict[str, Any]]]] = {"pair": {}, "group": {}, "split": {}}
    for row in exhibits:
        shown[row["section"]].setdefault(row["place"], []).append(pictures.show(row["key"]))
    groups = [
        {"pictures": items, "more": pictures.group_sizes[items[0]["key"]] - len(items)}
        for items in shown["group"].values()
    ]
    across = [[pictures.show(kept), pictures.show(key)] for key, kept in _across(report)[:ACROSS_SHOWN]]
    return page.render_page(
        "dedup",
        "report.html.jinja",
        report={"truth": None, "calibration": None, "review": None, **report},
        histogram=draw_histogram(duplicates["distance"].to_numpy()),
        pairs=list(shown["pair"].values()),
        splits=list(shown["split"].values()),
        groups=groups,
        across=across,
        curve=draw_curve(report["calibration"]) if "calibration" in report else None,
    )


class _Pictures:
    """Pictures by key, with what the page says below them."""

    def __init__(self, finished: Finished, duplicates: pa.Table) -> None:
        self._finished = finished
        self._previews = read_previews(finished["clean"])
        self._duplicates = duplicates
        sizes = pc.value_counts(duplicates["kept_key"])
        self.group_sizes = {str(row["values"]): int(row["counts"]) + 1 for row in sizes.to_pylist()}

    def show(self, key: str) -> dict[str, Any]:
        rows = self._duplicates.filter(pc.equal(self._duplicates["key"], key)).to_pylist()
        if rows:
            role, note = "dropped", f"{rows[0]['rule'].replace('_', ' ')}, {rows[0]['distance']} bits"
        elif key in self.group_sizes:
            role, note = "kept", f"group of {self.group_sizes[key]}"
        else:
            role, note = "kept", "no duplicates"
        preview = self._previews.get(key)
        uri = page.data_uri(preview or self._thumbnail(key))
        return {"key": key, "role": role, "note": note, "uri": uri, "is_thumbnail": preview is None}

    def _thumbnail(self, key: str) -> bytes:
        thumbnails = self._finished["thumbnails"]
        for part in thumbnails.parts():
            place = pc.index(read_usable(part.paths(".parquet")[0], ["key"])["key"], key).as_py()
            if place >= 0:
                (thumbnail,) = ArrayShards(part, ".thumbnails.npy").take(np.array([place]))
                return encode_preview(thumbnail, THUMBNAIL_SIZE)
        raise KeyError(key)


def draw_histogram(distances: Sequence[int] | np.ndarray[Any, Any]) -> Markup:
    """Dropped images by distance, as an SVG that scales with its column."""
    counts = np.bincount(np.asarray(distances, np.int64), minlength=9)
    width, height, step = 480.0, 150.0, 480.0 / len(counts)
    top = max(1, int(counts.max()))
    bars, every = [], max(1, -(-len(counts) // 16))
    for distance, count in enumerate(counts.tolist()):
        x, bar = distance * step, count / top * height
        bars.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{20 + height - bar:.1f}" width="{step * 0.8:.1f}" '
            f'height="{bar:.1f}" rx="2" fill="var(--dropped)"><title>{distance} bits: {count:,}</title></rect>'
        )
        if distance % every == 0:
            bars.append(f'<text x="{x + step / 2:.1f}" y="{height + 38:.0f}" text-anchor="middle">{distance}</text>')
    bars.append(f'<text x="{width}" y="12" text-anchor="end">highest bar: {top:,}</text>')
    label = f"Histogram of the distances of {int(counts.sum()):,} dropped images, from 0 to {len(counts) - 1} bits"
    box = f"0 0 {width:.0f} {height + 44:.0f}"
    return Markup(f'<svg viewBox="{box}" width="100%" role="img" aria-label="{label}">{"".join(bars)}</svg>')


def _read_json(manifest: Manifest, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(manifest.path(name).read_bytes())
    return content


def _read_column(path: Path, name: str) -> pa.Array:
    return pq.read_table(path, columns=[name])[name].combine_chunks()


def _count(column: pa.ChunkedArray) -> dict[str, int]:
    """Value → count, the most frequent first."""
    counts = {str(row["values"]): int(row["counts"]) for row in pc.value_counts(column).to_pylist()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _speed(root: Folder | Path, stage: str, images: int) -> dict[str, float]:
    seconds = busy_seconds(root, stage)
    return {"seconds": round(seconds, 3), "images_per_s": round(images / max(seconds, 1e-9), 1)}


def _describe(verdict: Verdict) -> dict[str, Any]:
    return {
        "recall": round(verdict.recall, 4),
        "planted": sum(verdict.planted.values()),
        "found": sum(verdict.found.values()),
        "dropped": verdict.dropped,
        "by_kind": {
            kind: {"planted": planted, "found": verdict.found[kind]} for kind, planted in verdict.planted.items()
        },
        "across": [list(pair) for pair in verdict.across],
    }


def _across(report: Mapping[str, Any]) -> list[list[str]]:
    return list(report["truth"]["across"]) if report.get("truth") else []
