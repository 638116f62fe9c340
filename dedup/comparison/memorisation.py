"""Memorisation: how near samples, and real images not seen, come to training images in; what of it is by heart out.

The report of `dedup.audit`, after the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN". Real images that were not trained on come as near to training images as the world is alike; a
sample that comes nearer than all but 1 in 100 of those owes it to memory, as far as there are more of such samples than
1 in 100 (compare Meehan, Chaudhuri & Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models",
AISTATS 2020).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from markupsafe import Markup
from scipy.stats import binomtest

from dedup.comparison.exhibits import Galleries, count_values, make_gallery, parquet_bytes
from dedup.comparison.memorised import Audited, trained_masks
from dedup.verification.verify import THRESHOLD
from pipelines import page
from pipelines.errors import SourceError
from pipelines.executors import Executor
from pipelines.progress import Progress
from pipelines.sources import Source
from pipelines.store import Folder

PERCENTILE = 0.01
SHOWN = 100
BINS = 40
COLOURS = ("--dropped", "--bar")  # of the samples' bars and of the held-out images'

AUDIT = pa.schema(
    [
        ("key", pa.string()),
        ("reference_key", pa.string()),
        ("distance", pa.int16()),
        ("mirrored", pa.bool_()),
        ("score", pa.float32()),
        ("copy", pa.bool_()),
        ("nearer", pa.bool_()),
        ("reason", pa.string()),
    ]
)
FLAT = "flat"  # a sample of one colour, which is near to nothing


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near each picture comes to its nearest image: by score, and of equal scores by distance.

    Attributes:
        score: float32 (n,), of verification.
        distance: int64 (n,), bits between the codes.
    """

    score: npt.NDArray[np.float32]
    distance: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def of(cls, rows: pa.Table) -> "Nearness":
        """Of rows with these columns."""
        return cls(rows["score"].to_numpy(), rows["distance"].to_numpy().astype(np.int64))

    def order(self) -> npt.NDArray[np.int64]:
        """Places of the pictures, the nearest first."""
        return np.lexsort((self.distance, -self.score))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many samples come nearer to a training image than held-out images do.

    Attributes:
        limit: score and distance of the held-out image that bounds the nearest hundredth of them.
        nearer: bool (n,), which samples come nearer than that.
        expected: the share of samples that would, were they as the held-out images are.
        interval: of the share of such samples, exact (Clopper & Pearson 1934), at 95%.
    """

    limit: tuple[float, int]
    nearer: npt.NDArray[np.bool_]
    expected: float
    interval: tuple[float, float]


def judge(samples: Nearness, held_out: Nearness, percentile: float = PERCENTILE) -> Verdict:
    """Compare samples with held-out images; both have at least one.

    If samples and held-out images are drawn alike, a sample is nearer than the j-th nearest of n held-out images with a
    chance of j in n + 1 (as in conformal prediction); j is the largest whose chance is at most ``percentile``, or 1.
    """
    rank = max(1, int(percentile * (len(held_out) + 1)))
    at = held_out.order()[rank - 1]
    score, distance = float(held_out.score[at]), int(held_out.distance[at])
    nearer = (samples.score > score) | ((samples.score == score) & (samples.distance < distance))
    share = binomtest(int(np.count_nonzero(nearer)), len(samples)).proportion_ci(0.95, "exact")
    return Verdict((score, distance), nearer, rank / (len(held_out) + 1), (float(share.low), float(share.high)))


def read_nearest(audited: Audited) -> tuple[pa.Table, pa.Table]:
    """Rows (`dedup.comparison.memorised.ROWS`) of the samples and of the held-out images, each the nearest first.

    Raises:
        SourceError: there are none of the one or of the other.
    """
    tables = []
    for what, manifest in (("sample", audited.nearest), ("held-out image", audited.held_out_nearest)):
        rows = [pq.read_table(path) for path in manifest.paths(".parquet")]
        if not sum(table.num_rows for table in rows):
            hint = "each must be an image that can be decoded, and not of one colour; the data set needs a few too"
            raise SourceError(f"no {what} can be compared with {audited.training.thumbnails.folder}", hint=hint)
        order = [("score", "descending"), ("distance", "ascending"), ("key", "ascending")]
        tables.append(pa.concat_tables(rows).sort_by(order))
    return tables[0], tables[1]


def make_table(audited: Audited, verdict: Verdict) -> pa.Table:
    """A row per sample, by key: columns `AUDIT`; one that cannot be compared has a reason."""
    nearest, _ = read_nearest(audited)
    nearest = nearest.append_column("copy", pc.greater_equal(nearest["score"], float(THRESHOLD)))
    nearest = nearest.append_column("nearer", pa.array(verdict.nearer))
    rows = [pq.read_table(path, columns=["key", "reason"]) for path in audited.samples.paths(".parquet")]
    table = pa.concat_tables(rows).join(nearest, "key").sort_by("key")
    uncompared = pc.and_(pc.is_null(table["reference_key"]), pc.is_null(table["reason"]))
    reason = pc.if_else(uncompared, FLAT, table["reason"])
    return table.set_column(table.column_names.index("reason"), "reason", reason).select(AUDIT.names).cast(AUDIT)


def make_report(dataset: str, name: str, audited: Audited, verdict: Verdict, table: pa.Table) -> dict[str, Any]:
    """Count everything, from the tables.

    Args:
        dataset: what the samples' generator was trained on.
        name: of the samples.
        audited: the manifests.
        verdict: of the samples.
        table: of `make_table`.

    Returns:
        The content of ``report.json``: dataset, name, read, compared, rejected_by_reason, copies, nearer, share,
        interval, expected_share, limit, held_out (images, copies, left_out), training_images, of_clean_shards,
        threshold, encoder_sha256, fingerprint and version.
    """
    samples, others = read_nearest(audited)
    nearer = int(np.count_nonzero(verdict.nearer))
    masks = trained_masks(audited.training.images(), audited.groups)
    return {
        "dataset": dataset,
        "name": name,
        "read": table.num_rows,
        "compared": samples.num_rows,
        "rejected_by_reason": count_values(table["reason"].drop_null()),
        "copies": pc.sum(table["copy"]).as_py(),
        "nearer": nearer,
        "share": round(nearer / samples.num_rows, 6),
        "interval": [round(bound, 6) for bound in verdict.interval],
        "expected_share": round(verdict.expected, 6),
        "limit": {"score": round(verdict.limit[0], 6), "distance": verdict.limit[1]},
        "held_out": {
            "images": others.num_rows,
            "copies": int(np.count_nonzero(others["score"].to_numpy() >= THRESHOLD)),
            "left_out": audited.held_out is None,
        },
        "training_images": sum(int(np.count_nonzero(mask)) for mask in masks),
        "of_clean_shards": audited.groups is not None,
        "threshold": round(float(THRESHOLD), 6),
        "encoder_sha256": audited.training.encoder_sha256,
        "fingerprint": audited.nearest.fingerprint,
        "version": version("cleanshards"),
    }


def write_report(
    report: Mapping[str, Any], table: pa.Table, audited: Audited, galleries: Galleries, root: Folder
) -> None:
    """Write ``audit.parquet``, ``report/index.html`` and ``report.json`` below ``root``."""
    root.write("audit.parquet", parquet_bytes(table))
    (root / "report").write("index.html", render_page(report, audited, galleries).encode())
    root.write("report.json", json.dumps(report, indent=1).encode())


def make_galleries(
    audited: Audited, sources: tuple[Source | None, Source | None], root: Folder, executor: Executor, progress: Progress
) -> Galleries:
    """The pictures that the page shows, of samples and of training images; thumbnails where a source is None."""
    shown = read_nearest(audited)[0].slice(0, SHOWN)
    ours, theirs = (shown[column].to_pylist() for column in ("number", "reference_number"))
    return (
        make_gallery(sources[0], audited.samples, ours, root, executor, progress),
        make_gallery(sources[1], audited.training.thumbnails, theirs, root / "training", executor, progress),
    )


def render_page(report: Mapping[str, Any], audited: Audited, galleries: Galleries) -> str:
    """The report as one HTML page that needs nothing beside itself."""
    samples, others = read_nearest(audited)
    pairs = [_show(row, galleries) for row in samples.slice(0, SHOWN).to_pylist()]
    scores = [rows["score"].to_numpy() for rows in (samples, others)]
    edges = np.linspace(*_range_of(np.concatenate(scores)), BINS + 1)
    marks = {"nearest 1% of held-out": report["limit"]["score"], "copy": report["threshold"]}
    histograms = [draw_histogram(values, edges, marks, colour) for values, colour in zip(scores, COLOURS, strict=True)]
    return page.render_page("dedup", "audit.html.jinja", report=report, pairs=pairs, histograms=histograms)


def draw_histogram(
    scores: npt.NDArray[np.float32], edges: npt.NDArray[np.float64], marks: Mapping[str, float], colour: str
) -> Markup:
    """Pictures by the score of their nearest training image, as an SVG that scales with its column.

    Bars grow with the logarithm of their counts: the few that matter stand beside the many that resemble nothing.

    Args:
        scores: (n,).
        edges: of the bars, ascending.
        marks: what is told by a line, and at which score.
        colour: a variable of the page's style.
    """
    counts, _ = np.histogram(scores, edges)
    width, height, top = 480.0, 150.0, max(1, int(counts.max()))
    scale = width / (edges[-1] - edges[0])
    drawn = []
    for count, start, end in zip(counts.tolist(), edges, edges[1:], strict=False):
        x, bar = (start - edges[0]) * scale, np.log1p(count) / np.log1p(top) * height
        drawn.append(
            f'<rect x="{x + 1:.1f}" y="{20 + height - bar:.1f}" width="{(end - start) * scale - 2:.1f}" '
            f'height="{bar:.1f}" rx="2" fill="var({colour})"><title>{start:.1f} to {end:.1f}: {count:,}</title></rect>'
        )
    for label, score in marks.items():
        x = (score - edges[0]) * scale
        if 0 <= x <= width:
            drawn.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{20 + height:.0f}" stroke="var(--soft)" '
                f'stroke-dasharray="4 3"><title>{label}: {score:.1f}</title></line>'
            )
    for place in np.linspace(edges[0], edges[-1], 6):
        x = (place - edges[0]) * scale
        anchor = "start" if x < 1 else "end" if x > width - 1 else "middle"
        drawn.append(f'<text x="{x:.1f}" y="{height + 38:.0f}" text-anchor="{anchor}">{place:.1f}</text>')
    drawn.append(f'<text x="{width}" y="12" text-anchor="end">highest bar: {top:,}</text>')
    label = f"Histogram of {len(scores):,} scores from {edges[0]:.1f} to {edges[-1]:.1f}; the highest bar is {top:,}"
    box = f"0 0 {width:.0f} {height + 44:.0f}"
    return Markup(f'<svg viewBox="{box}" width="100%" role="img" aria-label="{label}">{"".join(drawn)}</svg>')


def _range_of(scores: npt.NDArray[np.float32]) -> tuple[float, float]:
    """From the lowest to the highest, rounded outwards to whole numbers."""
    return float(np.floor(scores.min())), float(np.floor(scores.max()) + 1)


def _show(row: Mapping[str, Any], galleries: Galleries) -> list[dict[str, Any]]:
    """A sample, saying how near it is and whether it is a copy, and its nearest training image."""
    role = "copy" if row["score"] >= THRESHOLD else "sample"
    note = f"{role}, score {row['score']:.1f}, {row['distance']} bits" + ", mirrored" * row["mirrored"]
    return [
        galleries[0].show(row["number"], row["key"], note, role),
        galleries[1].show(row["reference_number"], row["reference_key"], "training", "training"),
    ]
