from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facescrape.fetch.consent import FORBIDDING, ROBOTS_BYTES, Robots, TdmPolicy, opted_out

US = "cleanshards"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def tagged(*values: str) -> str | None:
    return opted_out([("X-Robots-Tag", value) for value in values], US, NOW)


@pytest.mark.parametrize(
    "value",
    [
        *sorted(FORBIDDING),
        "NoAI",
        "noindex, max-image-preview: none",
        "max-image-preview: none, noindex",
        "max-snippet: 3, max-video-preview: -1, noimageai",
        "unavailable_after: 25 Jun 2030 15:00:00 PST, noai",
        "unavailable_after: Fri, 25-Jun-2030 15:00:00 GMT, noimageai",
        "unavailable_after: Friday, 25-Jun-30 15:00:00 GMT,noai",
        "unavailable_after: 2030-06-25T15:00:00-07:00, noai",
        "unavailable_after: when, pigs fly, noai",
        "unavailable_after: Fri, 99-Foo-2030 15:00:00 GMT, noai",
        "unavailable_after: 25 Jun 2030 15:00:00 PST noai",
        "follow, all, noai",
        "noindex; nofollow",
        "noindex nofollow",
        '"noindex"',
        "noindex, otherbot: nofollow",
        "cleanshards: noai",
        "CleanShards/1.0: all, noai",
        "otherbot: nofollow, cleanshards: noai",
        "*: noindex",
        "noai: 1",
    ],
)
def test_a_rule_that_forbids_is_found(value: str) -> None:
    assert tagged(value) is not None
    assert tagged("all", value) is not None, "every header is read"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "all",
        "nofollow, noarchive, nosnippet, notranslate",
        "max-image-preview: none",
        "max-image-preview:none, max-snippet: 0",
        "unavailable_after: 25 Jun 2030 15:00:00 PST",
        "unavailable_after: Fri, 25-Jun-2030 15:00:00 GMT, max-image-preview: none",
        "unavailable_after: some day",
        "unavailable_after",
        "otherbot: noindex, nofollow",
        "otherbot: noindex, thirdbot: noai",
        "cleanshards: all, otherbot: noai",
        "otherbot: unavailable_after: 25 Jun 2010 15:00:00 PST, noai",
        "notnoai, no-noai",
        "clean: noai",
        "cleanshards-news: noai",
    ],
)
def test_what_forbids_nothing_passes(value: str) -> None:
    assert tagged(value) is None


@pytest.mark.parametrize(
    "date",
    [
        "25 Jun 2010 15:00:00 PST",  # RFC 822, with the year of RFC 1123
        "25 Jun 10 15:00 GMT",
        "Fri, 25 Jun 2010 15:00:00 +0200",
        "Friday, 25-Jun-10 15:00:00 GMT",  # RFC 850
        "Fri, 25-Jun-2010 15:00:00 GMT",
        "23-Jul-2007 18:00:00 EST",
        "25 Jun 2010",
        "25-Jun-2010",
        "June 25, 2010 15:00:00 EST",
        "2010-06-25T15:00:00-07:00",  # ISO 8601
        "2010-06-25t15:00:00z",
        "2010-06-25 15:00:00 GMT",
        "2010-06-25",
        "20100625T1500Z",
        "30 Jun 2015 23:59:60 GMT",
    ],
)
def test_a_date_in_the_past_forbids_in_every_form(date: str) -> None:
    assert tagged(f"unavailable_after: {date}") == f"X-Robots-Tag: unavailable_after: {date}"
    assert tagged(f"all, Unavailable_After:{date}, nofollow") is not None
    assert opted_out([("x-robots-tag", f"unavailable_after: {date}")], US, datetime(2001, 1, 1, tzinfo=UTC)) is None


