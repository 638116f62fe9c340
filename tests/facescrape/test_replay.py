"""The replay world: its services speak as documented, its photographs stay the same, and it misbehaves as it says."""

import csv
import datetime
import http.client
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from helpers import encode, smooth_picture
from hypothesis import given
from hypothesis import strategies as st

from facescrape.archive import Archive, Outcome
from facescrape.fetch.fetcher import Fetcher
from facescrape.fetch.politeness import Politeness
from facescrape.names.dbpedia import DBPEDIA, QUERY, SERVICE, Days, Endpoint
from facescrape.names.people import Person
from facescrape.replay import (
    BRAVE_KEY,
    SEARXNG,
    Exhibit,
    FolderPeople,
    Kind,
    Misbehaviour,
    RenderedPeople,
    ReplayServer,
    Virtuoso,
    World,
    serve,
    serve_demo,
)
from facescrape.replay.people import draw_name
from facescrape.replay.pictures import ALTERATIONS, Rendered
from facescrape.search import PROVIDERS, SearchProvider, open_provider
from facescrape.status import Status
from facescrape.web.client import ApiClient, Service
from facescrape.web.wire import open_session
from pipelines.errors import ConfigError, SourceError
from pipelines.executors import LocalExecutor
from pipelines.images import Pixels, decode

COMMONS = "https://commons.wikimedia.org/w/api.php"
OPENVERSE = "https://api.openverse.org/v1/images/"
BRAVE = "https://api.search.brave.com/res/v1/images/search"
SEARCH = {
    "action": "query",
    "format": "json",
    "formatversion": 2,
    "generator": "search",
    "gsrnamespace": 6,
    "prop": "imageinfo",
    "gsrsearch": '"Ada Lovelace" filetype:bitmap',
}
MODERN = Days(datetime.date(1900, 1, 1), datetime.date(2005, 1, 1))


