"""Match: what is said of an image that resembles a picture.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN": what `dedup.comparison.index` finds.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Match:
    """An image of a data set that resembles a picture.

    Attributes:
        number: the image's place among all usable ones.
        key: its key in its source.
        distance: bits of 128 between the two codes, in the nearer orientation.
        mirrored: whether that is the mirrored one.
        score: of verification (see `dedup.verification.verify.score_pairs`); None for equal bytes, which need none.
        same_bytes: whether the two have equal bytes.
        verified: whether it is a near-duplicate, and not just near.
    """

    number: int
    key: str
    distance: int
    mirrored: bool
    score: float | None
    same_bytes: bool
    verified: bool
