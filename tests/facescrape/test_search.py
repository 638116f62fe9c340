import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answers import Answering, Asked, Say, Services, in_turn, play
from hypothesis import given, settings
from hypothesis import strategies as st

from facescrape.names.people import Person
from facescrape.names.stages import NamesFileStage
from facescrape.search import PROVIDERS, Result, SearchProvider, SearchStage, UrlFile, open_provider
from facescrape.search.base import is_web_address, quote_name
from facescrape.search.openverse import name_licence
from facescrape.tables import URLS
from facescrape.web.client import ApiClient, Service
from facescrape.web.wire import Internet
from pipelines.errors import ConfigError, DownloadError
from pipelines.executors import LocalExecutor
from pipelines.manifest import Manifest
from pipelines.stage import fingerprint_of, run_stage

ANN = Person("http://dbpedia.org/resource/Ann_Archer", "Ann Archer")
QUERY = '"Ann Archer"'
KEY = {"BRAVE_API_KEY": "s3cret"}


def provider(services: Services, name: str, url: str | None = "https://sear.example.org") -> SearchProvider:
    return open_provider(name, client_factory=services.client, url=url, environment=KEY)


def search(answer: Answering, name: str, count: int = 500, person: Person = ANN) -> tuple[list[Result], list[Asked]]:
    with play(answer) as services:
        return list(provider(services, name).search(person, count)), services.asked


def collect(provider: SearchProvider, root: Path, people: list[Person], images: int = 5, block: int = 2) -> Manifest:
    one = LocalExecutor(1)
    names = run_stage(NamesFileStage(tuple(people), len(people)), [], root, one)
    return run_stage(SearchStage(provider, images, block), [names], root, one)


def rows_of(urls: Manifest) -> list[dict[str, Any]]:
    return [row for path in urls.paths(".urls.parquet") for row in pq.read_table(path).to_pylist()]


def commons_page(number: int, width: int = 1000) -> dict[str, Any]:
    """A page of Commons, in the form of formatversion=2."""
    path = f"a/ab/Ann_{number}.jpg"
    image = {
        "size": 123_456,
        "width": width,
        "height": width * 3 // 2,
        "url": f"https://upload.wikimedia.org/wikipedia/commons/{path}",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:Ann_{number}.jpg",
        "descriptionshorturl": f"https://commons.wikimedia.org/w/index.php?curid={number}",
        "extmetadata": {
            "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons-desc-page", "hidden": ""},
            "LicenseUrl": {"value": "https://creativecommons.org/licenses/by-sa/4.0", "source": "commons-desc-page"},
            "Artist": {"value": f'<a href="//x.org">Photographer&nbsp;{number}</a>', "source": "commons-desc-page"},
        },
    }
    if width > 1920:
        thumb = f"https://upload.wikimedia.org/wikipedia/commons/thumb/{path}/1920px-Ann_{number}.jpg"
        image |= {"thumburl": thumb, "thumbwidth": 1920, "thumbheight": 2880}
    return {"pageid": number, "ns": 6, "title": f"File:Ann {number}.jpg", "index": number, "imageinfo": [image]}


def commons(total: int) -> Answering:
    """The API with so many results."""

    def answer(asked: Asked) -> Say:
        assert asked.url == "commons.wikimedia.org/w/api.php"
        start, size = int(asked.query.get("gsroffset", 0)), int(asked.query["gsrlimit"])
        numbers = range(start + 1, min(start + size, total) + 1)
        body: dict[str, Any] = {"batchcomplete": True}
        if start + size < total:
            body["continue"] = {"gsroffset": start + size, "continue": "gsroffset||"}
        if numbers:
            body["query"] = {"pages": [commons_page(number) for number in reversed(numbers)]}
        return Say(body)

    return answer