def write_photographs(folder: Path, photographs: int, width: int = 40) -> Path:
    """Two people: the first with so many photographs, the second with one."""
    for person, count in (("ada_lovelace", photographs), ("grace_hopper", 1)):
        (folder / person).mkdir(parents=True)
        for number in range(count):
            picture = smooth_picture(width, width * 3 // 4, number if count > 1 else 99)
            (folder / person / f"{number:03d}.jpg").write_bytes(encode(picture, "JPEG"))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photos"), 54)


@pytest.fixture(scope="module")
def rendered() -> World:
    """Two people, whose pictures are rendered when first asked for."""
    return World(RenderedPeople(people=2, images_per_person=9, misbehaviour=Misbehaviour(0.0)))


@pytest.fixture(scope="module")
def ada(photos: Path) -> Iterator[ReplayServer]:
    with serve(World(FolderPeople(photos))) as server:
        yield server


def get(server: ReplayServer, url: str, query: dict[str, Any] | None = None, **headers: str) -> requests.Response:
    """Ask as any program would; no rules of ours apply."""
    with open_session(server.wire, "tests/1") as session:
        return session.get(url, params=query, headers=headers, allow_redirects=False, timeout=30)


def clients_of(server: ReplayServer) -> Callable[[Service], ApiClient]:
    return lambda service: ApiClient(server.wire, "tests/1", service, sleep=lambda _: None)


def provider_of(server: ReplayServer, name: str) -> SearchProvider:
    return open_provider(name, client_factory=clients_of(server), url=SEARXNG, environment={"BRAVE_API_KEY": BRAVE_KEY})


def fetch(server: ReplayServer, urls: list[str], folder: Path) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    polite = Politeness(connections_per_host=4, requests_per_s_per_host=None, pause_s=0.01)
    with Archive(folder) as archive:
        Fetcher(archive, server.wire, "tests/1", politeness=polite).run(
            urls, lambda outcome: outcomes.update({outcome.url: outcome})
        )
    return outcomes


# DBpedia


def ask(world: World, query: str) -> requests.Response:
    with serve(world) as server:
        return get(server, DBPEDIA, {"query": query, "timeout": 1000})


def bindings_of(response: requests.Response) -> list[dict[str, dict[str, str]]]:
    rows: list[dict[str, dict[str, str]]] = response.json()["results"]["bindings"]
    return rows


def test_sparql_brings_those_born_in_a_span_of_days_by_links() -> None:
    world = World(RenderedPeople(people=30, images_per_person=1))
    response = ask(world, QUERY.format(first="1940-01-01", end="1960-01-01", rows=1000))
    assert response.headers["Content-Type"] == "application/sparql-results+json"
    rows = bindings_of(response)
    births = [row["birth"]["value"] for row in rows]
    assert all("1940-01-01" <= birth < "1960-01-01" for birth in births)
    expected = {one.uri for one in world.resources if any("1940-01-01" <= day < "1960-01-01" for day in one.births)}
    assert {row["person"]["value"] for row in rows} == expected
    order = [(-int(row["links"]["value"]), row["person"]["value"]) for row in rows]
    assert order == sorted(order)
    fewer = bindings_of(ask(world, QUERY.format(first="1940-01-01", end="1960-01-01", rows=3)))
    assert fewer == rows[:3]


def test_what_is_not_known_is_not_bound() -> None:
    rows = bindings_of(
        ask(
            World(RenderedPeople(people=30, images_per_person=1)),
            QUERY.format(first="1900-01-01", end="2030-01-01", rows=99),
        )
    )
    assert {len(row) for row in rows} >= {5, 6}
    assert all({"person", "birth", "name", "links"} <= row.keys() for row in rows)


def test_people_come_as_they_do_in_dbpedia() -> None:
    resources = World(RenderedPeople(people=40, images_per_person=1)).resources
    births = [day for one in resources for day in one.births]
    assert any(day < "1900" for day in births)
    assert any(day > "2010" for day in births)
    assert any(day.endswith("-00") for day in births)
    assert any(len(one.births) > 1 for one in resources)
    assert any(one.label == f"{one.name} (actor)" for one in resources)
    assert max(Counter((one.links, one.births[0]) for one in resources).values()) > 1


@pytest.mark.parametrize("setting", [Virtuoso(), Virtuoso(max_rows=4), Virtuoso(longest_days=400), Virtuoso(5, 1000)])
def test_our_client_finds_the_same_people_however_the_endpoint_is_set_up(setting: Virtuoso) -> None:
    world = World(RenderedPeople(people=20, images_per_person=1), setting)
    with serve(world) as server:
        endpoint = Endpoint(DBPEDIA, clients_of(server)(SERVICE))
        found = endpoint.find_people(MODERN, 20)
        narrow = Days(datetime.date(1950, 1, 1), datetime.date(1951, 1, 1))
        assert all(
            person.birth_date and person.birth_date.startswith("1950") for person in endpoint.find_people(narrow, 99)
        )
    assert [person.name for person in found] == [
        one.name for one in sorted(world.resources[:20], key=lambda one: (-one.links, one.uri))
    ]


def test_rows_are_cut_and_long_queries_give_up_and_headers_tell() -> None:
    people = RenderedPeople(people=20, images_per_person=1)
    query = QUERY.format(first="1900-01-01", end="2005-01-01", rows=50)
    cut = ask(World(people, Virtuoso(max_rows=4)), query)
    assert (cut.status_code, cut.headers["X-SPARQL-MaxRows"], len(bindings_of(cut))) == (200, "4", 4)
    slow = ask(World(people, Virtuoso(longest_days=365)), query)
    assert (slow.status_code, slow.headers["X-SQL-State"]) == (206, "S1TAT")


@pytest.mark.parametrize("query", ["", "SELECT * WHERE { ?s ?p ?o }", QUERY.format(first="1900", end="1901", rows=1)])
def test_sparql_that_is_not_understood_is_refused(query: str, ada: ReplayServer) -> None:
    response = get(ada, DBPEDIA, {"query": query})
    assert response.status_code == 400
    assert "Virtuoso 37000" in response.text


# Search providers


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_gives_all_photographs_of_a_person_by_rank(name: str, ada: ReplayServer, photos: Path) -> None:
    world = World(FolderPeople(photos))
    results = list(provider_of(ada, name).search(Person("x", "Ada Lovelace"), 100))
    assert [result.url for result in results] == [exhibit.url for exhibit in world.search("Ada Lovelace")]
    assert len(results) == 54
    assert {(result.width, result.height) for result in results} == {(40, 30)}
    assert all(result.page and result.title for result in results)
    assert not list(provider_of(ada, name).search(Person("y", "Nobody Known"), 100))


@pytest.mark.parametrize("name", ["commons", "openverse"])
def test_licences_and_authors_are_told_where_they_are_known(name: str, ada: ReplayServer) -> None:
    results = list(provider_of(ada, name).search(Person("x", "Ada Lovelace"), 100))
    assert {result.author for result in results} == {"unknown"}
    assert {result.licence for result in results} >= {"CC BY-SA 4.0", "CC BY 2.0"}
    assert all((result.licence_url or "").startswith("https://creativecommons.org/") for result in results)


def test_commons_goes_on_where_a_page_ended(ada: ReplayServer) -> None:
    first = get(ada, COMMONS, SEARCH | {"gsrlimit": 50}).json()
    assert sorted(page["index"] for page in first["query"]["pages"]) == list(range(1, 51))
    assert first["batchcomplete"]
    last = get(ada, COMMONS, SEARCH | {"gsrlimit": 50} | first["continue"]).json()
    assert sorted(page["index"] for page in last["query"]["pages"]) == [51, 52, 53, 54]
    assert "continue" not in last
    nobody = get(ada, COMMONS, SEARCH | {"gsrsearch": '"Nobody" filetype:bitmap'}).json()
    assert "query" not in nobody


def test_commons_tells_errors_as_mediawiki_does(ada: ReplayServer) -> None:
    for wrong in ({"generator": "allimages"}, {"gsrlimit": "many"}):
        response = get(ada, COMMONS, SEARCH | wrong)
        assert response.status_code == 200
        assert response.headers["MediaWiki-API-Error"] == response.json()["error"]["code"]


def test_wikimedia_makes_thumbnails_of_what_is_wider_than_asked(tmp_path: Path) -> None:
    world = World(FolderPeople(write_photographs(tmp_path, 12, width=2400)))
    with serve(world) as server:
        results = list(provider_of(server, "commons").search(Person("x", "Ada Lovelace"), 20))
        small = [result for result in results if "/thumb/" in result.url]
        assert small
        assert {result.width for result in small} == {1920}
        assert decode(get(server, small[0].url).content).shape == (1440, 1920, 3)
        assert get(server, small[0].url.replace("1920px", "9999px")).status_code == 400
        assert get(server, small[0].url.replace("1920px-", "1920px-other")).status_code == 404


def test_openverse_gives_strangers_no_more_than_it_says(ada: ReplayServer) -> None:
    answer = get(ada, OPENVERSE, {"q": '"Ada Lovelace"', "page": 3, "page_size": 20}).json()
    assert (answer["result_count"], answer["page_count"], len(answer["results"])) == (54, 3, 14)
    assert get(ada, OPENVERSE, {"q": '"Ada Lovelace"', "page_size": 500}).status_code == 401
    assert get(ada, OPENVERSE, {"q": '"Ada Lovelace"', "page": 13}).status_code == 401
    assert get(ada, OPENVERSE, {"q": '"Ada Lovelace"', "page": "x"}).status_code == 400


def test_searxng_answers_in_json_where_it_is_asked_to(ada: ReplayServer) -> None:
    query = {"q": '"Ada Lovelace"', "categories": "images"}
    assert get(ada, f"{SEARXNG}/search", query).status_code == 403
    assert get(ada, f"{SEARXNG}/search", query | {"format": "json", "pageno": "0"}).status_code == 400
    assert len(get(ada, f"{SEARXNG}/search", query | {"format": "json"}).json()["results"]) < 54


def test_brave_wants_a_key_and_gives_as_many_as_are_asked_for(ada: ReplayServer) -> None:
    token = {"X-Subscription-Token": BRAVE_KEY}
    query = {"q": '"Ada Lovelace"', "count": 5}
    assert len(get(ada, BRAVE, query, **token).json()["results"]) == 5
    assert get(ada, BRAVE, query | {"count": 201}, **token).status_code == 422
    assert get(ada, BRAVE, query).json()["error"]["code"] == "SUBSCRIPTION_TOKEN_INVALID"


@pytest.mark.parametrize(
    "host", ["dbpedia.org", "commons.wikimedia.org", "api.openverse.org", "searx.example", "a.org"]
)
def test_other_paths_are_not_there(host: str, ada: ReplayServer) -> None:
    assert get(ada, f"https://{host}/else").status_code == 404


# Misbehaviour


def test_every_misbehaviour_ends_as_the_truth_says(photos: Path, tmp_path: Path) -> None:
    world = World(FolderPeople(photos, Misbehaviour(1.0, slow_s=0.02, retry_after_s=0)))
    assert {exhibit.kind for exhibit in world.exhibits} == set(Kind) - {Kind.FINE}
    with serve(world) as server:
        outcomes = fetch(server, [exhibit.url for exhibit in world.exhibits], tmp_path)
    assert {url: outcome.status for url, outcome in outcomes.items()} == {
        exhibit.url: exhibit.kind.status for exhibit in world.exhibits
    }


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.UNRESOLVED])  # nobody to be asked
def test_who_ignores_the_rules_gets_what_each_kind_is(kind: Kind, photos: Path) -> None:
    world = World(FolderPeople(photos, Misbehaviour(1.0, kinds=(kind,), slow_s=0.0)))
    exhibit = world.exhibits[0]
    with serve(world) as server:
        if kind in {Kind.HANGS_UP, Kind.BROKEN_HOST}:
            with pytest.raises(requests.ConnectionError):
                get(server, exhibit.url)
            return
        first, second = get(server, exhibit.url), get(server, exhibit.url)
        if kind is Kind.REDIRECT:
            second = get(server, first.headers["Location"])
    expected = {
        Kind.BUSY: 503,
        Kind.TOO_MANY: 429,
        Kind.NOT_FOUND: 404,
        Kind.GONE: 410,
        Kind.FORBIDDEN: 403,
    } | dict.fromkeys((Kind.REDIRECT, Kind.LOOP, Kind.PRIVATE_REDIRECT), 301)
    assert first.status_code == expected.get(kind, 200)
    if kind.has_picture and kind is not Kind.TRUNCATED:
        assert exhibit.recipe is not None
        assert second.content == exhibit.recipe.make().content
        assert second.headers["Content-Type"] == "image/jpeg"


