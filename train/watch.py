"""Watch: what training measures in; whether it is coming apart out: D too sure, or samples that grow alike.

Stands beside "clean shards → DCGAN". Collapse is seen on G's drawings of one fixed z: how far their pixels spread, and
how many bits of 128 lie between them in a code of their own, signs of random projections (Charikar 2002) of thumbnails.
Both are compared with the best that this run has reached, for early samples are grey and alike in every run.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

CODE_BITS = 128
_SIDE = 8  # pixels of the thumbnails that codes are of
_SURE = 0.98  # D(x) above this and D(G(z)) below 1 minus this: D has won
_SURE_ROWS = 10  # in a row
_GROWN = 0.5  # of the real images' spread: below it, samples are not yet pictures
_FALLEN = 0.5  # of the best so far


class OnCollapse(StrEnum):
    """What to do where training comes apart."""

    WARN = "warn"
    STOP = "stop"
    ROLLBACK = "rollback"  # see `train.rollback`


@dataclass(frozen=True, slots=True)
class Diversity:
    """How unlike each other some images are.

    Attributes:
        spread: mean over all values of the standard deviation over the images, in levels of 255.
        code_distance: mean bits of 128 between two images' codes.
    """

    spread: float
    code_distance: float


def measure_diversity(images: Pixels) -> Diversity:
    """Measure images, uint8 RGB (N, R, R, 3), N at least 2."""
    small = np.stack([cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for image in images])
    values = small.reshape(len(images), -1).astype(np.float64)
    projection = np.random.default_rng(0).standard_normal((values.shape[1], CODE_BITS))
    bits = (values - 127.5) @ projection > 0
    ones = bits.sum(axis=0)
    # A bit differs between as many pairs as there are ones times zeros.
    pairs = len(images) * (len(images) - 1) / 2
    return Diversity(float(images.std(axis=0).mean()), float((ones * (len(images) - ones)).sum() / pairs))


@dataclass(slots=True)
class Watcher:
    """Follows a run, row of statistics by row; a checkpoint holds it.

    Attributes:
        real: diversity of as many real images as are drawn.
        best: the greatest diversity that the run's samples have had.
        sure_rows: for how many rows D has been nearly certain of every image.
        sign_rows: for how many rows there have been signs.
    """

    real: Diversity
    best: Diversity = Diversity(0.0, 0.0)
    sure_rows: int = 0
    sign_rows: int = 0

    @property
    def is_well(self) -> bool:
        """Whether nothing looked wrong at the last row, nor as if it were going to."""
        return self.sure_rows == 0 and self.sign_rows == 0

    def look(self, d_real: float, d_fake: float, samples: Diversity) -> list[str]:
        """The signs that training comes apart, in words; none is the rule.

        Args:
            d_real: mean of D(x).
            d_fake: mean of D(G(z)).
            samples: diversity of G's drawings of the fixed z.
        """
        self.sure_rows = self.sure_rows + 1 if d_real > _SURE and d_fake < 1 - _SURE else 0
        self.best = Diversity(
            max(self.best.spread, samples.spread), max(self.best.code_distance, samples.code_distance)
        )
        signs = []
        if self.sure_rows >= _SURE_ROWS:
            signs.append(f"D is certain of every image (D(x) {d_real:.3f}, D(G(z)) {d_fake:.3f}): G learns nothing")
        if self.best.spread > _GROWN * self.real.spread and samples.spread < _FALLEN * self.best.spread:
            signs.append(
                f"samples grow alike: they spread over {samples.spread:.1f} levels, and did {self.best.spread:.1f}"
            )
        if (
            self.best.code_distance > _GROWN * self.real.code_distance
            and samples.code_distance < _FALLEN * self.best.code_distance
        ):
            signs.append(
                f"samples grow alike: {samples.code_distance:.0f} bits of {CODE_BITS} between two of them, "
                f"where there were {self.best.code_distance:.0f}"
            )
        self.sign_rows = self.sign_rows + 1 if signs else 0
        return signs

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Watcher":
        """The watcher as it was."""
        return cls(
            Diversity(**content["real"]), Diversity(**content["best"]), content["sure_rows"], content["sign_rows"]
        )
