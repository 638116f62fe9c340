"""Verification: pairs of thumbnails in, the calibrated log-odds that both show one picture out.

Stands at the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": what the search proposes is decided here on the pictures themselves.

A cascade: `glance` throws out most unrelated pairs on coarse pictures, `look_again` most of the others; for the rest an
affine map is fitted (`dedup.verification.align`), two dozen figures are taken (`dedup.verification.evidence`), and a
small perceptron weighs them. Its weights, ``verifier.safetensors``, come from ``python -m benchmarks.verifier --fit``,
which plants near-duplicates and looks up the nearest unrelated pictures.

A score is a function of the two pictures alone, bit for bit: neither their order nor the other pairs, the batches or
the threads matter, as all sums are exact ones of whole numbers.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load
from torch import Tensor

from dedup.codes import check_thumbnails, flat_mask
from dedup.threads import run_batches
from dedup.verification.align import brightness, fit_warps, glance, look_again
from dedup.verification.evidence import NAMES, weigh_evidence

# Natural log-odds. Of 257,000 pairs of nearest codes among 100,000 small pictures 29 reach it, by eye all rightly: at
# most 15 of a million chance candidates do (95%).
THRESHOLD = 1.0

_HOPELESS = 0.63  # correlation of slopes at a glance: fewer than 1 in 1,000 near-duplicates stay below
_UNLIKE = 0.45  # correlation in detail, likewise
_SURE = 0.97  # correlation in detail of pictures that need no further fitting
EXAMINED = -10.0  # the least score of pairs that were compared closely
_LOWEST = -20.0  # from it to `EXAMINED` are the scores of the hopeless, by the glance, and the flat
_GLANCE_PAIRS, _EXAMINED_PAIRS = 128, 64  # at once, so that the working arrays stay in a core's cache
_PAIRS_IN_MEMORY = 8_192  # of two thumbnails each: 50 MB
_EVIDENCE_UNIT = 512  # whole-number levels of one standard deviation of a figure
_WEIGHT_UNIT = 1024  # whole-number levels of a weight of 1

Numbers = NDArray[np.int64]
Take = Callable[[Numbers], NDArray[np.uint8]]


def score_numbered(
    first: Take, second: Take, a: Numbers, b: Numbers, mirrored: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Score pairs of numbered pictures as `score_pairs` does, a block of them in memory at a time.

    Args:
        first: from numbers, int64 (n,), to thumbnails, uint8 (n, 32, 32, 3).
        second: the same, for the second pictures.
        a: (P,) int64, numbers of the first pictures.
        b: (P,) int64, numbers of the second ones.
        mirrored: (P,) bool, where the second is compared mirrored.

    Returns:
        (P,) float32.
    """
    scores = np.empty(len(a), np.float32)
    for start in range(0, len(a), _PAIRS_IN_MEMORY):
        block = slice(start, start + _PAIRS_IN_MEMORY)
        scores[block] = score_pairs(first(a[block]), flip(second(b[block]), mirrored[block]))
    return scores


def flip(thumbnails: NDArray[np.uint8], mirrored: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Thumbnails (P, 32, 32, 3), those marked flipped left to right."""
    return np.where(mirrored[:, None, None, None], thumbnails[:, :, ::-1], thumbnails)


def score_pairs(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Score pairs of pictures by the log-odds that one is a near-duplicate of the other.

    Args:
        first: (P, 32, 32, 3) uint8 RGB.
        second: (P, 32, 32, 3) uint8 RGB, mirrored already where the pair is to be compared mirrored.

    Returns:
        (P,) float32 from -20. Duplicates have at least `THRESHOLD`. Pairs that the first two looks decide have less
        than -10, and so have pairs with a flat picture.
    """
    check_thumbnails(first)
    check_thumbnails(second)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} first pictures but {len(second)} second ones")
    best, rows, evidence = gather_evidence(first, second)
    scores = (_LOWEST + (EXAMINED - _LOWEST) * best.clip(0)).astype(np.float32)
    scores[rows] = score_evidence(evidence)
    return scores


