"""The archive: what is added is known, equal bytes lie there once, a kill costs the last rows and nothing else."""

import hashlib
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers import python_process
from hypothesis import given
from hypothesis import strategies as st

from facescrape.archive import OUTCOMES, PICTURES, Archive, Outcome, picture_path
from facescrape.status import Status
from pipelines.errors import IntegrityError

NOW = datetime(2026, 5, 1, 12, 30, 15, 250_000, UTC)


def url_of(number: int) -> str:
    return f"https://example.org/{number}.jpg"


def fetched(url: str, picture: bytes) -> Outcome:
    sha256 = hashlib.sha256(picture).hexdigest()
    return Outcome(url, Status.OK, 200, url, len(picture), sha256, "jpeg", 640, 480, NOW, 0.25)


def failed(url: str, status: Status = Status.NOT_FOUND) -> Outcome:
    return Outcome(url, status, 404, url, fetched_at=NOW, seconds=0.5)


def pictures_in(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / PICTURES).rglob("*") if path.is_file())


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path) as archive:
        yield archive


def test_what_is_added_is_known(archive: Archive, tmp_path: Path) -> None:
    well, ill = fetched(url_of(1), b"one"), failed(url_of(2))
    assert archive.add(well, b"one") == well
    archive.add(ill)
    assert archive.known([url_of(1), url_of(2), url_of(3)]) == {url_of(1): well, url_of(2): ill}
    assert picture_path(tmp_path, str(well.sha256)).read_bytes() == b"one"
    archive.close()
    with Archive(tmp_path) as again:
        assert again.known([url_of(1), url_of(2)]) == {url_of(1): well, url_of(2): ill}
        assert again.counts() == {Status.NOT_FOUND: 1, Status.OK: 1}


def test_a_later_outcome_takes_the_place_of_an_earlier_one(archive: Archive) -> None:
    archive.add(failed(url_of(1), Status.TIMEOUT))
    archive.add(fetched(url_of(1), b"one"), b"one")
    assert archive.known([url_of(1)])[url_of(1)].status is Status.OK


@given(st.lists(st.tuples(st.integers(0, 20), st.binary(max_size=3)), max_size=40))
def test_equal_bytes_are_stored_once(tmp_path_factory: pytest.TempPathFactory, added: list[tuple[int, bytes]]) -> None:
    folder = tmp_path_factory.mktemp("archive")
    with Archive(folder) as archive:
        for number, picture in added:
            archive.add(fetched(url_of(number), picture), picture)
        assert pictures_in(folder) == sorted({picture for _, picture in added})
        latest = {url_of(number): fetched(url_of(number), picture) for number, picture in added}
        assert archive.known(map(url_of, range(21))) == latest
        assert sum(archive.counts().values()) == len(latest)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"on")])
def test_a_row_without_its_picture_is_not_known(archive: Archive, tmp_path: Path, damage: object) -> None:
    outcome = fetched(url_of(1), b"one")
    archive.add(outcome, b"one")
    damage(picture_path(tmp_path, str(outcome.sha256)))  # type: ignore[operator]
    assert archive.known([url_of(1)]) == {}
    archive.add(outcome, b"one")
    assert archive.known([url_of(1)]) == {url_of(1): outcome}


def test_only_what_may_end_otherwise_is_dropped(archive: Archive) -> None:
    for number, status in enumerate(Status):
        archive.add(failed(url_of(number), status))
    transient = [status for status in Status if status.is_transient]
    assert archive.drop_failed() == len(transient)
    assert set(archive.counts()) == set(Status) - set(transient)


