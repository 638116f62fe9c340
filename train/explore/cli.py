"""What the commands of ``python -m train.explore`` share: options, how one begins, and how it ends."""

import io
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.markup import escape
from torch import Tensor

from pipelines.cli import console, error_console, set_up_output
from pipelines.store import write_atomically
from train.device import Device, choose_device
from train.explore.exploration import Exploration
from train.findings import EVIDENCE, Figure, Finding, lay_out_finding, note_conditions, write_finding
from train.runs import Weights, open_run
from train.statistics import Statistics

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder: DATA_ROOT/DATASET/train/NAME.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Decides every z.")]
WeightsOption = Annotated[
    Weights, typer.Option("--weights", help="auto: the moving average (ema) where the run keeps one.")
]
StatisticsOption = Annotated[
    Statistics | None,
    typer.Option(
        "--statistics",
        help="Batch norm's, see docs/sampling.md.",
        show_default="running, or recalibrated where the run keeps none",
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option("--checkpoint", metavar="PATH", help="A file, or a name in the run.", show_default="the last"),
]
Label = Annotated[int, typer.Option("--label", min=0, help="Of a conditional run: the class that is drawn.")]
DeviceOption = Annotated[Device, typer.Option("--device", help="auto: a GPU where there is one.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where to write.", show_default=f"RUN/{EVIDENCE}/COMMAND"),
]
Exemplars = Annotated[
    Path | None, typer.Option("--exemplars", metavar="JSON", help="Numbers of the sheet for each concept.")
]
AttributesOption = Annotated[
    Path | None,
    typer.Option("--attributes", metavar="FILE", help="A classifier of attributes that chooses, see docs/explore.md."),
]
Judge = Annotated[
    Path | None,
    typer.Option("--judge", metavar="FILE", help="Another one that scores what comes out.", show_default="the same"),
]


class Session:
    """One command at work.

    Attributes:
        exploration: the run as it sees it.
        folder: where what it finds goes.
    """

    def __init__(
        self,
        experiment: str,
        run: Path,
        *,
        out: Path | None,
        seed: int = 0,
        weights: Weights = Weights.AUTO,
        statistics: Statistics | None = None,
        checkpoint: str | None = None,
        label: int = 0,
        device: Device = Device.AUTO,
        quiet: bool = False,
    ) -> None:
        set_up_output(quiet=quiet)
        self._started_s = time.perf_counter()
        self._experiment, self._quiet = experiment, quiet
        opened = open_run(run, weights=weights, named=checkpoint, device=choose_device(device))
        self.exploration = Exploration(opened, seed, statistics, label)
        self.folder = out or run / EVIDENCE / experiment

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Show what is being done, where somebody may be waiting for it."""
        return nullcontext() if self._quiet else error_console.status(f"  {doing}", spinner="line")

    def publish(
        self,
        title: str,
        *,
        pictures: Mapping[str, bytes],
        figures: Sequence[Figure] = (),
        settings: Mapping[str, Any] | None = None,
        differs: str = "",
        z: Tensor | None = None,
    ) -> None:
        """Write what was found, with all z that it was drawn from as ``z.npy``, and show it."""
        finding = Finding(
            experiment=self._experiment,
            title=title,
            figures=tuple(figures),
            pictures=tuple(pictures),
            settings={**self.exploration.settings(), **(settings or {})},
            differs=differs,
            conditions=note_conditions("train.explore", self.exploration.device, self._started_s),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        if z is not None:
            content = io.BytesIO()
            np.save(content, z.numpy())
            write_atomically(self.folder / "z.npy", content.getvalue())
        write_finding(self.folder, finding, pictures)
        console.print(lay_out_finding(finding) if figures else escape(title))
        console.print(f"{', '.join(pictures)} in [b]{escape(str(self.folder))}[/b]", soft_wrap=True)
