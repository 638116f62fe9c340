"""Curve: calibration's figures for report.json in; recall and false pairs against the radius, drawn as SVG, out.

Serves the report of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_WIDTH, _LEFT, _RIGHT = 480.0, 52.0, 8.0
_RECALL_TOP, _FALSE_TOP, _HEIGHT = 24.0, 174.0, 110.0
_MOST_DECADES = 6  # of false pairs


def draw_curve(summary: Mapping[str, Any]) -> Markup:
    """Draw what is found at each radius above what is false there (per million pairs, by tenfold steps).

    Args:
        summary: of `dedup.calibration.figures.calibration_summary`.

    Returns:
        An SVG that scales with its column, the chosen radius marked in both.
    """
    curve: Sequence[Mapping[str, float]] = summary["curve"]
    bounds = [row["false_per_million_at_most"] for row in curve]
    high = math.ceil(math.log10(max(1e-6, *bounds)))
    low = max(high - _MOST_DECADES, math.floor(math.log10(min([bound for bound in bounds if bound] or [1e-6])) - 1))

    def decades(count: float) -> float:
        return (math.log10(max(count, 10.0**low)) - low) / (high - low)

    x = _x(summary["radius"], len(curve))
    parts = [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_RECALL_TOP}" y2="{_FALSE_TOP + _HEIGHT}" stroke="var(--soft)"/>',
        *(_scale(_RECALL_TOP, share, f"{share:.0%}") for share in (0.0, 0.5, 1.0)),
        *(_scale(_FALSE_TOP, decades(10.0**power), f"{10.0**power:g}") for power in range(low, high + 1, 2)),
        _line(_RECALL_TOP, [row["within_radius"] for row in curve], "--soft", "2 4"),
        _line(_RECALL_TOP, [row["recall"] for row in curve], "--kept"),
        _line(_FALSE_TOP, [decades(row["false_per_million_at_most"]) for row in curve], "--dropped", "2 4"),
        _line(_FALSE_TOP, [decades(row["false_per_million"]) for row in curve], "--dropped"),
        '<text x="0" y="12">found (dotted: code within the radius)</text>',
        f'<text x="0" y="{_FALSE_TOP - 12:.0f}">false per million pairs (dotted: at most)</text>',
        *(_label(_x(at, len(curve)), _FALSE_TOP + _HEIGHT + 18, "middle", str(at)) for at in range(0, len(curve), 8)),
    ]
    box = f"0 0 {_WIDTH:.0f} {_FALSE_TOP + _HEIGHT + 24:.0f}"
    label = f"Recall and false pairs by radius; the radius of this run is {summary['radius']} bits"
    return Markup(f'<svg viewBox="{box}" width="100%" role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _x(radius: int, radii: int) -> float:
    return _LEFT + radius * (_WIDTH - _LEFT - _RIGHT) / (radii - 1)


def _scale(top: float, share: float, text: str) -> str:
    y = top + _HEIGHT * (1 - share)
    line = f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
    return line + _label(_LEFT - 6, y + 4, "end", text)


def _label(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _line(top: float, shares: Sequence[float], colour: str, dashes: str = "") -> str:
    points = " ".join(f"{_x(at, len(shares)):.1f},{top + _HEIGHT * (1 - share):.1f}" for at, share in enumerate(shares))
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{points}" fill="none" stroke="var({colour})" stroke-width="2"{dashed}/>'
