"""Findings: what an experiment found in; a folder with its pictures and numbers, and a table beside the paper's, out.

Stands after the last word of "clean shards → DCGAN": the commands that probe and explore a run each leave one folder,
whose ``finding.json`` is written last; `train.evidence` makes a page of all of them.
"""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from pipelines.errors import IntegrityError
from pipelines.store import write_atomically

FINDING_NAME = "finding.json"
EVIDENCE = "evidence"  # the folder of findings below a run's


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: of the method or the measure.
        value: ours.
        unit: such as ``%``; empty of plain numbers.
        paper: the paper's figure of the same, in the same unit; None where it has none.
        spread: half of the 95% interval, in the same unit; None where it is not known.
        note: what it depends on, short.
    """

    name: str
    value: float
    unit: str = ""
    paper: float | None = None
    spread: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a finding was made: the command, the hardware in words, the time from its start in seconds, the torch."""

    command: str
    hardware: str
    seconds: float
    torch: str = torch.__version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an experiment found.

    Attributes:
        experiment: its name: a command's, or a data set's that was probed.
        title: what was done, in a line.
        figures: its numbers.
        pictures: names of the pictures and clips beside ``finding.json``.
        settings: all that decides the numbers and pictures: run, checkpoint, images seen, seeds, options.
        differs: what is not as in the paper, in a sentence or two; empty where nothing is.
        conditions: how it was made.
    """

    experiment: str
    title: str
    figures: tuple[Figure, ...] = ()
    pictures: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""
    conditions: Conditions


def note_conditions(module: str, device: torch.device, started_s: float) -> Conditions:
    """The conditions of a command.

    Args:
        module: whose command it is, as ``train.probe``.
        device: where networks ran.
        started_s: `time.perf_counter` as it began.
    """
    command = f"python -m {module} {shlex.join(sys.argv[1:])}".rstrip()
    return Conditions(
        command=command, hardware=describe_hardware(device), seconds=round(time.perf_counter() - started_s, 1)
    )


def describe_hardware(device: torch.device) -> str:
    """The device in words: a GPU's name, or how many cores of which processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = os.cpu_count() or 1
    return f"{cores} cores, {platform.machine()}"


def write_finding(folder: Path, finding: Finding, pictures: Mapping[str, bytes]) -> None:
    """Write encoded pictures by their names, then ``finding.json``; makes the folder, replaces what was there."""
    assert tuple(pictures) == finding.pictures
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FINDING_NAME).unlink(missing_ok=True)
    for name, content in pictures.items():
        write_atomically(folder / name, content)
    write_atomically(folder / FINDING_NAME, json.dumps(asdict(finding), indent=1).encode())


def read_finding(path: Path) -> Finding:
    """Read what `write_finding` wrote. Raises IntegrityError where it is damaged."""
    try:
        content = json.loads(path.read_bytes())
        content["figures"] = tuple(Figure(**figure) for figure in content["figures"])
        content["pictures"] = tuple(content["pictures"])
        content["conditions"] = Conditions(**content["conditions"])
        return Finding(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error})", hint="remove it, and run its experiment again") from error


def lay_out_finding(finding: Finding) -> Table:
    """A table of the figures, the paper's beside ours."""
    table = Table(title=finding.title, title_justify="left", caption=finding.differs, caption_justify="left")
    table.add_column("")
    table.add_column("ours", justify="right")
    table.add_column("paper", justify="right")
    table.add_column("")
    for figure in finding.figures:
        paper = "" if figure.paper is None else format_number(figure.paper, figure.unit)
        table.add_row(figure.name, format_figure(figure), paper, figure.note)
    return table


def format_figure(figure: Figure) -> str:
    """Our number, with its spread where that is known: ``22.5 ± 0.4%``."""
    if figure.spread is None:
        return format_number(figure.value, figure.unit)
    return f"{format_number(figure.value, '')} ± {format_number(figure.spread, figure.unit)}"


def format_number(value: float, unit: str) -> str:
    """A number of four digits with its unit: ``82.8%``, ``1.25``."""
    return f"{value:.4g}{unit if unit in {'%', ''} else f' {unit}'}"