def test_commons_gives_licence_author_and_page() -> None:
    results, asked = search(commons(1), "commons")
    assert results == [
        Result(
            url="https://upload.wikimedia.org/wikipedia/commons/a/ab/Ann_1.jpg",
            page="https://commons.wikimedia.org/wiki/File:Ann_1.jpg",
            title="Ann 1.jpg",
            licence="CC BY-SA 4.0",
            licence_url="https://creativecommons.org/licenses/by-sa/4.0",
            author="Photographer 1",
            width=1000,
            height=1500,
        )
    ]
    query = asked[0].query
    assert query["gsrsearch"] == '"Ann Archer" filetype:bitmap'
    assert (query["action"], query["generator"], query["gsrnamespace"]) == ("query", "search", "6")
    assert (query["format"], query["formatversion"], query["maxlag"]) == ("json", "2", "5")


@pytest.mark.parametrize(("total", "requests"), [(0, 1), (1, 1), (50, 1), (51, 2), (120, 3)])
def test_commons_is_paged_through(total: int, requests: int) -> None:
    results, asked = search(commons(total), "commons")
    assert [result.title for result in results] == [f"Ann {number}.jpg" for number in range(1, total + 1)]
    assert len(asked) == requests


def test_commons_is_asked_for_no_more_than_wanted() -> None:
    with play(commons(120)) as services:
        found = provider(services, "commons").search(ANN, 3)
        assert [next(found).title for _ in range(3)] == ["Ann 1.jpg", "Ann 2.jpg", "Ann 3.jpg"]
        assert [asked.query["gsrlimit"] for asked in services.asked] == ["3"]


def test_commons_gives_large_originals_as_thumbnails() -> None:
    pages = [commons_page(1, 1920), commons_page(2, 1921), commons_page(3, 8000)]
    del pages[2]["imageinfo"][0]["thumburl"]
    results, _ = search(in_turn(Say({"batchcomplete": True, "query": {"pages": pages}})), "commons")
    assert [(result.url.rpartition("/")[2], result.width, result.height) for result in results] == [
        ("Ann_1.jpg", 1920, 2880),
        ("1920px-Ann_2.jpg", 1920, 2880),
        ("Ann_3.jpg", 8000, 12000),
    ]


def test_an_answer_of_commons_may_come_in_parts() -> None:
    """https://www.mediawiki.org/wiki/API:Continue: the same pages again, with the rest of their properties."""
    whole = [commons_page(1), commons_page(2)]
    bare = [{key: value for key, value in page.items() if key != "imageinfo"} for page in whole]
    first = {"continue": {"iistart": "x", "continue": "||"}, "query": {"pages": [whole[0], bare[1]]}}
    second = {"batchcomplete": True, "query": {"pages": [bare[0], whole[1]]}}
    results, asked = search(in_turn(Say(first), Say(second)), "commons")
    assert [result.title for result in results] == ["Ann 1.jpg", "Ann 2.jpg"]
    assert asked[1].query["iistart"] == "x"


def test_commons_does_not_go_on_for_ever() -> None:
    again = {"batchcomplete": True, "continue": {"gsroffset": 50}, "query": {"pages": [commons_page(1)]}}
    assert len(search(in_turn(Say(again)), "commons")[1]) == 200


def test_commons_without_metadata() -> None:
    page = commons_page(1)
    page["imageinfo"][0]["extmetadata"] = {"Artist": {"value": 3}, "LicenseUrl": {"value": " "}}
    missing = {"pageid": 9, "ns": 6, "title": "File:Gone.jpg", "index": 9}
    (result,), _ = search(in_turn(Say({"batchcomplete": True, "query": {"pages": [page, missing]}})), "commons")
    assert (result.licence, result.licence_url, result.author) == (None, None, None)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Ann", "Ann"),
        ("<a href='x'>Ann</a> &amp; <b>Bob</b>", "Ann & Bob"),
        ("<p>Ann</p>\n<p>Bob<br>Cid</p>", "Ann Bob Cid"),
        ('<div>Ann<span style="display: none;">creator <b>QS:P170</b><br></span></div> B', "Ann B"),
        ("<style>.a{}</style>Ann", "Ann"),
        ("Ann < Bob", "Ann < Bob"),
        ("<i></i>", None),
        ("\ud800Ann", "?Ann"),
    ],
)
def test_the_author_is_plain_text(html: str, text: str | None) -> None:
    page = commons_page(1)
    page["imageinfo"][0]["extmetadata"]["Artist"]["value"] = html
    (result,), _ = search(in_turn(Say({"batchcomplete": True, "query": {"pages": [page]}})), "commons")
    assert result.author == text


