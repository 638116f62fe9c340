"""Downloads over real sockets: servers that support ranges, that refuse them, and that fail in all the usual ways."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import (
    CutsConnection,
    CutsWithoutRanges,
    GoesOnWithAnother,
    HasMoved,
    IsBusyAtFirst,
    IsMissing,
    LiesAboutLength,
    Publisher,
    RefusesRanges,
    SendsNothing,
    SendsTooMuch,
    SendsWebPage,
    Stalls,
    WithoutLength,
    WithoutRanges,
    WithoutValidator,
    serve,
)

from pipelines.download import CHUNK_BYTES, Download, Patience, fetch, require_room
from pipelines.errors import DiskFull, DownloadError

CONTENT = b"PK" + bytes(range(256)) * 1000
REST = f"bytes={CHUNK_BYTES}-"
HASTY = Patience(connect_timeout_s=2, read_timeout_s=2, tries=3, pause_s=0)


def begin(target: Path, url: str, content: bytes = CONTENT) -> Download:
    """A download that was interrupted after `CHUNK_BYTES` bytes."""
    download = Download(url, target, b"PK")
    with serve(CutsConnection, content) as (first_url, _), pytest.raises(DownloadError):
        fetch(Download(first_url, target, b"PK"), patience=Patience(tries=1), sleep=lambda _: None)
    download.note.write_text(download.note.read_text().replace(first_url, url))
    assert download.part.stat().st_size == CHUNK_BYTES
    return download


@pytest.mark.parametrize("kind", [Publisher, WithoutRanges, WithoutValidator, HasMoved, IsBusyAtFirst, CutsConnection])
def test_file_arrives_whole(tmp_path: Path, kind: type[Publisher]) -> None:
    target, steps = tmp_path / "new" / "file.zip", []
    with serve(kind, CONTENT) as (url, _):
        fetch(
            Download(url, target, b"PK", len(CONTENT)),
            patience=HASTY,
            report=lambda *step: steps.append(step),
            sleep=lambda _: None,
        )
    assert target.read_bytes() == CONTENT
    assert steps[-1] == ("downloading", len(CONTENT), len(CONTENT))
    assert list(target.parent.iterdir()) == [target]


def test_file_of_unknown_length_ends_where_the_server_hangs_up(tmp_path: Path) -> None:
    with serve(WithoutLength, CONTENT) as (url, _):
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=HASTY)
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_what_is_there_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(b"PK")
    with serve(Publisher, CONTENT) as (url, asked):
        fetch(Download(url, tmp_path / "file.zip", b"PK"))
    assert asked == []


@pytest.mark.parametrize(
    ("kind", "ranges"),
    [
        (Publisher, [REST]),
        (WithoutRanges, [REST]),
        (CutsConnection, [f"bytes={n * CHUNK_BYTES}-" for n in (1, 2, 3)]),
        (RefusesRanges, [REST, ""]),
        (SendsTooMuch, [REST, ""]),
        (GoesOnWithAnother, [REST, ""]),
    ],
)
def test_later_call_goes_on(tmp_path: Path, kind: type[Publisher], ranges: list[str]) -> None:
    with serve(kind, CONTENT) as (url, asked):
        download = begin(tmp_path / "file.zip", url)
        fetch(download, patience=HASTY, sleep=lambda _: None)
    assert asked == ranges
    assert download.target.read_bytes() == CONTENT


def test_changed_file_is_never_mixed_with_the_old(tmp_path: Path) -> None:
    changed = b"PK" + bytes(reversed(range(256))) * 1000
    with serve(Publisher, changed, etag='"two"') as (url, asked):
        download = begin(tmp_path / "file.zip", url)
        fetch(download, patience=HASTY)
    assert asked == [REST]
    assert download.target.read_bytes() == changed


def test_part_of_another_address_is_not_gone_on_with(tmp_path: Path) -> None:
    begin(tmp_path / "file.zip", "http://127.0.0.1:1/another.zip")
    with serve(Publisher, CONTENT) as (url, asked):
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=HASTY)
    assert asked == [""]
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_kill_after_the_last_byte_needs_no_request(tmp_path: Path) -> None:
    with serve(Publisher, CONTENT) as (url, asked):
        download = begin(tmp_path / "file.zip", url)
        download.part.write_bytes(CONTENT)
        fetch(download, patience=HASTY)
    assert asked == []
    assert download.target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (SendsNothing, "0 bytes"),
        (SendsWebPage, "a web page instead of the file"),
        (IsMissing, "answered 404"),
        (LiesAboutLength, "3 tries in a row brought nothing new"),
        (CutsWithoutRanges, "3 tries in a row brought nothing new"),
    ],
)
def test_bad_answer_is_an_error_with_a_hint(tmp_path: Path, kind: type[Publisher], says: str) -> None:
    with serve(kind, CONTENT) as (url, _), pytest.raises(DownloadError, match=says) as raised:
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=HASTY, sleep=lambda _: None)
    assert raised.value.hint
    assert not (tmp_path / "file.zip").exists()


def test_web_page_does_not_cost_what_is_fetched_already(tmp_path: Path) -> None:
    with serve(SendsWebPage) as (url, _):
        download = begin(tmp_path / "file.zip", url)
        with pytest.raises(DownloadError, match="web page"):
            fetch(download, patience=HASTY)
    assert download.part.read_bytes() == CONTENT[:CHUNK_BYTES]


def test_wrong_size_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    with serve(Publisher, CONTENT) as (url, _), pytest.raises(DownloadError, match=r"256,002 bytes.* says 7"):
        fetch(Download(url, tmp_path / "file.zip", b"PK", size_bytes=7), patience=HASTY)
    assert list(tmp_path.iterdir()) == []


def test_server_that_is_away_is_asked_a_bounded_number_of_times(tmp_path: Path) -> None:
    pauses: list[float] = []
    with serve(Publisher) as (url, _):
        pass
    with pytest.raises(DownloadError, match="5 tries in a row"):
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=Patience(tries=5, pause_s=30), sleep=pauses.append)
    assert pauses == [30, 60, 60, 60]


def test_server_that_stalls_is_given_up(tmp_path: Path) -> None:
    impatient = Patience(read_timeout_s=0.05, tries=2, pause_s=0)
    with serve(Stalls) as (url, asked), pytest.raises(DownloadError, match="did not answer in time; 2 tries"):
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=impatient)
    assert asked == ["", ""]


def test_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="cannot be asked for"):
        fetch(Download("http://", tmp_path / "file.zip", b"PK"), patience=HASTY)


def test_file_larger_than_the_disk_is_not_begun(tmp_path: Path) -> None:
    class Huge(Publisher):
        def answer(self) -> None:
            self.send(200, self.content, length=10**18)
            self.hang_up()

    with serve(Huge, CONTENT) as (url, _), pytest.raises(DiskFull, match=r"takes 1\.0 EB"):
        fetch(Download(url, tmp_path / "file.zip", b"PK"), patience=HASTY, sleep=lambda _: None)
    with pytest.raises(DiskFull, match=r"has .* free"):
        require_room(tmp_path, 10**18, "this")


@settings(max_examples=15, deadline=None)
@given(size=st.integers(3, 9 * CHUNK_BYTES), chunks=st.integers(1, 4))
def test_any_size_cut_anywhere_arrives_whole(tmp_path_factory: pytest.TempPathFactory, size: int, chunks: int) -> None:
    content = (b"PK" + bytes(range(251)) * (size // 251 + 1))[:size]
    target = tmp_path_factory.mktemp("cut") / "file.zip"
    with serve(CutsConnection, content, most=chunks * CHUNK_BYTES) as (url, asked):
        fetch(Download(url, target, b"PK"), patience=HASTY, sleep=lambda _: None)
    assert target.read_bytes() == content
    assert len(asked) == -(-size // (chunks * CHUNK_BYTES))


def test_patience_must_make_sense() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Patience(tries=0)
