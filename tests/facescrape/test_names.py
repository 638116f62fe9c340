import datetime
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import Answering, Asked, Say, Services, in_turn, play
from hypothesis import given
from hypothesis import strategies as st

from facescrape.names import dbpedia
from facescrape.names.dbpedia import DBPEDIA, SERVICE, Days, Endpoint
from facescrape.names.people import Person, load_people, merge_people, read_names, strip_disambiguation
from facescrape.names.stages import BirthsStage, NamesFileStage, NamesStage, choose_names
from facescrape.tables import NAMES
from facescrape.web.client import ApiClient
from facescrape.web.wire import Internet
from pipelines.errors import ConfigError, DownloadError, SourceError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.stage import Stage, fingerprint_of, run_stage

DATE = "http://www.w3.org/2001/XMLSchema#date"
TEN_YEARS = Days(datetime.date(1950, 1, 1), datetime.date(1960, 1, 1))


def born(number: int, day: datetime.date, links: int) -> dict[str, Any]:
    """A row as DBpedia gives it."""
    return {
        "person": {"type": "uri", "value": f"http://dbpedia.org/resource/Person_{number:05d}"},
        "birth": {"type": "typed-literal", "datatype": DATE, "value": day.isoformat()},
        "name": {"type": "literal", "value": f"Person {number} (actor)"},
        "page": {"type": "literal", "value": f"http://en.wikipedia.org/wiki/Person_{number:05d}"},
        "links": {
            "type": "typed-literal",
            "datatype": "http://www.w3.org/2001/XMLSchema#integer",
            "value": str(links),
        },
    }


