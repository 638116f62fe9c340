"""How many planted near-duplicates and how many unrelated candidates verification accepts; and the fit of its weights.

    python -m benchmarks.verifier --data ../shared/data     # tables, on the held-out fifth
    python -m benchmarks.verifier --data ../shared/data --fit dedup/verification/verifier.safetensors     # on the rest

Near-duplicates of all kinds are planted into small pictures, photographs of rooms and faces, and two kinds at once, as
groups link copies with copies. Unrelated candidates are what the search brings: the pairs of nearest codes by the
encoder that the package ships, and the same pairs with one or both altered, so that a frame or a caption which two
pictures share is no sign. Real sets hold natural duplicates: pairs that a first fit accepts are left out of the second;
``--look FOLDER`` draws what is accepted, best first, for eyes to count the false. CIFAR-10 holds thousands of pairs on
the border, and is therefore measured on but not fitted to.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.stats import beta
from torch.nn import functional

from benchmarks.corpus import is_held_out, read_images
from benchmarks.montage import draw_montage
from benchmarks.tables import best_seconds, console, print_machine, print_table
from dedup.encoder import load_shipped_encoder
from dedup.matching.match import choose_radius, find_pairs
from dedup.threads import one_torch_thread
from dedup.verification.verify import THRESHOLD, gather_evidence, quantise_net, score_evidence, score_pairs
from pipelines.images import ImageRejected, Pixels, decode, make_thumbnail
from pipelines.planting import HARD_KINDS, KINDS, encode_image, plant

TWO = "two kinds"
FITTED_HARD_KINDS = tuple(kind for kind in HARD_KINDS if kind not in ("turn90", "collage"))
_ALTERING = tuple(kind for kind in (*KINDS, *FITTED_HARD_KINDS) if kind not in ("exact", "mirror"))
_WEIGHTS = {TWO: 0.4, **dict.fromkeys(FITTED_HARD_KINDS, 0.4)}  # of other kinds: 1
_CHANCE_PAIRS = {"imagenet32": 3.0, "cifar10": 2.0, "rooms": 25.0, "faces": 60.0}
_FITTED = ("imagenet32", "rooms", "faces")
_NATURAL = 6.0  # score of an unrelated pair that is none: by eye, no other pair of those fitted to reaches it
_HIDDEN = 16
_FACE_SIDE, _FACE_MARGIN = 128, 1.5

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Pictures:
    """A set of different pictures: encoded, and as thumbnails, uint8 (N, 32, 32, 3)."""

    name: str
    encoded: Sequence[bytes]
    thumbnails: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Pairs of one set.

    Attributes:
        kind: (P,) of what each pair is.
        rows: (E,) the pairs that are looked at closely.
        figures: (E, 25) their evidence.
    """

    kind: NDArray[np.str_]
    rows: NDArray[np.int64]
    figures: NDArray[np.float64]

    @property
    def weight(self) -> NDArray[np.float64]:
        """(E,) how much each counts in a fit."""
        return np.array([_WEIGHTS.get(kind, 1.0) for kind in self.kind[self.rows]])

    def scores(self) -> NDArray[np.float32]:
        """(P,) the scores of all pairs."""
        scores = np.full(len(self.kind), -np.inf, np.float32)
        scores[self.rows] = score_evidence(self.figures)
        return scores


def read_pictures(name: str, data: Path, *, held_out: bool) -> Pictures:
    """A set's pictures of one side of the split by keys; faces are all on the fitted side, and on the other as well."""
    encoded, thumbnails = [], []
    for image in _read_faces(data / "faces") if name == "faces" else _read_set(name, data, held_out):
        try:
            thumbnails.append(make_thumbnail(image)[1])
        except ImageRejected:
            continue
        encoded.append(image)
    return Pictures(name, encoded, np.stack(thumbnails))


def _read_set(name: str, data: Path, held_out: bool) -> Iterator[bytes]:
    originals = None
    if name == "rooms":
        with (data / "rooms_train_truth.csv").open(newline="", encoding="utf-8") as file:
            originals = {row["key"] for row in csv.DictReader(file) if row["what"] == "original"}
    uri = f"lmdb:{data}/rooms_train_lmdb" if name == "rooms" else f"parquet:{data}/{name}/train.parquet"
    for key, image in read_images(uri):
        if is_held_out(key) == held_out and (originals is None or key in originals):
            yield image


