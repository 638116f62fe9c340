"""Resources: what the replayed DBpedia knows of people. A seed and a number in, a made-up person out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

_GIVEN = (
    *("Avrela", "Tomsin", "Ilvane", "Corbec", "Maurel", "Zoëlle", "Perrin", "Sabeth", "Odran", "Livka", "Hesper"),
    *("Brannoc", "Yselle", "Dorvin", "Anneke", "Kasimir", "Thessa", "Rufin", "Mirabeth", "Joscel", "Eilo", "Nerys"),
)
_SYLLABLES = (
    *("bra", "del", "fen", "gar", "hol", "jor", "kel", "lun", "mar", "nor"),
    *("pel", "quis", "ros", "sil", "tor", "ul", "ver", "wen", "yar", "zan"),
)
_ENDINGS = ("dahl", "court", "mond", "quist", "stadé", "witz", "low", "ovic", "thorpe", "iaux")
_TITLES = ("actor", "tennis", "politician", "musician")
_NO_DATES = ("1950-02-31", "1961-00-00", "1975-06-00", "1948-13-01")
_UNKNOWN = 7000  # numbers from here on are people without photographs


@dataclass(frozen=True, slots=True)
class Resource:
    """A person as DBpedia describes one.

    Attributes:
        uri: the person's.
        name: as people write it.
        label: the title of the page in Wikipedia, which may add what tells namesakes apart.
        births: dates of birth, as they stand there: several, or none that there is.
        links: pages of Wikipedia that link to it.
        page: of Wikipedia.
        thumbnail: URL.
    """

    uri: str
    name: str
    label: str
    births: tuple[str, ...]
    links: int
    page: str | None
    thumbnail: str | None


def describe(name: str, births: tuple[str, ...], links: int, title: str = "") -> Resource:
    """A resource by its name; the addresses follow from it as they do in DBpedia."""
    label = f"{name} ({title})" if title else name
    slug = label.replace(" ", "_")
    thumbnail = f"http://commons.wikimedia.org/wiki/Special:FilePath/{slug}.jpg?width=300"
    page = f"http://en.wikipedia.org/wiki/{slug}"
    return Resource(f"http://dbpedia.org/resource/{slug}", name, label, births, links, page, thumbnail)


def draw_name(seed: int, number: int) -> str:
    """A name that nobody has, of its own for each number."""
    rng = np.random.default_rng([seed, number, 3])
    count = len(_SYLLABLES) ** 2
    code = (number * 37 + 11) % count + number // count * count  # 37 and 400 have no common divisor
    family = _SYLLABLES[code % 20] + _SYLLABLES[code // 20 % 20]
    while (code := code // 400) > 0:
        family += _SYLLABLES[code % 20]
    return f"{_GIVEN[rng.integers(len(_GIVEN))]} {family.capitalize()}{_ENDINGS[rng.integers(len(_ENDINGS))]}"


def draw_people(seed: int, people: int) -> Iterator[Resource]:
    """The people with photographs, the most linked first: all of age, born after 1900. Some share a place or a date."""
    for number in range(people):
        first = number - (number % 8 == 5)  # who shares with the one before
        birth = _draw_day(seed, first, 1930, 2000)
        births = (birth.isoformat(), (birth + timedelta(days=366)).isoformat())
        yield _with_gaps(
            describe(
                draw_name(seed, number),
                births if number % 7 == 6 else births[:1],
                links=1_000_000 // (first + 2),
                title=_TITLES[number % len(_TITLES)] if number % 6 == 2 else "",
            ),
            number,
        )


def draw_others(seed: int, people: int) -> Iterator[Resource]:
    """People whom nobody should look for: born too early or too late, on no day that there is, or hardly known."""
    for turn in range(max(8, people // 2)):
        number = _UNKNOWN + turn
        birth = [
            _draw_day(seed, number, 1801, 1899).isoformat(),
            _NO_DATES[turn // 4 % len(_NO_DATES)],
            _draw_day(seed, number, 2012, 2022).isoformat(),
            _draw_day(seed, number, 1930, 2000).isoformat(),
        ][turn % 4]
        yield _with_gaps(
            describe(draw_name(seed, number), (birth,), 1 if turn % 4 == 3 else 900_000 // (turn + 1)), turn
        )


def _with_gaps(resource: Resource, number: int) -> Resource:
    """Some have no page, some no thumbnail."""
    page = None if number % 9 == 7 else resource.page
    thumbnail = None if number % 5 == 3 else resource.thumbnail
    return Resource(resource.uri, resource.name, resource.label, resource.births, resource.links, page, thumbnail)


def _draw_day(seed: int, number: int, first_year: int, last_year: int) -> date:
    rng = np.random.default_rng([seed, number, 4])
    return date(int(rng.integers(first_year, last_year + 1)), 1, 1) + timedelta(days=int(rng.integers(365)))
