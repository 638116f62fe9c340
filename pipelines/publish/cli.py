"""Command: ``python -m pipelines.run publish``. A finished data set in; a folder or a repository for others out.

See `pipelines.publish.publication` for where it stands and what is in it.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal as format_bytes
from rich.markup import escape

from pipelines.cli import Debug, DryRun, Quiet, SharedDataRoot, Verbose, console, set_up_output
from pipelines.errors import ConfigError
from pipelines.publish.folder import require_outside, write_folder
from pipelines.publish.hub import SCHEME, Repository, open_repository, require_token, upload
from pipelines.publish.publication import Publication, describe_metadata, find_columns, open_publication
from pipelines.registry import DEFAULT_FOLDER
from pipelines.stage import dataset_lock


def publish(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A data set that `python -m dedup.run` has finished.")],
    to: Annotated[
        str,
        typer.Option("--to", metavar="DIR|hf://datasets/USER/NAME", help="A new folder, or a repository of the Hub."),
    ],
    private: Annotated[
        bool,
        typer.Option(
            "--private/--public",
            help="Who may see a repository that is made. Private unless you say otherwise: what was public once cannot "
            "be taken back.",
        ),
    ] = True,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Hand a de-duplicated data set on: as a folder that `datasets.load_dataset` opens, or on the Hugging Face Hub.

    The clean shards, their tables and the data set's card; no path of this
    machine. On a disk that knows hard links a folder takes no more room.

    The folder is there as a whole or not at all, and the repository changes
    by one commit; after a stop the same command goes on. A token for the Hub
    is what `hf auth login` left, or HF_TOKEN.

    Examples:

      python -m pipelines.run publish rooms --to /mnt/big/rooms_clean

      python -m pipelines.run publish rooms --to hf://datasets/me/rooms --dry-run
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    root = data_root / name
    target = _open_target(to)
    if isinstance(target, Path):
        require_outside(target, root)
    publication = open_publication(root)
    if dry_run:
        _print_plan(publication, target, private)
        return
    if isinstance(target, Repository):
        require_token()
    with dataset_lock(root, f"python -m pipelines.run {shlex.join(sys.argv[1:])}"):
        publication = open_publication(root)
        publication = describe_metadata(
            publication, [f"{Path.home()}/", f"{Path(str(data_root)).resolve()}/"], progress
        )
        if isinstance(target, Path):
            changed, where, seen = write_folder(publication, target, progress), str(target), ""
        else:
            done = upload(publication, target, private=private, progress=progress)
            changed, where, seen = done.changed, done.url, "private" if done.private else "public"
    state = "" if changed else ", as they were already"
    console.print(
        f"{publication.images:,} images in [bold]{escape(where)}[/]{f' ({seen})' if seen else ''}{state}",
        soft_wrap=True,
    )
    opened = str(target) if isinstance(target, Path) else target.name
    console.print(f'datasets.load_dataset("{opened}", split="train")', markup=False, soft_wrap=True)


def _open_target(to: str) -> Path | Repository:
    if to.startswith(SCHEME):
        return open_repository(to)
    if "://" in to:
        raise ConfigError(f"nothing can be published to {to}", hint="give a folder, or hf://datasets/USER/NAME")
    return Path(to)


def _print_plan(publication: Publication, target: Path | Repository, private: bool) -> None:
    seen = "" if isinstance(target, Path) else f", {'private' if private else 'public'}"
    columns = ", ".join(find_columns(publication)) or "none"
    files = len(publication.checksums()) + 1
    console.print(f"would publish {target}{seen}", markup=False, soft_wrap=True)
    size = format_bytes(publication.size_bytes)
    console.print(f"{publication.images:,} images, {files:,} files, {size}", markup=False, soft_wrap=True)
    console.print(f"metadata of the sources that goes with them: {columns}", markup=False, soft_wrap=True)
