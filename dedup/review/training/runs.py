"""Training: a data set's folder in; the training runs in it, what each was told, and the pictures that it left, out.

At the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN", for the
eye. A run is read by its files, as any other tool would: ``config.toml``, ``run.json``, ``stats.jsonl``, ``samples/``,
``nearest.png`` and ``evidence/``. Names below a run's folder come from whoever made it, so none is trusted.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dedup.review.training.measured import Measured, chart_measures, compare_evaluations, read_rows, say_metrics
from pipelines.headers import ImageRejected, read_header

TRAIN, CONFIG_NAME, NOTE_NAME, STATS_NAME = "train", "config.toml", "run.json", "stats.jsonl"
EVIDENCE, FINDING_NAME, CHECKPOINTS = "evidence", "finding.json", "checkpoints"
FORMATS = {".png": "png", ".jpg": "jpeg", ".webp": "webp", ".gif": "gif"}  # of pictures that are shown
LARGEST_PICTURE_BYTES = 64 << 20
MOST_SIGNS = 5
LINE = {  # the settings that a line tells: what is before the value, and behind it
    "resolution": ("", " px"),
    "generator_width": ("G ", ""),
    "discriminator_width": ("D ", ""),
    "z_size": ("z ", ""),
    "batch_size": ("batch ", ""),
    "learning_rate": ("rate ", ""),
    "ema_decay": ("average ", ""),
    "seed": ("seed ", ""),
}


@dataclass(frozen=True, slots=True)
class Run:
    """A training run.

    Attributes:
        name: its folder's.
        folder: where it lies.
        config: what it was told: option → value.
        images: that it is trained on; 0 where it does not say.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    images: int

    @property
    def images_per_epoch(self) -> int:
        """Those of all its minibatches; 0 where it is not known."""
        batch = _whole(self.config.get("batch_size"))
        return self.images // batch * batch if batch else 0

    @property
    def total(self) -> int:
        """Images of all epochs; 0 where it is not known."""
        return self.images_per_epoch * _whole(self.config.get("epochs"))

    @property
    def written_s(self) -> float:
        """When it last wrote what it measured, in seconds since 1970; else when it was begun."""
        stats = self.folder / STATS_NAME
        return (stats if stats.exists() else self.folder / CONFIG_NAME).stat().st_mtime

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints of its course, the last one first."""
        names = (path.stem for path in (self.folder / CHECKPOINTS).glob("*.pt") if path.is_file())
        return sorted((name for name in names if re.fullmatch(r"[0-9]{1,18}", name)), reverse=True)

    def address(self, path: Path) -> str | None:
        """Where the server has one of its pictures; None where there is none. Another one has another address."""
        if not path.is_file():
            return None
        inside = "/".join(map(quote, path.relative_to(self.folder).parts))
        return f"/runs/{quote(self.name, safe='')}/files/{inside}?v={path.stat().st_mtime_ns}"

    def read_measured(self) -> Measured:
        """What it has measured so far."""
        path = self.folder / STATS_NAME
        return read_rows(path.read_bytes() if path.is_file() else b"")

    def version(self) -> str:
        """Changes with whatever `describe` tells."""
        paths = (self.folder / name for name in (STATS_NAME, CONFIG_NAME, "nearest.png", "samples_ema.png"))
        written = [path.stat() for path in paths if path.is_file()]
        seen = [(found.st_size, found.st_mtime_ns) for found in written]
        return f"{hash((tuple(seen), len(list(self._grids())), len(list(self._findings())))):x}"

    def _grids(self) -> Iterator[tuple[int, Path]]:
        for path in (self.folder / "samples").glob("epoch_*.png"):
            if found := re.fullmatch(r"epoch_([0-9]{1,9})", path.stem):
                yield int(found[1]), path

    def _findings(self) -> Iterator[Path]:
        return (self.folder / EVIDENCE).glob(f"*/{FINDING_NAME}")

    def grids(self, epochs: int) -> list[dict[str, Any]]:
        """Grids of samples of the first ``epochs``: epoch, images, address; later ones are of a course given up."""
        drawn = sorted(self._grids())
        return [
            {"epoch": epoch, "images": epoch * (self.images_per_epoch or 1), "address": self.address(path)}
            for epoch, path in drawn
            if epoch <= epochs
        ]

    def findings(self) -> list[dict[str, Any]]:
        """What experiments have found of it, see `find`."""
        found = (self.find(path.parent.name) for path in sorted(self._findings()))
        return [each for each in found if each is not None]

    def find(self, name: str) -> dict[str, Any] | None:
        """What an experiment has found; None where it has found nothing yet, or where its note is damaged.

        Returns:
            name, title, figures (name, value, paper, note: texts), differs, pictures (name, address), made (seconds
            since 1970).
        """
        folder = self.folder / EVIDENCE / name
        try:
            note = folder / FINDING_NAME
            content = json.loads(note.read_bytes())
            return {
                "name": name,
                "title": str(content["title"]),
                "figures": [_say_figure(figure) for figure in content["figures"]],
                "differs": str(content["differs"]),
                "made": note.stat().st_mtime,
                "pictures": [
                    {"name": str(picture), "address": address}
                    for picture in content["pictures"]
                    if (address := self.address(folder / Path(str(picture)).name))
                ],
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def find_runs(dataset: Path) -> list[Run]:
    """The runs in a data set's folder, the one that was written to last first."""
    runs = [run for name in _list_names(dataset) if (run := _open(dataset, name)) is not None]
    return sorted(runs, key=lambda run: (-run.written_s, run.name))