def test_commons_is_left_alone_while_it_lags() -> None:
    error = {"error": {"code": "maxlag", "info": "Waiting for db1: 6.2 seconds lagged"}}
    lag = Say(error, headers={"MediaWiki-API-Error": "maxlag", "Retry-After": "5"})
    with play(in_turn(lag, lag, Say({"batchcomplete": True}))) as services:
        assert list(provider(services, "commons").search(ANN, 5)) == []
    assert services.time.slept == [5.0, 5.0]


def test_an_error_of_commons_is_said() -> None:
    bad = Say({"error": {"code": "cirrussearch-too-busy-error"}}, headers={"MediaWiki-API-Error": "badvalue"})
    with pytest.raises(DownloadError, match=r"Wikimedia Commons .* \(it says badvalue\)"):
        search(in_turn(bad), "commons")


def openverse(total: int) -> Answering:
    def answer(asked: Asked) -> Say:
        assert asked.url == "api.openverse.org/v1/images/"
        assert asked.query["q"] == QUERY
        page, size = int(asked.query["page"]), int(asked.query["page_size"])
        if size > 20:
            return Say(status=401)
        if page > 12:
            return Say(status=400)
        numbers = range((page - 1) * size, min(page * size, total))
        results = [
            {
                "id": f"00000000-{number}",
                "title": f"Ann {number}",
                "url": f"https://live.staticflickr.com/{number}.jpg",
                "foreign_landing_url": f"https://www.flickr.com/{number}",
                "creator": "Bob",
                "license": "by-sa",
                "license_version": "2.0",
                "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
                "width": 1024,
                "height": None,
            }
            for number in numbers
        ]
        pages = math.ceil(total / size)
        return Say({"result_count": total, "page_count": pages, "page_size": 20, "page": page, "results": results})

    return answer


@pytest.mark.parametrize(("total", "requests"), [(0, 1), (20, 1), (21, 2), (240, 12), (10_000, 12)])
def test_openverse_is_paged_through_as_far_as_it_lets_us(total: int, requests: int) -> None:
    results, asked = search(openverse(total), "openverse")
    assert [result.title for result in results] == [f"Ann {number}" for number in range(min(total, 240))]
    assert len(asked) == requests


def test_openverse_gives_licence_author_and_page() -> None:
    results, _ = search(openverse(1), "openverse")
    assert results == [
        Result(
            url="https://live.staticflickr.com/0.jpg",
            page="https://www.flickr.com/0",
            title="Ann 0",
            licence="CC BY-SA 2.0",
            licence_url="https://creativecommons.org/licenses/by-sa/2.0/",
            author="Bob",
            width=1024,
        )
    ]


def test_openverse_is_asked_20_times_a_minute_and_200_times_a_day() -> None:
    with play(openverse(1)) as services:
        asking = provider(services, "openverse")
        begun_at = services.time.now
        for _ in range(20):
            list(asking.search(ANN, 5))
        assert services.time.now == begun_at
        list(asking.search(ANN, 5))
        assert services.time.now == begun_at + 60
        for _ in range(180):
            list(asking.search(ANN, 5))
        assert services.time.now == begun_at + 86_400


@pytest.mark.parametrize(
    ("code", "version", "name"),
    [
        ("by", "4.0", "CC BY 4.0"),
        ("by-nc-nd", "2.0", "CC BY-NC-ND 2.0"),
        ("cc0", "1.0", "CC0 1.0"),
        ("pdm", "1.0", "Public Domain Mark 1.0"),
        ("by", None, "CC BY"),
    ],
)
def test_licences_are_called_as_people_call_them(code: str, version: str | None, name: str) -> None:
    assert name_licence(code, version) == name