def test_what_is_forgotten_stays_forgotten(archive: Archive, tmp_path: Path) -> None:
    one = fetched(url_of(1), b"one")
    archive.add(one, b"one")
    archive.add(fetched(url_of(2), b"one"), b"one")
    archive.add(fetched(url_of(3), b"three"), b"three")
    assert archive.forget(urls=[url_of(1), url_of(9)]) == {one.sha256}
    assert pictures_in(tmp_path) == [b"three"]
    for number in (1, 4):  # neither the URL with other bytes, nor the bytes from elsewhere
        picture = b"new" if number == 1 else b"one"
        assert archive.add(fetched(url_of(number), picture), picture).status is Status.FORGOTTEN
    archive.close()
    with Archive(tmp_path) as again:
        known = again.known(map(url_of, range(10)))
        assert {url: outcome.status for url, outcome in known.items()} == {
            url_of(1): Status.FORGOTTEN,
            url_of(2): Status.FORGOTTEN,
            url_of(3): Status.OK,
            url_of(4): Status.FORGOTTEN,
            url_of(9): Status.FORGOTTEN,
        }
        assert again.add(fetched(url_of(5), b"one"), b"one").status is Status.FORGOTTEN
        assert again.drop_failed() == 0
    assert pictures_in(tmp_path) == [b"three"]


def test_a_picture_can_be_forgotten_by_itself(archive: Archive, tmp_path: Path) -> None:
    outcome = fetched(url_of(1), b"one")
    archive.add(outcome, b"one")
    assert archive.forget(sha256s=[str(outcome.sha256)]) == {outcome.sha256}
    assert archive.known([url_of(1)])[url_of(1)].status is Status.FORGOTTEN
    assert pictures_in(tmp_path) == []


def test_threads_may_share_it(archive: Archive) -> None:
    def add(first: int) -> None:
        for number in range(first, first + 300):
            archive.add(fetched(url_of(number), b"%d" % (number % 50)), b"%d" % (number % 50))

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 300, 600, 900)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(archive.known(map(url_of, range(1200)))) == 1200
    assert archive.counts() == {Status.OK: 1200}


def test_another_process_reads_it_meanwhile(archive: Archive, tmp_path: Path) -> None:
    archive.add(fetched(url_of(1), b"one"), b"one")
    archive.flush()
    with Archive(tmp_path) as reader:
        assert list(reader.known([url_of(1), url_of(2)])) == [url_of(1)]
        archive.add(failed(url_of(2)))
        archive.flush()
        assert list(reader.known([url_of(2)])) == [url_of(2)]


def add_for_ever(folder: str) -> None:
    with Archive(Path(folder)) as archive:
        for number in range(1_000_000):
            picture = b"%d" % number * 2000
            archive.add(fetched(url_of(number), picture), picture)
            if number % 50 == 0:
                archive.flush()
            if number == 100:
                print("begun", flush=True)


_ADD = "import sys; sys.path.insert(0, sys.argv[2]); import test_archive; test_archive.add_for_ever(sys.argv[1])"


def test_a_kill_leaves_a_consistent_archive(tmp_path: Path) -> None:
    for _ in range(5):
        process = python_process(_ADD, tmp_path, Path(__file__).parent)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with Archive(tmp_path) as archive:
            known = archive.known(map(url_of, range(10_000)))
            assert len(known) == sum(archive.counts().values()) >= 100
        for outcome in known.values():
            if outcome.sha256 is not None:
                picture = picture_path(tmp_path, outcome.sha256).read_bytes()
                assert hashlib.sha256(picture).hexdigest() == outcome.sha256


def test_half_a_picture_of_a_kill_is_written_anew(tmp_path: Path) -> None:
    picture = b"picture" * 300
    sha256 = hashlib.sha256(picture).hexdigest()
    path = picture_path(tmp_path, sha256)
    path.parent.mkdir(parents=True)
    path.write_bytes(picture[:100])
    outcome = Outcome("https://a.example/1", Status.OK, 200, size_bytes=len(picture), sha256=sha256)
    with Archive(tmp_path) as archive:
        archive.add(outcome, picture)
        assert archive.known([outcome.url]) == {outcome.url: outcome}
    assert path.read_bytes() == picture


def test_a_damaged_table_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / OUTCOMES).write_bytes(b"no database" * 100)
    with pytest.raises(IntegrityError, match=r"outcomes\.sqlite is damaged"):
        Archive(tmp_path)
