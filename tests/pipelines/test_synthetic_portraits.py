"""The embedded portraits: reproducible, balanced, true to what their columns say, and readable as a source."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipelines.errors import ConfigError
from pipelines.images import decode
from pipelines.portraits import Sitting, render_closeup
from pipelines.portraits.people import draw_person
from pipelines.record import Record
from pipelines.sources import open_source
from pipelines.synthetic_portraits import LARGEST_YAW_DEG, SIDE, write_portraits

COUNT = 24
Vector = npt.NDArray[np.float64]


def read(path: Path) -> list[Record]:
    source = open_source(f"parquet:{path}")
    return [record for split in source.splits() for record in source.read(split)]


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("set") / "raw" / "portraits.parquet"
    write_portraits(path, count=COUNT, seed=5, workers=1)
    yield path


def change_by_band(sitting: Sitting) -> Vector:
    """How much each eighth of a picture, from the top, differs from the same person's without an expression."""
    plain, other = (render_closeup(5, 3, each).image.astype(float) for each in (Sitting(False, False, 0.0), sitting))
    return np.array([np.abs(band).mean() for band in np.array_split(other - plain, 8)])


def test_every_picture_is_a_square_of_another_person(portraits: Path) -> None:
    records = read(portraits)
    assert [record.meta["person"] for record in records] == list(range(COUNT))
    images = np.array([decode(record.image) for record in records])
    assert images.shape == (COUNT, SIDE, SIDE, 3)
    assert len({image.tobytes() for image in images}) == COUNT
    assert images.std(axis=(1, 2, 3)).min() > 8


def test_columns_say_what_is_shown(portraits: Path) -> None:
    for record in read(portraits):
        meta = record.meta
        assert meta.keys() == {"label", "person", "male", "smile", "glasses", "yaw_deg", "left"}
        person, yaw_deg = meta["person"], meta["yaw_deg"]
        assert isinstance(person, int) and isinstance(yaw_deg, float)
        assert abs(yaw_deg) <= LARGEST_YAW_DEG
        assert meta["left"] == (yaw_deg < 0)
        assert meta["male"] == (draw_person(5, person).male > 0.5)
        words = str(meta["label"]).split()
        assert words[:2] == ["smiling" if meta["smile"] else "neutral", "man" if meta["male"] else "woman"]
        assert words[2:] == (["with", "glasses"] if meta["glasses"] else [])


def test_pictures_show_what_the_columns_say(portraits: Path) -> None:
    for record in read(portraits)[:4]:
        smile, glasses, yaw_deg = (record.meta[name] for name in ("smile", "glasses", "yaw_deg"))
        assert isinstance(yaw_deg, float)
        sitting = Sitting(bool(smile), bool(glasses), yaw_deg)
        picture = render_closeup(5, int(str(record.meta["person"])), sitting)
        assert np.array_equal(picture.image, decode(record.image))


def test_attributes_are_balanced(portraits: Path) -> None:
    for name in ("male", "smile", "glasses", "left"):
        share = np.mean([bool(record.meta[name]) for record in read(portraits)])
        assert 0.25 < share < 0.75, name


def test_the_bytes_do_not_depend_on_the_workers(portraits: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = tmp_path / "portraits.parquet"
    write_portraits(path, count=COUNT, seed=5, workers=2, progress=lambda *call: calls.append(call))
    assert path.read_bytes() == portraits.read_bytes()
    assert calls[-1] == (COUNT, COUNT)
    assert calls == sorted(calls)


def test_the_portraits_of_a_smaller_set_are_those_of_a_larger_one(portraits: Path, tmp_path: Path) -> None:
    write_portraits(tmp_path / "few.parquet", count=3, seed=5, workers=1)
    assert [record.image for record in read(tmp_path / "few.parquet")] == [r.image for r in read(portraits)[:3]]


def test_another_seed_gives_other_people(portraits: Path, tmp_path: Path) -> None:
    write_portraits(tmp_path / "others.parquet", count=3, seed=6, workers=1)
    assert not {r.image for r in read(tmp_path / "others.parquet")} & {r.image for r in read(portraits)}


def test_a_smile_is_around_the_mouth_and_glasses_are_around_the_eyes() -> None:
    smile, glasses = change_by_band(Sitting(True, False, 0.0)), change_by_band(Sitting(False, True, 0.0))
    assert smile.argmax() in {5, 6} and smile.max() > 2 * np.median(smile)
    assert glasses.argmax() in {2, 3, 4} and glasses.max() > 2 * np.median(glasses)


@pytest.mark.parametrize("yaw_deg", [-20.0, 20.0])
def test_the_face_turns_as_asked(yaw_deg: float) -> None:
    ahead = render_closeup(5, 3, Sitting(False, False, 0.0)).faces[0]
    turned = render_closeup(5, 3, Sitting(False, False, yaw_deg)).faces[0]
    assert turned.yaw_deg == yaw_deg
    assert (turned.box[0] - ahead.box[0]) * yaw_deg > 0
    assert (turned.smile, turned.glasses, turned.roll_deg) == (ahead.smile, ahead.glasses, ahead.roll_deg)


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_portraits(tmp_path / "mine.parquet", count=1)
    assert (tmp_path / "mine.parquet").read_text() == "mine"
    with pytest.raises(ConfigError, match="too few"):
        write_portraits(tmp_path / "none.parquet", count=0)
