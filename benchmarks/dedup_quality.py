"""How many planted near-duplicates are found, and how many different pictures are mixed, beside every peer?

    python -m benchmarks.dedup_quality --data ../shared/data [--peer-python PATH …] [--tune]

Sets: the rooms, an LMDB with a truth table; and 2,000 pictures (``--pictures``) each of imagenet32's and CIFAR-10's
training part, of which every fifth has a planted near-duplicate. The hard kinds are planted into the same pictures in
sets of their own.
All figures are of held-out pictures, unless ``--tune`` asks for the other four fifths. Of the rooms, which are run as
they are, both are shown. Ours runs as ``python -m dedup.run`` on the LMDB, the peers on the same images as files.

Recall: the copy is linked with its original, over any number of steps. Links: ours are dropped images with the one that
is kept for them, peers' are the pairs that they report. Across: links of two different pictures by the truth table.
False: those of them that are not in ``natural_duplicates.csv``, pairs that were looked at and found to be one
photograph. ``--montage FOLDER`` draws the links across, so that a person can look, and lists them.
"""

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.corpus import Corpus, Row, draw_pictures, is_held_out, make_corpus, read_images, write_files
from benchmarks.montage import draw_montage
from benchmarks.peers import METHODS, Link, find_pythons, run_peer, run_timed
from benchmarks.tables import console, print_machine, print_table
from pipelines.planting import HARD_KINDS, KINDS

NATURAL = Path(__file__).with_name("natural_duplicates.csv")
PROFILES = ("default", "paper")
SEED = 4


@dataclass(frozen=True, slots=True)
class Result:
    """What one method did on one set: its links, by key, and what the run took."""

    method: str
    links: Sequence[Link]
    seconds: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """A result against the truth.

    Attributes:
        planted: kind → near-duplicates planted.
        found: kind → those of them that are linked with their originals.
        links: all links.
        across: links of two different pictures.
        false: links across that were not looked at and found to be one photograph.
    """

    planted: Mapping[str, int]
    found: Mapping[str, int]
    links: int
    across: Sequence[Link]
    false: Sequence[Link]


class Classes:
    """Keys in classes that links merge (union-find; Tarjan 1975)."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._parents: dict[str, str] = {}
        for a, b in links:
            low, high = sorted((self.find(a), self.find(b)))
            self._parents[high] = low

    def find(self, key: str) -> str:
        """What stands for the class of a key."""
        while (parent := self._parents.get(key, key)) != key:
            self._parents[key] = self._parents.get(parent, parent)
            key = parent
        return key


def score(rows: Mapping[str, Row], links: Sequence[Link], natural: Iterable[Link], held_out: bool | None) -> Score:
    """Compare links with the truth, for the pictures that are held out, that are not, or (None) for all.

    A link belongs to the picture of its first key.
    """

    def counts(key: str) -> bool:
        return held_out is None or is_held_out(rows[key].picture) == held_out

    def shown(key: str) -> set[str]:
        return {rows[key].picture, rows[key].beside or rows[key].picture}

    linked, same = Classes(links), Classes(natural)
    planted: dict[str, int] = {}
    found: dict[str, int] = {}
    for key, row in rows.items():
        if row.is_planted and counts(key):
            planted[row.what] = planted.get(row.what, 0) + 1
            found[row.what] = found.get(row.what, 0) + (linked.find(key) == linked.find(row.picture))
    own = [link for link in links if counts(link[0])]
    across = [(a, b) for a, b in own if not shown(a) & shown(b)]
    false = [(a, b) for a, b in across if not {*map(same.find, shown(a))} & {*map(same.find, shown(b))}]
    return Score(planted, found, len(own), across, false)


def score_all(
    results: Sequence[Result], rows: Mapping[str, Row], natural: Iterable[Link], held_out: bool | None
) -> list[tuple[str, Score]]:
    """The columns of a table: method and score."""
    return [(done.method, score(rows, done.links, natural, held_out)) for done in results]


def run_ours(corpus: Corpus, profile: str, data_root: Path) -> Result:
    """Run ``dedup.run`` on a set."""
    name = f"{corpus.name.replace(' ', '_')}_{profile}"
    command = [sys.executable, "-m", "dedup.run", name, "--source", corpus.uri, "--truth", str(corpus.truth)]
    options = ["--profile", profile, "--data-root", str(data_root), "--quiet"]
    seconds, cpu_s = run_timed([*command, *options], os.environ, Path.cwd())
    table = pq.read_table(data_root / name / "duplicates.parquet", columns=["key", "kept_key"])
    links = list(zip(table["key"].to_pylist(), table["kept_key"].to_pylist(), strict=True))
    return Result(f"ours, {profile}", links, seconds, cpu_s)


def run_peers(corpus: Corpus, pythons: Mapping[str, tuple[str, str]], folder: Path) -> Iterator[Result]:
    """Run each peer that is installed on a set's images as files."""
    names = write_files(corpus.uri, folder)
    for method, (package, heading, _) in METHODS.items():
        if package in pythons:
            done = run_peer(method, pythons[package][0], folder)
            yield Result(heading, [(names[a], names[b]) for a, b in done.links], done.seconds, done.cpu_s)