def test_misbehaviour_comes_in_the_share_that_is_wanted() -> None:
    def kinds(share: float) -> Counter[bool]:
        people = RenderedPeople(people=50, images_per_person=20, misbehaviour=Misbehaviour(share))
        return Counter(exhibit.kind is Kind.FINE for exhibit in World(people).exhibits)

    assert kinds(0.0)[False] == 0
    assert 0.08 < kinds(Misbehaviour().share)[False] / 1000 < 0.16
    assert kinds(1.0)[False] > 500


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"kinds": ()}, {"slow_s": -1.0}])
def test_misbehaviour_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Misbehaviour(**wrong)


# The world and its pictures


@given(seed=st.integers(0, 1000), people=st.integers(1, 6), images=st.integers(1, 24))
def test_a_world_that_grows_keeps_what_it_had(seed: int, people: int, images: int) -> None:
    def urls(people: int, images: int) -> dict[str, Exhibit]:
        return {exhibit.url: exhibit for exhibit in World(RenderedPeople(seed, people, images)).exhibits}

    small, large = urls(people * 2, images), urls(people * 2 + 4, images + 3)
    assert small.items() <= large.items()


@given(seed=st.integers(0, 1000), people=st.integers(1, 6), images=st.integers(1, 40))
def test_copies_and_what_they_copy_are_all_there_is(seed: int, people: int, images: int) -> None:
    world = World(RenderedPeople(seed, people, images))
    by_url = {exhibit.url: exhibit for exhibit in world.exhibits}
    assert all(
        exhibit.url == f"{exhibit.url[: exhibit.url.index('//')]}//{''.join(exhibit.place)}"
        for exhibit in world.exhibits
    )
    recipes: dict[str, str] = {}
    for exhibit in world.exhibits:
        if exhibit.copy_of:
            original = by_url[exhibit.copy_of]
            assert (original.kind, original.what, exhibit.kind) == (Kind.FINE, "original", Kind.FINE)
            assert (exhibit.recipe == original.recipe) == (exhibit.what == "exact")
        elif exhibit.recipe is not None:
            assert recipes.setdefault(exhibit.recipe.key, exhibit.url) == exhibit.url
        for name in exhibit.names:
            assert exhibit in world.search(name)
        assert len(exhibit.names) == (2 if exhibit.what == "group" else 1)


