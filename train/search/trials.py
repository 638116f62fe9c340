"""Trials: what became of each in; a folder that a killed search goes on from, out.

Stands beside the last word of "clean shards → DCGAN". ``search.json`` says what is searched, ``trials.jsonl`` has a row
for each finished trial, in order, and ``trial_0012.pt`` holds the weights of the best. Each is written as a whole, rows
after weights: a kill at any instant costs the trial in flight and nothing else.
"""

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines.errors import ConfigError, IntegrityError
from pipelines.store import write_atomically
from train.search.trial import Options, Outcome, Weights

SETTINGS_NAME = "search.json"
TRIALS_NAME = "trials.jsonl"
WEIGHTS_NAME = "trial_{:04d}.pt"
ANEW = "remove the folder, and search again"


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished trial.

    Attributes:
        number: from 0 on.
        options: how it trained.
        error: share of the validation images that are classified wrong; None where it never came to know.
        epoch: epochs before that, or before it diverged.
        diverged: whether the loss became infinite, or no number.
        seconds: how long it took.
    """

    number: int
    options: Options
    error: float | None
    epoch: int
    diverged: bool
    seconds: float

    @property
    def rank(self) -> tuple[float, int]:
        """Smaller is better; of equal ones the earlier."""
        return (float("inf") if self.error is None else self.error, self.number)


class Search:
    """A search's folder: ``settings`` as they were given, and ``trials``, those finished, by number."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Open a search's folder, or begin one.

        Args:
            folder: made if it is not there.
            settings: all that decides what a trial gives, as plain numbers and strings.

        Raises:
            ConfigError: it holds a search with other settings.
            IntegrityError: a file in it is damaged.
        """
        self.folder, self.settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / SETTINGS_NAME
        if path.is_file():
            _require_same(folder, _read_json(path, path.read_bytes()), settings)
        else:
            write_atomically(path, json.dumps(dict(settings), indent=1).encode())
        self.trials = self._read_trials()

    @property
    def best(self) -> Trial | None:
        """The trial of the least error; None where none has one."""
        found = min(self.trials, key=lambda trial: trial.rank, default=None)
        return None if found is None or found.error is None else found

    def add(self, options: Options, outcome: Outcome, seconds: float) -> Trial:
        """Add the next trial; write its weights, where it is the best, and its row."""
        trial = Trial(len(self.trials), options, outcome.error, outcome.epoch, outcome.diverged, round(seconds, 1))
        if outcome.weights is not None and (self.best is None or trial.rank < self.best.rank):
            buffer = io.BytesIO()
            torch.save(outcome.weights, buffer)
            write_atomically(self.folder / WEIGHTS_NAME.format(trial.number), buffer.getvalue())
        self.trials.append(trial)
        rows = "".join(json.dumps(asdict(row)) + "\n" for row in self.trials)
        write_atomically(self.folder / TRIALS_NAME, rows.encode())
        if self.best is not None:
            for path in self.folder.glob(WEIGHTS_NAME.format(0).replace("0000", "*")):
                if path.name != WEIGHTS_NAME.format(self.best.number):
                    path.unlink()
        return trial

    def read_weights(self, trial: Trial) -> Weights:
        """The weights of the best trial. Raises IntegrityError where they cannot be read."""
        path = self.folder / WEIGHTS_NAME.format(trial.number)
        try:
            weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise IntegrityError(f"{path} is damaged", hint=ANEW) from error
        return weights

    def _read_trials(self) -> list[Trial]:
        path = self.folder / TRIALS_NAME
        trials = []
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            row = _read_json(path, line)
            try:
                trials.append(Trial(**{**row, "options": Options(**row["options"])}))
            except (KeyError, TypeError) as error:
                raise IntegrityError(f"{path} is damaged ({error})", hint=ANEW) from error
        return trials


def _read_json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content)
        if not isinstance(read, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise IntegrityError(f"{path} is damaged ({error})", hint=ANEW) from error
    return read


def _require_same(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    changes = [
        f"{name} was {stored.get(name)} and is {given.get(name)}"
        for name in sorted(stored.keys() | given.keys())
        if stored.get(name) != given.get(name)
    ]
    if changes:
        raise ConfigError(
            f"the search in {folder} cannot go on with other options: {', '.join(changes)}",
            hint="give the options it began with, or another folder with --out",
        )