def test_a_header_too_long_to_be_meant_forbids() -> None:
    assert tagged("all, " * 100) is None
    assert tagged("," * 5000) is not None


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2067, 1, 1)), st.booleans())
def test_the_date_is_compared_to_the_second(date: datetime, iso: bool) -> None:
    date = date.replace(microsecond=0, tzinfo=UTC)
    value = f"unavailable_after: {date.isoformat() if iso else date.strftime('%A, %d-%b-%y %H:%M:%S GMT')}"
    assert opted_out([("X-Robots-Tag", value)], US, date) is not None
    assert opted_out([("X-Robots-Tag", value)], US, date - timedelta(seconds=1)) is None


OTHER_AGENTS = st.from_regex(r"[a-z]{3,12}(-[a-z]{2,6})?(/[0-9.]{1,4})?", fullmatch=True).filter(
    lambda agent: agent.partition("/")[0] not in {US, "robots", "unavailable_after", *FORBIDDING}
)
HARMLESS = st.sampled_from(
    [
        "all",
        "nofollow",
        "max-image-preview: none",
        "max-snippet: -1",
        "unavailable_after: 25 Jun 2030 15:00:00 PST",
        "unavailable_after: Fri, 25-Jun-2030 15:00:00 GMT",
        "unavailable_after: 2030-06-25T15:00:00-07:00",
        "unavailable_after: never, ever",
    ]
)
ANY_CASE = st.sampled_from([str.lower, str.upper, str.title])


@given(st.lists(HARMLESS), st.lists(HARMLESS), st.sampled_from(sorted(FORBIDDING)), ANY_CASE, st.data())
def test_a_forbidding_rule_forbids_wherever_it_stands(before, after, rule, case, data) -> None:  # type: ignore[no-untyped-def]
    separator = data.draw(st.sampled_from([",", ", ", " , ", ",,"]))
    value = separator.join([*before, case(rule), *after])
    others = data.draw(st.lists(st.tuples(st.text(), st.text())))
    assert opted_out([*others, (case("X-Robots-Tag"), value)], US, NOW) is not None
    assert tagged(*before, f"{data.draw(OTHER_AGENTS)}: {rule}", *after) is None, "meant for another"


@given(OTHER_AGENTS, st.lists(HARMLESS | st.sampled_from(sorted(FORBIDDING)), min_size=1), ANY_CASE)
def test_what_is_meant_for_others_never_forbids_us(agent: str, rules: list[str], case) -> None:  # type: ignore[no-untyped-def]
    assert tagged(f"{case(agent)}: {', '.join(map(case, rules))}") is None


@given(st.text().filter(lambda text: ":" not in text), st.sampled_from(sorted(FORBIDDING)))
def test_no_garbage_hides_a_rule(garbage: str, rule: str) -> None:
    assert tagged(f"{garbage},{rule}") is not None


NAMES = st.sampled_from(["X-Robots-Tag", "TDM-Reservation", ""]) | st.text()
PIECES = st.lists(
    st.sampled_from(["unavailable_after", ":", ",", " ", "-", "noai", "Fri", "Jun", "25", "2010", "15:00", "bot", "*"])
    | st.text(max_size=4)
).map("".join)


@given(st.lists(st.tuples(NAMES, st.text() | PIECES)), st.text())
def test_nothing_in_headers_raises(headers: list[tuple[str, str]], agent: str) -> None:
    assert opted_out(headers, agent, NOW) is None or headers


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1 Jan 1 00:00:00 +9999"])
def test_dates_at_the_ends_of_time_do_not_raise(date: str) -> None:
    tagged(f"unavailable_after: {date}")


@pytest.mark.parametrize(
    ("value", "forbids"), [("1", True), (" 1 ", True), ("0, 1", True), ("0", False), ("10", False)]
)
def test_tdm_reservation(value: str, forbids: bool) -> None:
    assert (opted_out([("tdm-reservation", value)], US, NOW) == "TDM-Reservation: 1") is forbids


def test_other_headers_say_nothing() -> None:
    assert opted_out([("Content-Type", "noai"), ("TDM-Policy", "1"), ("X-Robots", "noindex")], US, NOW) is None