def gather_evidence(
    first: NDArray[np.uint8], second: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Take the figures of `dedup.verification.evidence` of the pairs that pass the glance and the second look.

    Args:
        first: (P, 32, 32, 3) uint8 RGB.
        second: the same.

    Returns:
        What the glance says of each pair, (P,), from -1 to 1, but 0 where a flat picture would pass; the rows of the
        pairs that pass both, ascending, (E,); and their evidence, (E, len(NAMES)).
    """
    best, start = np.empty(len(first), np.float32), np.empty((len(first), 3))

    def look(rows: slice) -> None:
        score, placed = glance(*_in_order(first[rows], second[rows]))
        best[rows], start[rows] = score.numpy(), placed.numpy()

    run_batches(look, len(first), _GLANCE_PAIRS)
    hopeful = np.flatnonzero(best >= _HOPELESS)
    flat = flat_mask(first[hopeful]) | flat_mask(second[hopeful])
    best[hopeful[flat]] = 0
    hopeful = hopeful[~flat]
    alike, warps = np.empty(len(hopeful)), np.empty((len(hopeful), 2, 3))

    def look_closer(batch: slice) -> None:
        one, other = _in_order(first[hopeful[batch]], second[hopeful[batch]])
        correlation, warp = look_again(brightness(one), brightness(other), torch.from_numpy(start[hopeful[batch]]))
        alike[batch], warps[batch] = correlation.numpy(), warp.numpy()

    run_batches(look_closer, len(hopeful), _EXAMINED_PAIRS)
    left = alike >= _UNLIKE
    hopeful, alike, warps = hopeful[left], alike[left], warps[left]
    evidence = np.empty((len(hopeful), len(NAMES)))

    def examine(batch: slice) -> None:
        one, other = _in_order(first[hopeful[batch]], second[hopeful[batch]])
        warp, doubtful = torch.from_numpy(warps[batch]), torch.from_numpy(alike[batch] < _SURE)
        if doubtful.any():
            warp[doubtful] = fit_warps(brightness(one[doubtful]), brightness(other[doubtful]), warp[doubtful])
        evidence[batch] = weigh_evidence(one, other, warp).numpy()

    run_batches(examine, len(hopeful), _EXAMINED_PAIRS)
    return best, hopeful, evidence


def score_evidence(evidence: NDArray[np.float64], net: Mapping[str, Tensor] | None = None) -> NDArray[np.float32]:
    """Weigh evidence to log-odds, by sums of whole numbers.

    Args:
        evidence: (E, len(NAMES)) float64.
        net: of `quantise_net`; None: the one that the package ships.

    Returns:
        (E,) float32.
    """
    net = {name: tensor.double() for name, tensor in (_load_net() if net is None else net).items()}
    units = (torch.from_numpy(evidence) - net["centre"]) / net["spread"]
    levels = (units.clamp(-5, 5) * _EVIDENCE_UNIT).round()
    hidden = ((levels @ net["weight"] + net["bias"]).clamp(min=0) / _WEIGHT_UNIT).round()
    odds = (hidden @ net["out"] + net["offset"]) / (_EVIDENCE_UNIT * _WEIGHT_UNIT)
    return odds.clamp(min=EXAMINED).float().numpy()


def quantise_net(
    centre: Tensor, spread: Tensor, weight: Tensor, bias: Tensor, out: Tensor, offset: Tensor
) -> dict[str, Tensor]:
    """A perceptron on standardised evidence, (evidence - centre) / spread, with its weights as whole numbers."""
    return {
        "centre": centre,
        "spread": spread,
        "weight": (weight * _WEIGHT_UNIT).round().int(),
        "bias": (bias * _EVIDENCE_UNIT * _WEIGHT_UNIT).round().int(),
        "out": (out * _WEIGHT_UNIT).round().int(),
        "offset": (offset * _EVIDENCE_UNIT * _WEIGHT_UNIT).round().int(),
    }


def net_sha256() -> str:
    """SHA-256 (hex) of the weights that ship: scores of other weights do not compare."""
    return hashlib.sha256(_read_net()).hexdigest()


def _read_net() -> bytes:
    return files("dedup.verification").joinpath("verifier.safetensors").read_bytes()


@cache
def _load_net() -> dict[str, Tensor]:
    return load(_read_net())


def _in_order(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Both pictures of each pair as float32, the one of smaller bytes first, so that a score has no direction."""
    lesser, greater = first.copy(), second.copy()
    bytes_first, bytes_second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    at = (bytes_first != bytes_second).argmax(axis=1)
    row = np.arange(len(first))
    swapped = np.flatnonzero(bytes_first[row, at] > bytes_second[row, at])
    lesser[swapped], greater[swapped] = second[swapped], first[swapped]
    return torch.from_numpy(lesser).float(), torch.from_numpy(greater).float()
