"""Charts: series of numbers in; line charts as SVG, with axes, units and what theory expects, out.

For the run's page, at the end of "clean shards → DCGAN"; colours are variables of its style. The pictures of
`train.theory` are of another kind, animated pixels, and have a canvas of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

Floats = npt.NDArray[np.float64]

COLOURS = ("--bar", "--dropped", "--kept", "--rejected")
MOST_POINTS = 240  # of a line; more cannot be told apart
MOST_DOTS = 40  # a line of as few points shows each of them

_WIDTH, _HEIGHT = 320.0, 196.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 22.0, 38.0
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_MOST_TICKS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """A line: y over x.

    Attributes:
        name: as the legend says it.
        x: float64 (N,), ascending; N at least 1.
        y: float64 (N,), finite.
    """

    name: str
    x: Floats
    y: Floats

    def describe(self) -> str:
        """Its last, lowest and highest value, in words."""
        low, high = int(self.y.argmin()), int(self.y.argmax())
        if self.y[low] == self.y[high]:
            return f"{'always ' if len(self.y) > 1 else ''}{say(self.y[-1])}"
        return (
            f"last {say(self.y[-1])}, lowest {say(self.y[low])} at {self.x[low]:,.0f}, "
            f"highest {say(self.y[high])} at {self.x[high]:,.0f}"
        )


@dataclass(frozen=True, slots=True)
class Thinned:
    """A series of fewer points: of as many neighbours each, the mean of x, and the mean and bounds of y."""

    x: Floats
    mean: Floats
    lowest: Floats
    highest: Floats


@dataclass(frozen=True, slots=True)
class Level:
    """A value that is told by a line across the chart."""

    name: str
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Some series over images seen, from 0 on.

    Attributes:
        title: what is shown.
        unit: of y; empty where it has none.
        series: at least one, at most as many as there are `COLOURS`.
        levels: what to compare with.
        bounds: y shows at least these.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    bounds: tuple[float, ...] = ()

    def legend(self) -> list[tuple[str, str, str]]:
        """Of each series its colour, its name and its description."""
        return [(colour, line.name, line.describe()) for colour, line in zip(COLOURS, self.series, strict=False)]

    def most_joined(self) -> int:
        """How many points of a series are joined into one, at most; 1 where all are drawn."""
        return max(-(-len(line.y) // MOST_POINTS) for line in self.series)

    def draw(self) -> Markup:
        """An SVG that scales with its column; its label says in words what it shows."""
        return _draw(self)


def thin(x: Floats, y: Floats, most: int = MOST_POINTS) -> Thinned:
    """Join neighbours so that at most ``most`` points remain; fewer points stay as they are."""
    starts = np.unique(np.linspace(0, len(x), min(most, len(x)), endpoint=False).astype(np.int64))
    counts = np.diff([*starts, len(x)])
    return Thinned(
        np.add.reduceat(x, starts) / counts,
        np.add.reduceat(y, starts) / counts,
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
    )


def choose_step(low: float, high: float, most: int = _MOST_TICKS) -> float:
    """The least of 1, 2, 2.5 or 5 times a power of ten of which at most ``most`` fit between two unlike numbers."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    return next(step for step in (power * factor for factor in (1, 2, 2.5, 5, 10, 20)) if high - low <= most * step)


def place_ticks(values: Sequence[float]) -> list[float]:
    """Two or more round numbers, evenly spaced, between the first and the last of which all values lie."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.1 * abs(low) or 1.0
        low, high = low - margin, high + margin
    step = choose_step(low, high)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def say(value: float) -> str:
    """A number in a text: four digits, thousands set apart."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def abbreviate(value: float) -> str:
    """A number where there is little space: 1500 → 1500, 20000 → 20k, 1250000 → 1.25M."""
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.4g}{letter}".replace("-", "−")
    return f"{value:.6g}".replace("-", "−")