def allows(robots: str, path: str, agent: str = US) -> bool:
    return Robots.parse(robots.encode()).allows(f"https://host.example{path}", agent)


@pytest.mark.parametrize(
    ("robots", "allowed", "forbidden"),
    [
        ("", "/a", None),
        ("User-agent: *\nDisallow:", "/a", None),
        ("User-agent: *\nDisallow: /", "/robots.txt", "/a"),
        ("\ufeffUser-agent: *\nDisallow: /p", "/a", "/p"),
        ("USER-AGENT: CleanShards\nDISALLOW: /p\n\nUser-agent: *\nDisallow: /", "/a", "/p/q"),
        ("User-agent: *\nDisallow: /\nUser-agent: cleanshards\nDisallow: /p", "/a", "/p"),  # the own group alone counts
        ("User-agent: a\nUser-agent: cleanshards\nDisallow: /p", "/a", "/p"),
        ("User-agent: cleanshards\nDisallow: /p\nUser-agent: cleanshards\nDisallow: /q", "/a", "/q"),  # groups add up
        ("User-agent: cleanshards\nDisallow: /p\nUser-agent: cleanshards\nDisallow: /q", "/a", "/p"),
        ("User-agent: cleanshards/1.0 # us\nDisallow: /p", "/a", "/p"),
        ("User-agent: *\nDisallow: /p\nAllow: /p/ok", "/p/ok/1", "/p/1"),  # the longest match counts
        ("User-agent: *\nDisallow: /p\nAllow: /p", "/p", None),  # of equals, Allow
        ("User-agent: *\nDisallow: /*.jpg$", "/a.jpg?x", "/b/a.jpg"),
        ("User-agent: *\nDisallow: /a%2Fb\nDisallow: /%7Ejoe", "/a/b", "/~joe"),
        ("User-agent: *\nDisallow: /größe", "/gr", "/gr%C3%B6%C3%9Fe"),
        ("User-agent: *\r\nDisallow: /p\rDisallow: /q", "/a", "/q"),
        ("User-agent: other\rDisallow: /\rUser-agent: cleanshards/1.0\rDisallow: /q", "/a", "/q"),
        ("User agent cleanshards\nDisallow: /q", "/a", "/q"),
        ("User-agent: # nobody\nDisallow: /\nUser-agent:\nDisallow: /", "/a", None),
        ("<html><body>Disallow everything</body></html>", "/a", None),
    ],
)
def test_robots_by_rfc_9309(robots: str, allowed: str, forbidden: str | None) -> None:
    assert allows(robots, allowed)
    assert forbidden is None or not allows(robots, forbidden)


@pytest.mark.parametrize("name", ["clean", "c", "shards", "cleanshards-news", "cleanshards2", "acleanshards", "clean*"])
def test_a_group_of_another_name_is_not_ours(name: str) -> None:
    assert allows(f"User-agent: {name}\nDisallow: /", "/a")
    assert not allows(f"User-agent: {name}\nAllow: /\nUser-agent: *\nDisallow: /", "/a")


def test_crawl_delay() -> None:
    robots = Robots.parse(b"User-agent: cleanshards\nCrawl-delay: 2.5\nUser-agent: *\nCrawl-delay: nan")
    assert robots.crawl_delay_s(US) == 2.5
    assert robots.crawl_delay_s("other") is None


def test_a_huge_robots_is_read_up_to_a_whole_line() -> None:
    head = b"User-agent: *\nDisallow: /first\n"
    filler = b"# " + b"x" * (ROBOTS_BYTES - len(head) - 20) + b"\n"
    robots = Robots.parse(head + filler + b"Allow: /first/but-only-this\n" * 100_000)
    assert not robots.allows("http://h/first/b", US)
    assert robots.allows("http://h/second", US)


