"""Pictures: the finished demo set in; the pictures of docs/method.md, as SVG files that hold what they show, out.

    python docs/tools/pictures.py data/demo

Every choice is made by a seed or by the order of keys, so the same set gives the same files.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.parquet as pq
import torch
import typer
from drawing import BAR, DROPPED, INK, KEPT, LINE, MARGIN, SOFT, WIDTH, Drawing, Pixels
from numpy.typing import NDArray

from dedup.codes import hamming_distance, mirror_codes
from dedup.corruption import make_near_duplicates
from dedup.encoder import load_encoder, whole_pixels
from dedup.images import Images
from dedup.matching.pairs import load_pairs
from dedup.truth import Truth, read_truth
from dedup.verification.align import brightness, fit_warps, glance, lay, look_again
from dedup.verification.verify import score_pairs
from pipelines.cli import console, new_app, run_app
from pipelines.images import decode
from pipelines.manifest import Manifest
from pipelines.sources import open_source

app = new_app("Draw the pictures of docs/method.md from the finished demo set.")


class Demo:
    """What `dedup.run` has left of the demo set, and the truth about it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = Images(self.stage("thumbnails"), self.stage("codes"))
        numbers = np.arange(len(self.images))
        self.thumbnails: Pixels = self.images.thumbnails.take(numbers)
        self.codes: Pixels = self.images.codes.take(numbers)
        self.keys = self.images.keys(numbers)
        self.number = {key: number for number, key in enumerate(self.keys)}
        self.encoder = load_encoder(self.stage("encoder").path("encoder.safetensors"))
        self.truth: Truth = read_truth(root / "raw" / "bedroom_train_lmdb" / "truth.csv")
        self.radius: int = json.loads((root / "report.json").read_bytes())["radius"]

    def stage(self, name: str) -> Manifest:
        """The manifest of a finished stage."""
        return Manifest.load(self.root / name)

    def copies(self) -> dict[str, dict[str, int]]:
        """Key of a picture → kind → number of its planted near-duplicate."""
        found: dict[str, dict[str, int]] = {}
        for key, (original, kind) in sorted(self.truth.items()):
            if original in self.number and key in self.number:
                found.setdefault(original, {})[kind] = self.number[key]
        return found


def draw_corruption(demo: Demo) -> Drawing:
    """Pictures, and what the corruption makes of each."""
    columns, side, rows = 8, 77, 4
    rng = np.random.default_rng(5)
    clean = demo.thumbnails[rng.choice(len(demo.thumbnails), columns, replace=False)]
    drawing = Drawing("Rooms, and four corrupted copies of each: cropped, captioned, retoned, grey, noisy")
    pictures = torch.from_numpy(clean).permute(0, 3, 1, 2).float() / 255
    generator = torch.Generator().manual_seed(11)
    drawing.text(MARGIN, 28, "thumbnails", SOFT)
    y = 36
    for row in range(rows + 1):
        if row == 1:
            drawing.text(MARGIN, y + 20, "what the corruption makes of them, anew at every step", SOFT)
            y += 28
        shown = clean if row == 0 else to_pixels(make_near_duplicates(pictures, generator))
        for column, pixels in enumerate(shown):
            drawing.picture(MARGIN + column * (side + 10), y, side, pixels)
        y += side + 10
    return drawing


def to_pixels(pictures: torch.Tensor) -> Pixels:
    """(B, 3, H, W) in [0, 1] as (B, H, W, 3) uint8."""
    return np.asarray((pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8))


