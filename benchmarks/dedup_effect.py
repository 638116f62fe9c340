"""Does de-duplication matter? The same training before and after it, on sets with 10% and 50% planted copies.

    python -m benchmarks.dedup_effect --out FOLDER [--source parquet:../shared/data/cifar10/train.parquet]

Each seed has pictures, copies, weights and z of its own, and five sets of the same ``--pictures``: without a copy
("clean"), and with each share of copies (``--shares``: of all images of the set) as they are ("before") and as
``python -m dedup.run`` leaves them ("after"). Copies are planted as `benchmarks.effect_sets` says: skewed, and altered.
The same networks see equally many images (``--images-seen``) of each set, whatever its size.

G is drawn from by its moving average and recalibrated batch norm. Kernel distance (KID where the extractor is
Inception), precision, recall, density and coverage compare its samples with as many held-out pictures. "Memorised" is
the share of samples that come nearer to a picture or copy of this seed than all but 1 in 100 of the held-out pictures;
all five sets are compared with the same pictures and copies, those that a set lacks included. "Most copied" is the
share of samples whose nearest one is of the hundredth of pictures that Zipf's law gives most copies; "both" are
memorised ones of these. "Real pictures" are others that nobody trained on: what a perfect G would have.

Each run's figures are written below ``--out`` when it is done, and the same command goes on with the runs that are
missing. Without ``--source``, rooms are rendered: nothing is downloaded.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks.effect_runs import RESOLUTION, Settings, World, draw_samples, open_extractor, train_on
from benchmarks.effect_sets import (
    PLANTED_KINDS,
    Images,
    count_copies,
    deduplicate,
    describe_cleaning,
    open_pool,
    pack,
    pack_set,
    plant_copies,
    stack,
)
from benchmarks.tables import console, print_machine, print_table
from pipelines.errors import ConfigError
from pipelines.store import write_atomically
from train.device import Device, choose_device
from train.evaluation.reference import Split, open_reference
from train.evaluation.self_trained import SelfTrainedExtractor
from train.samples import lay_out, save_png

CONFIDENCE = 0.95
SHOWN = 64  # samples, in the picture of each run
REAL, CLEAN = "real pictures", "clean"
MEMORY = {"memorised": "memorised", "memorised_most_copied": "both", "most_copied": "most copied"}
QUALITY = {name: name.replace("_", " ") for name in ("precision", "recall", "density", "coverage", "kernel_distance")}

Figures = Mapping[str, float]  # measure → value


def name_of(share: float, state: str) -> str:
    """A set's name, such as ``10% before``."""
    return f"{share:.0%} {state}"


def make_sets(images: Images, shares: Sequence[float], folder: Path) -> dict[str, Images]:
    """The sets of a seed by their names, and ``cleaning.json``; de-duplicates where that is not done yet."""
    pictures = {name: image for name, image in images.items() if not image.kind}
    copies = [(name, image) for name, image in images.items() if image.kind]
    sets: dict[str, Images] = {CLEAN: pictures}
    cleaning = {}
    for share in shares:
        before = pictures | dict(copies[: count_copies(len(pictures), share)])
        after = deduplicate(before, folder / f"{share:.0%}")
        sets |= {name_of(share, "before"): before, name_of(share, "after"): after}
        cleaning[f"{share:.0%}"] = describe_cleaning(before, after, folder / f"{share:.0%}")
    write_atomically(folder / "cleaning.json", json.dumps(cleaning, indent=1).encode())
    return sets


def run_all(settings: Settings, seeds: int, folder: Path, device: torch.device) -> dict[str, list[Figures]]:
    """Run what is missing, and write it: set → figures of each seed."""
    folder.mkdir(parents=True, exist_ok=True)
    require_same(settings, folder / "settings.json")
    pool = open_pool(settings.source, settings.held_out, settings.pictures, seeds)
    extractor = open_extractor(settings.extractor, pool, folder, device)
    held_out = Split.whole("held out", pack(pool.held_out, RESOLUTION))
    reference = open_reference(folder / "references", held_out, extractor, device=device)
    figures: dict[str, list[Figures]] = {}
    for seed in range(seeds):
        own = folder / f"seed_{seed}"
        most = count_copies(settings.pictures, max(settings.shares))
        images = plant_copies(pool.trained[seed], most, settings.kinds, seed)
        sets = make_sets(images, settings.shares, own / "sets")
        world = World(seed, images, pack_set(images, RESOLUTION), reference, held_out, extractor)
        for name in (REAL, *sets):
            path = own / f"{name.replace(' ', '_')}.json"
            if not path.exists():
                started = time.perf_counter()
                if name == REAL:
                    samples = stack(pool.others, RESOLUTION)
                else:
                    state = train_on(pack_set(sets[name], RESOLUTION), settings, seed, own / "runs" / path.stem, device)
                    samples = draw_samples(state, settings.held_out, device)
                save_png(path.with_suffix(".png"), lay_out(samples[:SHOWN]))
                found = world.measure(samples) | {"seconds": round(time.perf_counter() - started, 1)}
                write_atomically(path, json.dumps(found, indent=1).encode())
                console.print(f"seed {seed}, {name}: {describe(found)}")
            figures.setdefault(name, []).append(json.loads(path.read_bytes()))
    return figures


