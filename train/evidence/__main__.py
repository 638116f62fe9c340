"""Command: ``python -m train.evidence``. Findings in; a page of the paper's experiments, its figures beside ours, out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cli import Debug, Quiet, console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError
from train.evidence.page import collect, write_page

app = new_app("The paper's experiments on one page.")


@app.command()
def main(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA_ROOT", envvar="CLEANSHARDS_DATA", help="Folders to look for findings in.", show_default="data"
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The page; pictures go into a folder of its name.")] = Path(
        "docs/evidence.md"
    ),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write what train.probe, train.search and train.explore have found into one page of Markdown.

    Examples:

      python -m train.evidence

      python -m train.evidence data/demo data/portraits --out data/evidence.md
    """
    set_up_output(quiet=quiet)
    folders = roots or [Path("data")]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}", hint="give the data root, or a run's folder")
    found = collect(folders)
    if not found:
        raise ConfigError(
            f"there are no findings in {', '.join(map(str, folders))}",
            hint="run an experiment first, such as python -m train.explore walk RUN; or make evidence-demo",
        )
    write_page(found, out)
    console.print(f"{len(found)} findings: [b]{escape(str(out))}[/b]", soft_wrap=True)


if __name__ == "__main__":
    run_app(app, "python -m train.evidence")
