"""The embedded data set: reproducible, varied, true to its own truth table, and readable by others."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import lmdb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.images import ImageRejected, RejectReason, decode, make_thumbnail, read_header
from pipelines.planting import KINDS, alter_image, encode_image
from pipelines.rooms import render_room
from pipelines.synthetic import BROKEN, ODD, planned_duplicates, write_rooms

ORIGINALS = 60
# Grey thumbnails as unit vectors: the likeness of two is their scalar product.
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RoomSet:
    """A written set: its folder, values by key, and rows of its two tables."""

    folder: Path
    values: dict[str, bytes]
    truth: list[dict[str, str]]
    windows: list[dict[str, str]]

    def keys(self, what: str) -> list[str]:
        return [row["key"] for row in self.truth if row["what"] == what]


def read_set(folder: Path) -> RoomSet:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        values = {key.decode(): bytes(value) for key, value in transaction.cursor()}
    return RoomSet(folder, values, *(read_csv(folder / name) for name in ("truth.csv", "windows.csv")))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def look(data: bytes) -> Vector:
    grey = cv2.cvtColor(make_thumbnail(data)[1], cv2.COLOR_RGB2GRAY).astype(float).ravel()
    grey -= grey.mean()
    return grey / np.linalg.norm(grey)


def mirror(vector: Vector) -> Vector:
    return vector.reshape(32, 32)[:, ::-1].ravel()


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoomSet]:
    folder = tmp_path_factory.mktemp("lsun") / "bedroom_train_lmdb"
    write_rooms(folder, originals=ORIGINALS, seed=5, workers=1)
    yield read_set(folder)


@given(st.integers(0, 2**32), st.integers(0, 10**7))
@settings(max_examples=25)
def test_a_room_is_a_picture_with_its_windows_in_it(seed: int, index: int) -> None:
    room = render_room(seed, index)
    assert room.image.dtype == np.uint8
    assert min(room.image.shape[:2]) == 256
    assert room.image.shape[2] == 3
    assert room.image.std() > 8
    for left, top, width, height in room.windows:
        assert left >= 0 and top >= 0 and width > 0 and height > 0
        assert left + width <= room.image.shape[1] and top + height <= room.image.shape[0]


def test_a_room_depends_on_its_seed_and_index_alone() -> None:
    first, again = render_room(3, 4), render_room(3, 4)
    assert np.array_equal(first.image, again.image)
    assert first.windows == again.windows
    for other in (render_room(4, 4), render_room(3, 5)):
        assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_the_bytes_do_not_depend_on_the_workers(rooms: RoomSet, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_rooms(
        tmp_path / "set",
        originals=ORIGINALS,
        seed=5,
        workers=2,
        progress=lambda done, total: calls.append((done, total)),
    )
    for name in ("data.mdb", "truth.csv", "windows.csv"):
        assert (tmp_path / "set" / name).read_bytes() == (rooms.folder / name).read_bytes()
    total = ORIGINALS + len(BROKEN) + len(ODD)
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


def test_the_originals_of_a_smaller_set_are_those_of_a_larger_one(rooms: RoomSet, tmp_path: Path) -> None:
    write_rooms(tmp_path / "set", originals=6, seed=5, workers=1)
    smaller = read_set(tmp_path / "set")
    assert len(smaller.keys("original")) == 6
    for key in smaller.keys("original"):
        assert smaller.values[key] == rooms.values[key]


def test_another_seed_gives_other_rooms(rooms: RoomSet, tmp_path: Path) -> None:
    write_rooms(tmp_path / "set", originals=10, seed=6, workers=1)
    other = read_set(tmp_path / "set")
    assert not other.values.keys() & rooms.values.keys()
    images = {rooms.values[key] for key in rooms.keys("original")}
    assert not images & {other.values[key] for key in other.keys("original")}


def test_the_truth_table_names_every_value_and_no_other(rooms: RoomSet) -> None:
    assert [row["key"] for row in rooms.truth] == sorted(rooms.values)
    assert all(re.fullmatch("[0-9a-f]{40}", key) for key in rooms.values)
    assert list(rooms.truth[0]) == ["key", "duplicate_of", "what", "room"]
    originals = set(rooms.keys("original"))
    assert len(originals) == ORIGINALS
    for row in rooms.truth:
        assert row["duplicate_of"] in ({""} if row["what"] == "original" else originals | {""})
        assert row["room"] == ("bedroom" if row["what"] == "original" else "")


def test_every_kind_is_there(rooms: RoomSet) -> None:
    kinds = Counter(row["what"] for row in rooms.truth)
    unusual = {f"broken:{kind}" for kind in BROKEN} | {f"odd:{kind}" for kind in ODD}
    assert set(kinds) == {"original", *KINDS, *unusual}
    assert all(kinds[kind] == 1 for kind in unusual)
    assert all(row["duplicate_of"] for row in rooms.truth if row["what"] in KINDS)


def test_a_fifth_of_the_originals_has_duplicates_and_some_have_several() -> None:
    plans = [planned_duplicates(number) for number in range(13 * 50)]
    assert sum(bool(plan) for plan in plans) == len(plans) / 5
    assert set(map(len, plans)) == {0, 1, 2, 3}
    assert all(len(set(plan)) == len(plan) for plan in plans)
    counts = Counter(kind for plan in plans for kind in plan)
    assert set(counts) == set(KINDS)
    assert max(counts.values()) - min(counts.values()) <= 4


def test_windows_lie_within_the_originals_that_show_them(rooms: RoomSet) -> None:
    originals = set(rooms.keys("original"))
    assert len({row["key"] for row in rooms.windows}) > ORIGINALS / 3
    for row in rooms.windows:
        assert row["key"] in originals
        header = read_header(rooms.values[row["key"]])
        left, top, width, height = (int(row[column]) for column in ("left", "top", "width", "height"))
        assert left >= 0 and top >= 0 and width > 0 and height > 0
        assert left + width <= header.width and top + height <= header.height


def test_most_originals_are_webp(rooms: RoomSet) -> None:
    formats = Counter(read_header(rooms.values[key]).format for key in rooms.keys("original"))
    assert formats["webp"] > ORIGINALS / 2
    assert formats["jpeg"] == ORIGINALS - formats["webp"] > 0


def test_duplicates_resemble_their_original_most(rooms: RoomSet) -> None:
    originals = {key: look(rooms.values[key]) for key in rooms.keys("original")}
    for row in rooms.truth:
        if row["what"] not in KINDS:
            continue
        vector = look(rooms.values[row["key"]])
        if row["what"] == "mirror":
            vector = mirror(vector)
        likeness = {key: float(vector @ original) for key, original in originals.items()}
        assert max(likeness, key=likeness.__getitem__) == row["duplicate_of"], row
        assert likeness[row["duplicate_of"]] > (0.7 if row["what"] in {"crop5", "crop10", "border"} else 0.9), row


def test_distinct_rooms_do_not_resemble_each_other(rooms: RoomSet) -> None:
    vectors = np.stack([look(rooms.values[key]) for key in rooms.keys("original")])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, 0)
    assert likeness.max() < 0.93
    assert np.abs(np.median(likeness)) < 0.3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", RejectReason.EMPTY),
        ("html", RejectReason.NOT_AN_IMAGE),
        ("noise", RejectReason.NOT_AN_IMAGE),
        ("truncated-jpeg", RejectReason.TRUNCATED),
        ("truncated-webp", RejectReason.TRUNCATED),
        ("900-megapixel-png", RejectReason.TOO_MANY_PIXELS),
    ],
)
def test_broken_values_are_broken_as_they_say(rooms: RoomSet, kind: str, reason: RejectReason) -> None:
    (key,) = rooms.keys(f"broken:{kind}")
    with pytest.raises(ImageRejected) as rejected:
        decode(rooms.values[key])
    assert rejected.value.reason is reason
    assert len(rooms.values[key]) < 120_000


@pytest.mark.parametrize("kind", ["grey-jpeg", "rgba-png", "palette-png", "16bit-png", "exif-rotated", "8px"])
def test_odd_values_show_the_original_that_they_name(rooms: RoomSet, kind: str) -> None:
    (row,) = (row for row in rooms.truth if row["what"] == f"odd:{kind}")
    odd, original = decode(rooms.values[row["key"]]), decode(rooms.values[row["duplicate_of"]])
    assert odd.shape == (8, 8, 3) if kind == "8px" else odd.shape == original.shape
    small = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).astype(float) for image in (odd, original)]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.93
    if kind not in {"grey-jpeg", "rgba-png"}:
        assert np.abs(small[0] - small[1]).mean() < 6


def test_odd_values_are_stored_as_they_say(rooms: RoomSet) -> None:
    headers = {kind: read_header(rooms.values[rooms.keys(f"odd:{kind}")[0]]) for kind in ODD}
    assert headers["rgba-png"].has_alpha
    assert headers["16bit-png"].is_deep
    assert headers["exif-rotated"].orientation == 6
    assert (headers["very-wide"].width, headers["very-wide"].height) == (3072, 64)
    grey = rooms.values[rooms.keys("odd:grey-jpeg")[0]]
    assert cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED).ndim == 2
    assert rooms.values[rooms.keys("odd:palette-png")[0]][25] == 3  # PNG's colour type
    for kind, value in (("blank-white", 255), ("blank-black", 0)):
        assert (decode(rooms.values[rooms.keys(f"odd:{kind}")[0]]) == value).all()


@pytest.mark.parametrize("kind", KINDS)
def test_alterations_have_the_strength_that_their_name_says(kind: str) -> None:
    image = render_room(1, 1).image
    height, width = image.shape[:2]
    rng = np.random.default_rng(0)
    for altered in (alter_image(image, kind, rng) for _ in range(5)):
        h, w = altered.shape[:2]
        assert altered.dtype == np.uint8
        if kind == "resize":
            assert 0.44 * width < w < 0.61 * width and abs(w / width - h / height) < 0.01
        elif kind.startswith("crop"):
            part = 1 - int(kind[4:]) / 100
            assert (h, w) == (round(part * height), round(part * width))
        elif kind == "border":
            assert 0.03 < h / height - 1 < 0.08
            assert (altered[[0, -1]] == 255).all()
        else:
            assert altered.shape == image.shape
        if kind in {"exact", "recompress"}:
            assert np.array_equal(altered, image)
        elif altered.shape == image.shape:
            assert not np.array_equal(altered, image)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_encoding_keeps_the_colours(suffix: str) -> None:
    image = render_room(1, 2).image
    assert np.abs(decode(encode_image(image, suffix)).astype(int) - image).mean() < 4


def test_torchvision_reads_the_set(rooms: RoomSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.chdir(tmp_path)  # where the reader leaves its cache of keys
    lsun = datasets.LSUN(root=str(rooms.folder.parent), classes=["bedroom_train"])
    assert len(lsun) == len(rooms.values)
    for index, row in enumerate(rooms.truth):  # in the order of their keys, as LMDB has them
        if row["what"] == "original" or row["what"] in KINDS:
            picture, label = lsun[index]
            assert picture.mode == "RGB"
            header = read_header(rooms.values[row["key"]])
            assert picture.size == (header.width, header.height)
            assert label == 0


def test_a_full_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_rooms(tmp_path, originals=1)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match="too few"):
        write_rooms(tmp_path / "set", originals=0)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write_rooms(tmp_path / "set", originals=1, workers=1)
    assert len(read_set(tmp_path / "set").keys("original")) == 1


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rooms(tmp_path / "set", originals=40, workers=1, progress=interrupt)
    assert not list(tmp_path.iterdir())
