"""The registry that ships names what it should; files of one's own add to it; whatever is wrong is named."""

from pathlib import Path

import pytest
from helpers import jpeg, read_all, write_lmdb

from pipelines.errors import ConfigError, SourceError
from pipelines.registry import (
    SHIPPED,
    DatasetSpec,
    Registry,
    describe_download,
    how_to_get,
    load_registry,
    locate_source,
)

SCENES = {
    "bedroom": 3_033_042,
    "bridge": 818_687,
    "church_outdoor": 126_227,
    "classroom": 168_103,
    "conference_room": 229_069,
    "dining_room": 657_571,
    "kitchen": 2_212_277,
    "living_room": 1_315_802,
    "restaurant": 626_331,
    "tower": 708_264,
}
OBJECTS = [
    "airplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining_table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted_plant",
    "sheep",
    "sofa",
    "train",
    "tv-monitor",
]
OTHERS = ["demo", "portraits", "lsun_test", "imagenet_1k", "cifar10", "faces", "faces_demo"]


def registry_with(folder: Path, toml: str) -> Registry:
    (folder / "datasets.toml").write_text(toml, encoding="utf-8")
    return load_registry(folder)


@pytest.fixture(scope="module")
def shipped() -> Registry:
    return load_registry(SHIPPED.parent / "sources")  # a folder without a datasets.toml


def test_every_data_set_has_a_name(shipped: Registry) -> None:
    scenes = {f"lsun_{scene}{split}" for scene in SCENES for split in ("", "_val")}
    objects = {f"lsun_{name}" for name in OBJECTS}
    assert {spec.name for spec in shipped} == scenes | objects | set(OTHERS)
    assert next(iter(shipped)).name == "demo"


def test_lsun_is_where_its_publisher_keeps_it(shipped: Registry) -> None:
    for scene, images in SCENES.items():
        train, val = shipped.dataset(f"lsun_{scene}"), shipped.dataset(f"lsun_{scene}_val")
        assert (train.images, val.images) == (images, 300)
        assert train.url == f"http://dl.yf.io/lsun/scenes/{scene}_train_lmdb.zip"
        assert val.url == f"http://dl.yf.io/lsun/scenes/{scene}_val_lmdb.zip"
        assert train.source == f"lmdb:raw/{scene}_train_lmdb"  # the folder that torchvision's LSUN looks for
    for name in OBJECTS:
        assert shipped.dataset(f"lsun_{name}").url == f"http://dl.yf.io/lsun/objects/{name}.zip"
    test = shipped.dataset("lsun_test")
    assert (test.url, test.images) == ("http://dl.yf.io/lsun/scenes/test_lmdb.zip", 10_000)


def test_every_download_but_one_is_known_to_the_byte(shipped: Registry) -> None:
    downloads = [spec for spec in shipped if spec.url]
    assert [spec.name for spec in downloads if not spec.size_is_exact] == ["lsun_test"]
    assert len({spec.sha256 for spec in downloads}) == len(downloads)
    assert all(2_000 < spec.size_bytes / spec.images < 50_000 for spec in downloads)


def test_every_entry_says_how_it_gets_on_disk_and_on_what_terms(shipped: Registry) -> None:
    for spec in shipped:
        assert spec.pictures and spec.terms
        assert [bool(way) for way in (spec.url, spec.obtain, spec.rendered)].count(True) == 1


def test_sizes_are_shown_as_they_are_known(shipped: Registry) -> None:
    assert describe_download(shipped.dataset("lsun_bedroom")) == "45.9 GB to download, 3,033,042 images"
    assert describe_download(shipped.dataset("lsun_test")) == "about 173.0 MB to download, 10,000 images"
    assert describe_download(DatasetSpec("x", "x", "lmdb:x", "http://x")) == "size unknown"