@given(seed=st.integers(0, 1 << 32))
def test_nobody_has_a_namesake(seed: int) -> None:
    names = [draw_name(seed, number) for number in (*range(60), *range(400, 420), *range(7000, 7020), 160_011)]
    families = [name.split()[1] for name in names]
    assert len(set(names)) == len(set(families)) == len(names)


@cache
def first_with_a_face_in_the_middle() -> int:
    """The first shot of person 0 whose faces no crop can cut."""
    for shot in range(30):
        picture = Rendered(0, ((0, shot),)).make()
        height, width = decode(picture.content).shape[:2]
        boxes = [face.box for face in picture.faces or ()]
        margins = [min(x / width, y / height, 1 - (x + w) / width, 1 - (y + h) / height) for x, y, w, h in boxes]
        if margins and min(margins) > 0.1:
            return shot
    raise AssertionError("no photograph of person 0 shows a face")


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_near_duplicates_look_alike_and_their_faces_are_where_the_truth_says(alteration: str) -> None:
    shot = first_with_a_face_in_the_middle()
    original = Rendered(0, ((0, shot),)).make()
    altered = Rendered(0, ((0, shot),), ".jpg", alteration).make()
    assert altered.content != original.content
    assert original.faces
    assert altered.faces
    for before, after in zip(original.faces, altered.faces, strict=True):
        assert before.person == after.person
        assert likeness(decode(original.content), before.box, decode(altered.content), after.box) > 0.95


