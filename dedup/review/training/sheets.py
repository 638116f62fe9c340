"""Sheets: numbered samples of a run in; where people say an object is, and which samples show what they name, out.

At the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN", for the
eye. ``python -m train.explore sheet --each`` draws the samples; what is said of them goes, beside them, into the files
that ``train.explore forget --boxes``, ``arithmetic --exemplars`` and ``turn --exemplars`` read. Radford et al. (2016)
drew boxes by hand on 150 samples (section 6.3.1), and took the mean of three exemplars or more (6.3.2).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dedup.review.training.runs import EVIDENCE, Run
from pipelines.errors import ConfigError
from pipelines.store import write_atomically

SAMPLES = 240  # of a sheet
LEAST_EXEMPLARS = 3  # of a concept
CONCEPTS = {"arithmetic": ("A", "B", "C"), "turn": ("left", "right")}
FILES = {"forget": "boxes.json", "arithmetic": "arithmetic.json", "turn": "turn.json"}
OPTIONS = {"forget": "--boxes", "arithmetic": "--exemplars", "turn": "--exemplars"}
DRAWN, SHEET_NAME = "drawn", "sheet.json"
LARGEST_SEED = 2**31
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Box:
    """A box around an object in one of a sheet's samples; ``image`` is its number, all else in pixels."""

    image: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the samples of a sheet are: how many, their side in pixels, and what of the run drew them."""

    count: int
    resolution: int
    drawn_by: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The numbered samples of one checkpoint and seed, drawn yet or not.

    Attributes:
        run: whose.
        checkpoint: the name of one of its checkpoints.
        seed: decides every z.
        label: of a conditional run: the class that is drawn.
    """

    run: Run
    checkpoint: str
    seed: int = 0
    label: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{1,18}", self.checkpoint):
            raise ConfigError(f"{self.checkpoint!r} is no checkpoint", hint="choose one that the run has")
        if not 0 <= self.seed < LARGEST_SEED:
            raise ConfigError(f"the seed is {self.seed}", hint=f"give one from 0 to {LARGEST_SEED - 1}")
        if not 0 <= self.label < max(1, self.classes):
            raise ConfigError(f"the class is {self.label}", hint=f"the run has {self.classes}")

    @property
    def classes(self) -> int:
        """That the run was told; 0 where it was told none."""
        classes = self.run.config.get("classes", 0)
        return classes if isinstance(classes, int) else 0

    @property
    def folder(self) -> Path:
        """Where its samples lie, and what is said of them."""
        of_class = f"_{self.label}" if self.classes else ""
        return self.run.folder / DRAWN / f"{self.checkpoint}_{self.seed}{of_class}"

    def read(self) -> Drawn | None:
        """What its samples are; None where they are not drawn yet."""
        try:
            note = json.loads((self.folder / SHEET_NAME).read_bytes())
            return Drawn(int(note["count"]), int(note["resolution"]), dict(note["drawn_by"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def said(self, experiment: str) -> Path:
        """The file that the command of an experiment reads."""
        return self.folder / FILES[experiment]

    def found(self, experiment: str) -> str:
        """The name of the folder, below ``RUN/evidence``, of what an experiment finds by what was said here."""
        return f"{experiment}_{self.folder.name}"  # so that what others have found stays

    def arguments(self, experiment: str) -> list[str]:
        """Those of ``python -m train.explore`` that draw the sheet, or do an experiment by what was said of it."""
        run = str(self.run.folder)
        of_state = ["--checkpoint", self.checkpoint, "--seed", str(self.seed)]
        of_state += ["--label", str(self.label)] if self.classes else []
        if experiment == "sheet":
            return ["sheet", run, "--n", str(SAMPLES), *of_state, "--each", str(self.folder)]
        said, out = self.said(experiment), self.run.folder / EVIDENCE / self.found(experiment)
        return [experiment, run, OPTIONS[experiment], str(said), *of_state, "--out", str(out)]


def open_sheet(run: Run, checkpoint: str, seed: int, label: int) -> Sheet:
    """A sheet of a run as it is on disk.

    Raises:
        ConfigError: the run has no such checkpoint, or there can be no such seed or class.
    """
    if checkpoint not in run.checkpoints:
        raise ConfigError(f"the run {run.name} has no checkpoint {checkpoint!r}", hint="choose one that it has")
    return Sheet(run, checkpoint, seed, label)


def read_said(sheet: Sheet, experiment: str) -> dict[str, Any]:
    """What is said for an experiment: the content of its file, and ``known``, which names it; both empty at first.

    Raises:
        ConfigError: the file is damaged.
    """
    path = sheet.said(experiment)
    try:
        written = path.read_bytes()
    except FileNotFoundError:
        return {"content": {}, "known": ""}
    try:
        content = json.loads(written)
        if not isinstance(content, dict):
            raise TypeError("no object")
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error})", hint="move it away, and begin anew") from error
    return {"content": content, "known": _name(written)}


def save_boxes(sheet: Sheet, count: int, boxes: Sequence[Box], known: str) -> str:
    """Keep boxes; they are on disk when this returns.

    Args:
        sheet: of whose samples.
        count: samples that were looked at, from number 0 on: those without a box show no such object.
        boxes: in pixels of the sample as G draws it.
        known: names what they are written over.

    Returns:
        What names them.

    Raises:
        ConfigError: the samples are not drawn, a box is not inside of one that was looked at, or another page has
            changed the boxes meanwhile.
    """
    drawn = _require_drawn(sheet)
    if not 0 <= count <= drawn.count:
        raise ConfigError(f"{count} samples were looked at", hint=f"there are {drawn.count}")
    for box in boxes:
        ends = (box.left + box.width, box.top + box.height)
        starts = (box.left, box.top)
        if not 0 <= box.image < count or min(box.width, box.height) < 1 or min(starts) < 0:
            raise ConfigError(f"{box} is no box on one of {count} samples", hint="draw it anew")
        if max(ends) > drawn.resolution:
            raise ConfigError(f"{box} is not inside of a sample of {drawn.resolution} px", hint="draw it anew")
    return _save(
        sheet,
        "forget",
        {
            "seed": sheet.seed,
            "count": count,
            "boxes": [{name: getattr(box, name) for name in Box.__slots__} for box in boxes],
            "drawn_by": drawn.drawn_by,
        },
        known,
    )


def save_exemplars(
    sheet: Sheet, experiment: str, numbers: Mapping[str, Sequence[int]], names: Mapping[str, str], known: str
) -> str:
    """Keep exemplars; they are on disk when this returns.

    Args:
        sheet: of whose samples.
        experiment: of `CONCEPTS`.
        numbers: of each concept's exemplars.
        names: what concepts are called.
        known: names what they are written over.

    Returns:
        What names them.

    Raises:
        ConfigError: the samples are not drawn, one has no such number or stands for two concepts, or another page has
            changed the exemplars meanwhile.
    """
    drawn = _require_drawn(sheet)
    concepts = CONCEPTS[experiment]
    given = [number for concept in concepts for number in numbers.get(concept, ())]
    if not {*numbers, *names} <= set(concepts) or not set(given) <= set(range(drawn.count)):
        raise ConfigError(f"these are no exemplars of {', '.join(concepts)}", hint=f"give numbers below {drawn.count}")
    if len(set(given)) < len(given):
        raise ConfigError("a sample stands for two concepts", hint="let each stand for one")
    called = {concept: name[:LONGEST_NAME] for concept, name in names.items() if name.strip()}
    content: dict[str, Any] = {concept: list(numbers.get(concept, ())) for concept in concepts}
    return _save(sheet, experiment, {**content, **({"names": called} if called else {})}, known)


def is_ready(experiment: str, content: Mapping[str, Any]) -> bool:
    """Whether enough is said for an experiment."""
    if experiment == "forget":
        return bool(content.get("boxes"))
    return all(len(content.get(concept, ())) >= LEAST_EXEMPLARS for concept in CONCEPTS[experiment])


def _require_drawn(sheet: Sheet) -> Drawn:
    drawn = sheet.read()
    if drawn is None:
        raise ConfigError(f"there are no samples in {sheet.folder}", hint="draw them first")
    return drawn


def _save(sheet: Sheet, experiment: str, content: Mapping[str, Any], known: str) -> str:
    path = sheet.said(experiment)
    before = _name(path.read_bytes()) if path.exists() else ""
    if before != known:
        raise ConfigError("this was changed on another page", hint="load this page anew, and go on from there")
    written = json.dumps(content, indent=1).encode()
    write_atomically(path, written)
    return _name(written)


def _name(written: bytes) -> str:
    return hashlib.sha256(written).hexdigest()[:16]
