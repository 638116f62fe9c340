"""Page: a run's folder in; ``run.html``, one page that shows what has become of the run so far, out.

Stands after the last word of "clean shards → DCGAN". It is made of what training leaves in the folder and of nothing
else, at any time and on any machine: the same files give the same page.
"""

import json
import math
import shlex
import statistics
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.errors import IntegrityError
from pipelines.images import encode_preview
from pipelines.page import data_uri, render_page
from pipelines.store import write_atomically
from train.chart import Chart, Level, Series, say
from train.config import Loss, ModelConfig, TrainConfig
from train.history import History, compare_evaluations, read_history, spread_over
from train.loop import NEAREST_NAME
from train.runs import CONFIG_NAME, NOTE_NAME, read_config

PAGE_NAME = "run.html"

OWN = ("epochs", "seed", "hold_out")  # options of which the paper says nothing for other sets
SMALL_GRIDS = 8
MOST_SIGNS = 5
RECENT_ROWS = 20  # whose median rate says how long the rest will take
LARGE_SIDE, SMALL_SIDE, NEAREST_SIDE = 768, 360, 1024  # pixels, of pictures in the page


def write_page(run_folder: Path) -> Path:
    """Write the page of a run that is going on or has ended; returns its path.

    Raises:
        TrainingError: there is no run in ``run_folder``.
        IntegrityError: a file of the run's is damaged.
    """
    path = run_folder / PAGE_NAME
    write_atomically(path, _render(run_folder).encode())
    return path


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        images: seen so far.
        images_per_epoch: those of all its minibatches.
        epochs: done.
        share: of all images of all epochs.
        images_per_s: the median of the last rows; None where there is none.
        left_s: what is left takes at that rate, in seconds; None where it is not known.
    """

    images: int
    images_per_epoch: int
    epochs: int
    share: float
    images_per_s: float | None
    left_s: float | None


def measure_progress(history: History, config: TrainConfig, training_images: int) -> Progress:
    """Tell how far a run has come from its last row; each epoch ends with one."""
    per_epoch = training_images // config.batch_size * config.batch_size
    total = config.epochs * per_epoch
    if not history.measured:
        return Progress(0, per_epoch, 0, 0.0, None, None)
    last = history.measured[-1]
    epochs = last["epoch"] - (1 if last["images"] % per_epoch else 0)
    rates = [row["images_per_s"] for row in history.measured[-RECENT_ROWS:] if row.get("images_per_s")]
    rate = statistics.median(rates) if rates else None
    left_s = max(0, total - last["images"]) / rate if rate else None
    return Progress(last["images"], per_epoch, epochs, min(1.0, last["images"] / total), rate, left_s)


def chart_game(history: History, loss: Loss) -> list[Chart]:
    """Charts of V(D, G), of D(x) and D(G(z)) and of G's loss, with what they are where p_g = p_data and D = 1/2."""
    name, optimum = {
        Loss.NON_SATURATING: ("−log D(G(z))", Level("log 2", math.log(2))),
        Loss.MINIMAX: ("log(1 − D(G(z)))", Level("−log 2", -math.log(2))),
    }[loss]
    half = Level("1/2", 0.5)
    value, drawn = history.series("value", "V(D, G)"), history.series("generator_loss", name)
    judged = history.series("d_real", "D(x)"), history.series("d_fake", "D(G(z))")
    return [
        *_chart("Value of the game", "nats", value, levels=(Level("−log 4", -math.log(4)),)),
        *_chart("D of real and of drawn images", "probability of real", *judged, levels=(half,), bounds=(0.0, 1.0)),
        *_chart("Loss of G", "nats", drawn, levels=(optimum,)),
    ]


def chart_health(history: History) -> list[Chart]:
    """Charts of how unlike samples are, of the rate, and on a GPU of memory; each from 0 on."""
    spread, distance = history.series("spread", "spread"), history.series("code_distance", "code distance")
    rate, memory = history.series("images_per_s", "rate"), history.series("gpu_mb", "memory")
    return [
        *_chart("Spread of samples", "levels of 255", spread, bounds=(0.0,)),
        *_chart("Distance between two samples", "bits of 128", distance, bounds=(0.0,)),
        *_chart("Rate", "images/s", rate, bounds=(0.0,)),
        *_chart("Most GPU memory so far", "MB", memory, bounds=(0.0,)),
    ]


def _chart(
    title: str, unit: str, *lines: Series | None, levels: tuple[Level, ...] = (), bounds: tuple[float, ...] = ()
) -> list[Chart]:
    """A chart of the series that there are; none of none."""
    found = tuple(line for line in lines if line is not None)
    return [Chart(title, unit, found, levels, bounds)] if found else []