def test_names_times_rules_are_no_bomb() -> None:
    names = "".join(f"User-agent: {number}\n" for number in range(12_000))
    text = names + "User-agent: cleanshards\n" + "Disallow: /p\n" * 12_000
    assert allows(text, "/a")
    assert not allows(text, "/p")


@given(st.binary() | st.text(alphabet="user-agent: *\n\rdisallow/$%#cleanshards\0\ufeff").map(str.encode), st.text())
def test_nothing_in_a_robots_raises(body: bytes, url: str) -> None:
    robots = Robots.parse(body)
    assert isinstance(robots.allows(url, US), bool)
    assert isinstance(robots.allows(f"http://h/{url}", US), bool)
    delay_s = robots.crawl_delay_s(US)
    assert delay_s is None or 0 <= delay_s < float("inf")


def test_urls_that_are_none_are_not_allowed() -> None:
    assert not Robots.parse(b"User-agent: *\nDisallow: /p").allows("http://[half/ä", US)


def reserves(policy: str, path: str) -> bool:
    return TdmPolicy.parse(policy.encode()).reserves(path)


EXAMPLE = """[{"location": "/directory-a/", "tdm-reservation": 1},
 {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
 {"location": "/directory-b/", "tdm-reservation": 1, "tdm-policy": "https://provider.example/policy.json"},
 {"location": "/directory-b/html/", "tdm-reservation": 0}]"""


@pytest.mark.parametrize(
    ("path", "reserved"),
    [
        ("/", False),
        ("/directory-a/x.png", True),
        ("/Directory-A/x.png", False),
        ("/directory-b/images/1/x.jpg?size=2", False),
        ("/directory-b/images/x.png", True),
        ("/directory-b/html/", True),  # the first that matches counts
        ("//directory-a/", False),
        ("/directory%2Da/", True),
    ],
)
def test_the_first_rule_that_matches_counts(path: str, reserved: bool) -> None:
    assert reserves(EXAMPLE, path) is reserved


@pytest.mark.parametrize(
    ("location", "path", "reserved"),
    [
        ("/", "/any?q", True),
        ("*", "/any", True),
        ("/exactly$", "/exactly", True),
        ("/exactly$", "/exactly/not", False),
        ("/this/*/then", "/this/and/that/then/more", True),
        ("/foo-%24", "/foo-$", True),
        ("images/", "/images/x", True),
        ("", "/x", True),
        ("/a\\nDisallow: /", "/x", False),
    ],
)
def test_locations_are_patterns_as_in_robots(location: str, path: str, reserved: bool) -> None:
    assert reserves(f'[{{"location": "{location}", "tdm-reservation": 1}}]', path) is reserved


def test_a_policy_too_long_to_be_applied_reserves_everything() -> None:
    rule = '{"location": "/a", "tdm-reservation": 0}'
    assert not reserves(f"[{', '.join([rule] * 2000)}]", "/b")
    assert reserves(f"[{', '.join([rule] * 2001)}]", "/b")


@pytest.mark.parametrize(
    "policy",
    [
        "",
        "not json",
        "{}",
        '{"location": "/", "tdm-reservation": 1}',
        "[1, null, []]",
        '[{"location": 3, "tdm-reservation": 1}]',
        '[{"location": "/"}]',
        '[{"location": "/", "tdm-reservation": 2}]',
        '[{"location": "/", "tdm-reservation": [1]}]',
        "[" * 100_000,
        f"[{'9' * 5000}]",
    ],
    ids=lambda policy: policy[:40],
)
def test_what_is_no_policy_reserves_nothing(policy: str) -> None:
    assert not reserves(policy, "/")


@given(st.binary(), st.text())
def test_nothing_in_a_policy_raises(body: bytes, path: str) -> None:
    assert not TdmPolicy.parse(body).reserves(path)
    assert TdmPolicy.parse(b'\xef\xbb\xbf[{"location": "/", "tdm-reservation": "1"}]').reserves(f"/{path}") is not None
