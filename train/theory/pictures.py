"""Pictures: snapshots of a game in; figure 1 of Goodfellow et al. 2014, as a strip and as an animation, out.

As in the figure p_data is black and dotted, p_g green and solid, D blue and dashed. Below them lines lead from values
of z, evenly spaced, to G(z).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from train.samples import Pixels
from train.theory.chart import INK, SOFT, Axes, Canvas, Colour, Line, Range
from train.theory.measure import BIN_CENTRES, BIN_EDGES, BIN_WIDTH, MINUS_LOG_4, optimal_discriminator
from train.theory.target import Floats

GENERATED: Colour = (47, 125, 91)
JUDGED: Colour = (47, 99, 174)
OPTIMUM: Colour = (224, 151, 79)
DOTS, DASHES = (2.0, 3.5), (7.0, 4.0)

PANEL_WIDTH, PANEL_HEIGHT, LEGEND_HEIGHT = 320, 300, 30
CURVES_HEIGHT = 168
STRIP_COLUMNS = 3
FRAME_MS, LAST_FRAME_MS = 180, 3000

DATA_LINE = Line(INK, 1.6, DOTS)
GENERATED_LINE = Line(GENERATED, 1.8)
MAP_LINE = Line(GENERATED, 0.7)
JUDGED_LINE = Line(JUDGED, 1.5, DASHES)
OPTIMUM_LINE = Line(OPTIMUM, 3.0)
VALUE_LINE = Line(JUDGED, 1.5)
BEST_VALUE_LINE = Line(OPTIMUM, 1.5)
GAME_LEGEND = {"p_data": DATA_LINE, "p_g": GENERATED_LINE, "D": JUDGED_LINE}
VALUE_LEGEND = {"V(D, G)": VALUE_LINE, "V(D*, G)": BEST_VALUE_LINE}
FIT_LEGEND = {
    "p_data": DATA_LINE,
    "p_g": GENERATED_LINE,
    "D* = p_data / (p_data + p_g)": OPTIMUM_LINE,
    "D, fitted": JUDGED_LINE,
}


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A game after some steps of G.

    Attributes:
        step: how many.
        generated: p_g's mass in each bin of `train.theory.measure`.
        probability: D at the bins' centres.
        mapped: G(z) at values of z that are evenly spaced on [-1, 1], ends included.
        value: V(D, G).
        best_value: V(D*, G).
    """

    step: int
    generated: Floats
    probability: Floats
    mapped: Floats
    value: float
    best_value: float


def draw_strip(snapshots: Sequence[Snapshot], data: Floats) -> Pixels:
    """The panels of some snapshots, `STRIP_COLUMNS` in a row; ``data`` is p_data's mass in each bin."""
    rows = -(-len(snapshots) // STRIP_COLUMNS)
    canvas = Canvas(PANEL_WIDTH * STRIP_COLUMNS, LEGEND_HEIGHT + PANEL_HEIGHT * rows)
    _draw_legend(canvas, GAME_LEGEND)
    for i, snapshot in enumerate(snapshots):
        row, column = divmod(i, STRIP_COLUMNS)
        _draw_panel(canvas, column * PANEL_WIDTH, LEGEND_HEIGHT + row * PANEL_HEIGHT, snapshot, data)
    return canvas.picture()


def draw_frames(snapshots: Sequence[Snapshot], data: Floats) -> list[Pixels]:
    """A picture for each snapshot: its panel, and beside it V until then."""
    frames = []
    for i, snapshot in enumerate(snapshots):
        canvas = Canvas(2 * PANEL_WIDTH, LEGEND_HEIGHT + PANEL_HEIGHT)
        _draw_legend(canvas, GAME_LEGEND)
        _draw_legend(canvas, VALUE_LEGEND, PANEL_WIDTH)
        _draw_panel(canvas, 0, LEGEND_HEIGHT, snapshot, data)
        _draw_values(canvas, PANEL_WIDTH, LEGEND_HEIGHT, snapshots, until=i + 1)
        frames.append(canvas.picture())
    return frames


def draw_fits(fits: Sequence[tuple[str, Floats, Floats]], data: Floats) -> Pixels:
    """Panels of a G that stays and a D that was fitted to it: (title, p_g's masses, D at the bins' centres) of each."""
    canvas = Canvas(PANEL_WIDTH * len(fits), LEGEND_HEIGHT + CURVES_HEIGHT + 60)
    _draw_legend(canvas, FIT_LEGEND)
    for i, (title, generated, probability) in enumerate(fits):
        axes = _draw_curves(canvas, i * PANEL_WIDTH, LEGEND_HEIGHT, title, data, generated)
        axes.curve(BIN_CENTRES, optimal_discriminator(data, generated), OPTIMUM_LINE)
        axes.curve(BIN_CENTRES, probability, JUDGED_LINE)
    return canvas.picture()


def _draw_panel(canvas: Canvas, left: float, top: float, snapshot: Snapshot, data: Floats) -> None:
    title = f"step {snapshot.step:,}    V = {snapshot.value:.3f}"
    axes = _draw_curves(canvas, left, top, title, data, snapshot.generated)
    axes.curve(BIN_CENTRES, snapshot.probability, JUDGED_LINE)

    # z below, x above it, and where G leads.
    bottom, above = top + PANEL_HEIGHT - 14, axes.top + axes.height + 26
    sides = (axes.left, axes.left + axes.width)
    for name, y in (("x", above), ("z", bottom)):
        canvas.line(sides, [y, y], Line(SOFT))
        canvas.text(axes.left - 6, y + 3.5, name, SOFT, align=1)
    across_z = np.linspace(*sides, len(snapshot.mapped))
    across_x = axes.across(np.clip(snapshot.mapped, *axes.x_range))
    for start, end in zip(across_z, across_x, strict=True):
        canvas.line([start, end], [bottom, above], MAP_LINE)


def _draw_curves(canvas: Canvas, left: float, top: float, title: str, data: Floats, generated: Floats) -> Axes:
    """Axes with p_data and p_g on them."""
    axes = Axes(canvas, left + 36, top + 28, PANEL_WIDTH - 52, CURVES_HEIGHT, _find_range(data), (0.0, 1.1))
    canvas.text(axes.left, top + 18, title)
    axes.frame(range(-4, 5), (0.0, 0.5, 1.0))
    axes.curve(BIN_CENTRES, data / BIN_WIDTH, DATA_LINE)
    axes.curve(BIN_CENTRES, generated / BIN_WIDTH, GENERATED_LINE)
    return axes


def _draw_values(canvas: Canvas, left: float, top: float, snapshots: Sequence[Snapshot], until: int) -> None:
    """V and V(D*, G) over the steps, of the first ``until`` snapshots."""
    steps = np.array([snapshot.step for snapshot in snapshots], dtype=np.float64)
    axes = Axes(canvas, left + 44, top + 28, PANEL_WIDTH - 60, PANEL_HEIGHT - 56, (0.0, steps[-1]), (-1.6, -0.8))
    axes.frame((0, steps[-1]), (-1.6, -1.4, -1.2, -1.0, -0.8), "{:.1f}")
    axes.curve(steps, np.full_like(steps, MINUS_LOG_4), Line(SOFT, 1.0, DOTS))
    canvas.text(axes.left + axes.width, float(axes.down(np.array(MINUS_LOG_4))) + 14, "-log 4", SOFT, align=1)
    axes.curve(steps[:until], np.array([s.best_value for s in snapshots[:until]]), BEST_VALUE_LINE)
    axes.curve(steps[:until], np.array([s.value for s in snapshots[:until]]), VALUE_LINE)


def _draw_legend(canvas: Canvas, lines: Mapping[str, Line], left: float = 0.0) -> None:
    x = left + 36
    for label, line in lines.items():
        canvas.line([x, x + 30], [16, 16], line)
        x = canvas.text(x + 36, 20, label) + 22


def _find_range(data: Floats) -> Range:
    """From well before p_data begins to well after it ends."""
    shown = BIN_EDGES[(np.cumsum(data)[:-1] > 1e-3) & (np.cumsum(data)[:-1] < 1 - 1e-3)]
    return float(shown[0]) - 0.5, float(shown[-1]) + 0.5