def crowd(count: int, days: int = 3650) -> list[dict[str, Any]]:
    """People born at regular intervals over ten years; some are linked equally often."""
    return [born(n, TEN_YEARS.first + datetime.timedelta(n * days // count), n * 7919 % 101) for n in range(count)]


@dataclass
class Virtuoso:
    """An endpoint with the limits of the real one."""

    rows: list[dict[str, Any]]
    max_rows: int = 10_000
    works_for: int = 10_000  # rows; of more it gives some, as if they were all
    when_late: Callable[[list[dict[str, Any]]], Say] = lambda rows: Say(
        {"results": {"bindings": rows}}, 206, {"X-SQL-State": "S1TAT", "X-SQL-Message": "RC...: Returning incomplete"}
    )

    def __call__(self, asked: Asked) -> Say:
        assert asked.url == "dbpedia.org/sparql"
        assert asked.headers["Accept"] == "application/sparql-results+json"
        assert asked.query["timeout"] == "60000"
        query = asked.query["query"]
        (first,) = re.findall(r'\?date >= "(\d{4}-\d\d-\d\d)"\^\^xsd:date', query)
        (end,) = re.findall(r'\?date < "(\d{4}-\d\d-\d\d)"\^\^xsd:date', query)
        (limit,) = map(int, re.findall(r"LIMIT (\d+)", query))
        assert limit <= 10_000
        found = [row for row in self.rows if first <= row["birth"]["value"] < end]
        if len(found) > self.works_for:
            return self.when_late(found[:3])
        found.sort(key=lambda row: (-int(row["links"]["value"]), row["person"]["value"]))
        headers = {"X-SPARQL-MaxRows": str(self.max_rows)} if min(limit, len(found)) > self.max_rows else {}
        return Say({"head": {"vars": []}, "results": {"bindings": found[: min(limit, self.max_rows)]}}, headers=headers)


@contextmanager
def dbpedia_says(answer: Answering) -> Iterator[tuple[Endpoint, Services]]:
    with play(answer) as services:
        yield Endpoint(DBPEDIA, services.client(SERVICE)), services


def collect(root: Path, stages: Iterable[Stage]) -> list[Person]:
    done: list[Manifest] = []
    for stage in stages:
        done = [run_stage(stage, done, root, LocalExecutor(1))]
    return load_people(root / "names" / "names.parquet")


def best(rows: list[dict[str, Any]], count: int) -> list[str]:
    ordered = sorted(rows, key=lambda row: (-int(row["links"]["value"]), row["person"]["value"]))
    return [row["person"]["value"] for row in ordered[:count]]


def test_the_most_linked_of_all_years_come_first(tmp_path: Path) -> None:
    rows = crowd(300)
    with dbpedia_says(Virtuoso(rows)) as (endpoint, services):
        people = collect(tmp_path, [BirthsStage(endpoint, TEN_YEARS, 40), NamesStage(40)])
        assert len(services.asked) == 10
    assert [row.person for row in people] == best(rows, 40)
    assert {path.name for path in (tmp_path / "births").glob("*.parquet")} == {
        f"{y}.parquet" for y in range(1950, 1960)
    }
    assert pq.read_schema(tmp_path / "names" / "names.parquet").equals(NAMES)
    assert people[0] == Person(
        people[0].person,
        f"Person {int(people[0].person[-5:])}",
        next(row["birth"]["value"] for row in rows if row["person"]["value"] == people[0].person),
        people[0].person.replace("dbpedia.org/resource", "en.wikipedia.org/wiki"),
        None,
        100,
    )


def test_asks_at_most_once_a_second() -> None:
    with dbpedia_says(Virtuoso([])) as (endpoint, services):
        for _ in range(3):
            endpoint.find_people(TEN_YEARS, 5)
        assert services.time.slept == [1.0, 1.0]


@pytest.mark.parametrize(
    "endpoint_of",
    [
        lambda rows: Virtuoso(rows, max_rows=40),
        lambda rows: Virtuoso(rows, works_for=20),
        lambda rows: Virtuoso(
            rows,
            works_for=20,
            when_late=lambda some: Say({"results": {"bindings": some}}, headers={"X-SQL-State": "S1TAT"}),
        ),
        lambda rows: Virtuoso(
            rows,
            works_for=20,
            when_late=lambda _: Say(b"Virtuoso S1TAT Error Query did not complete due to ANYTIME timeout.", 500),
        ),
        lambda rows: Virtuoso(
            rows,
            works_for=20,
            when_late=lambda _: Say(
                b"Virtuoso 42000 Error The estimated execution time 1834 (sec) exceeds the limit of 1500 (sec).", 500
            ),
        ),
        lambda rows: Virtuoso(rows, works_for=20, when_late=lambda _: Say(b"<html>", 504)),
    ],
    ids=["row cap", "206", "200, partial", "500, timeout", "500, estimate", "504"],
)
def test_what_is_too_much_is_asked_for_in_halves(endpoint_of: Callable[[list[dict[str, Any]]], Virtuoso]) -> None:
    rows = crowd(300)
    with dbpedia_says(endpoint_of(rows)) as (endpoint, services):
        people = endpoint.find_people(TEN_YEARS, 120)
        assert len(services.asked) > 1
    assert [row.person for row in people] == best(rows, 120)


def test_more_people_than_an_answer_has_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbpedia, "MOST_ROWS", 50)
    rows = crowd(300)
    with dbpedia_says(Virtuoso(rows)) as (endpoint, services):
        assert [row.person for row in endpoint.find_people(TEN_YEARS, 250)] == best(rows, 250)
        assert all("LIMIT 50\n" in asked.query["query"] for asked in services.asked)


def test_silence_is_met_with_halves_too() -> None:
    rows = crowd(8)
    virtuoso, is_over = Virtuoso(rows, works_for=4), threading.Event()

    def answer(asked: Asked) -> Say:
        say = virtuoso(asked)
        if say.status == 206:
            is_over.wait()
        return say

    with play(answer) as services:
        client = services.client(replace(SERVICE, timeout_s=0.2))
        found = Endpoint(DBPEDIA, client).find_people(TEN_YEARS, 8)
        is_over.set()
    assert [row.person for row in found] == best(rows, 8)


def test_a_day_that_is_too_much_ends_the_run() -> None:
    rows = [born(n, TEN_YEARS.first, n) for n in range(30)]
    with dbpedia_says(Virtuoso(rows, works_for=20)) as (endpoint, services), pytest.raises(DownloadError) as caught:
        endpoint.find_people(TEN_YEARS, 10)
    assert caught.value.message == (
        "DBpedia did not finish at https://dbpedia.org/sparql for those born 1950-01-01 (206 Partial Content)"
    )
    assert caught.value.hint == "try later, or give a list of names with --names FILE"
    assert len(services.asked) == 12, "half of the days each time"


def test_a_day_with_more_people_than_rows_gives_the_most_linked(caplog: pytest.LogCaptureFixture) -> None:
    rows = [born(n, TEN_YEARS.first, n) for n in range(30)]
    day = Days(TEN_YEARS.first, TEN_YEARS.first + datetime.timedelta(days=1))
    with dbpedia_says(Virtuoso(rows, max_rows=20)) as (endpoint, _):
        assert [row.person for row in endpoint.find_people(day, 25)] == best(rows, 20)
    assert "only the 20 most linked are known" in caplog.text


def test_rows_that_cannot_be_used_are_left_out() -> None:
    good = born(1, TEN_YEARS.first, 5)
    odd_dates = ["1950-00-00", "1950", "--05-12", "", "1950-13-45", "19500-01-01", "1949-12-31", "1960-01-01", "soon"]
    rows = [good | {"person": {"value": f"p{n}"}, "birth": {"value": date}} for n, date in enumerate(odd_dates)]
    nameless = good | {"person": {"value": "nameless"}, "name": {"value": " "}}
    unbound = {key: good[key] for key in ("person", "links")} | {"person": {"value": "unbound"}}
    with dbpedia_says(in_turn(Say({"results": {"bindings": [*rows, nameless, good, unbound]}}))) as (endpoint, _):
        assert [row.person for row in endpoint.find_people(TEN_YEARS, 50)] == [good["person"]["value"]]


@pytest.mark.parametrize("date", ["1950-06-01", "1950-06-01Z", "1950-06-01+02:00", "1950-06-01T00:00:00"])
def test_dates_are_read_in_every_form(date: str) -> None:
    row = born(1, TEN_YEARS.first, 5) | {"birth": {"value": date}}
    with dbpedia_says(in_turn(Say({"results": {"bindings": [row]}}))) as (endpoint, _):
        assert endpoint.find_people(TEN_YEARS, 50)[0].birth_date == "1950-06-01"


def test_a_full_answer_with_useless_rows_is_not_taken_for_all() -> None:
    rows = crowd(100)
    for number in range(0, 100, 5):
        rows[number]["name"]["value"] = ""
    usable = [row for row in rows if row["name"]["value"]]
    with dbpedia_says(Virtuoso(rows)) as (endpoint, _):
        assert [row.person for row in endpoint.find_people(TEN_YEARS, 60)] == best(usable, 60)


def test_who_has_several_dates_counts_once_with_the_earliest(tmp_path: Path) -> None:
    first, second = born(1, datetime.date(1951, 5, 5), 8), born(1, datetime.date(1957, 5, 5), 9)
    with dbpedia_says(Virtuoso([second, first, born(2, datetime.date(1957, 1, 1), 1)])) as (endpoint, _):
        people = collect(tmp_path, [BirthsStage(endpoint, TEN_YEARS, 5), NamesStage(5)])
    assert [(row.person[-1], row.birth_date, row.links) for row in people] == [
        ("1", "1951-05-05", 9),
        ("2", "1957-01-01", 1),
    ]


@pytest.mark.parametrize(
    "answer",
    [{}, {"results": {}}, {"results": {"bindings": [{}]}}, {"results": {"bindings": 3}}, {"results": {"bindings": [3]}}]
    + [
        {"results": {"bindings": [born(1, TEN_YEARS.first, 1) | odd]}}
        for odd in ({"links": {"value": "x"}}, {"name": 3})
    ],
)
def test_an_odd_answer_is_an_error(answer: dict[str, Any]) -> None:
    odd = f"DBpedia answered at {DBPEDIA} in a form that it does not document"
    with dbpedia_says(in_turn(Say(answer))) as (endpoint, _), pytest.raises(DownloadError, match=odd):
        endpoint.find_people(TEN_YEARS, 5)


def test_nobody_there(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/sparql"
    stages = choose_names(None, url, TEN_YEARS, 5, lambda service: ApiClient(Internet(), "tests/1", service))
    with pytest.raises(DownloadError) as caught:
        collect(tmp_path, stages)
    assert caught.value.message == f"DBpedia could not be reached at {url} (connection refused)"
    assert caught.value.hint == "check the network, try later, or give a list of names with --names FILE"


def test_nobody_born(tmp_path: Path) -> None:
    with dbpedia_says(Virtuoso([])) as (endpoint, _), pytest.raises(SourceError, match="nobody"):
        collect(tmp_path, [BirthsStage(endpoint, TEN_YEARS, 5), NamesStage(5)])


def test_a_stopped_run_asks_for_the_other_years_only(tmp_path: Path) -> None:
    virtuoso = Virtuoso(crowd(50))

    def breaks_off(asked: Asked) -> Say:
        return Say(status=400) if '>= "1953-01-01"' in asked.query["query"] else virtuoso(asked)

    with dbpedia_says(breaks_off) as (endpoint, _), pytest.raises(DownloadError):
        collect(tmp_path, [BirthsStage(endpoint, TEN_YEARS, 5), NamesStage(5)])
    with dbpedia_says(virtuoso) as (endpoint, services):
        assert len(collect(tmp_path, [BirthsStage(endpoint, TEN_YEARS, 5), NamesStage(5)])) == 5
        assert len(services.asked) == 7


def test_how_it_is_asked_is_not_in_the_fingerprint() -> None:
    def fingerprint(url: str = DBPEDIA, agent: str = "a", people: int = 5, days: Days = TEN_YEARS) -> str:
        return fingerprint_of(BirthsStage(Endpoint(url, ApiClient(Internet(), agent, SERVICE)), days, people), [])

    assert fingerprint() == fingerprint(agent="b")
    others = {
        fingerprint(url="http://localhost/sparql"),
        fingerprint(people=6),
        fingerprint(days=Days(TEN_YEARS.first, datetime.date(1961, 1, 1))),
    }
    assert len(others | {fingerprint()}) == 4


dates = st.dates(datetime.date(1850, 1, 1), datetime.date(2020, 1, 1))


@given(dates, dates)
def test_days_fall_into_years_and_halves(one: datetime.date, other: datetime.date) -> None:
    days = Days(min(one, other), max(one, other) + datetime.timedelta(days=1))
    for parts in (days.years(), days.halves() or [days]):
        assert (parts[0].first, parts[-1].end) == (days.first, days.end)
        assert all(before.end == after.first for before, after in pairwise(parts))
    assert len({part.first.year for part in days.years()}) == len(days.years())


def test_there_is_no_empty_span() -> None:
    with pytest.raises(ValueError, match="no day"):
        Days(TEN_YEARS.first, TEN_YEARS.first)


people = st.builds(
    Person,
    st.sampled_from("abc"),
    st.sampled_from(["Ann", "Bob"]),
    st.sampled_from([None, "1950-01-01", "1951-01-01"]),
    links=st.none() | st.integers(0, 3),
)


@given(st.lists(people, max_size=8), st.randoms())
def test_merging_does_not_depend_on_the_order(rows: list[Person], random: Any) -> None:
    merged = merge_people(rows)
    assert {row.person for row in merged} == {row.person for row in rows}
    assert len(merged) == len({row.person for row in rows})
    assert [(-(row.links or 0), row.person) for row in merged] == sorted(
        (-(row.links or 0), row.person) for row in merged
    )
    for row in merged:
        same = [other for other in rows if other.person == row.person]
        assert (row.links or 0) == max(other.links or 0 for other in same)
        assert (row.birth_date or "9999") == min(other.birth_date or "9999" for other in same)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert merge_people(shuffled) == merged
    assert merge_people(merged) == merged


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("John Smith", "John Smith"),
        ("John Smith (actor)", "John Smith"),
        ("John Smith (actor, born 1950)", "John Smith"),
        ("Prince (musician)", "Prince"),
        ("Sting  (musician) ", "Sting"),
        ("John (Jack) Smith", "John (Jack) Smith"),
        ("(actor)", "(actor)"),
        ("Jean-Luc Godard", "Jean-Luc Godard"),
    ],
)
def test_a_name_is_a_title_without_its_disambiguation(label: str, name: str) -> None:
    assert strip_disambiguation(label) == name


def test_a_text_of_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeffAnn  Archer\n\n Bob Baker \r\nAnn Archer\nÉmilie, Marquise\n", encoding="utf-8")
    assert read_names(path) == tuple(
        Person(f"name:{name}", name) for name in ("Ann Archer", "Bob Baker", "Émilie, Marquise")
    )
    people = collect(tmp_path, choose_names(path, DBPEDIA, TEN_YEARS, 2, lambda _: pytest.fail("asks DBpedia")))
    assert [row.name for row in people] == ["Ann Archer", "Bob Baker"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_of_names(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"name": "Ann, A.", "birth_date": "1950-01-02", "links": "12", "person": "http://dbpedia.org/resource/Ann"},
        {"name": "Bob", "birth_date": "", "links": "", "person": ""},
    ]
    path = tmp_path / f"names{suffix}"
    if suffix == ".parquet":
        typed = [
            {"name": row["name"], "links": int(row["links"] or 0) or None, "person": row["person"] or None}
            | {"birth_date": datetime.date(1950, 1, 2) if row["birth_date"] else None}
            for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(typed), path)
    else:
        mark = "," if suffix == ".csv" else "\t"
        lines = [mark.join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\n".join([mark.join(rows[0]), *lines]), encoding="utf-8")
    assert read_names(path) == (
        Person("http://dbpedia.org/resource/Ann", "Ann, A.", "1950-01-02", links=12),
        Person("name:Bob", "Bob"),
    )


def test_a_list_is_of_those_born_in_time(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("name,birth_date\nAnn,1949-12-31\nBob,1950-01-01\nCid,\nDee,1960-01-01\n")
    people = collect(tmp_path, choose_names(path, DBPEDIA, TEN_YEARS, 9, lambda _: pytest.fail("asks DBpedia")))
    assert [row.name for row in people] == ["Bob", "Cid"]
    path.write_text("name,birth_date\nAnn,1949-12-31\n")
    with pytest.raises(ConfigError, match="was born 1950-01-01 to 1959-12-31"):
        choose_names(path, DBPEDIA, TEN_YEARS, 9, lambda _: pytest.fail("asks DBpedia"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "cannot be read"),
        ("empty.txt", b" \n", "holds no rows"),
        ("empty.csv", b"name\n", "holds no rows"),
        ("latin.txt", b"Ren\xe9\n", "cannot be read"),
        ("other.csv", b"who,when\nAnn,1950\n", "has no column 'name'; it has 'who', 'when'"),
        ("blank.csv", b"name,links\nAnn,3\n,4\n", "line 3: there is no name"),
        ("date.csv", b"name,birth_date\nAnn,1950\n", "line 2: '1950' is no birth date"),
        ("links.csv", b"name,links\nAnn,many\n", "line 2: 'many' is no number of links"),
        ("quote.csv", b'name\n"Ann\n', "cannot be read"),
        ("not.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_used(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_names(path)
    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_the_path_of_a_list_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Ann\n")
    one, other = (NamesFileStage(read_names(tmp_path / name), 5) for name in ("a.txt", "b.txt"))
    assert fingerprint_of(one, []) == fingerprint_of(other, [])