def searxng_result(number: int, **changed: Any) -> dict[str, Any]:
    result = {
        "url": f"https://www.example.org/{number}",
        "title": f"Ann {number}",
        "img_src": f"https://img.example.org/{number}.jpg",
        "thumbnail_src": f"https://t.example.org/{number}",
        "resolution": "1920 x 1080",
        "template": "images.html",
    }
    return result | changed


def searxng(pages: list[list[dict[str, Any]]]) -> Answering:
    def answer(asked: Asked) -> Say:
        assert asked.url == "sear.example.org/search"
        number = int(asked.query.pop("pageno"))
        assert asked.query == {"q": QUERY, "categories": "images", "format": "json"}
        return Say({"query": QUERY, "number_of_results": 0, "results": pages[min(number, len(pages)) - 1]})

    return answer


def test_searxng_is_paged_through_until_nothing_new_comes() -> None:
    pages = [[searxng_result(1), searxng_result(2)], [searxng_result(2), searxng_result(3)]]
    results, asked = search(searxng(pages), "searxng")
    assert [result.title for result in results] == ["Ann 1", "Ann 2", "Ann 3"]
    assert len(asked) == 3
    assert results[0] == Result(
        url="https://img.example.org/1.jpg", page="https://www.example.org/1", title="Ann 1", width=1920, height=1080
    )


def test_engines_that_are_silent_are_said(caplog: pytest.LogCaptureFixture) -> None:
    silent = {"results": [], "unresponsive_engines": [["google images", "CAPTCHA"], ["bing images", "timeout"]]}
    assert search(in_turn(Say(silent)), "searxng")[0] == []
    assert "nobody found for Ann Archer; google images, bing images did not answer" in caplog.text


def test_searxng_does_not_go_on_for_ever() -> None:
    _, asked = search(searxng([[searxng_result(number)] for number in range(100)]), "searxng")
    assert len(asked) == 20


def test_searxng_gives_what_its_engines_write() -> None:
    sizes = ["640x480", "640×480", "640 * 480 px", "", "large", None, "0x0", "99999999999 x 1"]
    page = [searxng_result(number, resolution=size) for number, size in enumerate(sizes)]
    page += [searxng_result(8, img_src="//img.example.org/8.jpg"), searxng_result(9, img_src="")]
    results, _ = search(searxng([page]), "searxng")
    assert [(result.width, result.height) for result in results][:8] == [(640, 480)] * 3 + [(None, None)] * 5
    assert [result.url for result in results[8:]] == ["https://img.example.org/8.jpg"]


@pytest.mark.parametrize("url", ["https://sear.example.org/", "https://sear.example.org/sub"])
def test_an_instance_may_have_a_path(url: str) -> None:
    with play(in_turn(Say({"results": []}))) as services:
        list(provider(services, "searxng", url).search(ANN, 5))
        assert f"https://{services.asked[0].url}" == f"{url.rstrip('/')}/search"


def test_an_instance_without_json_is_the_users_to_mend() -> None:
    with pytest.raises(ConfigError) as caught:
        search(in_turn(Say(status=403)), "searxng")
    assert "add json to search.formats" in caught.value.hint


def brave_result(number: int) -> dict[str, Any]:
    return {
        "type": "image_result",
        "title": f"Ann {number}",
        "url": f"https://www.example.org/{number}",
        "source": "www.example.org",
        "thumbnail": {"src": f"https://imgs.search.brave.com/{number}", "width": 500, "height": 333},
        "properties": {"url": f"https://img.example.org/{number}.jpg", "width": 1200, "height": 800},
        "confidence": "high",
    }


