"""Findings on disk in; the page of the paper's experiments out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import IntegrityError
from pipelines.images import decode
from train.evidence.__main__ import app
from train.evidence.page import collect
from train.findings import FINDING_NAME, Conditions, Figure, Finding, note_conditions, read_finding, write_finding
from train.samples import encode_png

Command = Callable[..., int]
PICTURE = encode_png(np.zeros((8, 8, 3), np.uint8))


def make_finding(experiment: str, *figures: Figure, pictures: tuple[str, ...] = (), command: str = "x") -> Finding:
    return Finding(
        experiment=experiment,
        title=f"{experiment} of a run",
        figures=figures,
        pictures=pictures,
        settings={"seed": 3},
        differs="It is small.",
        conditions=Conditions(command=command, hardware="2 cores", seconds=90.0),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a walk of a run, and one row of CIFAR-10's table."""
    walk = make_finding("walk", Figure("largest over median", 1.25), pictures=("walk.png",))
    write_finding(tmp_path / "data/demo/train/demo/evidence/walk", walk, {"walk.png": PICTURE})
    row = make_finding("cifar10", Figure("D", 61.2, "%", paper=82.8, spread=0.5, note="7,168 dimensions"))
    write_finding(tmp_path / "data/cifar10/probe/full/demo", row, {})
    return tmp_path / "data"


@pytest.fixture
def command(in_process: Callable[..., Command]) -> Command:
    return in_process(app, "train.evidence")


def test_the_page_has_the_papers_figures_beside_ours(command: Command, root: Path, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "evidence.md"
    assert command(root, "--out", page) == 0
    text = page.read_text(encoding="utf-8")
    assert "| D | 61.2 ± 0.5% | 82.8% | 7,168 dimensions |" in text
    assert "| largest over median | 1.25 |  |  |" in text
    assert "It is small." in text


def test_what_has_not_been_run_is_named_with_its_command(command: Command, root: Path, tmp_path: Path) -> None:
    assert command(root, "--out", tmp_path / "evidence.md") == 0
    text = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert text.count("Not run here yet") == text.count("\n## ") - 2
    assert "Not run here yet: `python -m train.explore forget" in text
    assert (
        "Not run here yet: `python -m train.probe data/svhn/train/svhn --dataset svhn --labels 1000`, `python" in text
    )


def test_pictures_lie_beside_the_page_and_old_ones_go(command: Command, root: Path, tmp_path: Path) -> None:
    page = tmp_path / "evidence.md"
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "old.png").write_bytes(PICTURE)
    assert command(root, "--out", page) == 0
    (copy,) = (tmp_path / "evidence").iterdir()
    assert f"](evidence/{copy.name})" in page.read_text(encoding="utf-8")
    assert copy.name == "walk-demo-walk.jpg"
    assert decode(copy.read_bytes()).shape == (8, 8, 3)


def test_clips_stay_with_the_run(command: Command, root: Path, tmp_path: Path) -> None:
    pictures = {"walk.png": PICTURE, "walk.webp": b"moving"}
    write_finding(root / "demo/train/demo/evidence/walk", make_finding("walk", pictures=tuple(pictures)), pictures)
    assert command(root, "--out", tmp_path / "evidence.md") == 0
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["walk-demo-walk.jpg"]
    assert "In motion: walk.webp" in (tmp_path / "evidence.md").read_text(encoding="utf-8")


def test_a_damaged_picture_is_named(command: Command, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "demo/train/demo/evidence/walk/walk.png"
    path.write_bytes(b"")
    assert command(root) == 1
    assert f"{path} is damaged" in capsys.readouterr().err


def test_other_data_sets_have_sections_of_their_own(command: Command, root: Path, tmp_path: Path) -> None:
    write_finding(root / "portraits/probe/full/demo", make_finding("portraits", Figure("D", 90.0, "%")), {})
    assert command(root, "--out", tmp_path / "evidence.md") == 0
    assert "## Other data sets: portraits" in (tmp_path / "evidence.md").read_text(encoding="utf-8")


def test_a_table_has_the_best_first_and_the_supervised_network_beside_the_probe(
    command: Command, root: Path, tmp_path: Path
) -> None:
    write_finding(root / "cifar10/probe/k", make_finding("cifar10", Figure("K-means", 73.6, "%"), command="y"), {})
    write_finding(root / "cifar10/search", make_finding("cifar10_supervised", Figure("CNN", 39.4, "%")), {})
    assert command(root, "--out", tmp_path / "evidence.md") == 0
    text = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    section = text[text.index("## CIFAR-10") : text.index("## SVHN")]
    assert section.index("| K-means |") < section.index("| D |") < section.index("| CNN |")
    assert "2 cores, 3 min in all" in section


def test_the_page_hides_where_data_lay(command: Command, root: Path, tmp_path: Path) -> None:
    told = "python -m train.explore walk /home/a/data/demo/train/demo --seed 1"
    walk = make_finding("walk", Figure("ratio", 1.0), command=told)
    write_finding(root / "demo/train/demo/evidence/walk", walk, {})
    assert command(root, "--out", tmp_path / "evidence.md") == 0
    text = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert "`python -m train.explore walk data/demo/train/demo --seed 1`" in text


def test_the_same_findings_give_the_same_page(command: Command, root: Path, tmp_path: Path) -> None:
    pages = [tmp_path / name / "evidence.md" for name in ("a", "b")]
    for page in pages:
        assert command(root, "--out", page) == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_nothing_found_is_an_error(command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--out", tmp_path / "evidence.md") == 1
    assert "there are no findings in" in capsys.readouterr().err
    assert command(tmp_path / "nowhere") == 1
    assert "there is no folder" in capsys.readouterr().err


def test_a_damaged_finding_is_named(command: Command, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "demo/train/demo/evidence/walk" / FINDING_NAME
    path.write_text("{")
    with pytest.raises(IntegrityError, match="is damaged"):
        collect([root])
    assert command(root) == 1
    assert str(path) in capsys.readouterr().err


def test_a_finding_comes_back_as_it_was(tmp_path: Path) -> None:
    finding = make_finding("walk", Figure("a", 1.5, "%", 2.0, 0.1, "n"), pictures=("walk.png",))
    write_finding(tmp_path, finding, {"walk.png": PICTURE})
    assert read_finding(tmp_path / FINDING_NAME) == finding


def test_conditions_name_command_and_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["x/train/explore/__main__.py", "walk", "a run"])
    conditions = note_conditions("train.explore", torch.device("cpu"), 0.0)
    assert conditions.command == "python -m train.explore walk 'a run'"
    assert "cores" in conditions.hardware
    assert conditions.seconds > 0