def _draw(chart: Chart) -> Markup:
    thinned = [thin(line.x, line.y) for line in chart.series]
    levels = [level.y for level in chart.levels]
    shown = [float(y) for line in thinned for y in (line.lowest.min(), line.highest.max())]
    y_ticks = place_ticks([*shown, *levels, *chart.bounds])
    low, high = y_ticks[0], y_ticks[-1]
    end = max(float(line.x[-1]) for line in chart.series) or 1.0

    def across(x: npt.ArrayLike) -> Floats:
        return _LEFT + np.asarray(x, np.float64) / end * _INNER_WIDTH

    def down(y: npt.ArrayLike) -> Floats:
        return _TOP + (high - np.asarray(y, np.float64)) / (high - low) * _INNER_HEIGHT

    bottom, right = _TOP + _INNER_HEIGHT, _LEFT + _INNER_WIDTH
    parts = ['<g class="y">']
    for tick in y_ticks:
        y = float(down(tick))
        parts.append(_rule(_LEFT, right, y, y, "--line") + _text(_LEFT - 6, y + 4, "end", abbreviate(tick)))
    parts.append('</g><g class="x">')
    for tick in (tick for tick in place_ticks([0.0, end]) if tick <= end):
        x = float(across(tick))
        anchor = "end" if x > right - 8 else "middle"
        parts.append(
            _rule(x, x, bottom, bottom + 4, "--soft")
            + _text(min(x, right + _RIGHT / 2), bottom + 16, anchor, abbreviate(tick))
        )
    parts.append(f"</g>{_rule(_LEFT, right, bottom, bottom, '--soft')}")
    parts.append(_text(right, _HEIGHT - 4, "end", "images seen"))
    parts.append(_text(0, 11, "start", chart.unit))

    for line, colour in zip(thinned, COLOURS, strict=False):
        if (line.highest > line.lowest).any():
            upper, lower = (_points(across(line.x), down(edge)) for edge in (line.highest, line.lowest))
            outline = [*upper, *reversed(lower)]
            parts.append(f'<polygon points="{" ".join(outline)}" fill="var({colour})" fill-opacity=".18"/>')
    for series, line, colour in zip(chart.series, thinned, COLOURS, strict=False):
        points = _points(across(line.x), down(line.mean))
        parts.append(
            f'<polyline points="{" ".join(points)}" fill="none" stroke="var({colour})" stroke-width="1.6" '
            f'stroke-linejoin="round"/>'
        )
        if len(points) <= MOST_DOTS:
            parts += [
                f'<circle cx="{cx}" cy="{cy}" r="2.4" fill="var({colour})"><title>{escape(series.name)} at {seen:,.0f} '
                f"images: {say(value)}</title></circle>"
                for (cx, cy), seen, value in zip((point.split(",") for point in points), line.x, line.mean, strict=True)
            ]
    for level in chart.levels:
        y = float(down(level.y))
        parts.append(_rule(_LEFT, right, y, y, "--ink", ' stroke-dasharray="4 3"'))
        parts.append(_text(right - 2, y - 5 if y > _TOP + 14 else y + 13, "end", level.name, ' class="level"'))

    box = f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}"
    label = escape(_describe(chart))
    return Markup(f'<svg viewBox="{box}" width="100%" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _describe(chart: Chart) -> str:
    """A chart in words."""
    lines = "; ".join(f"{line.name}: {line.describe()}" for line in chart.series)
    levels = "".join(f"; {level.name} is {say(level.y)}" for level in chart.levels)
    end = max(float(line.x[-1]) for line in chart.series)
    unit = f", in {chart.unit}," if chart.unit else ""
    return f"{chart.title}{unit} over {end:,.0f} images seen. {lines}{levels}."


def _points(x: Floats, y: Floats) -> list[str]:
    return [f"{a:.2f},{b:.2f}" for a, b in zip(x, y, strict=True)]


def _rule(x1: float, x2: float, y1: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.2f}" x2="{x2:.2f}" y1="{y1:.2f}" y2="{y2:.2f}" stroke="var({colour})"{more}/>'


def _text(x: float, y: float, anchor: str, text: str, more: str = "") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'
