"""Names: whom to search for. DBpedia, or a user's list, goes in; ``names.parquet``, the most linked first, comes out.

First stages of "names → URLs → photographs → boxes → crops".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

from facescrape.names.dbpedia import SERVICE, Days, Endpoint
from facescrape.names.people import Person, load_people, merge_people, read_names, write_people
from facescrape.web.client import ClientFactory
from pipelines.errors import ConfigError, SourceError
from pipelines.manifest import Manifest
from pipelines.stage import Stage, Task

NAMES_NAME = "names"


@dataclass(frozen=True, slots=True)
class BirthsStage:
    """Asks DBpedia, year of birth by year of birth: ``YYYY.parquet``, columns `facescrape.tables.NAMES`.

    Each year is asked for as many people as are wanted in all, so that the most linked of all are among them.

    Attributes:
        endpoint: whom to ask.
        born: on which days.
        people: how many.
    """

    name: ClassVar[str] = "births"
    version: ClassVar[int] = 1

    endpoint: Endpoint
    born: Days
    people: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per year of birth; there is no upstream."""
        return [Task(f"{days.first.year:04d}", days) for days in self.born.years()]

    def run(self, task: Task, out: Path) -> int:
        """Ask for one year."""
        people = self.endpoint.find_people(task.payload, self.people)
        write_people(people, out / f"{task.name}.parquet")
        return len(people)


@dataclass(frozen=True, slots=True)
class NamesStage:
    """Chooses the most linked of all years: ``names.parquet``, columns `facescrape.tables.NAMES`."""

    name: ClassVar[str] = NAMES_NAME
    version: ClassVar[int] = 1

    people: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; ``upstream`` is the births' manifest."""
        (births,) = upstream
        return [Task(NAMES_NAME, births)]

    def run(self, task: Task, out: Path) -> int:
        """Merge the years."""
        births: Manifest = task.payload
        found = (person for path in births.paths(".parquet") for person in load_people(path))
        people = merge_people(found)[: self.people]
        if not people:
            raise SourceError(
                "DBpedia knows nobody who was born on these days",
                hint="give an earlier date with --born-after, or a list of names with --names FILE",
            )
        write_people(people, out / f"{NAMES_NAME}.parquet")
        return len(people)


@dataclass(frozen=True, slots=True)
class NamesFileStage:
    """Writes down a user's list, in its order, instead: ``names.parquet``, columns `facescrape.tables.NAMES`.

    Attributes:
        listed: the people, by `facescrape.names.people.read_names` for example.
        people: how many of them, from the first.
    """

    name: ClassVar[str] = NAMES_NAME
    version: ClassVar[int] = 1

    listed: tuple[Person, ...]
    people: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One; there is no upstream."""
        return [Task(NAMES_NAME)]

    def run(self, task: Task, out: Path) -> int:
        """Write the list."""
        people = self.listed[: self.people]
        write_people(people, out / f"{NAMES_NAME}.parquet")
        return len(people)


def choose_names(
    file: Path | None, endpoint: str, born: Days, people: int, client_factory: ClientFactory
) -> tuple[Stage, ...]:
    """The stages that end with ``names.parquet``, each on the one before.

    Args:
        file: a user's list; DBpedia is asked where there is none.
        endpoint: URL of a SPARQL endpoint with DBpedia's data.
        born: on which days; who is listed without a birth date counts as born then.
        people: how many at most.
        client_factory: makes the client for DBpedia.

    Raises:
        ConfigError: the list cannot be used, or names nobody born then.
    """
    if file is not None:
        listed = tuple(
            row for row in read_names(file) if row.birth_date is None or date.fromisoformat(row.birth_date) in born
        )
        if not listed:
            raise ConfigError(f"nobody in {file} was born {born}", hint="give an earlier date with --born-after")
        return (NamesFileStage(listed, people),)
    return (BirthsStage(Endpoint(endpoint, client_factory(SERVICE)), born, people), NamesStage(people))