def _render(run_folder: Path) -> str:
    config = read_config(run_folder)
    note = _read_note(run_folder)
    history = read_history(run_folder)
    progress = measure_progress(history, config, note["images"])
    remembered = [row["memorisation"] for row in history.evaluated if "memorisation" in row]
    pictures = {name: _show(run_folder / f"{name}.png", LARGE_SIDE) for name in ("samples", "samples_ema")}
    return render_page(
        "train",
        "run.html.jinja",
        say=say,
        name=run_folder.resolve().name,
        config=config,
        note=note,
        progress=progress,
        left=None if progress.left_s is None else _say_duration(progress.left_s),
        latest=history.measured[-1] if history.measured else {},
        pictures={name: uri for name, uri in pictures.items() if uri},
        over_time=_show_over_time(run_folder, progress.epochs),
        history=history,
        most_signs=MOST_SIGNS,
        comparisons=compare_evaluations(history.evaluated),
        game=chart_game(history, config.loss),
        health=chart_health(history),
        memorisation=remembered[-1] if remembered else None,
        nearest=_show(run_folder / NEAREST_NAME, NEAREST_SIDE),
        tables=_split_config(config),
        commands=_commands(run_folder, note["dataset"], note["kind"]),
    )


def _split_config(config: TrainConfig) -> dict[str, list[tuple[str, object, object | None]]]:
    """Options of the networks and of all else: (option, value, the paper's where that is another)."""
    paper, of_model = TrainConfig().to_json(), {field.name for field in fields(ModelConfig)}
    rows = [
        (name, value, None if value == paper[name] or name in OWN else paper[name])
        for name, value in config.to_json().items()
    ]
    return {
        "Networks": [row for row in rows if row[0] in of_model],
        "Training": [row for row in rows if row[0] not in of_model],
    }


def _say_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60:,} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _read_note(run_folder: Path) -> dict[str, Any]:
    """What `train.run` noted beside the configuration; IntegrityError where that is damaged."""
    path = run_folder / NOTE_NAME
    try:
        note: dict[str, Any] = json.loads(path.read_bytes())
        return {**note, "dataset": str(note["dataset"]), "kind": str(note["kind"]), "images": int(note["images"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{path} is damaged ({error})", hint="train.run with --resume auto writes it anew"
        ) from error


def _commands(run_folder: Path, dataset: str, kind: str) -> list[tuple[str, str]]:
    """What can be done with a run: (what for, command)."""
    run = shlex.quote(str(run_folder))
    commands = [
        ("draw images", f"python -m train.sample {run} --n 64 --seed 0"),
        ("measure it", f"python -m train.evaluate {run}"),
        ("export G", f"python -m train.export {run} --format onnx"),
        ("look at it in TensorBoard", f"tensorboard --logdir {run}"),
    ]
    folder = run_folder.resolve()
    if folder.parts[-3:-1] == (dataset, "train"):
        root = run_folder.parents[2] if len(run_folder.parents) > 2 else folder.parents[2]
        of_raw = ["--allow-duplicates"] if kind == "raw" else []
        options = ["--config", str(run_folder / CONFIG_NAME), "--name", folder.name, "--data-root", str(root)]
        resume = shlex.join(["python", "-m", "train.run", dataset, *of_raw, *options, "--resume", "must"])
        commands.insert(0, ("go on with it", resume))
    return commands


def _show_over_time(run_folder: Path, epochs: int) -> list[tuple[int, str | None]]:
    """Grids of some epochs from the first to the last; of a run that went back, none that it will draw anew."""
    drawn = [epoch for epoch in range(1, epochs + 1) if _grid_path(run_folder, epoch).exists()]
    chosen = [drawn[place] for place in spread_over(len(drawn), SMALL_GRIDS)]
    return [(epoch, _show(_grid_path(run_folder, epoch), SMALL_SIDE)) for epoch in chosen]


def _grid_path(run_folder: Path, epoch: int) -> Path:
    return run_folder / "samples" / f"epoch_{epoch:04d}.png"


def _show(path: Path, longest_side: int) -> str | None:
    """A picture for the page; None where there is none. Raises IntegrityError where it is damaged."""
    if not path.exists():
        return None
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise IntegrityError(f"the picture {path} is damaged", hint="remove it; train.sample draws others")
    return data_uri(encode_preview(image.astype(np.uint8, copy=False), longest_side))