@pytest.mark.parametrize(("wanted", "count"), [(50, "50"), (500, "200")])
def test_brave_is_asked_once_with_the_key(wanted: int, count: str) -> None:
    bare = brave_result(2) | {"properties": {"placeholder": "https://x"}}
    answer = Say({"type": "images", "query": {}, "results": [brave_result(1), bare, {"title": "x"}]})
    results, (asked,) = search(in_turn(answer), "brave", wanted)
    assert asked.url == "api.search.brave.com/res/v1/images/search"
    assert asked.query == {"q": QUERY, "count": count, "spellcheck": "false"}
    assert asked.headers["X-Subscription-Token"] == "s3cret"
    assert results == [
        Result(
            url="https://img.example.org/1.jpg", page="https://www.example.org/1", title="Ann 1", width=1200, height=800
        )
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        Say({"type": "ErrorResponse", "error": {"code": "SUBSCRIPTION_TOKEN_INVALID", "status": 422}}, 422),
        Say(status=401),
        Say(status=403),
    ],
)
def test_a_wrong_key_is_said_without_telling_it(refusal: Say) -> None:
    with pytest.raises(ConfigError) as caught:
        search(in_turn(refusal), "brave")
    assert "Brave refuses" in caught.value.message and "BRAVE_API_KEY" in caught.value.hint
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_a_long_name_fits_into_a_query_of_brave() -> None:
    _, (asked,) = search(in_turn(Say({"results": []})), "brave", person=Person("x", "y" * 1000))
    assert len(asked.query["q"]) == 400


ODD: Mapping[str, list[Any]] = {
    "commons": [
        {"batchcomplete": True, "query": {"pages": [{"pageid": 1}]}},
        {"batchcomplete": True, "query": []},
        {"batchcomplete": True, "query": {"pages": [3]}},
        {"continue": 3},
    ],
    "openverse": [{}, {"results": []}, {"results": [{}], "page_count": 1}, {"results": 3, "page_count": 1}],
    "searxng": [{}, {"results": None}, {"results": [3]}],
    "brave": [{}, {"results": 3}, {"results": [{"properties": 3}]}],
}


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in ODD.items() for body in bodies])
def test_an_odd_answer_is_an_error(name: str, body: object) -> None:
    with pytest.raises(DownloadError, match="in a form that it does not document"):
        search(in_turn(Say(body)), name)


def test_results_become_rows(tmp_path: Path) -> None:
    people = [ANN, Person("name:Bob", "Bob"), Person("name:Cid", "Cid")]
    with play(commons(3)) as services:
        urls = collect(provider(services, "commons"), tmp_path, people)
    assert [shard.name for shard in urls.shards] == ["00000", "00001"]
    assert [path.name for path in urls.paths(".parquet")] == ["00000.urls.parquet", "00001.urls.parquet"]
    rows = rows_of(urls)
    assert [(row["name"], row["rank"]) for row in rows] == [(p.name, rank) for p in people for rank in range(3)]
    assert {row["provider"] for row in rows} == {"commons"}
    assert (rows[0]["person"], rows[0]["title"]) == (ANN.person, "Ann 1.jpg")
    assert pq.read_schema(urls.paths(".parquet")[0]).equals(URLS)
    assert urls.records == 9


def test_only_usable_urls_are_kept_and_each_once(tmp_path: Path) -> None:
    addresses = ["data:image/png;base64,x", "https://a.org/1", "", "ftp://a.org/2", "https://a.org/1", "HTTP://a.org/3"]
    page = [searxng_result(number, img_src=address) for number, address in enumerate([*addresses, "https://a.org/4"])]
    page.append(searxng_result(9, img_src="https://a.org/5"))
    with play(lambda _: Say({"results": page})) as services:
        urls = collect(provider(services, "searxng"), tmp_path, [ANN], images=3)
    assert [(row["url"], row["rank"]) for row in rows_of(urls)] == [
        ("https://a.org/1", 0),
        ("HTTP://a.org/3", 1),
        ("https://a.org/4", 2),
    ]


def test_who_is_not_found_has_no_rows(tmp_path: Path) -> None:
    with play(commons(0)) as services:
        urls = collect(provider(services, "commons"), tmp_path, [ANN])
    assert rows_of(urls) == []


