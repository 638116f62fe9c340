"""Publication: a finished data set in; which files strangers are given of it, out.

It stands behind the clean shards of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards →
DCGAN". `pipelines.publish.folder` makes the files a folder that `datasets.load_dataset` opens, `pipelines.publish.hub`
a repository of the Hugging Face Hub; no path of this machine stands in them::

    README.md            the card
    data/NNNNN.tar       the images; data/NNNNN.parquet beside each, and data/manifest.json: shards:DIR/data reads them
    duplicates.parquet   what was dropped, and for what
    rejected.parquet     what cannot be used, and why
    SHA256SUMS           of all of these, as sha256sum checks them
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pyarrow.parquet as pq

from pipelines.errors import ConfigError, IntegrityError, SourceError
from pipelines.manifest import MANIFEST_NAME, Manifest
from pipelines.progress import Progress
from pipelines.record import Record, Scalar
from pipelines.shards import COLUMNS, read_records
from pipelines.store import Folder

CARD_NAME, REPORT_NAME = "card.md", "report.json"  # in the data set's folder, beside the stages
CLEAN, GROUPS = "clean", "groups"
README, DATA, CHECKSUMS = "README.md", "data", "SHA256SUMS"  # in what is published
SUFFIXES = (".tar", ".parquet")
TABLES = ("duplicates.parquet", "rejected.parquet")
FRONT_MATTER_ENDS = "\n---\n"
INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published.

    Attributes:
        dataset: its name.
        shards: tars and parquets, which go to ``data/``.
        contents: every other file but ``SHA256SUMS``, by its name.
    """

    dataset: str
    shards: Manifest
    contents: Mapping[str, bytes]

    @property
    def images(self) -> int:
        """How many images there are."""
        return self.shards.records

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        stored = sum(file.size_bytes for shard in self.shards.shards for file in shard.files)
        return stored + sum(map(len, self.small_files().values()))

    def checksums(self) -> dict[str, str]:
        """SHA-256 (hex) of every file but ``SHA256SUMS``, by its name."""
        stored = {f"{DATA}/{file.name}": file.sha256 for shard in self.shards.shards for file in shard.files}
        return stored | {name: hashlib.sha256(content).hexdigest() for name, content in self.contents.items()}

    def small_files(self) -> dict[str, bytes]:
        """``contents`` and ``SHA256SUMS``."""
        lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(self.checksums().items())]
        return {**self.contents, CHECKSUMS: "".join(lines).encode()}


def open_publication(root: Folder) -> Publication:
    """What of a data set's folder would be published; reads manifests, card and tables, but no image.

    Raises:
        SourceError: the data set is not finished, or its parts are not of one run.
        IntegrityError: a file is missing or differs from its manifest.
    """
    clean, groups, card = _read_run(root)
    if not clean.records:
        raise SourceError(f"{root} holds no image", hint="its report says why; give the sources again")
    public = [tuple(file for file in shard.files if file.name.endswith(SUFFIXES)) for shard in clean.shards]
    shards = replace(
        clean, shards=tuple(replace(shard, files=files) for shard, files in zip(clean.shards, public, strict=True))
    )
    contents = {README: card, f"{DATA}/{MANIFEST_NAME}": shards.encode()}
    for shard in groups.shards:
        for file in shard.files:
            if file.name in TABLES:
                contents[file.name] = _read_checked(groups.path(file.name), file.sha256)
    return Publication(root.name, shards, contents)


def find_columns(publication: Publication) -> list[str]:
    """The fields of the sources' metadata, by the shards' parquets; in order of the alphabet."""
    names = {name for path in publication.shards.paths(".parquet") for name in pq.read_schema(path).names}
    return sorted(names - set(COLUMNS.names))


def describe_metadata(publication: Publication, private: Sequence[str], progress: Progress) -> Publication:
    """The same publication with the metadata's types in its card, without which readers guess them by the first images.

    Args:
        publication: of `open_publication`.
        private: folders of this machine, such as the user's home.
        progress: is told the shards.

    Raises:
        ConfigError: a text of the metadata is a path in one of these folders.
    """
    kinds: dict[str, set[type]] = {}
    parts = publication.shards.parts()
    with progress.stage("metadata", total=len(parts), done=0) as advance:
        for part in parts:
            for record in read_records(part):
                _require_public(record, private)
                for name, value in record.meta.items():
                    kinds.setdefault(name, set()).add(_kind(value))
            advance(part.records)
    card = add_features(
        publication.contents[README].decode(), {name: choose_dtype(kinds[name]) for name in sorted(kinds)}
    )
    return replace(publication, contents={**publication.contents, README: card.encode()})


def add_features(card: str, dtypes: Mapping[str, str]) -> str:
    """A card whose front matter says the columns that `datasets.load_dataset` gives.

    Args:
        card: front matter and text.
        dtypes: of the metadata's fields, by name; they become the column ``json``, which is null for an image that
            has none.
    """
    lines = ["dataset_info:", "  features:", "  - name: jpg", "    dtype: image"]
    if dtypes:
        lines += ["  - name: json", "    struct:"]
        for name, dtype in dtypes.items():
            lines += [f"    - name: {quote_yaml(name)}", f"      dtype: {dtype}"]
    for name in ("__key__", "__url__"):
        lines += [f"  - name: {name}", "    dtype: string"]
    head, end, text = card.partition(FRONT_MATTER_ENDS)
    return "\n".join([head, *lines]) + end + text


def choose_dtype(kinds: Iterable[type]) -> str:
    """The type of a field of the metadata: text where its values are of several."""
    some = set(kinds) - {type(None)}
    if some == {bool}:
        return "bool"
    if some == {int}:
        return "int64"
    return "float64" if some and some <= {int, float} else "string"


def quote_yaml(text: str) -> str:
    """A text as a YAML scalar: what JSON calls a string, with what YAML does not take in the open escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)


def _read_run(root: Folder) -> tuple[Manifest, Manifest, bytes]:
    """Shards, tables and card of one and the same run; see `open_publication`."""
    hint = f"run python -m dedup.run {root.name} again, with the options that it was made with"
    needed = ((root / CLEAN, MANIFEST_NAME), (root / GROUPS, MANIFEST_NAME), (root, REPORT_NAME), (root, CARD_NAME))
    for folder, name in needed:
        if name not in folder.names():
            raise SourceError(f"{root} cannot be published yet: there is no {folder / name}", hint=hint)
    clean, groups = Manifest.load(root / CLEAN), Manifest.load(root / GROUPS)
    report, card = json.loads(root.read(REPORT_NAME)), root.read(CARD_NAME)
    told = (report["fingerprint"], report["kept"], clean.lineage.get(GROUPS))
    if told != (clean.fingerprint, clean.records, groups.digest) or clean.fingerprint.encode() not in card:
        raise SourceError(f"shards, tables and card of {root} are not of one run", hint=hint)
    return clean, groups, card


def refuse_damaged(path: Path) -> NoReturn:
    """Raise IntegrityError: the file is not what its manifest says."""
    raise IntegrityError(
        f"{path} differs from its manifest", hint="remove it: the command that made it makes what is missing"
    )


def _read_checked(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        refuse_damaged(path)
    return content


def _kind(value: Scalar) -> type:
    return str if isinstance(value, int) and value not in INT64 else type(value)


def _require_public(record: Record, private: Sequence[str]) -> None:
    for name, value in record.meta.items():
        if isinstance(value, str) and value.removeprefix("file://").startswith(tuple(private)):
            raise ConfigError(
                f"the metadata {name!r} of image {record.key} would show a path of this machine: {value}",
                hint="take it out of the source, and run python -m dedup.run again",
            )
