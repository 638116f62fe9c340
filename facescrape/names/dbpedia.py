"""DBpedia: birth dates go in; the people of Wikipedia born then, the most linked first, come out.

The beginning of "names → URLs → photographs → boxes → crops". What is asked for is SPARQL 1.1
(https://www.w3.org/TR/sparql11-query/) over its HTTP protocol (https://www.w3.org/TR/sparql11-protocol/); what comes
back is its JSON (https://www.w3.org/TR/sparql11-results-json/).

The public endpoint is a Virtuoso that gives at most 10,000 rows, sorts no more, and takes at most 120 seconds for a
query; what it has by then it gives as if it were all, and only headers tell
(https://www.dbpedia.org/resources/sparql/). Nothing partial is taken here: counts in it are wrong. Who was born in a
span of days that is too much to be asked for is asked for in halves of it.
"""

import datetime
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facescrape.names.people import Person, merge_people, strip_disambiguation
from facescrape.web.client import Answer, ApiClient, Limit, Service, TimedOut
from pipelines.errors import DownloadError
from pipelines.manifest import digest_of

DBPEDIA = "https://dbpedia.org/sparql"
MOST_ROWS = 10_000  # of an answer, and of a sorted one: ResultSetMaxRows and MaxSortedTopRows
TIMEOUT_S = 60  # after which Virtuoso is to give up, and tell

# It allows 100 requests a second to each of us; queries that count are dear, so it gets one at a time, in series.
SERVICE = Service(
    name="DBpedia",
    limits=(Limit(1, 1.0),),
    if_unanswered="give a list of names with --names FILE",
    if_refused="give another endpoint with --endpoint, or a list of names with --names FILE",
    timeout_s=TIMEOUT_S + 30.0,
)

