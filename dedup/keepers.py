"""Keepers: rows of images in; the total order that says which image of a group is kept out.

Serves the arrow "duplicate groups → clean shards". Pure.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError

POLICIES = ("largest", "first", "sharpest")


@dataclass(frozen=True, slots=True)
class Keeping:
    """Which image of a group is kept.

    Attributes:
        policy: "largest": most pixels, then most bytes, then the smallest key. "first": the smallest key. "sharpest":
            the one in best focus, then as "largest".
        prefer: name of a source whose images come before all others; "": of none.
    """

    policy: str = "largest"
    prefer: str = ""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(f"--keep is {self.policy!r}", hint=f"give one of: {', '.join(POLICIES)}")


def rank_images(rows: pa.Table, keeping: Keeping) -> npt.NDArray[np.int64]:
    """Rank images; of several the one of the lowest rank is kept.

    Args:
        rows: columns key, source, width, height, size_bytes and, for "sharpest", sharpness; keys differ.
        keeping: the policy.

    Returns:
        int64 (N,): 0 to N - 1, whatever the order of the rows.
    """
    columns = {"other": pc.not_equal(rows["source"], keeping.prefer) if keeping.prefer else None}
    columns["blurred"] = pc.negate(rows["sharpness"]) if keeping.policy == "sharpest" else None
    if keeping.policy != "first":
        pixels = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
        columns |= {"fewer_pixels": pc.negate(pixels), "fewer_bytes": pc.negate(rows["size_bytes"])}
    columns["key"] = rows["key"]
    order_by = {name: column for name, column in columns.items() if column is not None}
    order = pc.sort_indices(pa.table(order_by), [(name, "ascending") for name in order_by]).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank
