"""Registry: datasets.toml in, a `DatasetSpec` per data set out; knows where each source lies and how to get it there.

It opens the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN": a name
on the command line becomes a source. `datasets.toml` beside this file ships; one in the working directory adds to it
and overrides it.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rich.filesize import decimal as format_bytes

from pipelines.errors import ConfigError, SourceError
from pipelines.sources import Member, SeveralSources, Source, open_source
from pipelines.sources.base import expand
from pipelines.store import Folder, LocalFolder, open_root

SHIPPED = Path(__file__).with_name("datasets.toml")
LOCAL_NAME = "datasets.toml"
DEFAULT_DATA_ROOT = Path("data")
DEFAULT_FOLDER = LocalFolder(DEFAULT_DATA_ROOT)
FAMILY, MEMBERS = "family", "members"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
RENDERED = ("rooms", "portraits")  # by `pipelines.synthetic` and `pipelines.synthetic_portraits`
SHA256 = re.compile(r"[0-9a-f]{64}")
PATTERN_SUFFIXES = {"parquet": ".parquet", "webdataset": ".tar"}  # schemes whose path may be a pattern

Entries = dict[str, dict[str, Any]]  # fields by data set, as they stand in a file


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One data set of the registry. Raises ValueError, which begins with the field, where a field is wrong.

    Attributes:
        name: what commands call it, and its folder below the data root.
        description: one line: what it shows.
        source: where its images lie, ``scheme:path``; a relative path starts at the data set's folder.
        url: a zip that holds the ``data.mdb`` of an ``lmdb:`` source; empty where there is nothing to download.
        size_bytes: size of the download: exact where ``sha256`` is known, otherwise about; 0 where unknown.
        sha256: of the download, hex; empty where unknown.
        images: how many there are; 0 where unknown.
        pictures: their size and crop, in words.
        terms: on what terms they may be used, in words.
        obtain: how to get what has no ``url``, in words.
        rendered: which of `RENDERED` it is, where this machine renders it on the spot; else empty.
    """

    name: str
    description: str
    source: str
    url: str = ""
    size_bytes: int = 0
    sha256: str = ""
    images: int = 0
    pictures: str = ""
    terms: str = ""
    obtain: str = ""
    rendered: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError("name: letters, digits, '_', '-' and '.' only, for it is a folder's name too")
        if not self.description:
            raise ValueError("description: say in a line what it shows")
        try:
            open_source(self.source)
        except ConfigError as error:
            raise ValueError(f"source: {error.message}; {error.hint}") from error
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: {self.url!r} begins neither with http:// nor with https://")
        if self.url and self.scheme != "lmdb":
            raise ValueError("url: only an lmdb: source can be downloaded; say in 'obtain' how to get this one")
        if self.sha256 and not SHA256.fullmatch(self.sha256):
            raise ValueError("sha256: must be 64 digits of lower-case hex")
        if self.rendered and self.rendered not in RENDERED:
            raise ValueError(f"rendered: {self.rendered!r} is none of {', '.join(RENDERED)}")
        if self.size_bytes < 0 or self.images < 0:
            raise ValueError(f"{'size_bytes' if self.size_bytes < 0 else 'images'}: must not be negative")

    @property
    def scheme(self) -> str:
        """The source's scheme, such as ``lmdb``."""
        return self.source.partition(":")[0]

    @property
    def size_is_exact(self) -> bool:
        """Whether ``size_bytes`` is to the byte what the publisher's file holds."""
        return bool(self.sha256 and self.size_bytes)

    def path(self, data_root: Path) -> Path:
        """Where the source lies; of a ``parquet:`` or ``webdataset:`` source, perhaps a pattern."""
        return data_root / self.name / self.source.partition(":")[2]

    def uri(self, data_root: Path) -> str:
        """The source's URI, resolved below the data root."""
        return f"{self.scheme}:{self.path(data_root)}"

    def is_on_disk(self, data_root: Path) -> bool:
        """Whether there is anything where the source should lie."""
        path = self.path(data_root)
        if self.scheme not in PATTERN_SUFFIXES:
            return path.exists()
        try:
            return bool(expand(str(path), PATTERN_SUFFIXES[self.scheme]))
        except SourceError:
            return False


@dataclass(frozen=True, slots=True)
class Registry:
    """All data sets that have a name, in the order of the files; ``files`` are those they were read from."""

    datasets: Mapping[str, DatasetSpec]
    files: tuple[Path, ...]

    def __iter__(self) -> Iterator[DatasetSpec]:
        return iter(self.datasets.values())

    def dataset(self, name: str) -> DatasetSpec:
        """The data set of that name; ConfigError with the closest names where there is none."""
        if name in self.datasets:
            return self.datasets[name]
        close = get_close_matches(name, self.datasets, n=2, cutoff=0.7)
        meant = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ConfigError(
            f"no data set is called {name!r}{meant}",
            hint="python -m pipelines.run list shows all names; --source URI reads images that have none",
        )


def load_registry(folder: Path | None = None) -> Registry:
    """Read the registry that ships and, where there is one, the ``datasets.toml`` in ``folder``.

    Args:
        folder: where to look for the second file; the working directory unless given.

    Raises:
        ConfigError: a file is no TOML, or a field is unknown, missing or wrong; names the file and the field.
    """
    local = (folder or Path()) / LOCAL_NAME
    files = (SHIPPED, local) if local.is_file() else (SHIPPED,)
    merged: Entries = {}
    written_in: dict[str, Path] = {}
    for file in files:
        for name, entry in _read_entries(file).items():
            merged[name] = merged.get(name, {}) | entry
            written_in[name] = file
    return Registry({name: _make_spec(name, entry, written_in[name]) for name, entry in merged.items()}, files)


