"""Several sources read as one, in the order in which they are given: how a data set grows."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from pipelines.manifest import digest_of
from pipelines.record import Record
from pipelines.sources.base import Source, Split, digest_split, pick_records


@dataclass(frozen=True, slots=True)
class Member:
    """A source among several.

    Attributes:
        source: the images.
        label: what it is called; its records' keys begin with ``<label>/``. "": they stay as they are.
    """

    source: Source
    label: str = ""

    @property
    def name(self) -> str:
        """The label, or the source's own name."""
        return self.label or self.source.name


@dataclass(frozen=True, slots=True)
class SeveralSources:
    """Sources one after another. A split is one of a member's, and stays as it is when a member is added at the end."""

    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """See `Source`."""
        return " + ".join(member.name for member in self.members)

    def digest(self) -> str:
        """Of the members' digests and labels, in order."""
        return digest_of([[member.label, member.source.digest()] for member in self.members])

    def splits(self, size: int | None = None) -> Sequence[Split]:
        """The members' splits, one member after another."""
        return [
            replace(split, where=(index, *split.where), digest=digest_split(member.source, split), source=member.name)
            for index, member in enumerate(self.members)
            for split in member.source.splits(size)
        ]

    def read(self, split: Split) -> Iterator[Record]:
        """Read a member's split."""
        member = self.members[int(split.where[0])]
        for record in member.source.read(replace(split, where=split.where[1:])):
            yield replace(record, key=f"{member.label}/{record.key}") if member.label else record

    def pick(self, split: Split, keys: Set[str]) -> Iterator[Record]:
        """Pick them from the member that the split is of."""
        member = self.members[int(split.where[0])]
        label = f"{member.label}/" if member.label else ""
        own = {key.removeprefix(label) for key in keys if key.startswith(label)}
        for record in pick_records(member.source, replace(split, where=split.where[1:]), own):
            yield replace(record, key=f"{label}{record.key}")
