"""Windows: the truth is mapped as pictures are, and a finder finds what it was fitted to find."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import ConfigError, IntegrityError
from pipelines.images import centre_square
from pipelines.synthetic import write_rooms
from train.explore.boxes import Box, box_spots
from train.explore.rooms import Place, Rooms, cover, read_rooms
from train.explore.windows import SURE, WindowFinder, compare

Explore = Callable[..., int]

ORIGINALS = 24
STEPS = 40
PLAIN = 40


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small rendered data set."""
    folder = tmp_path_factory.mktemp("rendered") / "rooms_lmdb"
    write_rooms(folder, originals=ORIGINALS, workers=1)
    return folder


@pytest.fixture(scope="module")
def plain_rooms() -> Rooms:
    """Walls of plain colours, half of them with a window: a light square."""
    rng = np.random.default_rng(0)
    pixels = np.tile(rng.integers(20, 160, (PLAIN, 1, 1, 3), np.uint8), (1, 32, 32, 1))
    windows = np.zeros((PLAIN, 32, 32), np.float32)
    for i in range(0, PLAIN, 2):
        top, left = rng.integers(2, 20, 2)
        windows[i, top : top + 9, left : left + 9] = 1
    pixels[windows > 0] = 240
    return Rooms("plain", "digest", pixels, windows)


@pytest.fixture(scope="module")
def finder(plain_rooms: Rooms) -> WindowFinder:
    return WindowFinder.fit(plain_rooms, steps=STEPS)


@pytest.mark.parametrize("resolution", [32, 64])
@pytest.mark.parametrize(("width", "height"), [(256, 256), (341, 256), (256, 300), (127, 90)])
def test_boxes_are_mapped_as_pictures_are(width: int, height: int, resolution: int) -> None:
    places: list[Place] = [(0, 0, 30, 17), (width // 2 - 20, 40, 33, 21), (width - 25, 5, 25, 60)]
    picture = np.zeros((height, width, 3), np.uint8)
    for left, top, wide, high in places:
        picture[top : top + high, left : left + wide] = 255
    expected = centre_square(picture, resolution)[..., 0] / 255
    np.testing.assert_allclose(cover(places, width, height, resolution), expected, atol=0.01)


def test_rooms_are_the_originals_as_training_sees_them_with_their_windows(rendered: Path) -> None:
    rooms = read_rooms(rendered, 32)
    rows = (rendered / "windows.csv").read_text().splitlines()[1:]
    assert rooms.pixels.shape == (ORIGINALS, 32, 32, 3)
    assert rooms.windows.shape == (ORIGINALS, 32, 32)
    with_windows = np.count_nonzero(rooms.windows.any(axis=(1, 2)))
    assert 0 < with_windows <= len({row.partition(",")[0] for row in rows}) < ORIGINALS  # some lie beside the square


def test_a_finder_finds_windows_in_rooms_that_it_has_not_seen(finder: WindowFinder, plain_rooms: Rooms) -> None:
    note = finder.note
    assert (note.rooms, note.held_out, note.resolution, note.data) == (36, 4, 32, "plain")
    assert min(note.overlap, note.precision, note.recall) > 0.7
    found = finder.find(plain_rooms.pixels)
    assert found.shape == (PLAIN, 32, 32)
    assert found.dtype == np.float32
    shown = {box.image for box in finder.boxes(plain_rooms.pixels)}
    assert len(shown ^ set(range(0, PLAIN, 2))) <= 4


def test_the_same_seed_fits_the_same_finder(finder: WindowFinder, plain_rooms: Rooms) -> None:
    few = plain_rooms
    first, again, other = (WindowFinder.fit(few, steps=2, seed=seed) for seed in (3, 3, 4))
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256


def test_a_finder_comes_back_from_its_file(finder: WindowFinder, plain_rooms: Rooms, tmp_path: Path) -> None:
    path = tmp_path / "new" / "windows.safetensors"
    finder.save(path)
    opened = WindowFinder.open(path)
    assert opened.describe() == finder.describe()
    np.testing.assert_array_equal(opened.find(plain_rooms.pixels[:4]), finder.find(plain_rooms.pixels[:4]))


def test_a_damaged_file_is_refused(finder: WindowFinder, tmp_path: Path) -> None:
    path = tmp_path / "windows.safetensors"
    finder.save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not those that were saved"):
        WindowFinder.open(path)
    path.write_bytes(content[:200])
    with pytest.raises(IntegrityError, match="cannot be read"):
        WindowFinder.open(path)
    with pytest.raises(ConfigError, match="there is no finder"):
        WindowFinder.open(tmp_path / "none.safetensors")


def test_a_finder_refuses_pictures_of_another_size(finder: WindowFinder) -> None:
    with pytest.raises(ConfigError, match="for pictures of 32 px, and these have 64"):
        finder.find(np.zeros((1, 64, 64, 3), np.uint8))


@pytest.mark.parametrize(("count", "shows"), [(19, True), (40, False)])
def test_rooms_that_are_few_or_without_windows_are_refused(plain_rooms: Rooms, count: int, shows: bool) -> None:
    windows = plain_rooms.windows[:count] if shows else np.zeros((count, 32, 32), np.float32)
    with pytest.raises(ConfigError, match=f"{count} rooms of plain"):
        WindowFinder.fit(Rooms("plain", "digest", plain_rooms.pixels[:count], windows))


def test_spots_get_boxes_and_specks_do_not() -> None:
    mask = np.zeros((32, 32), np.bool_)
    mask[4:9, 20:23] = mask[30:32, 0:2] = mask[15, 10:13] = True
    assert sorted(box_spots(7, mask)) == [Box(7, 0, 30, 2, 2), Box(7, 20, 4, 3, 5)]
    assert box_spots(0, np.zeros((32, 32), np.bool_)) == []


def test_overlap_precision_and_recall() -> None:
    found, true = np.zeros((2, 10, 10), np.bool_)
    assert compare(found, true) == (0, 0, 0)
    found[:4], true[2:8] = True, True
    assert compare(found, true) == (20 / 80, 20 / 40, 20 / 60)


def test_the_command_fits_a_finder_and_says_how_good_it_is(
    explore: Explore, rendered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore("windows", rendered, "--steps", "3") == 0
    written = rendered.parent / "windows_32px.safetensors"
    assert str(written) in (said := capsys.readouterr().out)
    assert re.search(r"fitted to 22 rooms; of 2 others: overlap \d+%, precision \d+%, recall \d+%", said)
    assert WindowFinder.open(written).find(read_rooms(rendered, 32).pixels[:2]).max() <= 1 > SURE


def test_a_folder_that_is_no_rendered_data_set_is_refused(
    explore: Explore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore("windows", tmp_path) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path} has no truth.csv" in error
    assert "bedroom_train_lmdb" in error