def _read_faces(folder: Path) -> Iterator[bytes]:
    """Faces as face collections cut them: squares around what the detector finds."""
    detector = cv2.FaceDetectorYN.create(str(folder / "face_detection_yunet_2023mar.onnx"), "", (320, 320), 0.8)
    for _, image in read_images(f"folder:{folder / 'photos'}"):
        photograph = decode(image)
        detector.setInputSize((photograph.shape[1], photograph.shape[0]))
        _, faces = detector.detect(np.ascontiguousarray(photograph[..., ::-1]))
        for left, top, width, height in [] if faces is None else faces[:, :4]:
            side = round(float(max(width, height)) * _FACE_MARGIN)
            x, y = round(float(left + width / 2) - side / 2), round(float(top + height / 2) - side / 2)
            if min(x, y, side - 64) >= 0 and y + side <= photograph.shape[0] and x + side <= photograph.shape[1]:
                face = cv2.resize(
                    photograph[y : y + side, x : x + side], (_FACE_SIDE, _FACE_SIDE), interpolation=cv2.INTER_AREA
                )
                yield encode_image(np.asarray(face, np.uint8), ".jpg")


def plant_pairs(pictures: Pictures, per_kind: int, rng: Rng) -> Evidence:
    """Pairs of a picture and a near-duplicate of it, and pairs of two near-duplicates of one picture."""
    kinds, first, second = [], [], []
    plans = [*np.repeat(KINDS, per_kind), *np.repeat(FITTED_HARD_KINDS, per_kind // 2), *np.repeat(TWO, 4 * per_kind)]
    for kind in plans:
        at = int(rng.integers(len(pictures.encoded)))
        encoded = pictures.encoded[at]
        image = decode(encoded)
        one, other = rng.choice(KINDS, 2) if kind == TWO else ("", kind)
        kinds.append(str(kind))
        first.append(_plant(image, one, rng, encoded) if one else pictures.thumbnails[at])
        second.append(_plant(image, other, rng, encoded))
    return Evidence(np.array(kinds), *gather_evidence(np.stack(first), np.stack(second))[1:])


def _plant(image: Pixels, kind: str, rng: Rng, encoded: bytes) -> Pixels:
    """The thumbnail of a near-duplicate, turned back if that is the mirrored one."""
    thumbnail = make_thumbnail(plant(image, kind, rng, encoded=encoded))[1]
    return np.ascontiguousarray(thumbnail[:, ::-1]) if kind == "mirror" else thumbnail


def find_candidates(pictures: Pictures) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
    """Pairs of pictures with the nearest codes: numbers (P, 2), and both thumbnails, turned as they are compared."""
    codes = load_shipped_encoder().codes(pictures.thumbnails)
    usable = np.ones(len(codes), np.bool_)
    radius = choose_radius([codes], [usable], _CHANCE_PAIRS[pictures.name], most=64, mirrored=True)
    pairs = find_pairs(codes, radius, mirrored=True)
    first, second = pictures.thumbnails[pairs.a], pictures.thumbnails[pairs.b]
    second[pairs.mirrored] = second[pairs.mirrored][:, :, ::-1]
    return np.stack([pairs.a, pairs.b], axis=1), first, second


def alter_candidates(
    first: NDArray[np.uint8], second: NDArray[np.uint8], rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The same pairs with the first picture, or in two of five both in the same way, made into a near-duplicate."""
    first, second = first.copy(), second.copy()
    for one, other in zip(first, second, strict=True):
        kind, seed = str(rng.choice(_ALTERING)), int(rng.integers(1 << 30))
        both = rng.random() < 0.4
        one[:] = _plant(one, kind, np.random.default_rng(seed), b"")
        if both:
            other[:] = _plant(other, kind, np.random.default_rng(seed), b"")
    return first, second


def fit_net(
    duplicates: Sequence[Evidence], unrelated: NDArray[np.float64], seed: int, steps: int = 2500
) -> Mapping[str, torch.Tensor]:
    """Fit the perceptron by logistic regression: both classes weigh the same, so a score of 0 is even odds at that."""
    figures = np.concatenate([*[pairs.figures for pairs in duplicates], unrelated])
    weight = np.concatenate([pairs.weight for pairs in duplicates])
    share = np.concatenate([weight / weight.sum(), np.full(len(unrelated), 1 / len(unrelated))])
    centre, spread = figures.mean(axis=0), figures.std(axis=0) + 1e-3
    units = torch.from_numpy((figures - centre) / spread).float().clamp(-5, 5)
    target = (torch.arange(len(units)) < len(weight)).float()
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(units.shape[1], _HIDDEN, generator=generator) * 0.2
    out = torch.randn(_HIDDEN, generator=generator) * 0.2
    net = [hidden, torch.zeros(_HIDDEN), out, torch.zeros(())]
    optimiser = torch.optim.AdamW([tensor.requires_grad_() for tensor in net], 1e-2, weight_decay=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    draw, upto = np.random.default_rng(seed), np.cumsum(share) / share.sum()
    for _ in range(steps):
        batch = torch.from_numpy(np.searchsorted(upto, draw.random(4096), side="right"))
        odds = (units[batch] @ net[0] + net[1]).relu() @ net[2] + net[3]
        loss = functional.binary_cross_entropy_with_logits(odds, target[batch])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return quantise_net(torch.from_numpy(centre), torch.from_numpy(spread), *[tensor.detach() for tensor in net])


def fit(data: Path, per_kind: int, seed: int) -> Mapping[str, torch.Tensor]:
    """Plant, find candidates, fit, leave out what is accepted (natural duplicates), and fit again."""
    rng = np.random.default_rng(seed)
    duplicates: list[Evidence] = []
    figures: list[NDArray[np.float64]] = []
    pair_of: list[NDArray[np.int64]] = []
    count = 0
    for name in ("imagenet32", "cifar10", "rooms", "faces"):
        pictures = read_pictures(name, data, held_out=False)
        duplicates.append(plant_pairs(pictures, per_kind if len(pictures.encoded) > 5000 else per_kind // 3, rng))
        if name in _FITTED:
            _, first, second = find_candidates(pictures)
            _, rows, plain = gather_evidence(first, second)
            _, altered_rows, altered = gather_evidence(*alter_candidates(first[rows], second[rows], rng))
            figures += [plain, altered]
            pair_of += [count + np.arange(len(rows)), count + altered_rows]
            count += len(rows)
            console.print(f"{name}: {len(first):,} candidates, {len(rows):,} are looked at closely")
    unrelated, pair = np.concatenate(figures), np.concatenate(pair_of)
    natural = np.zeros(0, np.int64)
    # Natural duplicates among the unrelated hold the first fit's scores of their like down: even odds are enough there.
    for turn, limit in enumerate((0.0, _NATURAL, _NATURAL)):
        net = fit_net(duplicates, unrelated[~np.isin(pair, natural)], seed + turn)
        natural = pair[score_evidence(unrelated, net) >= limit]
        console.print(f"{len(np.unique(natural))} pairs are taken for natural duplicates")
    return net


def measure(data: Path, per_kind: int, look: Path | None) -> None:
    """Print what is accepted of the held-out fifth."""
    rng = np.random.default_rng(0)
    planted, unrelated = [], []
    for name in ("imagenet32", "cifar10", "rooms", "faces"):
        pictures = read_pictures(name, data, held_out=True)
        pairs = plant_pairs(pictures, per_kind if len(pictures.encoded) > 5000 else per_kind // 3, rng)
        accepted = pairs.scores() >= THRESHOLD
        planted.append([name, *[f"{accepted[pairs.kind == kind].mean():.3f}" for kind in dict.fromkeys(pairs.kind)]])
        numbers, first, second = find_candidates(pictures)
        scores = score_pairs(first, second)
        order = np.argsort(-scores, kind="stable")[: np.count_nonzero(scores >= THRESHOLD)]
        high = beta.ppf(0.975, len(order) + 1, len(scores) - len(order)) * 1e6
        seconds = best_seconds([partial(score_pairs, first[:20_000], second[:20_000])], 3)[0]
        rate = min(len(first), 20_000) / seconds
        unrelated.append([name, f"{len(scores):,}", f"{len(order)}", f"{high:,.0f}", f"{rate:,.0f}"])
        if look and len(order):
            look.mkdir(parents=True, exist_ok=True)
            draw_montage([(pictures.encoded[a], pictures.encoded[b]) for a, b in numbers[order]], look / f"{name}.png")
    print_machine("torch", "numpy")
    kinds = (*KINDS, *FITTED_HARD_KINDS, TWO)
    columns = list(zip(*planted, strict=True))
    print_table(
        "Planted pairs accepted",
        ("kind", *columns[0]),
        [(kind, *row) for kind, row in zip(kinds, columns[1:], strict=True)],
    )
    print_table(
        "Pairs of nearest codes among different pictures",
        ("set", "candidates", "accepted", "of a million, at most (95%)", "pairs/s"),
        unrelated,
    )


def main() -> None:
    """Fit, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--fit", type=Path, help="weights to write")
    parser.add_argument("--per-kind", type=int, default=600, help="planted pairs of each kind in a large set")
    parser.add_argument("--look", type=Path, help="folder for pictures of the accepted candidates")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.fit:
        with one_torch_thread():
            save_file(dict(fit(options.data, options.per_kind, seed=0)), options.fit)
    else:
        measure(options.data, options.per_kind, options.look)


if __name__ == "__main__":
    main()