# Who has several dates, labels or pictures has one row. Virtuoso compares dates by an index; values that are none fail
# the comparison and so are left out (SPARQL 1.1, 17.2).
QUERY = """\
PREFIX dbo: <http://dbpedia.org/ontology/>
PREFIX foaf: <http://xmlns.com/foaf/0.1/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
PREFIX xsd: <http://www.w3.org/2001/XMLSchema#>
SELECT ?person (MIN(?date) AS ?birth) (MIN(STR(?label)) AS ?name) (MIN(STR(?wiki)) AS ?page)
       (MIN(STR(?image)) AS ?thumbnail) (COUNT(DISTINCT ?from) AS ?links)
WHERE {{
  ?person a dbo:Person ; dbo:birthDate ?date ; rdfs:label ?label .
  FILTER (?date >= "{first}"^^xsd:date && ?date < "{end}"^^xsd:date && lang(?label) = "en")
  OPTIONAL {{ ?person foaf:isPrimaryTopicOf ?wiki }}
  OPTIONAL {{ ?person dbo:thumbnail ?image }}
  OPTIONAL {{ ?from dbo:wikiPageWikiLink ?person }}
}}
GROUP BY ?person
ORDER BY DESC(?links) ASC(STR(?person))
LIMIT {rows}
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Days:
    """A span of days: the first, and the first after the last."""

    first: datetime.date
    end: datetime.date

    def __post_init__(self) -> None:
        if self.first >= self.end:
            raise ValueError(f"there is no day from {self.first} until before {self.end}")

    def __str__(self) -> str:
        last = self.end - datetime.timedelta(days=1)
        return f"{self.first}" if last == self.first else f"{self.first} to {last}"

    def __contains__(self, day: datetime.date) -> bool:
        return self.first <= day < self.end

    def digest(self) -> str:
        """SHA-256 (hex) of both dates."""
        return digest_of([self.first.isoformat(), self.end.isoformat()])

    def years(self) -> "list[Days]":
        """Its parts within each calendar year."""
        starts = [self.first, *(datetime.date(year, 1, 1) for year in range(self.first.year + 1, self.end.year + 1))]
        starts = [start for start in starts if start < self.end]
        return [Days(start, end) for start, end in zip(starts, [*starts[1:], self.end], strict=True)]

    def halves(self) -> "tuple[Days, Days] | None":
        """Both halves; None for one day."""
        middle = self.first + (self.end - self.first) // 2
        return (Days(self.first, middle), Days(middle, self.end)) if self.first < middle else None


class _TooMuch(DownloadError):
    """More was asked for than the endpoint gives or does at a time."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A SPARQL endpoint that serves DBpedia's data."""

    url: str
    client: ApiClient

    def digest(self) -> str:
        """SHA-256 (hex) of the URL: how it is asked does not change what it says."""
        return digest_of([self.url])

    def find_people(self, born: Days, people: int) -> list[Person]:
        """The most linked of those born on some days, as many as are wanted, ties by URI.

        Raises:
            DownloadError: the endpoint does not answer, not even for the people born on one day.
            ConfigError: it refuses us.
        """
        rows = min(people, MOST_ROWS)
        halves = born.halves()
        try:
            found, is_all = self._ask(born, rows)
            if is_all or len(found) >= people:
                return found
            if halves is None:
                logger.warning("of those born on %s, only the %d most linked are known", born, len(found))
                return found
        except (_TooMuch, TimedOut):
            if halves is None:
                raise
        logger.info("%s to %s is too much at a time: asking for halves", born.first, born.end)
        return merge_people(person for half in halves for person in self.find_people(half, people))[:people]

    def _ask(self, born: Days, rows: int) -> tuple[list[Person], bool]:
        """The people of one answer, and whether there are no more."""
        was_cut = False

        def examine(answer: Answer) -> None:
            nonlocal was_cut
            was_cut = "X-SPARQL-MaxRows" in answer.headers
            if _is_too_slow(answer):
                raise _TooMuch(
                    f"DBpedia did not finish at {self.url} for those born {born} ({answer.status} {answer.reason})",
                    hint=f"try later, or {self.client.service.if_unanswered}",
                )

        query = QUERY.format(first=born.first, end=born.end, rows=rows)
        answer = self.client.get_json(
            self.url,
            {"query": query, "timeout": TIMEOUT_S * 1000},
            headers={"Accept": "application/sparql-results+json"},
            examine=examine,
        )
        with self.client.reading(self.url):
            bindings = answer["results"]["bindings"]
            read = [_read_person(binding) for binding in bindings]
        known = [person for person, day in read if day is not None and day in born]
        if len(known) < len(read):
            logger.info("%d of those born %s have no date or name to be read", len(read) - len(known), born)
        return merge_people(known), not was_cut and len(bindings) < rows


def _is_too_slow(answer: Answer) -> bool:
    """Whether Virtuoso, or a proxy before it, ran out of time, or will not even begin.

    https://github.com/openlink/virtuoso-opensource/blob/develop/7/README.ANYTIME.md
    """
    if answer.status in {206, 504} or answer.headers.get("X-SQL-State") == "S1TAT":
        return True
    said = answer.body[:1000] if answer.status >= 500 else b""
    return re.search(rb"\bS1TAT\b|\bS1T00\b|estimated execution time", said) is not None


def _read_person(binding: Mapping[str, Any]) -> tuple[Person, datetime.date | None]:
    """A row, and the birth date, if there is one to be read; unbound variables are missing (section 3.2.1)."""

    def text(variable: str) -> str | None:
        value = binding.get(variable, {"value": None})["value"]
        if not isinstance(value, str | None):
            raise TypeError(f"{variable} is no text")
        return value or None

    day = _read_date(text("birth"))
    name = strip_disambiguation(text("name") or "")
    person = Person(
        binding["person"]["value"],
        name,
        day.isoformat() if day else None,
        _web_address(text("page")),
        _web_address(text("thumbnail")),
        int(binding["links"]["value"]),
    )
    return person, day if name else None


def _read_date(value: str | None) -> datetime.date | None:
    """The date of an xsd:date or xsd:dateTime, whatever its time zone; None for 1950-00-00 and the like."""
    match = re.match(r"(\d{4}-\d\d-\d\d)(?!\d)", value or "", re.ASCII)
    try:
        return datetime.date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def _web_address(value: str | None) -> str | None:
    return value if value and value.startswith(("http://", "https://")) else None