def locate_source(
    name: str, source_uri: str | None, data_root: Folder | Path, registry: Registry | None = None
) -> Source:
    """The source of a data set that a command names.

    Args:
        name: a name of the registry; with ``source_uri`` any name, for then it names the folder alone.
        source_uri: what ``--source`` gave.
        data_root: folder that holds a folder per data set.
        registry: the names; `load_registry` of the working directory unless given.

    Raises:
        ConfigError: no such name, or one that cannot name a folder, or a URI of an unknown scheme.
        SourceError: the data set has a name, and nothing of it is on disk; the hint says how to get it.
    """
    if source_uri is not None:
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a data set", hint="use letters, digits, '_', '-' and '.': it names a folder"
            )
        return open_source(source_uri)
    spec, folder = (registry or load_registry()).dataset(name), open_root(data_root)
    if not isinstance(folder, LocalFolder):
        raise ConfigError(
            f"the source of {name} is not below {folder}: it is read from a disk",
            hint=f"say where it lies: --source {spec.scheme}:PATH",
        )
    if not spec.is_on_disk(folder.path):
        raise SourceError(
            f"{name} is not on disk: there is no {spec.path(folder.path)}", hint=how_to_get(spec, folder.path)
        )
    return open_source(spec.uri(folder.path))


def locate_sources(name: str, uris: Sequence[str], data_root: Folder | Path) -> SeveralSources:
    """The sources of a data set, one after another: what ``--source URI`` or ``--source LABEL=URI`` gave, or its own.

    Raises:
        ConfigError, SourceError: see `locate_source`; or two of the labels are equal.
    """
    if not uris:
        return SeveralSources((Member(locate_source(name, None, data_root)),))
    members = []
    for text in uris:
        label, _, uri = text.partition("=") if NAME.fullmatch(text.partition("=")[0]) else ("", "", text)
        members.append(Member(locate_source(name, uri, data_root), label))
    labels = [member.label for member in members if member.label]
    if len(set(labels)) < len(labels):
        raise ConfigError(f"two sources are called {max(labels, key=labels.count)}", hint="give each its own name")
    return SeveralSources(tuple(members))


def how_to_get(spec: DatasetSpec, data_root: Path) -> str:
    """What to do, and how large it is, where a data set is not on disk."""
    where = "" if data_root == DEFAULT_DATA_ROOT else f" --data-root {data_root}"
    command = f"python -m pipelines.run download {spec.name}{where}"
    if spec.rendered:
        return f"run: {command} (renders it here; no network is needed)"
    if spec.url:
        return f"run: {command} ({describe_download(spec)})"
    return spec.obtain or f"put it there, or change its source in {LOCAL_NAME}"


def describe_download(spec: DatasetSpec) -> str:
    """A download's size and number of images, as far as they are known."""
    about = "" if spec.size_is_exact else "about "
    size = f"{about}{format_bytes(spec.size_bytes)} to download" if spec.size_bytes else "size unknown"
    return f"{size}, {spec.images:,} images" if spec.images else size


def _read_entries(file: Path) -> Entries:
    """A file's entries, those of its families written out."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML ({error})", hint=f"the head of {SHIPPED} shows an entry") from error
    entries: Entries = {}
    for name in _tables(content, str(file)):
        read = _expand_families(content[name], file) if name == FAMILY else {name: content[name]}
        entries |= {name: entries.get(name, {}) | entry for name, entry in read.items()}
    return entries


def _expand_families(families: dict[str, Any], file: Path) -> Entries:
    """An entry for each member of each family: the family's fields, ``{member}`` filled in, then the member's own."""
    entries: Entries = {}
    for family in _tables(families, f"{file}: [{FAMILY}]"):
        template = families[family]
        if not isinstance(template.get("name"), str) or "{member}" not in template["name"]:
            raise ConfigError(
                f"{file}: [{FAMILY}.{family}] name must hold {{member}}", hint='such as name = "lsun_{member}"'
            )
        members = template.get(MEMBERS, {})
        for member in _tables(members, f"{file}: [{FAMILY}.{family}.{MEMBERS}]"):
            entry = {field: _fill(value, member) for field, value in template.items() if field != MEMBERS}
            name = entry.pop("name")
            entries[name] = entry | members[member]
    return entries


def _tables(value: Any, where: str) -> list[str]:
    """The keys of a table of tables; ConfigError where it is something else."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table", hint=f"the head of {SHIPPED} shows an entry")
    for key, inner in value.items():
        if not isinstance(inner, dict):
            raise ConfigError(f"{where} {key} must be a table", hint=f"the head of {SHIPPED} shows an entry")
    return list(value)


def _fill(value: Any, member: str) -> Any:
    return value.replace("{member}", member) if isinstance(value, str) else value


def _make_spec(name: str, entry: dict[str, Any], file: Path) -> DatasetSpec:
    """Check names and types of the fields as TOML gave them, and leave the rest to `DatasetSpec`."""
    where = f"{file}: [{name}]"
    known = {field.name: field for field in fields(DatasetSpec) if field.name != "name"}
    for field, value in entry.items():
        if field not in known:
            raise ConfigError(f"{where} {field} is no known field", hint=f"the fields are {', '.join(known)}")
        kind = known[field].type
        if type(value) is not kind:
            expected = {str: "a string", int: "a whole number"}[kind]  # type: ignore[index]
            raise ConfigError(f"{where} {field} must be {expected}, not {value!r}", hint=f"change it in {file}")
    for field, definition in known.items():
        if definition.default is MISSING and field not in entry:
            raise ConfigError(f"{where} {field} is missing", hint=f"the head of {SHIPPED} shows an entry")
    try:
        return DatasetSpec(name, **entry)
    except ValueError as error:
        raise ConfigError(f"{where} {error}", hint=f"change it in {file}") from error
