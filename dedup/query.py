"""Command: ``python -m dedup.query DATASET IMAGE…``. Pictures in; their near-duplicates in a finished data set out.

Beside the arrow "128-bit semantic codes → duplicate groups" of "source → thumbnails → 128-bit semantic codes →
duplicate groups → clean shards → DCGAN".
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.cli import Debug, SharedDataRoot, console, error_console, new_app, run_app, set_up_output
from pipelines.errors import SourceError
from pipelines.images import ImageRejected
from pipelines.registry import DEFAULT_FOLDER
from pipelines.sources import open_source

if TYPE_CHECKING:
    from dedup.comparison.match import Match

STANDARD_INPUT = "-"


app = new_app("Find an image's near-duplicates in a data set.")


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="A data set that python -m dedup.run has worked on.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Image files, folders of them, or - for an image's bytes.")
    ],
    nearest: Annotated[
        int, typer.Option("--all", min=0, metavar="K", help="Show the K nearest, near-duplicates or not.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list with an entry per image.")] = False,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    debug: Debug = False,
) -> None:
    """Find the near-duplicates of images in DATASET, the surest first, in milliseconds each.

    Nothing is built for it: the codes that [bold]python -m dedup.run[/] has left are read
    where they lie. An image's score is that of verification, its distance the
    bits of 128 in which the two codes differ.

    The exit code is 0 whether something was found or not. With --json each
    image has an entry with "image", "matches" and "rejected": why it could not
    be read, or null.

    Examples:

      python -m dedup.query lsun_bedroom room.jpg

      python -m dedup.query lsun_bedroom samples/ --all 3 --json

      curl -s https://example.org/room.jpg | python -m dedup.query lsun_bedroom -
    """
    set_up_output()
    # torch takes seconds to import: not for --help.
    from dedup.comparison.index import Index

    index = Index.open(data_root / dataset)
    answers: list[dict[str, Any]] = []
    for name, content in _read_images(images):
        try:
            matches, rejected = index.query(content, at_least=nearest), None
        except ImageRejected as error:
            matches, rejected = [], error.reason.value
        if as_json:
            answers.append({"image": name, "matches": [_row(match) for match in matches], "rejected": rejected})
        else:
            _print_matches(name, matches, rejected)
    if as_json:
        sys.stdout.write(json.dumps(answers, indent=1) + "\n")


def _row(match: "Match") -> dict[str, Any]:
    """A match as JSON has it: by its key, for numbers are of one run."""
    return {name: value for name, value in asdict(match).items() if name != "number"}


def _read_images(names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each image's name and bytes.

    Raises:
        SourceError: there is no such file, or no image in a folder.
    """
    for name in names:
        path = Path(name)
        if name == STANDARD_INPUT:
            yield name, sys.stdin.buffer.read()
        elif path.is_dir():
            source = open_source(f"folder:{path}")
            for record in (record for split in source.splits() for record in source.read(split)):
                yield str(path / record.key), record.image
        elif path.is_file():
            yield name, path.read_bytes()
        else:
            raise SourceError(f"no image at {path}", hint="give image files, folders of them, or - for standard input")


def _print_matches(name: str, matches: "Sequence[Match]", rejected: str | None) -> None:
    """A line for the image, and one for each of its matches."""
    if rejected:
        error_console.print(f"[bold]{escape(name)}[/]: cannot be used: {rejected.replace('_', ' ')}", soft_wrap=True)
        return
    found = sum(match.verified for match in matches)
    says = f"{found:,} near-duplicate{'' if found == 1 else 's'}" if found else "no near-duplicate"
    console.print(f"[bold]{escape(name)}[/]: {says}", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for match in matches:
        note = "same bytes" if match.same_bytes else f"score {match.score:.1f}"
        mark = "[green]near-duplicate[/]" if match.verified else "[dim]near only[/]"
        turned = "mirrored" if match.mirrored else ""
        table.add_row(f"  {escape(match.key)}", f"{match.distance} bits", note, turned, mark)
    if matches:
        console.print(table)


if __name__ == "__main__":
    run_app(app, "python -m dedup.query")
