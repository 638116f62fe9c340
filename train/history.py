"""History: the rows of ``stats.jsonl`` in; those that count, as series to draw, and metrics that compare, out.

For the run's page, at the end of "clean shards → DCGAN". Where training went back to a checkpoint, rows of the attempt
that was given up count no longer. Metrics compare only where all that they depend on is the same.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import IntegrityError
from train.chart import Chart, Series
from train.stats import STATS_NAME, Row

MOST_EVALUATIONS = 16  # rows of a table of metrics
IDEALS = {  # what a perfect G would have; the best of several values is the nearest to it
    "fid": 0.0,
    "kid": 0.0,
    "frechet_distance": 0.0,
    "kernel_distance": 0.0,
    "precision": 1.0,
    "recall": 1.0,
    "density": 1.0,
    "coverage": 1.0,
}
METRIC_NAMES = {
    "fid": "FID",
    "kid": "KID",
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
}
DEVIATION = "_std"  # ends the name of a metric's standard deviation


@dataclass(frozen=True, slots=True)
class History:
    """The rows of a run that count: where training went back to a checkpoint, those from before it and after.

    Attributes:
        measured: losses, rates and diversity; ``images`` ascend.
        evaluated: metrics and memorisation; ``images`` do not descend.
        signs: (images seen, sign) of what looked wrong, in rows that count and in those that do not.
        rollbacks: how often training went back.
    """

    measured: list[Row]
    evaluated: list[Row]
    signs: list[tuple[int, str]]
    rollbacks: int

    def series(self, key: str, name: str) -> Series | None:
        """One measure; None where no row has it."""
        return _to_series(((row["images"], row.get(key)) for row in self.measured), name)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Evaluations that differ in images seen alone, so that their numbers compare.

    Attributes:
        extractor: whose features.
        settings: name → value of all else that the numbers depend on; where the first comparison has the same, nothing.
        columns: metric → what it is called.
        rows: of images seen, and for each column its value in words and whether it is the best.
        left_out: evaluations that have no row.
        charts: of two evaluations or more.
    """

    extractor: str
    settings: dict[str, str]
    columns: dict[str, str]
    rows: list[tuple[int, list[tuple[str, bool]]]]
    left_out: int
    charts: list[Chart]


def read_history(run_folder: Path) -> History:
    """Read ``stats.jsonl``; a last line that is not whole yet is left out.

    Raises:
        IntegrityError: another line is no row.
    """
    path = run_folder / STATS_NAME
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    measured: list[Row] = []
    evaluated: list[Row] = []
    looked_wrong: list[tuple[int, str]] = []
    rollbacks = 0
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            row = json.loads(line)
            images, signs = int(row["images"]), row.get("signs", ())
            goes_back = "epoch" not in row  # `StatsLog.forget_after` says why training did; it measures nothing
            if goes_back and not signs:
                raise KeyError("epoch")
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"line {number} of {path} is damaged ({error})", hint="remove that line") from error
        if "evaluation" in row or "memorisation" in row:
            evaluated.append(row)
            continue
        looked_wrong.extend((images, str(sign)) for sign in signs)
        if goes_back:  # rows of what was given up are out of the file already
            rollbacks += 1
            continue
        if measured and images <= measured[-1]["images"]:
            rollbacks += 1
            measured = [earlier for earlier in measured if earlier["images"] < images]
            evaluated = [earlier for earlier in evaluated if earlier["images"] < images]
        measured.append(row)
    return History(measured, evaluated, looked_wrong, rollbacks)


def compare_evaluations(rows: Sequence[Row]) -> list[Comparison]:
    """Group rows by all that their metrics depend on, in the order of their first ones."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if "evaluation" in row:
            groups.setdefault(json.dumps(_settings(row), sort_keys=True), []).append(row)
    compared = list(groups.values())
    return [_compare(group, _settings(compared[0][0]) if place else {}) for place, group in enumerate(compared)]


def _settings(row: Row) -> dict[str, Any]:
    """All that the metrics of a row depend on."""
    return {name: value for name, value in row["evaluation"].items() if name != "metrics"}


def _compare(rows: Sequence[Row], first: Mapping[str, Any]) -> Comparison:
    settings = _settings(rows[0])
    metrics = [{name.rpartition("/")[2]: value for name, value in row["evaluation"]["metrics"].items()} for row in rows]
    columns = {name: METRIC_NAMES.get(name, name) for name in metrics[0] if not name.endswith(DEVIATION)}
    best = {name: _find_best(name, [metric.get(name) for metric in metrics]) for name in columns}

    decimals = {name: _count_decimals([metric[name] for metric in metrics if name in metric]) for name in columns}
    seen = [row["images"] for row in rows]
    shown = sorted(
        {*spread_over(len(rows), MOST_EVALUATIONS), *(place for place in best.values() if place is not None)}
    )
    table = []
    for place in shown:
        cells = [(_say_metric(metrics[place], name, decimals[name]), best[name] == place) for name in columns]
        table.append((seen[place], cells))

    charts: list[Chart] = []
    if len(rows) > 1:
        lines = {
            name: _to_series(zip(seen, (metric.get(name) for metric in metrics), strict=True), columns[name])
            for name in columns
        }
        charts = [
            Chart(line.name[0].upper() + line.name[1:], "0 at best", (line,), bounds=(0.0,))
            for name, line in lines.items()
            if line is not None and name in METRIC_NAMES
        ]
        if shares := tuple(line for name, line in lines.items() if line is not None and name not in METRIC_NAMES):
            title = ", ".join(line.name for line in shares).capitalize()
            charts.append(Chart(title, "1 at best", shares[:4], bounds=(0.0, 1.0)))
    extractor = str(settings.pop("extractor", "unnamed features"))
    said = {
        name.replace("_", " "): f"{value:,}" if isinstance(value, int) else str(value)
        for name, value in settings.items()
        if name not in first or value != first[name]
    }
    return Comparison(extractor, said, columns, table, len(rows) - len(shown), charts)


def _find_best(name: str, values: Sequence[float | None]) -> int | None:
    """Where the best of several values stands, the first of equals; None where there is nothing to choose."""
    if name not in IDEALS:
        return None
    distances = [
        math.inf if value is None or not math.isfinite(value) else abs(value - IDEALS[name]) for value in values
    ]
    return distances.index(min(distances)) if min(distances) < max(distances) else None


def _count_decimals(values: Iterable[float]) -> int:
    """So many that the largest value has four digits, or more where it has no decimals."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 3 - math.floor(math.log10(largest)))) if largest else 0


def _say_metric(metrics: Mapping[str, float], name: str, decimals: int) -> str:
    if name not in metrics:
        return "–"
    deviation = metrics.get(name + DEVIATION)
    text = f"{metrics[name]:,.{decimals}f}" + ("" if deviation is None else f" ± {deviation:,.{decimals}f}")
    return text.replace("-", "−")


def _to_series(values: Iterable[tuple[float, float | None]], name: str) -> Series | None:
    points = [(x, y) for x, y in values if y is not None and math.isfinite(y)]
    if not points:
        return None
    x, y = np.array(points, np.float64).T
    return Series(name, x, y)


def spread_over(count: int, most: int) -> list[int]:
    """At most ``most`` places of ``count``, evenly from the first to the last."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