@pytest.mark.parametrize(
    ("given", "meant"), [("lsun_bedrom", "lsun_bedroom"), ("cifar_10", "cifar10"), ("imagenet-1k", "imagenet_1k")]
)
def test_unknown_name_is_told_the_closest(shipped: Registry, given: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean .*{meant}") as raised:
        shipped.dataset(given)
    assert "python -m pipelines.run list" in raised.value.hint


def test_name_like_no_other_is_told_where_names_are(shipped: Registry) -> None:
    with pytest.raises(ConfigError) as raised:
        shipped.dataset("qqq")
    assert raised.value.message == "no data set is called 'qqq'"


def test_own_file_adds_and_overrides_field_by_field(tmp_path: Path) -> None:
    registry = registry_with(
        tmp_path,
        """
        [street]
        description = "Photographs of my street"
        source = "folder:/photos/street"

        [lsun_tower]
        url = "http://mirror.example/tower.zip"
        sha256 = ""

        [family.animals]
        name = "my_{member}"
        description = "My {member}"
        source = "folder:{member}s"
        [family.animals.members]
        cat = { images = 9 }
        dog = { source = "webdataset:dogs/*.tar" }
        """,
    )
    assert registry.dataset("street").uri(Path("data")) == "folder:/photos/street"
    tower = registry.dataset("lsun_tower")
    assert (tower.url, tower.sha256, tower.images) == ("http://mirror.example/tower.zip", "", 708_264)
    assert registry.dataset("my_cat") == DatasetSpec("my_cat", "My cat", "folder:cats", images=9)
    assert registry.dataset("my_dog").source == "webdataset:dogs/*.tar"
    assert registry.files == (SHIPPED, tmp_path / "datasets.toml")


def test_own_file_is_looked_for_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets.toml").write_text('[here]\ndescription = "x"\nsource = "folder:x"\n')
    monkeypatch.chdir(tmp_path)
    assert load_registry().dataset("here").source == "folder:x"


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[x\n", "is not TOML"),
        ('x = "lmdb:x"', "x must be a table"),
        ("family = 3", "family must be a table"),
        ("[family.f]\nname = '{member}'\nmembers = 3", r"\[family.f.members\] must be a table"),
        ("[family.f]\nname = 'same'", r"\[family.f\] name must hold {member}"),
        ("[family.f]\nname = '{member}'\nmembers = {a = 1}", r"\[family.f.members\] a must be a table"),
        ("[x]\nsource = 'lmdb:x'", r"\[x\] description is missing"),
        ("[x]\ndescription = 'x'", r"\[x\] source is missing"),
        ("[x]\ndescription = ''\nsource = 'lmdb:x'", r"\[x\] description: say"),
        ("[x]\ndescription = 'x'\nsource = 'lmbd:x'", r"\[x\] source: 'lmbd:x' names no source"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nurls = 'http://x'", r"\[x\] urls is no known field"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nurl = 'ftp://x'", r"\[x\] url: 'ftp://x' begins neither"),
        ("[x]\ndescription = 'x'\nsource = 'folder:x'\nurl = 'http://x'", r"\[x\] url: only an lmdb: source"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nsha256 = 'AB'", r"\[x\] sha256: must be 64"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nimages = '9'", r"\[x\] images must be a whole number, not '9'"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nimages = true", r"\[x\] images must be a whole number, not True"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nimages = -1", r"\[x\] images: must not be negative"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nrendered = true", r"\[x\] rendered must be a string"),
        ("[x]\ndescription = 'x'\nsource = 'lmdb:x'\nrendered = 'cats'", r"\[x\] rendered: 'cats' is none of rooms"),
        ("['../x']\ndescription = 'x'\nsource = 'lmdb:x'", r"\[../x\] name: letters"),
        ("[lsun_cat]\nsize_bytes = 'large'", r"\[lsun_cat\] size_bytes must be a whole number"),
    ],
)
def test_wrong_entry_is_named_with_its_file(tmp_path: Path, toml: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        registry_with(tmp_path, toml)
    assert raised.value.message.startswith(str(tmp_path / "datasets.toml"))
    assert raised.value.hint


def test_name_becomes_a_source(tmp_path: Path, shipped: Registry) -> None:
    path = tmp_path / "demo" / "raw" / "bedroom_train_lmdb"
    path.parent.mkdir(parents=True)
    write_lmdb(path, {b"a": jpeg()})
    source = locate_source("demo", None, tmp_path, shipped)
    assert [record.key for record in read_all(source)] == ["a"]


def test_any_name_goes_with_a_source(tmp_path: Path) -> None:
    write_lmdb(tmp_path / "rooms_lmdb", {b"a": jpeg(), b"b": jpeg(1)})
    source = locate_source("rooms", f"lmdb:{tmp_path / 'rooms_lmdb'}", tmp_path)
    assert len(read_all(source)) == 2


@pytest.mark.parametrize("name", ["../rooms", "", "a/b", ".", "..", "-x"])
def test_name_that_would_leave_the_data_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a data set"):
        locate_source(name, "lmdb:x", tmp_path)


def test_nothing_on_disk_says_the_command_and_its_size(shipped: Registry) -> None:
    with pytest.raises(SourceError, match="no data/lsun_bedroom/raw/bedroom_train_lmdb") as raised:
        locate_source("lsun_bedroom", None, Path("data"), shipped)
    assert raised.value.hint == (
        "run: python -m pipelines.run download lsun_bedroom (45.9 GB to download, 3,033,042 images)"
    )


def test_command_goes_to_the_same_data_root(shipped: Registry) -> None:
    assert "download demo --data-root /mnt/big (" in how_to_get(shipped.dataset("demo"), Path("/mnt/big"))
    assert how_to_get(shipped.dataset("faces"), Path("data")).startswith("run: make faces (or ")


@pytest.mark.parametrize(
    ("source", "made"), [("parquet:raw/train*.parquet", "raw/train-0.parquet"), ("folder:raw", "raw/a.jpg")]
)
def test_on_disk_means_that_something_is_there(tmp_path: Path, source: str, made: str) -> None:
    spec = DatasetSpec("x", "x", source)
    assert not spec.is_on_disk(tmp_path)
    (tmp_path / "x" / made).parent.mkdir(parents=True)
    (tmp_path / "x" / made).write_bytes(b"")
    assert spec.is_on_disk(tmp_path)