def read_natural(path: Path, name: str) -> list[Link]:
    """Pairs of pictures of a set that were found to be one photograph."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["key"], row["other"]) for row in csv.DictReader(file) if row["set"] == name]


def print_scores(title: str, columns: Sequence[tuple[str, Score]], results: Sequence[Result] = ()) -> None:
    """Kinds as rows, methods as columns."""
    kinds = [kind for kind in (*KINDS, *HARD_KINDS) if kind in columns[0][1].planted]
    totals = [(sum(value.found.values()), sum(value.planted.values())) for _, value in columns]
    rows = [
        (f"{kind} ({columns[0][1].planted[kind]})", *(f"{v.found[kind] / v.planted[kind]:.3f}" for _, v in columns))
        for kind in kinds
    ]
    rows += [
        (f"all ({totals[0][1]})", *(f"{found / planted:.3f}" for found, planted in totals)),
        ("links", *(f"{value.links:,}" for _, value in columns)),
        ("across", *(f"{len(value.across):,}" for _, value in columns)),
        ("false", *(f"{len(value.false):,}" for _, value in columns)),
        ("false of links", *(f"{len(value.false) / max(1, value.links):.2%}" for _, value in columns)),
    ]
    if results:
        rows.append(("CPU s", *(f"{result.cpu_s:,.0f}" for result in results)))
    print_table(title, ("kind (planted)", *(method for method, _ in columns)), rows)


def add_scores(values: Sequence[Score]) -> Score:
    """The sum over sets."""
    return Score(
        {kind: sum(value.planted.get(kind, 0) for value in values) for kind in values[0].planted},
        {kind: sum(value.found.get(kind, 0) for value in values) for kind in values[0].found},
        sum(value.links for value in values),
        [link for value in values for link in value.across],
        [link for value in values for link in value.false],
    )


def make_corpora(
    data: Path, folder: Path, *, held_out: bool, names: Sequence[str], count: int, hard: bool
) -> Iterator[Corpus]:
    """The sets with the 13 kinds, or those with the hard ones; ``count`` pictures of a set that has so many."""
    for name in names:
        out = folder / f"{name}{'_hard' if hard else ''}"
        if name == "rooms":
            rooms = Corpus("rooms", data / "rooms_train_lmdb", data / "rooms_train_truth.csv")
            if not hard:
                yield rooms
                continue
            rows = rooms.rows()
            originals = {key: image for key, image in read_images(rooms.uri) if rows[key].what == "original"}
            pictures = {key: image for key, image in originals.items() if is_held_out(key) == held_out}
        else:
            uri = f"parquet:{data / name / 'train.parquet'}"
            pictures = draw_pictures(uri, count, held_out=held_out, seed=SEED)
        yield make_corpus(name, pictures, HARD_KINDS if hard else KINDS, out, seed=SEED)


def write_montage(corpus: Corpus, value: Score, path: Path) -> None:
    """Draw the links across of one method, and list them beside the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = dict(read_images(corpus.uri))
    draw_montage([(images[a], images[b]) for a, b in value.across], path)
    false = set(value.false)
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        rows = [
            (number, a, b, "" if (a, b) in false else "natural") for number, (a, b) in enumerate(value.across, start=1)
        ]
        csv.writer(file).writerows([("number", "dropped", "kept", "natural"), *rows])


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """The folder, or one that goes away."""
    if folder is not None:
        folder.mkdir(parents=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def main() -> None:
    """Make the sets, run all methods on each, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with rooms_train_lmdb, imagenet32 and cifar10")
    parser.add_argument("--sets", nargs="+", default=["rooms", "imagenet32", "cifar10"], help="of these three")
    parser.add_argument("--pictures", type=int, default=2000, help="of imagenet32 and of CIFAR-10")
    parser.add_argument("--kinds", nargs="+", default=["planted", "hard"], choices=["planted", "hard"])
    parser.add_argument("--profiles", nargs="+", default=PROFILES, choices=PROFILES)
    parser.add_argument("--tune", action="store_true", help="draw from the four fifths that are not held out")
    parser.add_argument("--peer-python", nargs="+", default=[], help="Pythons that have peers; the first with each")
    parser.add_argument("--natural", type=Path, default=NATURAL, help="CSV: set, key, other")
    parser.add_argument("--montage", type=Path, help="folder for pictures of the links across")
    parser.add_argument("--folder", type=Path, help="new folder for sets and runs, to keep them")
    options = parser.parse_args()
    held_out, pythons = not options.tune, find_pythons(options.peer_python)
    print_machine("numpy", "torch", "opencv-python-headless")
    console.print("  ".join(f"{package} {version}" for package, (_, version) in pythons.items()))
    part = "held-out pictures" if held_out else "pictures to tune on"
    with scratch(options.folder) as folder:
        for kinds in options.kinds:
            sums: dict[str, list[Score]] = {}
            corpora = make_corpora(
                options.data,
                folder,
                held_out=held_out,
                names=options.sets,
                count=options.pictures,
                hard=kinds == "hard",
            )
            for corpus in corpora:
                place = folder / f"{corpus.name}_{kinds}_runs"
                results = [run_ours(corpus, profile, place) for profile in options.profiles]
                results += run_peers(corpus, pythons, place / "files")
                rows, natural = corpus.rows(), read_natural(options.natural, corpus.name)
                columns = partial(score_all, results, rows, natural)
                looked_at = scores = columns(held_out)
                title = f"{corpus.name}, {kinds} kinds"
                if corpus.name == "rooms" and kinds == "planted":
                    looked_at = columns(None)
                    print_scores(f"{title}, all pictures", looked_at, results)
                print_scores(f"{title}, {part}", scores, results)
                for method, value in looked_at if options.montage is not None else ():
                    if value.across:
                        write_montage(corpus, value, options.montage / f"{corpus.name} {kinds}, {method}.png")
                for method, value in scores:
                    sums.setdefault(method, []).append(value)
            print_scores(
                f"All sets, {kinds} kinds, {part}", [(method, add_scores(values)) for method, values in sums.items()]
            )


if __name__ == "__main__":
    main()