def likeness(one: Pixels, box: tuple[float, ...], other: Pixels, other_box: tuple[float, ...]) -> float:
    """The correlation of two parts of pictures."""
    parts = []
    for image, (left, top, width, height) in ((one, box), (other, other_box)):
        centre = (float(left + width / 2), float(top + height / 2))
        part = cv2.getRectSubPix(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (round(width), round(height)), centre)
        parts.append(cv2.resize(part, (24, 24), interpolation=cv2.INTER_AREA).ravel())
    return float(np.asarray(np.corrcoef(parts))[0, 1])


def test_the_same_url_always_brings_the_same_bytes(rendered: World, tmp_path: Path) -> None:
    again = World(RenderedPeople(people=2, images_per_person=9, misbehaviour=Misbehaviour(0.0)))
    again.prepare(tmp_path / "world", LocalExecutor(2))
    with serve(rendered) as lazy, serve(again) as prepared:
        for exhibit in rendered.exhibits:
            assert get(lazy, exhibit.url).content == get(prepared, exhibit.url).content
    content = {
        exhibit.url: rendered.darkroom.content(exhibit.recipe) for exhibit in rendered.exhibits if exhibit.recipe
    }
    twins = [exhibit for exhibit in rendered.exhibits if exhibit.what == "exact"]
    assert twins
    assert all(content[exhibit.url] == content[exhibit.copy_of] for exhibit in twins)
    assert len(set(content.values())) == len(content) - len(twins)