def draw_codes(demo: Demo) -> Drawing:
    """A picture, its cropped copy, its mirror image and another room: what the encoder sees of each, and its code."""
    original, copies = next(
        (key, kinds) for key, kinds in demo.copies().items() if "mirror" in kinds and {"crop5", "border"} & set(kinds)
    )
    kind = "crop5" if "crop5" in copies else "border"
    stranger = (demo.number[original] + 1000) % len(demo.keys)
    what = {"crop5": "cropped by 5%", "border": "with a border"}[kind]
    shown = {
        "a room": demo.number[original],
        what: copies[kind],
        "mirrored": copies["mirror"],
        "another room": stranger,
    }
    drawing = Drawing("Thumbnails, what the encoder sees of them, and their codes; bits that differ are orange")
    first = demo.codes[[demo.number[original]]]
    for column, (title, number) in enumerate(shown.items()):
        x = MARGIN + column * 176
        code = demo.codes[[number]]
        drawing.text(x, 28, title, weight=600)
        drawing.picture(x, 38, 160, demo.thumbnails[number])
        drawing.picture(x, 208, 160, seen(demo, number))
        differs = np.unpackbits(first ^ code)
        for bit, (on, other) in enumerate(zip(np.unpackbits(code), differs, strict=True)):
            colour = (DROPPED if on else "#f0cfae") if other else (INK if on else LINE)
            drawing.box(x + bit % 16 * 10, 378 + bit // 16 * 10 + (4 if bit >= 64 else 0), 9, 9, colour)
        bits, swapped = int(differs.sum()), int(hamming_distance(first, mirror_codes(code))[0])
        drawing.text(x, 482, "128 bits, in two halves" if column == 0 else f"{count_bits(bits)} differ", SOFT)
        if column:
            drawing.text(x, 500, f"{swapped} with halves swapped", KEPT if title == "mirrored" else SOFT)
    return drawing


def seen(demo: Demo, number: int) -> Pixels:
    """What the encoder sees of a picture: each pixel against its surroundings."""
    values = whole_pixels(torch.from_numpy(demo.thumbnails[[number]]), demo.encoder.config.normalised)
    return np.asarray((values.view(32, 32, 3) + 128).clamp(0, 255).to(torch.uint8))


def draw_distances(demo: Demo) -> Drawing:
    """How many bits differ between near-duplicates, and between any two rooms."""
    pairs = [(demo.number[original], number) for original, kinds in demo.copies().items() for number in kinds.values()]
    a, b = np.array(pairs).T
    rng = np.random.default_rng(0)
    c, d = rng.integers(0, len(demo.keys), (2, 200_000))
    counts: dict[str, list[int]] = {}
    for name, one, other in (("planted near-duplicates", a, b), ("any two pictures", c[c != d], d[c != d])):
        left, right = demo.codes[one], demo.codes[other]
        bits = np.minimum(hamming_distance(left, right), hamming_distance(left, mirror_codes(right)))
        counts[name] = np.bincount(bits, minlength=97)[:97].tolist()
    drawing = Drawing("Histogram: near-duplicates differ in few bits, any two pictures in about half of them")
    step, floor, height = (WIDTH - 2 * MARGIN) / 97, 240.0, 190.0
    for (name, series), colour, x in zip(counts.items(), (KEPT, BAR), (MARGIN + 60, MARGIN + 430), strict=True):
        drawing.text(x, 28, name, colour, weight=600)
        for place, count in enumerate(series):
            bar = height * count / max(series)
            drawing.box(MARGIN + place * step, floor - bar, step - 1, bar, colour)
    edge = MARGIN + (demo.radius + 1) * step
    drawing.put(f'<path d="M{edge:.1f} 40V{floor}" stroke="{INK}" stroke-dasharray="4 3"/>', floor)
    drawing.text(edge - 6, 54, f"radius: {demo.radius} bits", anchor="end")
    for place in range(0, 97, 16):
        drawing.text(MARGIN + (place + 0.5) * step, floor + 18, str(place), SOFT, "middle")
    drawing.text(WIDTH - MARGIN, floor + 36, "bits in which two codes differ, the nearer way round", SOFT, "end")
    return drawing


def draw_verification(demo: Demo) -> Drawing:
    """Candidates: one of each laid over the other, what differs before and after, and the score."""
    wanted = ("crop10", "border", "text", "grey")
    copies = demo.copies()
    chosen = [
        (demo.number[original], kinds[kind], kind)
        for kind in wanted
        for original, kinds in [next((key, kinds) for key, kinds in copies.items() if kind in kinds)]
    ]
    chosen.append((*nearest_strangers(demo), "another room"))
    titles = {"crop10": "cropped by 10%", "border": "with a border", "text": "with a caption", "grey": "grey"}
    drawing = Drawing("Pairs of thumbnails, one laid over the other by the affine fit, what differs, and the score")
    side, step = 100, 110
    heads = ("one picture", "the other", "laid over it", "differed", "differs still")
    for column, head in enumerate(heads):
        drawing.text(MARGIN + column * step, 28, head, SOFT)
    for row, (a, b, kind) in enumerate(chosen):
        y = 38 + row * (side + 12)
        one, other = demo.thumbnails[[a]], demo.thumbnails[[b]]
        laid, inside = lay_over(one, other)
        before, after = (difference(one[0], picture, inside) for picture in (other[0], laid))
        for column, pixels in enumerate((one[0], other[0], laid, before, after)):
            drawing.picture(MARGIN + column * step, y, side, pixels)
        score = float(score_pairs(one, other)[0])
        x = MARGIN + len(heads) * step
        drawing.text(x, y + 38, titles.get(kind, kind), weight=600)
        drawing.text(x, y + 58, f"score {score:.1f}".replace("-", "−"), SOFT)
        drawing.text(x, y + 78, "duplicates" if score >= 1 else "different", KEPT if score >= 1 else DROPPED)
    return drawing


def nearest_strangers(demo: Demo) -> tuple[int, int]:
    """The candidates of nearest codes, none mirrored, that verification tells apart."""
    (rows, *_) = load_pairs(demo.stage("candidates").paths(".pairs.npy"))
    rows = rows[~rows["mirrored"]]
    for row in rows[np.argsort(rows["distance"], kind="stable")]:
        a, b = int(row["a"]), int(row["b"])
        if score_pairs(demo.thumbnails[[a]], demo.thumbnails[[b]])[0] < 1:
            return a, b
    raise ValueError("every candidate is a duplicate")


def lay_over(first: Pixels, second: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """The second of two (1, 32, 32, 3) pictures as the fit lays it over the first, and where both are."""
    one, other = torch.from_numpy(first).float(), torch.from_numpy(second).float()
    _, start = glance(one, other)
    _, warps = look_again(brightness(one), brightness(other), start)
    warps = fit_warps(brightness(one), brightness(other), warps)
    laid, inside = lay(other.permute(0, 3, 1, 2), warps)
    return to_pixels(laid / 255)[0], inside[0].numpy() > 0


def difference(one: Pixels, other: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """How much two pictures' brightness differs in each pixel, but for gain and offset; white is nothing."""
    left, right = (picture[inside].astype(np.float64).mean(axis=1) for picture in (one, other))
    error = np.zeros(inside.shape)
    error[inside] = np.abs((left - left.mean()) / left.std() - (right - right.mean()) / right.std())
    grey = (255 - 110 * error).clip(0, 255).astype(np.uint8)
    grey[~inside] = 244
    return np.repeat(grey[..., None], 3, axis=2)


def draw_groups(demo: Demo, shown: int = 3) -> Drawing:
    """The largest groups: the one that is kept, and those that are dropped for it."""
    duplicates = pq.read_table(demo.stage("groups").path("duplicates.parquet")).to_pylist()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(duplicates, key=lambda row: row["key"]):
        groups.setdefault(row["kept_key"], []).append(row)
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:shown]
    pictures = read_pictures(demo, [key for kept, rows in largest for key in (kept, *(row["key"] for row in rows))])
    drawing = Drawing("Groups of near-duplicates: the one that is kept in green, those dropped for it in orange")
    side, step = 160, 176
    for row, (kept, rows) in enumerate(largest):
        y = MARGIN + row * (side + 54)
        labels = [("kept", "largest of its group", KEPT)]
        labels += [("dropped", f"{say(line['rule'])}, {count_bits(line['distance'])}", DROPPED) for line in rows]
        for column, (key, (role, note, colour)) in enumerate(
            zip([kept, *(line["key"] for line in rows)][:4], labels[:4], strict=True)
        ):
            x = MARGIN + column * step
            drawing.box(x, y, side, side, "#f5f6f8")
            drawing.picture(x, y, side, pictures[key])
            drawing.box(x, y + side, side, 4, colour)
            drawing.text(x, y + side + 21, role, colour, weight=600)
            drawing.text(x, y + side + 38, note, SOFT)
    return drawing


def count_bits(bits: int) -> str:
    """A number of bits in words."""
    return f"{bits} bit{'' if bits == 1 else 's'}"


def say(rule: str) -> str:
    """A rule in words."""
    return rule.replace("_", " ")


def read_pictures(demo: Demo, keys: Sequence[str]) -> dict[str, Pixels]:
    """Pictures of the source by key."""
    source = open_source(f"lmdb:{demo.root / 'raw' / 'bedroom_train_lmdb'}")
    wanted = set(keys)
    return {
        record.key: decode(record.image)
        for split in source.splits()
        for record in source.read(split)
        if record.key in wanted
    }


DRAWINGS = {
    "corruption": draw_corruption,
    "codes": draw_codes,
    "distances": draw_distances,
    "verification": draw_verification,
    "groups": draw_groups,
}


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="The finished demo set: DATA_ROOT/demo.")] = Path("data/demo"),
    out: Annotated[Path, typer.Option("--out", help="Where the SVG files go.")] = Path("docs/images/method"),
) -> None:
    """Draw the pictures of docs/method.md."""
    demo = Demo(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        draw(demo).save(out / f"{name}.svg")
        console.print(f"{out / name}.svg", markup=False)


if __name__ == "__main__":
    run_app(app, "python docs/tools/pictures.py")
