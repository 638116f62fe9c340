"""Arithmetic: z of exemplars of three concepts in; A - B + C, and pictures around it, out.

Stands after the last word of "clean shards → DCGAN". Radford et al. 2016, section 6.3.2 and figure 7: smiling woman -
neutral woman + neutral man gives smiling men where z of three exemplars of each are averaged; single ones are unstable,
and the same arithmetic with pixels gives a blur of them. Around the result lie variants with noise from U(-0.25, 0.25).
Sums are not clipped to the range of the prior, as in the paper.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from train.explore.attributes import Attributes
from train.explore.concepts import SHOWN, Wish
from train.explore.layout import WIDE_GAP, below, beside, caption, enlarge, tile, write
from train.findings import Figure
from train.samples import Pixels

NOISE = 0.25
VARIANTS = 8
CENTRE = 4  # of nine places in three rows
COLUMNS = 3
SIGN_HEIGHT = 14.0  # pixels

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """z of exemplars of A, B and C: each float32 (exemplars, z_size)."""

    a: Tensor
    b: Tensor
    c: Tensor

    @property
    def means(self) -> Tensor:
        """The mean of each, float32 (3, z_size)."""
        return torch.stack([self.a.mean(0), self.b.mean(0), self.c.mean(0)])

    @property
    def result(self) -> Tensor:
        """A - B + C of the means, float32 (z_size,)."""
        a, b, c = self.means
        result: Tensor = a - b + c
        return result

    @property
    def first(self) -> "Terms":
        """One exemplar of each."""
        return Terms(self.a[:1], self.b[:1], self.c[:1])


@dataclass(frozen=True, slots=True, eq=False)
class Calculation:
    """Pictures of one calculation, each uint8 RGB.

    Attributes:
        exemplars: of A, B and C: (exemplars, R, R, 3).
        means: of the means of each: (3, R, R, 3).
        results: of A - B + C, in the middle of its variants where it has any: (9, R, R, 3) or (1, R, R, 3).
    """

    exemplars: tuple[Pixels, Pixels, Pixels]
    means: Pixels
    results: Pixels

    def in_pixels(self) -> "Calculation":
        """The same with the pixels of the exemplars in place of their z; what no pixel can be is clipped."""
        means = np.stack([each.astype(np.float64).mean(0) for each in self.exemplars])
        a, b, c = means
        return Calculation(self.exemplars, _round(means), _round(a - b + c)[None])


def calculate(terms: Terms, draw: Callable[[Tensor], Pixels], noise: torch.Generator) -> Calculation:
    """Draw exemplars, means, and A - B + C with its variants.

    Args:
        terms: the exemplars.
        draw: G, from z (N, z_size) to uint8 RGB (N, R, R, 3).
        noise: of the variants, on the CPU.
    """
    parts = (terms.a, terms.b, terms.c, terms.means, vary(terms.result, noise))
    ends = np.cumsum([len(part) for part in parts])[:-1]
    a, b, c, means, results = np.split(draw(torch.cat(parts)), ends)
    return Calculation((a, b, c), means, results)


def vary(z: Tensor, noise: torch.Generator) -> Tensor:
    """``z``, (z_size,), in the middle of eight variants: float32 (9, z_size), each with noise from U(-0.25, 0.25)."""
    shifts = torch.empty(VARIANTS, len(z)).uniform_(-NOISE, NOISE, generator=noise)
    around = z + shifts
    return torch.cat((around[:CENTRE], z[None], around[CENTRE:]))


def find_change(a: Wish, b: Wish) -> dict[str, bool]:
    """What A - B changes: attribute → whether it is to be there after it."""
    return {name: there for name, there in a.attributes.items() if b.attributes.get(name) is not there}


def judge(scores: Floats, before: Floats, names: Sequence[str], change: Mapping[str, bool]) -> tuple[Flags, Flags]:
    """Which pictures show what was wanted, and which of these are otherwise what they were: two of bool (N,).

    Args:
        scores: float32 (N, attributes), how likely each is.
        before: float32 (attributes,): of C's mean.
        names: of the attributes.
        change: from `find_change`.
    """
    there, was = scores > SHOWN, before > SHOWN
    changed = np.all([there[:, names.index(name)] == wanted for name, wanted in change.items()], axis=0)
    others = [i for i, name in enumerate(names) if name not in change]
    return changed, changed & (there[:, others] == was[others]).all(1)


def measure(
    calculations: Sequence[Calculation], classifier: Attributes, change: Mapping[str, bool], way: str
) -> list[Figure]:
    """How many of the results of calculations show the change, in percent, and how many of C's means did before it."""
    judged, before = [], []
    for calculation in calculations:
        of_c = classifier.score(calculation.means[2:])
        judged.append(judge(classifier.score(calculation.results), of_c[0], classifier.names, change))
        before.append(judge(of_c, of_c[0], classifier.names, change)[0])
    changed, kept = (np.concatenate(each) for each in zip(*judged, strict=True))
    wanted = Wish(change)
    note = f"of {len(changed)} pictures; before it {100 * np.concatenate(before).mean():.3g}%"
    return [
        Figure(f"{wanted}: {way}", 100 * float(changed.mean()), "%", note=note),
        Figure(f"{wanted}, and all else as it was: {way}", 100 * float(kept.mean()), "%"),
    ]


def lay_out(calculation: Calculation, names: Sequence[str], *, shows_exemplars: bool = False) -> Pixels:
    """Lay a calculation out as figure 7 does: exemplars, if they are shown, above their means; then the results."""
    columns = []
    for exemplars, mean, name in zip(calculation.exemplars, calculation.means, names, strict=True):
        shown = enlarge(mean[None])[0]
        if shows_exemplars:
            shown = below(tile(enlarge(exemplars), 1), shown, gap=WIDE_GAP)
        columns.append(caption(shown, name, align=0.5))
    signs = [write(sign, SIGN_HEIGHT) for sign in ("-", "+", "=")]
    parts = [part for pair in zip(columns, signs, strict=True) for part in pair]
    return beside(*parts, tile(enlarge(calculation.results), COLUMNS), align=0.5)


def _round(pixels: npt.NDArray[np.float64]) -> Pixels:
    return pixels.round().clip(0, 255).astype(np.uint8)