def test_prepared_worlds_write_down_the_truth_and_are_not_made_twice(rendered: World, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    small = World(RenderedPeople(people=2, images_per_person=9, misbehaviour=Misbehaviour(0.0)))
    steps: list[tuple[int, int]] = []
    small.prepare(folder, LocalExecutor(1), lambda done, total: steps.append((done, total)))
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["url"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {exhibit.url for exhibit in rendered.exhibits}
    assert {row["status"] for row in rows.values()} == {"ok"}
    pictures = {path.name for path in (folder / "pictures").iterdir()}
    assert pictures == {row["picture"] for row in rows.values()}
    assert steps[-1] == (len(pictures), len(pictures))
    with (folder / "faces.csv").open(encoding="utf-8", newline="") as file:
        faces = Counter(row["picture"] for row in csv.DictReader(file))
    group = next(exhibit for exhibit in rendered.exhibits if exhibit.what == "group")
    assert len(rendered.faces(group) or ()) == faces[group.recipe.key if group.recipe else ""]
    assert faces.keys() <= pictures
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    World(RenderedPeople(people=2, images_per_person=9, misbehaviour=Misbehaviour(0.0))).prepare(
        folder, LocalExecutor(1)
    )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    World(RenderedPeople(people=1, images_per_person=1)).prepare(folder, LocalExecutor(1))
    assert len(list((folder / "pictures").iterdir())) == 1


def test_what_is_no_world_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ConfigError, match="no replayed world"):
        World(RenderedPeople(people=1, images_per_person=1)).prepare(tmp_path, LocalExecutor(1))
    assert (tmp_path / "precious").read_text() == "x"


def test_a_folder_without_photographs_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match="no folders of photographs"):
            World(FolderPeople(folder))


def test_files_that_are_no_pictures_are_served_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "ada_lovelace").mkdir()
    (tmp_path / "ada_lovelace" / "0.jpg").write_bytes(b"not a picture")
    world = World(FolderPeople(tmp_path))
    with serve(world) as server:
        (result,) = provider_of(server, "openverse").search(Person("x", "Ada Lovelace"), 1)
        assert get(server, result.url).content == b"not a picture"


# The server


def test_connections_are_kept(ada: ReplayServer) -> None:
    connection = http.client.HTTPConnection(*ada.address, timeout=10)
    connection.connect()
    here = connection.sock.getsockname()
    for path in ("/robots.txt", "/else", "/robots.txt"):
        connection.request("GET", path, headers={"Host": "kept.example"})
        connection.getresponse().read()
        assert connection.sock.getsockname() == here
    connection.close()
    assert ada.requests["kept.example", "/robots.txt"] == 2


@pytest.mark.parametrize(
    "request_line", ["POST / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1", "GET x HTTP/1.1\r\nHost: a", "??"]
)
def test_what_is_no_request_is_refused(request_line: str, ada: ReplayServer) -> None:
    with socket.create_connection(ada.address, 10) as connection:
        connection.sendall(f"{request_line}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_requests_at_the_same_time_are_counted_by_host(photos: Path) -> None:
    with serve(World(FolderPeople(photos)), latency_s=0.3) as server:
        all_ready = threading.Barrier(4)

        def ask_for(host: str) -> None:
            all_ready.wait()
            get(server, f"https://{host}/robots.txt")

        threads = [
            threading.Thread(target=ask_for, args=(host,))
            for host in ("a.example", "a.example", "a.example", "b.example")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_at_once["a.example"] > 1
        assert server.most_at_once["b.example"] == 1
        assert server.requests["a.example", "/robots.txt"] == 3


def test_a_port_that_is_taken_is_told(ada: ReplayServer, photos: Path) -> None:
    with pytest.raises(OSError, match="address already in use"), serve(World(FolderPeople(photos)), ada.address[1]):
        pass


def test_a_world_ends_with_connections_open(photos: Path) -> None:
    with serve(World(FolderPeople(photos)), latency_s=60) as server:
        connection = socket.create_connection(server.address, 10)
        connection.sendall(b"GET /robots.txt HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert connection.recv(100) == b""
    connection.close()


def test_the_demo_serves_photographs_at_hand(photos: Path, tmp_path: Path) -> None:
    with serve_demo(photos, 24, 20, tmp_path / "replay", LocalExecutor(1)) as demo:
        assert (demo.people, demo.images_per_person) == (2, 54)
        outcomes = fetch(demo.server, [exhibit.url for exhibit in demo.world.exhibits], tmp_path / "archive")
    assert {outcome.status for outcome in outcomes.values()} == {Status.OK}


def test_the_demo_serves_rendered_people(tmp_path: Path) -> None:
    with serve_demo(None, 1, 2, tmp_path / "replay", LocalExecutor(1)) as demo:
        assert (demo.people, demo.images_per_person) == (1, 2)
        exhibit = demo.world.search(draw_name(0, 0))[1]
        assert get(demo.server, exhibit.url).content == demo.world.darkroom.content(exhibit.recipe)
