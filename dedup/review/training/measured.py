"""Measured: what a training run has written down of itself, line by line; series to draw and metrics to compare out.

Beside the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN", for
the eye. Where training went back to a checkpoint, rows of the attempt that was given up count no longer.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

MOST_POINTS = 500  # of a line; more cannot be told apart
Row = Mapping[str, Any]
Points = list[tuple[float, float]]
DEVIATION = "_std"  # ends the name of a metric's standard deviation
METRIC_NAMES = {
    "fid": "FID",
    "kid": "KID",
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A chart: what is drawn over images seen.

    Attributes:
        title: what it shows.
        unit: of y.
        lines: measure → what it is called.
        level: what theory expects at the end, by name; None where it expects nothing.
        bounds: y shows at least these.
    """

    title: str
    unit: str
    lines: Mapping[str, str]
    level: tuple[str, float] | None = None
    bounds: tuple[float, ...] = ()


PLANS = (  # the levels: Goodfellow et al. (2014), section 4.1: D is 1/2 everywhere where G draws as the data are
    Plan("Value of the game", "nats", {"value": "V(D, G)"}, ("−log 4", -math.log(4))),
    Plan("D of real and of drawn images", "probability", {"d_real": "D(x)", "d_fake": "D(G(z))"}, ("1/2", 0.5), (0, 1)),
    Plan("Loss of G", "nats", {"generator_loss": "loss of G"}),
    Plan("Spread of samples", "levels of 255", {"spread": "spread"}, bounds=(0,)),
    Plan("Distance between two samples", "bits of 128", {"code_distance": "code distance"}, bounds=(0,)),
    Plan("Rate", "images/s", {"images_per_s": "rate"}, bounds=(0,)),
)


@dataclass(slots=True)
class Measured:
    """The rows of a run that count.

    Attributes:
        measured: losses, rates and diversity; ``images`` ascend.
        evaluated: metrics and memorisation; ``images`` do not descend.
        signs: (images seen, sign) of what looked wrong.
        rollbacks: how often training went back.
        damaged: lines that are no rows.
    """

    measured: list[Row] = field(default_factory=list)
    evaluated: list[Row] = field(default_factory=list)
    signs: list[tuple[int, str]] = field(default_factory=list)
    rollbacks: int = 0
    damaged: int = 0

    @property
    def last(self) -> Row:
        """The last row of losses; none of none."""
        return self.measured[-1] if self.measured else {}


def read_rows(content: bytes) -> Measured:
    """Read the lines of ``stats.jsonl``; the last one is left out while it is not whole."""
    found = Measured()
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        row = _parse(line)
        if row is None:
            found.damaged += 1
            continue
        if isinstance(row.get("evaluation"), dict) or isinstance(row.get("memorisation"), dict):
            found.evaluated.append(row)
            continue
        signs = row.get("signs")
        found.signs += [(row["images"], str(sign)) for sign in signs] if isinstance(signs, list) else []
        goes_back = "epoch" not in row  # it says why training went back to where it stands; it measures nothing
        if goes_back or (found.measured and row["images"] <= found.last["images"]):
            found.rollbacks += 1
            kept = row["images"] if goes_back else row["images"] - 1
            found.measured = [earlier for earlier in found.measured if earlier["images"] <= kept]
            found.evaluated = [earlier for earlier in found.evaluated if earlier["images"] <= kept]
        if not goes_back:
            found.measured.append(row)
    return found


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        return {**row, "images": int(row["images"])}
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def chart_measures(found: Measured) -> list[dict[str, Any]]:
    """The charts of `PLANS` that have a line; see `_chart` for what a chart is."""
    charts = []
    for plan in PLANS:
        lines = {
            name: _points((row["images"], row.get(key)) for row in found.measured) for key, name in plan.lines.items()
        }
        charts += _chart(plan, lines)
    return charts


def compare_evaluations(found: Measured) -> list[dict[str, Any]]:
    """Evaluations by all that their metrics depend on, in the order of their first ones.

    Returns:
        Of each: group (names the settings: metrics of equal groups compare), extractor, settings (name → text), columns
        (metric → its name), rows (images, and the text of each metric), and charts, one for each metric.
    """
    groups: dict[str, list[Row]] = {}
    for row in found.evaluated:
        if isinstance(row.get("evaluation"), dict) and isinstance(row["evaluation"].get("metrics"), dict):
            groups.setdefault(json.dumps(_settings(row), sort_keys=True), []).append(row)
    return [_compare(settings, rows) for settings, rows in groups.items()]


def _settings(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row["evaluation"].items() if name != "metrics"}


def _compare(group: str, rows: Sequence[Row]) -> dict[str, Any]:
    metrics = [{name.rpartition("/")[2]: value for name, value in row["evaluation"]["metrics"].items()} for row in rows]
    columns = {name: METRIC_NAMES.get(name, name) for name in metrics[0] if not name.endswith(DEVIATION)}
    settings = _settings(rows[0])
    seen = [row["images"] for row in rows]
    charts = []
    for name, called in columns.items():
        lines = {called: _points(zip(seen, (metric.get(name) for metric in metrics), strict=True))}
        unit, bounds = ("0 at best", (0.0,)) if name in METRIC_NAMES else ("1 at best", (0.0, 1.0))
        charts += _chart(Plan(called[0].upper() + called[1:], unit, {}, bounds=bounds), lines)
    return {
        "group": hashlib.sha256(group.encode()).hexdigest()[:16],
        "extractor": str(settings.pop("extractor", "unnamed features")),
        "settings": {name.replace("_", " "): _say(value) for name, value in settings.items()},
        "columns": columns,
        "rows": [
            {"images": images, "values": {name: _say_metric(metric, name) for name in columns}}
            for images, metric in zip(seen, metrics, strict=True)
        ],
        "charts": charts,
    }


def say_metrics(found: Measured) -> str:
    """The last evaluation in a line, such as "Fréchet distance 2.007, precision 0.5795"; empty where there is none."""
    compared = compare_evaluations(found)
    if not compared:
        return ""
    first = compared[0]
    return ", ".join(f"{called} {first['rows'][-1]['values'][name]}" for name, called in first["columns"].items())


def _say_metric(metrics: Row, name: str) -> str:
    value, deviation = metrics.get(name), metrics.get(name + DEVIATION)
    if not _is_number(value):
        return "–"
    return f"{value:.4g}" + (f" ± {deviation:.2g}" if _is_number(deviation) else "")


def _say(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _points(values: Iterable[tuple[float, object]]) -> Points:
    return [(x, float(y)) for x, y in values if _is_number(y)]


def _chart(plan: Plan, lines: Mapping[str, Points]) -> list[dict[str, Any]]:
    """A chart of the lines that there are: title, unit, level, bounds, lines (name, x, y, joined); none of none."""
    drawn = [{"name": name, **thin(points)} for name, points in lines.items() if points]
    if not drawn:
        return []
    level = plan.level and {"name": plan.level[0], "y": plan.level[1]}
    return [{"title": plan.title, "unit": plan.unit, "level": level, "bounds": plan.bounds, "lines": drawn}]


def thin(points: Points, most: int = MOST_POINTS) -> dict[str, Any]:
    """Join neighbours so that at most ``most`` points remain: x and y, means of as many neighbours, and how many."""
    joined = -(-len(points) // most)
    starts = np.arange(0, len(points), joined)
    counts = np.diff([*starts, len(points)])
    x, y = (np.add.reduceat(column, starts) / counts for column in np.array(points, np.float64).T)
    return {"x": x.round(1).tolist(), "y": [float(f"{value:.6g}") for value in y.tolist()], "joined": joined}
