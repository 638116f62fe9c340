"""Folder: a publication in, a folder that `datasets.load_dataset` opens out.

Where the clean shards of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" go to
others instead of to training.
"""

import os
import shutil
from pathlib import Path

from pipelines.errors import ConfigError, disk_full_is_ours
from pipelines.manifest import MANIFEST_NAME
from pipelines.progress import Progress
from pipelines.publish.publication import CHECKSUMS, DATA, README, TABLES, Publication, refuse_damaged
from pipelines.store import Folder, hash_file, published


def write_folder(publication: Publication, target: Path, progress: Progress) -> bool:
    """Make ``target`` the folder of a publication: all of it or, after a kill, none.

    Shards are hard links where the disk allows it. A folder that was published before and left as it was is replaced.

    Returns:
        Whether there was anything to do: not where it holds this very publication.

    Raises:
        ConfigError: the folder holds something else.
        IntegrityError: a shard differs from its manifest.
        DiskFull: no space is left.
    """
    target = target.expanduser().resolve()
    before = target.with_name(f".old-{target.name}")
    if before.exists() and not target.exists():  # a kill came between the two renames below
        before.rename(target)
    present = _files_below(target)
    if present == {*publication.checksums(), CHECKSUMS} and _is_whole(publication, target, progress):
        return False
    if present:
        _require_published(target, present)
    shutil.rmtree(before, ignore_errors=True)
    parts = publication.shards.parts()
    with (
        disk_full_is_ours(target),
        published(target) as filling,
        progress.stage("publishing", total=len(parts), done=0) as advance,
    ):
        (filling / DATA).mkdir()
        for part in parts:
            for file, path in zip(part.shards[0].files, part.paths(""), strict=True):
                _place(path, filling / DATA / file.name, file.sha256)
            advance(part.records)
        for name, content in publication.small_files().items():
            (filling / name).write_bytes(content)
        if present:
            target.rename(before)
    shutil.rmtree(before, ignore_errors=True)
    return True


def require_outside(target: Path, root: Folder) -> None:
    """ConfigError where ``target`` lies in a data set's own folder, which its next run would tidy up."""
    if target.expanduser().resolve().is_relative_to(Path(str(root)).resolve()):
        raise ConfigError(f"{target} lies in the data set's own folder", hint="give a folder outside it with --to")


def _files_below(target: Path) -> set[str]:
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file", hint="give a folder with --to")
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}


def _is_whole(publication: Publication, target: Path, progress: Progress) -> bool:
    """Whether every file there is what it would be."""
    wanted = publication.checksums()
    if (target / CHECKSUMS).read_bytes() != publication.small_files()[CHECKSUMS]:
        return False
    with progress.stage("comparing", total=len(wanted), done=0) as advance:
        for name, sha256 in wanted.items():
            if hash_file(target / name) != sha256:
                return False
            advance(0)
    return True


def _require_published(target: Path, present: set[str]) -> None:
    """ConfigError unless every file there was published by us, and nobody changed those that people change."""
    hint = "give an empty folder with --to, or take away what is in this one"
    lines = (target / CHECKSUMS).read_text(errors="replace").splitlines() if CHECKSUMS in present else []
    sums = {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
    strange = sorted(present - {CHECKSUMS, *sums})
    if strange or f"{DATA}/{MANIFEST_NAME}" not in sums:
        raise ConfigError(
            f"{target} holds files that were not published by this: {(strange or sorted(present))[0]}", hint=hint
        )
    for name in sorted(present & {README, *TABLES}):
        if hash_file(target / name) != sums[name]:
            raise ConfigError(f"{target / name} was changed since it was published", hint=hint)


def _place(path: Path, to: Path, sha256: str) -> None:
    try:
        to.hardlink_to(path)
    except OSError:  # another disk, or one that knows no hard links
        shutil.copyfile(path, to)
        with to.open("rb+") as file:
            os.fsync(file.fileno())
    if hash_file(to) != sha256:
        refuse_damaged(path)
