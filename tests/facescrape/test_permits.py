"""What is remembered of hosts' rules is bounded, whatever they send."""

from unittest.mock import Mock

from facescrape.fetch.permits import Permits, Rules
from facescrape.web.exchange import Client

MEGABYTE = 1 << 20


def origin(number: int) -> str:
    return f"https://host{number}.example:443"


def remembered(permits: Permits, count: int) -> list[int]:
    return [number for number in range(count) if permits.find(origin(number), now=0.0) is not None]


def test_large_files_drive_out_those_not_wanted_for_the_longest_time() -> None:
    permits = Permits(Mock(spec=Client))
    for number in range(100):
        permits.keep(origin(number), Rules(1.0, size_bytes=MEGABYTE))
        permits.find(origin(0), now=0.0)
    assert remembered(permits, 100) == [0, *range(85, 100)]


def test_the_same_origin_counts_once() -> None:
    permits = Permits(Mock(spec=Client))
    permits.keep(origin(0), Rules(1.0))
    for _ in range(100):
        permits.keep(origin(1), Rules(1.0, size_bytes=MEGABYTE))
    assert remembered(permits, 2) == [0, 1]


def test_one_file_is_remembered_however_large() -> None:
    permits = Permits(Mock(spec=Client))
    permits.keep(origin(0), Rules(1.0, size_bytes=100 * MEGABYTE))
    assert remembered(permits, 1) == [0]


def test_small_files_are_bounded_by_their_number() -> None:
    permits = Permits(Mock(spec=Client))
    for number in range(5000):
        permits.keep(origin(number), Rules(1.0))
    assert len(remembered(permits, 5000)) == 4096


def test_rules_expire() -> None:
    permits = Permits(Mock(spec=Client))
    permits.keep(origin(0), Rules(1.0))
    assert permits.find(origin(0), now=1.0) is None