def test_a_provider_that_stops_answering_ends_the_run_and_the_next_goes_on(tmp_path: Path) -> None:
    people = [Person(f"name:{name}", name) for name in ("Ann", "Bob", "Cid", "Dee", "Eve")]
    down = {"Dee"}

    def answer(asked: Asked) -> Say:
        return Say(status=503) if any(name in asked.query["gsrsearch"] for name in down) else commons(2)(asked)

    with play(answer) as services:
        with pytest.raises(DownloadError, match="Wikimedia Commons gave no answer"):
            collect(provider(services, "commons"), tmp_path, people)
        services.asked.clear()
        down.clear()
        urls = collect(provider(services, "commons"), tmp_path, people)
        asked_for = [asked.query["gsrsearch"] for asked in services.asked]
    assert asked_for == [f'"{name}" filetype:bitmap' for name in ("Cid", "Dee", "Eve")]
    assert urls.records == 10


def test_more_people_leave_the_finished_blocks_alone(tmp_path: Path) -> None:
    people = [Person(f"name:{name}", name) for name in ("Ann", "Bob", "Cid", "Dee", "Eve")]
    with play(commons(2)) as services:
        collect(provider(services, "commons"), tmp_path, people[:4])
        services.asked.clear()
        assert collect(provider(services, "commons"), tmp_path, people).records == 10
        assert len(services.asked) == 1


def test_a_fingerprint_knows_the_provider_and_no_more() -> None:
    def fingerprint(name: str, key: str = "k", agent: str = "a", url: str = "https://s.org") -> str:
        def factory(service: Service) -> ApiClient:
            return ApiClient(Internet(), agent, service)

        opened = open_provider(name, client_factory=factory, url=url, environment={"BRAVE_API_KEY": key})
        return fingerprint_of(SearchStage(opened, 5, 2), [])

    assert len({fingerprint(name) for name in PROVIDERS}) == len(PROVIDERS)
    for name in PROVIDERS:
        assert fingerprint(name) == fingerprint(name, key="other", agent="other")
    assert fingerprint("searxng") != fingerprint("searxng", url="https://other.org")


@pytest.mark.parametrize(
    ("name", "hint"), [("searxng", "give its URL"), ("brave", "export BRAVE_API_KEY=KEY"), ("google", "commons")]
)
def test_a_provider_that_lacks_something_is_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_provider(name, client_factory=lambda _: pytest.fail("opens it"), url=None, environment={})
    assert hint in caught.value.hint


@pytest.mark.parametrize("key", ["two words", "s3cret\nX-Evil: 1", "schlüssel"])
def test_what_is_no_key_is_refused_without_telling_it(key: str) -> None:
    with pytest.raises(ConfigError, match="BRAVE_API_KEY holds none") as caught:
        open_provider(
            "brave", client_factory=lambda _: pytest.fail("opens it"), url=None, environment={"BRAVE_API_KEY": key}
        )
    assert key not in caught.value.message + caught.value.hint


def test_a_key_is_not_shown() -> None:
    with play(in_turn(Say())) as services:
        assert "s3cret" not in repr(provider(services, "brave"))


def open_file(path: Path) -> UrlFile:
    opened = open_provider(str(path), client_factory=lambda _: pytest.fail("asks"), url=None, environment={})
    assert isinstance(opened, UrlFile)
    return opened


def test_a_text_of_urls(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt"
    path.write_text("https://a.org/1.jpg\n\n http://b.org/2.jpg\nhttps://a.org/1.jpg\n")
    opened = open_file(path)
    assert opened.people == (Person("name:unknown", "unknown"),)
    rows = rows_of(collect(opened, tmp_path, list(opened.people)))
    assert [(row["url"], row["rank"], row["name"]) for row in rows] == [
        ("https://a.org/1.jpg", 0, "unknown"),
        ("http://b.org/2.jpg", 1, "unknown"),
    ]
    assert {row["provider"] for row in rows} == {"file"}


def as_csv(rows: list[dict[str, str]], path: Path) -> None:
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))


