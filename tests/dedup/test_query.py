"""``python -m dedup.query`` and the index behind it, on a set whose duplicates are known."""

import json
import shutil
from pathlib import Path

import pytest
from dedup_set import picture
from helpers import encode
from PIL import Image, ImageEnhance
from test_against import NEARLY_WHITE, WHITE, Finished, call, encode_set

import dedup.query
from dedup.comparison.index import Index
from pipelines.errors import SourceError
from pipelines.images import ImageRejected

COUNT = 90


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures 0 to 89, of which 5 is there again as JPEG, and a white one twice; encoded in shards of 16."""
    folder = tmp_path_factory.mktemp("query")
    (folder / "images").mkdir()
    for seed in range(COUNT):
        picture(seed).save(folder / "images" / f"{seed:02d}.png")
    (folder / "images" / "05again.jpg").write_bytes(encode(picture(5), "JPEG", quality=70))
    for name in ("white.png", "white_again.png"):
        (folder / "images" / name).write_bytes(WHITE)
    encode_set(folder / "data" / "set", folder / "images", shard_size=16)
    return folder / "data"


@pytest.fixture(scope="module")
def index(data_root: Path) -> Index:
    return Index.open(data_root / "set")


def test_a_picture_is_found_with_its_copies_the_surest_first(index: Index) -> None:
    matches = index.query(encode(picture(5), "PNG"))
    assert [match.key for match in matches] == ["05.png", "05again.jpg"]
    assert all(match.verified and not match.mirrored for match in matches)
    assert (matches[0].distance, matches[0].same_bytes) == (0, True)
    assert not matches[1].same_bytes


@pytest.mark.parametrize("seed", [0, 17, 89])
def test_altered_copies_are_found_by_their_key(index: Index, seed: int) -> None:
    mirrored = picture(seed).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (match,) = index.query(encode(mirrored, "JPEG", quality=85))
    assert (match.key, match.mirrored) == (f"{seed:02d}.png", True)
    (match,) = index.query(encode(ImageEnhance.Brightness(picture(seed)).enhance(0.8), "WEBP", quality=80))
    assert (match.key, match.mirrored) == (f"{seed:02d}.png", False)


def test_other_pictures_have_none_and_the_nearest_can_be_asked_for(index: Index) -> None:
    other = encode(picture(1000), "PNG")
    assert index.query(other) == []
    nearest = index.query(other, at_least=7)
    assert len(nearest) == 7
    assert not any(match.verified for match in nearest)
    scores = [match.score for match in nearest]
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    assert not any(match.key.startswith("white") for match in index.query(other, at_least=COUNT + 10))
    assert len(index.query(other, at_least=COUNT + 10)) == COUNT + 1


def test_flat_pictures_are_compared_by_bytes(index: Index) -> None:
    assert [match.key for match in index.query(WHITE)] == ["white.png", "white_again.png"]
    assert index.query(NEARLY_WHITE, at_least=5) == []


def test_more_copies_than_are_looked_at_first_are_all_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for quality in range(70):
        (tmp_path / "images" / f"{quality:02d}.jpg").write_bytes(encode(picture(3), "JPEG", quality=25 + quality))
    encode_set(tmp_path / "set", tmp_path / "images", shard_size=100)
    assert len(Index.open(tmp_path / "set").query(encode(picture(3), "PNG"))) == 70


def test_an_image_that_cannot_be_decoded_is_rejected_with_its_reason(index: Index) -> None:
    with pytest.raises(ImageRejected, match="truncated"):
        index.query(encode(picture(0), "JPEG")[:500])


def test_an_unfinished_data_set_is_an_error_that_says_what_to_run(data_root: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no finished codes") as error:
        Index.open(tmp_path / "set")
    assert "python -m dedup.run set" in error.value.hint
    shutil.copytree(data_root / "set", tmp_path / "set")
    manifest = tmp_path / "set" / "encoder" / "manifest.json"
    content = json.loads(manifest.read_bytes())
    content["shards"][0]["files"][0]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(content))
    with pytest.raises(SourceError, match="of another encoder"):
        Index.open(tmp_path / "set")


def query(data_root: Path, *arguments: str, content: bytes = b"") -> Finished:
    return call(dedup.query, *arguments, "--data-root", str(data_root), content=content)


def test_json_has_an_entry_per_image(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "asked").mkdir()
    picture(8).save(tmp_path / "asked" / "a.png")
    (tmp_path / "asked" / "b.jpg").write_bytes(b"<html>")
    asked = [str(tmp_path / "asked"), "-"]
    result = query(data_root, "set", *asked, "--json", content=encode(picture(2000), "PNG"))
    assert result.code == 0, result.err
    entries = json.loads(result.out)
    assert [entry["image"] for entry in entries] == [str(tmp_path / "asked" / name) for name in ("a.png", "b.jpg")] + [
        "-"
    ]
    assert [entry["rejected"] for entry in entries] == [None, "not_an_image", None]
    assert [[match["key"] for match in entry["matches"]] for entry in entries] == [["08.png"], [], []]
    assert set(entries[0]["matches"][0]) == {"key", "distance", "mirrored", "score", "same_bytes", "verified"}


def test_people_get_a_line_per_match(data_root: Path, tmp_path: Path) -> None:
    picture(8).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "a.png")
    result = query(data_root, "set", str(tmp_path / "a.png"), "--all", "2")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].endswith("a.png: 1 near-duplicate")
    assert lines[1].split()[0] == "08.png"
    assert "mirrored" in lines[1]
    assert lines[2].rstrip().endswith("near only")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody", "x.png"], "holds no finished codes"),
        (["set", "/nowhere.png"], "no image at /nowhere.png"),
        (["set"], "Missing argument 'IMAGE...'"),
    ],
)
def test_wrong_arguments_get_one_line_and_a_hint(data_root: Path, arguments: list[str], says: str) -> None:
    result = query(data_root, *arguments)
    assert result.code != 0
    assert says in result.err
    assert len(result.err.splitlines()) == 2
