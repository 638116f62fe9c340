"""Concepts: exemplars that a person or a classifier has chosen in; which z stand for which concept out.

Stands after the last word of "clean shards → DCGAN", before `train.explore.arithmetic` and `train.explore.turn`. An
exemplar is the number of a z of a seed, as ``python -m train.explore sheet`` shows them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.errors import ConfigError

LEAST_EXEMPLARS = 3  # "experiments working on only single samples per concept were unstable", section 6.3.2
MOST_NUMBER = 1_000_000
SHOWN = 0.5  # an attribute is there where it is more likely than not

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Wish:
    """A concept by its attributes, as ``smile, not male``: attribute → whether it is to be there."""

    attributes: Mapping[str, bool]

    @classmethod
    def parse(cls, text: str, names: Sequence[str]) -> "Wish":
        """Read ``smile, not male``. Raises ConfigError where an attribute is not one of ``names``, or contradicted."""
        attributes: dict[str, bool] = {}
        for part in text.split(","):
            words = part.split()
            name, there = (words[-1] if words else "", words[0] != "not" if words else True)
            if words not in ([name], ["not", name]) or name not in names or attributes.get(name, there) != there:
                raise ConfigError(
                    f"{text.strip()!r} is no concept", hint=f"join some of {', '.join(names)} as: smile, not male"
                )
            attributes[name] = there
        return cls(attributes)

    def rate(self, scores: Floats, names: Sequence[str]) -> Floats:
        """How likely pictures are all that is wished, from scores (N, attributes): float32 (N,)."""
        likely = [scores[:, names.index(name)] for name in self.attributes]
        wished = [each if there else 1 - each for each, there in zip(likely, self.attributes.values(), strict=True)]
        rating: Floats = np.prod(wished, axis=0)
        return rating

    def __str__(self) -> str:
        return ", ".join(name if there else f"not {name}" for name, there in self.attributes.items())


def parse_equation(text: str, names: Sequence[str]) -> tuple[Wish, Wish, Wish]:
    """Read A - B + C, as ``smile, not male - not smile, not male + not smile, male``.

    Raises:
        ConfigError: it is not of this form, or a concept is none.
    """
    a, _, rest = text.partition(" - ")
    b, _, c = rest.partition(" + ")
    if not (a and b and c):
        raise ConfigError(
            f"--concepts is {text!r}", hint="give three, as: smile, not male - not smile, not male + male"
        )
    return Wish.parse(a, names), Wish.parse(b, names), Wish.parse(c, names)


def choose_exemplars(rating: Floats, count: int, trials: int = 1) -> Indices:
    """The best rated, dealt to ``trials`` in turn, none to two of them: int64 (trials, count).

    Raises:
        ConfigError: so many of them are not there, or not more likely than not what they are to be.
    """
    best = np.argsort(-rating, kind="stable")[: count * trials]
    if len(best) < count * trials or rating[best[-1]] <= SHOWN:
        found = int((rating > SHOWN).sum())
        raise ConfigError(
            f"of {len(rating):,} pictures {found:,} show a concept, and {count * trials} are needed",
            hint="give more --candidates, or fewer --trials",
        )
    return best.reshape(count, trials).T


def read_exemplars(path: Path, concepts: Sequence[str]) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Read the numbers of each concept's exemplars, and the concepts' names, from ``{"A": [3, 14, 15], …}``.

    Args:
        path: of the JSON; what the concepts are called may stand there as ``"names": {"A": "smiling woman", …}``.
        concepts: those that must be there, as A, B and C.

    Returns:
        concept → numbers, and concept → name.

    Raises:
        ConfigError: the file is not so, or a concept has too few exemplars.
    """
    example = json.dumps({concept: [3, 14, 15] for concept in concepts})
    try:
        content = json.loads(path.read_bytes())
        numbers = {concept: content[concept] for concept in concepts}
        names = {concept: str(content.get("names", {}).get(concept, concept)) for concept in concepts}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} gives no exemplars of {', '.join(concepts)} ({error})", hint=f"as {example}"
        ) from error
    for concept, given in numbers.items():
        if not (isinstance(given, list) and all(type(each) is int and 0 <= each < MOST_NUMBER for each in given)):
            raise ConfigError(f"{path}: {concept} is {given}", hint=f"give numbers of the sheet, as {example}")
        if len(set(given)) < LEAST_EXEMPLARS:
            raise ConfigError(
                f"{path}: {concept} has {len(set(given))} exemplars, and the mean of so few shows their accidents",
                hint=f"give {LEAST_EXEMPLARS} different ones or more, as in section 6.3.2 of the paper",
            )
    return numbers, names
