"""Rows: a method, labelled images and a protocol in; its figure, measured or as it was kept, out.

Stands after the last word of "clean shards → DCGAN". Every figure is kept as a finding in a folder of its own, named by
the SHA-256 of all that decides it, when it is there: a command measures what is missing, and a kill costs the row in
flight.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table

from train.findings import (
    FINDING_NAME,
    Conditions,
    Figure,
    Finding,
    format_figure,
    read_finding,
    write_finding,
)
from train.probe.data import LabelledImages, ProbeData
from train.probe.methods import Method
from train.probe.protocols import Outcome, Protocol, Report, measure, shuffle
from train.probe.published import FIGURES, MEASURED_BY_ERROR, find_published

FOLDER = "probe"  # below a data set's
SUPERVISED_FOLDER = "supervised"  # likewise, of `train.search`
VERSION = 1  # of what is measured: a row of another is measured anew


def decide(method: Method, data: ProbeData, protocol: Protocol) -> dict[str, Any]:
    """All that decides a row's figure."""
    return {
        "version": VERSION,
        "train": data.train.digest,
        "test": data.test.digest,
        "protocol": protocol.to_json(),
        "method": dict(method.settings),
    }


def place_row(root: Path, method: Method, data: ProbeData, protocol: Protocol) -> Path:
    """The folder of a row's finding, below a data set's `FOLDER`."""
    digest = hashlib.sha256(json.dumps(decide(method, data, protocol), sort_keys=True).encode()).hexdigest()
    return root / digest[:16]


def read_row(folder: Path, method: Method, data: ProbeData) -> Finding | None:
    """A row that was measured before, with the words of today; None where it was not.

    Raises:
        IntegrityError: it is damaged.
    """
    path = folder / FINDING_NAME
    if not path.is_file():
        return None
    finding = read_finding(path)
    figures = replace(finding.figures[0], name=method.name), *finding.figures[1:]
    return replace(finding, figures=figures, differs=list_differences(method, data))


def read_rows(root: Path) -> list[Finding]:
    """All rows that were ever measured on a data set, by title and name."""
    found = [read_finding(path) for path in root.glob(f"*/{FINDING_NAME}")]
    return sorted(found, key=lambda each: (each.title, each.figures[0].name, json.dumps(each.settings, sort_keys=True)))


def read_supervised(dataset_folder: Path, data: ProbeData, protocol: Protocol) -> Finding | None:
    """What `train.search` found on the same images with as many labels; None where it was not run.

    Raises:
        IntegrityError: it is damaged.
    """
    path = dataset_folder / SUPERVISED_FOLDER / FINDING_NAME
    if protocol.labels is None or not path.is_file():
        return None
    found = read_finding(path)
    wanted = {"train": data.train.digest, "labels": protocol.labels}
    return found if wanted.items() <= found.settings.items() else None


def measure_row(
    method: Method, data: ProbeData, protocol: Protocol, device: torch.device, report: Report | None = None
) -> Outcome:
    """Compute the features of all images, and classify by them.

    Raises:
        ConfigError: the method or the protocol does not suit the images.
    """
    train = data.train.choose(shuffle(len(data.train), protocol.seed))
    mapped = method.make(data.train)
    features, test_features = mapped.features(train.pixels), mapped.features(data.test.pixels)
    return measure(features, train.labels, test_features, data.test.labels, protocol, device=device, report=report)


def describe_row(
    dataset: str, method: Method, data: ProbeData, protocol: Protocol, outcome: Outcome, conditions: Conditions
) -> Finding:
    """A row as a finding, the paper's figure beside ours; in per cent, of error where the paper reports that."""
    by_error = dataset in MEASURED_BY_ERROR
    published = find_published(dataset, protocol.labels, method.kind)
    figure = Figure(
        method.name,
        100 * (1 - outcome.accuracy if by_error else outcome.accuracy),
        "%",
        None if published is None else published.value,
        None if outcome.spread is None else 100 * outcome.spread,
        describe_choice(method, protocol, outcome),
    )
    settings = decide(method, data, protocol) | {
        "kind": str(method.kind),
        "c": outcome.c,
        "validation_accuracy": list(outcome.validation),
        "train_images": len(data.train),
        "test_images": len(data.test),
        "rejected": dict(data.rejected),
        **method.about,
    }
    return Finding(
        experiment=dataset,
        title=title_rows(dataset, protocol, data.train),
        figures=(figure,),
        settings=settings,
        differs=list_differences(method, data),
        conditions=conditions,
    )


def list_differences(method: Method, data: ProbeData) -> str:
    """What is not as in the paper, in one line."""
    return "; ".join((*method.differs, *data.differs))


def keep_row(folder: Path, finding: Finding) -> None:
    """Write a row where `read_row` finds it."""
    write_finding(folder, finding, {})


def title_rows(dataset: str, protocol: Protocol, train: LabelledImages) -> str:
    """What a table of rows is of."""
    what = "error" if dataset in MEASURED_BY_ERROR else "accuracy"
    if protocol.labels is None:
        return f"{dataset}: {what}, all {len(train):,} labels"
    return f"{dataset}: {what}, {protocol.labels:,} labels"


def describe_choice(method: Method, protocol: Protocol, outcome: Outcome) -> str:
    """What a figure depends on, short."""
    parts = [f"C {outcome.c:g}"]
    if "dimensions" in method.settings:
        parts.insert(0, f"{method.settings['dimensions']:,} dimensions, {method.settings['statistics']} statistics")
    if "images_seen" in method.about:
        parts.insert(0, f"{method.about['images_seen']:,} images seen")
    if outcome.c in {protocol.grid[0], protocol.grid[-1]} and len(protocol.grid) > 1:
        parts.append("at the end of its grid")
    return "; ".join(parts)


def lay_out_rows(dataset: str, protocol: Protocol, rows: list[Finding], title: str) -> Table:
    """One table: ours with the paper's beside, then what only the paper has."""
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    table.add_column("")
    table.add_column("ours", justify="right")
    table.add_column("paper", justify="right")
    table.add_column("")
    published = FIGURES.get((dataset, protocol.labels), ())
    by_kind = {each.kind: each for each in published}
    for row in rows:
        figure = row.figures[0]
        known = by_kind.get(row.settings["kind"])
        paper = "" if known is None else format_figure(Figure(known.name, known.value, "%", spread=known.spread))
        table.add_row(escape(figure.name), format_figure(figure), paper, figure.note)
    measured = {row.settings["kind"] for row in rows}
    for each in published:
        if each.kind not in measured:
            paper = format_figure(Figure(each.name, each.value, "%", spread=each.spread))
            table.add_row(each.name, "", paper, each.note)
    return table
