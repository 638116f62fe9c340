"""Record: one image on its way from a source to a clean shard, still encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a source.

    Attributes:
        key: identity, unique within its source; positions change, keys survive.
        image: the encoded bytes; never re-encoded on the way to clean shards. Empty where the source holds none.
        meta: what the source knows beside (``label``, ``url``, …); columns of the parquet beside a shard.
    """

    key: str
    image: bytes
    meta: Mapping[str, Scalar] = field(default_factory=dict)
