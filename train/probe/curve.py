"""Learning curves: figures by images seen in, a picture out.

Stands after the last word of "clean shards → DCGAN": what D's features are worth as its training goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from train.chart import abbreviate, place_ticks
from train.findings import Conditions, Figure, Finding
from train.samples import Pixels
from train.theory.chart import INK, SOFT, Axes, Canvas, Colour, Line

CURVE_NAME = "curve.png"
WIDTH, HEIGHT = 640, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 48, 44
CURVE: Colour = (38, 99, 168)
DASHES = (5.0, 4.0)
LETTER = 8.0  # pixels
LEAST_GAP = 12.0  # pixels between two labels of levels


@dataclass(frozen=True, slots=True)
class Point:
    """A figure of one checkpoint: images seen, and the figure in per cent."""

    images_seen: int
    value: float


def gather_checkpoints(run: Path, rows: Sequence[Finding], kept: Sequence[Finding]) -> list[Finding]:
    """The rows of a run, one of each number of images seen, ascending: measured now, or ever with the same settings.

    Args:
        run: its folder.
        rows: those of the command.
        kept: all that were ever measured on the data set; training removes checkpoints, and their rows stay.
    """
    own = [row for row in rows if row.settings.get("run") == str(run.resolve())]
    alike = [row for row in kept if row.settings.get("run") == str(run.resolve()) and _says(row) in map(_says, own)]
    return sorted({row.settings["images_seen"]: row for row in [*alike, *own]}.values(), key=_images_seen)


def describe_curve(rows: Sequence[Finding], levels: Mapping[str, float], conditions: Conditions) -> Finding:
    """The finding of a learning curve, whose picture is `CURVE_NAME`."""
    figures = [replace(row.figures[0], name=f"{row.settings['images_seen']:,} images seen", paper=None) for row in rows]
    last = rows[-1]
    shared = _says(last) | {"run": last.settings["run"], "checkpoints": [row.settings["checkpoint"] for row in rows]}
    return Finding(
        experiment=last.experiment,
        title=f"{last.title}, as training of {last.figures[0].name} goes on",
        figures=(*figures, *(Figure(name, value, "%") for name, value in levels.items())),
        pictures=(CURVE_NAME,),
        settings=shared,
        differs=last.differs,
        conditions=conditions,
    )


def _images_seen(row: Finding) -> int:
    return int(row.settings["images_seen"])


def _says(row: Finding) -> dict[str, Any]:
    """What two checkpoints of one curve have in common."""
    method = {name: value for name, value in row.settings["method"].items() if name != "weights"}
    return {name: row.settings[name] for name in ("version", "train", "test", "protocol")} | {"method": method}


def draw_curve(title: str, of: str, points: Sequence[Point], levels: Mapping[str, float]) -> Pixels:
    """Draw figures over images seen, and levels to compare them with as dashed lines.

    Args:
        title: ASCII.
        of: whose curve it is, ASCII.
        points: at least one, by images seen.
        levels: name (ASCII) → per cent.

    Returns:
        uint8 RGB (HEIGHT, WIDTH, 3).
    """
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text(LEFT, 18, title, INK, size=10)
    canvas.text(LEFT, 36, of, SOFT, size=LETTER)
    x_ticks = place_ticks([0.0, points[-1].images_seen])
    y_ticks = place_ticks([*(point.value for point in points), *levels.values()])
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    axes = Axes(canvas, LEFT, TOP, width, height, (0.0, x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    axes.frame([], y_ticks, "{:g}%")
    for tick in x_ticks:
        x = float(axes.across(np.array(tick)))
        canvas.text(x, TOP + height + 15, abbreviate(tick), SOFT, size=7, align=0.5)
    canvas.text(WIDTH - RIGHT, HEIGHT - 8, "images seen", SOFT, size=LETTER, align=1)
    taken: list[float] = []
    for name, value in sorted(levels.items(), key=lambda level: -level[1]):
        y = float(axes.down(np.array(value)))
        canvas.line([LEFT, WIDTH - RIGHT], [y, y], Line(SOFT, 1.0, DASHES))
        above = max([y - 5, *(other + LEAST_GAP for other in taken)])
        canvas.text(WIDTH - RIGHT - 2, above, f"{name}: {value:.4g}%", INK, size=LETTER, align=1)
        taken.append(above)
    seen, values = (np.array(each, np.float64) for each in zip(*map(astuple, points), strict=True))
    axes.curve(seen, values, Line(CURVE, 2.0))
    for across, down in zip(axes.across(seen), axes.down(values), strict=True):
        canvas.line([across - 2, across + 2], [down, down], Line(CURVE, 4.0))
    return canvas.picture()
