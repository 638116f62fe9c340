"""Virtuoso: the replayed SPARQL endpoint of DBpedia. A query for people born in a span of days in, its rows out.

It understands that one kind of query (https://www.w3.org/TR/sparql11-query/), answers in SPARQL's JSON
(https://www.w3.org/TR/sparql11-results-json/), and has the bounds of the public endpoint
(https://www.dbpedia.org/resources/sparql/): rows are cut, long queries give up with a part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from facescrape.replay.message import NOT_FOUND, Answer, Request, as_json, text
from facescrape.replay.people import Resource

HOST = "dbpedia.org"
MAX_ROWS = 10_000

_VARIABLES = ("person", "birth", "name", "page", "thumbnail", "links")
_XSD = "http://www.w3.org/2001/XMLSchema#"
_DAY = r'"(\d{4}-\d\d-\d\d)"\^\^xsd:date'
_QUERY = re.compile(
    rf"""
    .* SELECT \s .* \s WHERE \s* \{{
    .* \?person \s+ a \s+ dbo:Person .* dbo:birthDate \s+ \?date .* rdfs:label \s+ \?label
    .* FILTER \s* \( \s* \?date \s* >= \s* {_DAY} \s* && \s* \?date \s* < \s* {_DAY} .* lang\(\?label\) \s* = \s* "en"
    .* GROUP \s+ BY \s+ \?person \s+ ORDER \s+ BY \s+ DESC\(\?links\) \s+ ASC\(STR\(\?person\)\)
    \s+ LIMIT \s+ (\d+) \s*
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Virtuoso:
    """How the endpoint is set up.

    Attributes:
        max_rows: of an answer; more are cut off, which a header tells.
        longest_days: a longer span takes longer than a query may; None: none does.
    """

    max_rows: int = MAX_ROWS
    longest_days: int | None = None

    def answer(self, resources: Sequence[Resource], request: Request) -> Answer:
        """Answer one request."""
        if request.path != "/sparql":
            return NOT_FOUND
        asked = _QUERY.fullmatch(request.query.get("query", ""))
        if asked is None:
            return text("Virtuoso 37000 Error SP030: SPARQL compiler, line 0: syntax error", 400)
        first, end, limit = asked[1], asked[2], int(asked[3])
        rows = sorted(
            ((min(births), one) for one in resources if (births := [day for day in one.births if first <= day < end])),
            key=lambda row: (-row[1].links, row[1].uri),
        )[:limit]
        headers: list[tuple[str, str]] = []
        status = 200
        days = (date.fromisoformat(end) - date.fromisoformat(first)).days
        if self.longest_days is not None and days > self.longest_days:
            # https://github.com/openlink/virtuoso-opensource/blob/develop/7/README.ANYTIME.md
            status, rows = 206, rows[: len(rows) // 2]
            headers = [
                ("X-SQL-State", "S1TAT"),
                ("X-SQL-Message", "RC...: Returning incomplete results, query interrupted by result timeout."),
            ]
        elif len(rows) > self.max_rows:
            rows = rows[: self.max_rows]
            headers = [("X-SPARQL-MaxRows", str(self.max_rows))]
        value = {
            "head": {"link": [], "vars": list(_VARIABLES)},
            "results": {"distinct": False, "ordered": True, "bindings": [_bind(*row) for row in rows]},
        }
        return as_json(value, status, *headers, kind="application/sparql-results+json")


PUBLIC = Virtuoso()


def _bind(birth: str, one: Resource) -> dict[str, dict[str, str]]:
    """A row; what is not bound is left out (section 3.2.1)."""
    values = {
        "person": {"type": "uri", "value": one.uri},
        "birth": {"type": "typed-literal", "datatype": f"{_XSD}date", "value": birth},
        "name": {"type": "literal", "value": one.label},
        "page": {"type": "literal", "value": one.page or ""},
        "thumbnail": {"type": "literal", "value": one.thumbnail or ""},
        "links": {"type": "typed-literal", "datatype": f"{_XSD}integer", "value": str(one.links)},
    }
    return {name: value for name, value in values.items() if value["value"]}