def as_tsv(rows: list[dict[str, str]], path: Path) -> None:
    path.write_text("\n".join(["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]))


def as_parquet(rows: list[dict[str, str]], path: Path) -> None:
    typed = [row | {"width": int(row["width"]) if row["width"] else None} for row in rows]
    pq.write_table(pa.Table.from_pylist(typed), path)


@pytest.mark.parametrize(("suffix", "write"), [(".csv", as_csv), (".tsv", as_tsv), (".parquet", as_parquet)])
def test_a_table_of_urls(tmp_path: Path, suffix: str, write: Callable[[list[dict[str, str]], Path], None]) -> None:
    plain = {"person": "", "name": "Bob", "licence": "", "author": "", "width": ""}
    rich = {"person": ANN.person, "name": "Ann Archer", "licence": "CC0", "author": "Cid", "width": "640"}
    path = tmp_path / f"urls{suffix}"
    write(
        [{"url": "https://a.org/1"} | plain, {"url": "https://a.org/2"} | rich, {"url": "https://a.org/3"} | plain],
        path,
    )
    opened = open_file(path)
    assert opened.people == (Person("name:Bob", "Bob"), ANN)
    assert [result.url for result in opened.search(opened.people[0], 5)] == ["https://a.org/1", "https://a.org/3"]
    assert list(opened.search(ANN, 5)) == [Result("https://a.org/2", licence="CC0", author="Cid", width=640)]
    assert list(opened.search(Person("name:Eve", "Eve"), 5)) == []
    by_name = Person("http://dbpedia.org/resource/Bob", "Bob")
    assert len(list(opened.search(by_name, 5))) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.csv", None, "No such file"),
        ("empty.txt", "", "holds no rows"),
        ("other.csv", "link\nhttps://a.org/1\n", "has no column 'url'"),
        ("bad.txt", "https://a.org/1\nfile:///etc/passwd\n", "line 2: 'file:///etc/passwd' is no URL"),
        ("blank.csv", "url,name\nhttps://a.org/1,Ann\n,Bob\n", "line 3: None is no URL"),
    ],
)
def test_a_list_of_urls_that_cannot_be_used(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as caught:
        open_file(tmp_path / name)
    assert message in caught.value.message and caught.value.hint


def test_a_changed_list_is_another_provider(tmp_path: Path) -> None:
    digests = set()
    for name, content in [("a.txt", "https://a.org/1"), ("b.txt", "https://a.org/1"), ("c.txt", "https://a.org/2")]:
        (tmp_path / name).write_text(content)
        digests.add(open_file(tmp_path / name).digest())
    assert len(digests) == 2


@given(st.text())
def test_a_quoted_name_has_two_quotes(name: str) -> None:
    quoted = quote_name(name)
    assert quoted.startswith('"') and quoted.endswith('"') and quoted.count('"') == 2
    assert "\n" not in quoted


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://a.org/x.jpg", True),
        ("HTTP://a.org", True),
        ("http://[2001:db8::1]/x", True),
        ("https://a.org/ü?q=ä#f", True),
        ("https:///x.jpg", False),
        ("https://a.org/x y.jpg", False),
        ("https://a.org/x\n", False),
        ("//a.org/x", False),
        ("javascript:alert(1)", False),
        (f"https://a.org/{'x' * 5000}", False),
        (None, False),
        (3, False),
    ],
)
def test_a_web_address(url: object, is_one: bool) -> None:
    assert is_web_address(url) is is_one


@pytest.mark.parametrize("name", PROVIDERS)
@settings(max_examples=20)
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_whatever_is_answered_ends_in_results_or_in_our_errors(name: str, body: object) -> None:
    class Canned(ApiClient):
        def get_json(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"results": body, "page_count": 1, "query": {"pages": body}, "batchcomplete": True}

    opened = open_provider(
        name, client_factory=lambda service: Canned(Internet(), "a", service), url="https://s.org", environment=KEY
    )
    try:
        json.dumps([result.title for result in opened.search(ANN, 5)])
    except DownloadError as error:
        assert "does not document" in error.message
