"""SearchStage: ``names.parquet`` in; tables of URLs, each with its person, page, licence and author, out.

The arrow "names → URLs" of "names → URLs → photographs → boxes → crops".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from facescrape.names.people import Person, forgotten_people, load_people
from facescrape.search.base import Result, SearchProvider, is_web_address
from facescrape.tables import URLS
from pipelines.manifest import Manifest, digest_of
from pipelines.stage import Task
from pipelines.store import local_path


@dataclass(frozen=True, slots=True)
class SearchStage:
    """Searches for every person: ``NNNNN.urls.parquet``, columns `facescrape.tables.URLS`.

    Attributes:
        provider: where to search.
        images_per_person: results taken per person, the first.
        people_per_shard: people in a row whose results make one table.
    """

    name: ClassVar[str] = "urls"
    version: ClassVar[int] = 1

    provider: SearchProvider
    images_per_person: int
    people_per_shard: int

    def tasks(self, *upstream: Manifest) -> Sequence[Task]:
        """One per block of people, known by whom it searches for; ``upstream`` is the names' manifest.

        Who has been forgotten keeps a place in a block, so that the others stay in theirs, and is not searched for.
        """
        (names,) = upstream
        (path,) = names.paths(".parquet")
        people, forgotten = load_people(path), forgotten_people(local_path(names.folder).parent)
        tasks = []
        for number, start in enumerate(range(0, len(people), self.people_per_shard)):
            block = tuple(row for row in people[start : start + self.people_per_shard] if row.person not in forgotten)
            tasks.append(Task(f"{number:05d}", block, digest_of([[row.person, row.name] for row in block])))
        return tasks

    def run(self, task: Task, out: Path) -> int:
        """Search for one block of people."""
        block: tuple[Person, ...] = task.payload
        rows = [
            {"person": person.person, "name": person.name, "provider": self.provider.name, "rank": rank}
            | asdict(result)
            for person in block
            for rank, result in enumerate(self._search(person))
        ]
        pq.write_table(pa.Table.from_pylist(rows, URLS), out / f"{task.name}.urls.parquet")
        return len(rows)

    def _search(self, person: Person) -> list[Result]:
        """A person's first results with a usable URL, each once."""
        seen: set[str] = set()
        kept = []
        for result in self.provider.search(person, self.images_per_person):
            if is_web_address(result.url) and result.url not in seen:
                seen.add(result.url)
                kept.append(result)
                if len(kept) == self.images_per_person:
                    break
        return kept
