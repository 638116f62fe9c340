"""Truth: a table of planted near-duplicates in; recall by kind, and dropped pairs of two different pictures, out."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError

# Rows of these kinds are no near-duplicates to be found: pictures as such, odd ones, and values that are no pictures.
NOT_PLANTED = ("original", "odd:", "broken:")

Truth = Mapping[str, tuple[str, str]]  # key → (key of the picture that it copies or shows, kind)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run did against a truth table.

    Attributes:
        planted: kind → near-duplicates planted.
        found: kind → those of them that ended in one group with the picture they copy.
        across: (dropped, kept) pairs that show two different pictures, by the table.
        dropped: dropped images that the table names.
    """

    planted: Mapping[str, int]
    found: Mapping[str, int]
    across: tuple[tuple[str, str], ...]
    dropped: int

    @property
    def recall(self) -> float:
        """Share of the planted near-duplicates that were found."""
        return sum(self.found.values()) / max(1, sum(self.planted.values()))


def read_truth(path: Path) -> Truth:
    """Read a CSV with columns ``key``, ``duplicate_of`` (empty: of none) and ``what`` as key → (duplicate_of, what).

    Raises:
        ConfigError: there is no such file, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["key"]: (row["duplicate_of"], row["what"]) for row in csv.DictReader(file)}
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ConfigError(f"no truth table at {path}", hint="check the path after --truth") from error
    except (KeyError, csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is no truth table ({error})", hint="it needs the columns key, duplicate_of and what"
        ) from error


def judge(truth: Truth, kept_for: Mapping[str, str]) -> Verdict:
    """Compare a run with the truth.

    Args:
        truth: see `read_truth`.
        kept_for: dropped key → the key kept for it.
    """

    def picture_of(key: str) -> str:
        return truth[key][0] or key

    planted: dict[str, int] = {}
    found: dict[str, int] = {}
    for key, (original, what) in sorted(truth.items()):
        if original and not what.startswith(NOT_PLANTED):
            planted[what] = planted.get(what, 0) + 1
            same_group = kept_for.get(key, key) == kept_for.get(original, original)
            found[what] = found.get(what, 0) + same_group
    known = [(dropped, kept) for dropped, kept in sorted(kept_for.items()) if dropped in truth and kept in truth]
    across = tuple(pair for pair in known if picture_of(pair[0]) != picture_of(pair[1]))
    return Verdict(planted, found, across, len(known))