def find_run(dataset: Path, name: str) -> Run:
    """The run of that name. Raises KeyError where there is none."""
    run = _open(dataset, name) if name in _list_names(dataset) else None
    if run is None:
        raise KeyError(name)
    return run


def _list_names(dataset: Path) -> list[str]:
    folder = dataset / TRAIN
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _open(dataset: Path, name: str) -> Run | None:
    """A run of `_list_names`; None of what is none, lies elsewhere, or has a name that no address can hold."""
    folder = dataset / TRAIN / name
    if not _is_text(name) or not (folder / CONFIG_NAME).is_file() or folder.resolve().parent != folder.parent.resolve():
        return None
    return Run(name, folder, _read_config(folder), _read_images(folder))


def summarise(run: Run, measured: Measured) -> dict[str, Any]:
    """A run in a line: name, settings, images, total, epochs, done (epochs), metrics, finished."""
    images, per_epoch = measured.last.get("images", 0), run.images_per_epoch
    epochs = _whole(run.config.get("epochs"))
    done = images // per_epoch if per_epoch else _whole(measured.last.get("epoch"))
    settings = [
        f"{before}{run.config[name]}{behind}" for name, (before, behind) in LINE.items() if run.config.get(name)
    ]
    return {
        "name": run.name,
        "settings": " · ".join(settings),
        "images": images,
        "total": run.total,
        "epochs": epochs,
        "done": done,
        "metrics": say_metrics(measured),
        "finished": bool(epochs) and done >= epochs,
    }


def describe(run: Run) -> dict[str, Any]:
    """All that the page shows of a run: `summarise`, and what it has measured and drawn."""
    version = run.version()
    measured = run.read_measured()
    summary = summarise(run, measured)
    remembered = [row["memorisation"] for row in measured.evaluated if isinstance(row.get("memorisation"), dict)]
    return {
        **summary,
        "version": version,
        "config": {str(name): str(value) for name, value in run.config.items()},
        "charts": chart_measures(measured),
        "grids": run.grids(summary["done"]),
        "average": run.address(run.folder / "samples_ema.png"),
        "nearest": run.address(run.folder / "nearest.png"),
        "comparisons": compare_evaluations(measured),
        "memorisation": _say_memorisation(remembered[-1]) if remembered else None,
        "signs": [{"images": images, "sign": sign} for images, sign in measured.signs[: -MOST_SIGNS - 1 : -1]],
        "sign_count": len(measured.signs),
        "rollbacks": measured.rollbacks,
        "damaged": measured.damaged,
        "findings": run.findings(),
    }


def read_picture(run: Run, path: str) -> tuple[bytes, str]:
    """A picture below a run's folder, and its media type.

    Args:
        run: the run.
        path: with slashes, from the run's folder on.

    Raises:
        FileNotFoundError: there is no such regular file inside of the folder, or it is no picture of its name's format.
    """
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or "\\" in path or "\0" in path:
        raise FileNotFoundError(path)
    wanted = FORMATS.get(Path(parts[-1]).suffix.lower())
    try:
        found = run.folder.joinpath(*parts).resolve(strict=True)
        if wanted is None or not found.is_relative_to(run.folder.resolve()) or not found.is_file():
            raise FileNotFoundError(path)
        if found.stat().st_size > LARGEST_PICTURE_BYTES:
            raise FileNotFoundError(path)
        content = found.read_bytes()
        if read_header(content).format != wanted:
            raise FileNotFoundError(path)
    except (OSError, RuntimeError, ImageRejected) as error:  # a RuntimeError: links that lead in a circle
        raise FileNotFoundError(path) from error
    return content, f"image/{wanted}"


def _is_text(name: str) -> bool:
    """Whether a file's name can stand in an address: those of a disk need not be text."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _read_images(folder: Path) -> int:
    try:
        return _whole(json.loads((folder / NOTE_NAME).read_bytes())["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _say_figure(figure: Mapping[str, Any]) -> dict[str, str]:
    unit = str(figure["unit"])
    end = unit if unit in {"%", ""} else f" {unit}"
    spread, paper = figure["spread"], figure["paper"]
    return {
        "name": str(figure["name"]),
        "value": f"{float(figure['value']):.4g}" + (f" ± {float(spread):.4g}" if spread is not None else "") + end,
        "paper": "" if paper is None else f"{float(paper):.4g}{end}",
        "note": str(figure["note"]),
    }


def _say_memorisation(found: Mapping[str, Any]) -> str | None:
    """What was found by heart, in words; None where the row does not say it."""
    try:
        low, high = found["interval"]
        return (
            f"{found['nearer']:,} of {found['samples']:,} samples ({found['share']:.2%}, with a confidence of 95% "
            f"between {low:.2%} and {high:.2%}) come nearer to one of {found['training_images']:,} training images "
            f"than 99 in 100 images that were not trained on ({found['held_out_split']}). With nothing by heart, "
            f"{found['expected_share']:.2%} would."
        )
    except (KeyError, TypeError, ValueError):
        return None