def require_same(settings: Settings, path: Path) -> None:
    """Note the settings, or refuse to go on with figures of others; ConfigError says so."""
    given = json.dumps(asdict(settings), indent=1).encode()
    if path.exists() and path.read_bytes() != given:
        raise ConfigError(f"{path} tells of other settings", hint="give them again, or another --out")
    write_atomically(path, given)


def describe(figures: Figures) -> str:
    """Figures in a line."""
    values = ", ".join(f"{label} {figures[name]:.3f}" for name, label in (MEMORY | QUALITY).items())
    return f"{values} ({figures['seconds']:.0f} s)"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def difference(one: Sequence[float], other: Sequence[float]) -> str:
    """Mean of what the second has more than the first, seed by seed, its 95% interval (Student's t), * if without 0."""
    apart = np.subtract(other, one)
    if len(apart) < 2:
        return f"{apart.mean():+.3f}"
    half = student.ppf((1 + CONFIDENCE) / 2, len(apart) - 1) * apart.std(ddof=1) / len(apart) ** 0.5
    sign = "*" if abs(apart.mean()) > half else ""
    return f"{apart.mean():+.3f} ± {half:.3f}{sign}"


def compare(shares: Sequence[float]) -> Iterator[tuple[str, str]]:
    """Which sets are compared: the one that is subtracted, and the other."""
    for share in shares:
        before, after = name_of(share, "before"), name_of(share, "after")
        yield from ((CLEAN, before), (before, after), (CLEAN, after))


def print_cleaning(folder: Path) -> None:
    """The planted sets, and what became of them, of each seed."""
    cleaning = [json.loads(path.read_bytes()) for path in sorted(folder.glob("seed_*/sets/cleaning.json"))]
    rows = [(share, seed, row[share]) for share in cleaning[0] for seed, row in enumerate(cleaning)]
    print_table(
        "The planted sets, and what de-duplication did to them",
        ("share of copies, seed", *(column.replace("_", " ") for column in rows[0][2])),
        [(f"{share}, {seed}", *(f"{count:,}" for count in row.values())) for share, seed, row in rows],
    )


def print_figures(settings: Settings, figures: Mapping[str, Sequence[Figures]]) -> None:
    """Mean and standard deviation over seeds of each set; and differences within a seed."""

    def values(name: str, measure: str) -> list[float]:
        return [row[measure] for row in figures[name]]

    seeds = len(figures[CLEAN])
    for measures in (MEMORY, QUALITY):
        print_table(
            f"After {settings.images_seen:,} images: mean ± standard deviation, {seeds} seeds",
            ("trained on", *measures.values()),
            [(name, *(spread(values(name, measure)) for measure in measures)) for name in figures],
        )
    for measures in (MEMORY, QUALITY):
        print_table(
            f"Differences within a seed: mean ± half of the {CONFIDENCE:.0%} interval; *: it does not hold 0",
            ("difference", *measures.values()),
            [
                (
                    f"{other} - {one}",
                    *(difference(values(one, measure), values(other, measure)) for measure in measures),
                )
                for one, other in compare(settings.shares)
            ],
        )


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for sets, runs and figures; goes on with them")
    parser.add_argument("--source", help="URI of pictures, as of python -m dedup.run; rooms are rendered without it")
    parser.add_argument("--pictures", type=int, default=500, help="different ones that are trained on")
    parser.add_argument("--held-out", type=int, default=1000, help="to compare with, and samples drawn")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.5], help="of a set that are copies")
    parser.add_argument(
        "--kinds", nargs="+", default=PLANTED_KINDS, choices=PLANTED_KINDS, metavar="KIND", help="of copies; all 21"
    )
    parser.add_argument("--seeds", type=int, default=3, help="0, 1, …")
    parser.add_argument("--images-seen", type=int, default=100_000, help="by each run")
    parser.add_argument("--width", type=int, default=16, help="maps of the widest images' layer, of G and D")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a minibatch")
    parser.add_argument("--ema-decay", type=float, default=0.995, help="of G's moving average, more than 0")
    parser.add_argument("--extractor", default=SelfTrainedExtractor.name, choices=["self_trained", "random"])
    parser.add_argument("--inception", type=Path, help="weights of Inception: the extractor is this one")
    parser.add_argument("--device", type=Device, default=Device.AUTO, help="auto, cpu or cuda")
    options = parser.parse_args()
    settings = Settings(
        source=options.source,
        pictures=options.pictures,
        held_out=options.held_out,
        shares=sorted(options.shares),
        kinds=list(options.kinds),
        images_seen=options.images_seen,
        width=options.width,
        batch_size=options.batch_size,
        ema_decay=options.ema_decay,
        extractor=str(options.inception or options.extractor),
    )
    print_machine("numpy", "torch", "opencv-python-headless")
    figures = run_all(settings, options.seeds, options.out, choose_device(options.device))
    write_atomically(options.out / "figures.json", json.dumps(figures, indent=1).encode())
    print_cleaning(options.out)
    print_figures(settings, figures)


if __name__ == "__main__":
    main()
