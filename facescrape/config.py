"""Config: how a collection is to be made, and the presets: small to try it, the paper's figures.

Everything that decides which pictures end in the set stands in `CollectionConfig`; how they are fetched (rates,
contact, workers) does not.
"""

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pipelines.errors import ConfigError, SourceError
from pipelines.store import write_atomically

CONFIG_NAME = "collection.json"

ADULT_YEARS = 18
BYTES_PER_PHOTOGRAPH = 600_000  # about what a photograph of Wikimedia Commons has at 1,920 px


@dataclass(frozen=True, slots=True)
class CollectionConfig:
    """What to collect.

    Attributes:
        people: how many names, the most linked first.
        images_per_person: search results asked for per name.
        born_after: the earliest birthday; the paper says "modern era" and no year.
        born_before: the first birthday that is too late: nobody under age is collected.
        people_per_shard: people whose pictures make one shard; a shard is what a kill can lose.
        detector: haar or yunet.
        yunet_model: path of a model of YuNet at hand; None: the one that is fetched once.
        min_face: least side of a face box in pixels of the photograph.
        size: most side of a crop in pixels.
    """

    people: int = 100
    images_per_person: int = 50
    born_after: datetime.date = datetime.date(1900, 1, 1)
    born_before: datetime.date = field(default_factory=lambda: latest_adult_year(datetime.date.today()))
    people_per_shard: int = 10
    detector: str = "haar"
    yunet_model: str | None = None
    min_face: int = 128
    size: int = 128

    def __post_init__(self) -> None:
        for option in ("people", "images_per_person", "people_per_shard", "min_face", "size"):
            if getattr(self, option) < 1:
                raise ConfigError(f"--{option.replace('_', '-')} is {getattr(self, option)}", hint="give 1 or more")
        if self.born_after >= self.born_before:
            raise ConfigError(
                f"--born-after {self.born_after} leaves nobody: who is collected was born before {self.born_before}",
                hint="give an earlier date, such as 1900-01-01",
            )

    @property
    def photographs(self) -> int:
        """The most photographs that it can come to."""
        return self.people * self.images_per_person

    def save(self, root: Path) -> None:
        """Note below a collection's folder how it was made: `forget` has to know."""
        write_atomically(root / CONFIG_NAME, json.dumps(asdict(self), indent=1, default=str).encode())

    @classmethod
    def load(cls, root: Path) -> Self:
        """What `save` noted.

        Raises:
            SourceError: there is no collection.
        """
        try:
            values = json.loads((root / CONFIG_NAME).read_bytes())
        except FileNotFoundError:
            raise SourceError(
                f"there is no collection in {root}", hint="python -m facescrape.run faces makes one"
            ) from None
        dates = {name: datetime.date.fromisoformat(values[name]) for name in ("born_after", "born_before")}
        return cls(**{**values, **dates})


# Radford, Metz and Chintala 2016, section 4.2: 10,000 people, 3,000,000 images, about 350,000 face boxes.
PRESETS: Mapping[str, Mapping[str, int]] = {
    "small": {"people": 100, "images_per_person": 50},
    "paper": {"people": 10_000, "images_per_person": 300},
}


def latest_adult_year(today: datetime.date) -> datetime.date:
    """The first of January such that all born before it are of age; stays the same all year."""
    return datetime.date(today.year - ADULT_YEARS, 1, 1)


def choose_preset(name: str, **options: Any) -> CollectionConfig:
    """A preset with those ``options`` changed that are not None.

    Raises:
        ConfigError: no such preset, or an option out of its range.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset is called {name!r}", hint=f"the presets are {', '.join(PRESETS)}")
    given = {option: value for option, value in options.items() if value is not None}
    return CollectionConfig(**{**PRESETS[name], **given})
