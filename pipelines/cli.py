"""What all commands share: common options, consoles, and errors as one line with a hint."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pipelines.errors import CleanshardsError, disk_full, is_disk_full
from pipelines.progress import ConsoleProgress, Progress, SilentProgress
from pipelines.store import Folder, local_path, open_root

USAGE = 2
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended

console = Console(highlight=False, emoji=False)
error_console = Console(stderr=True, highlight=False, emoji=False)


def _open_local(root: str | Path | Folder) -> Path:
    return local_path(open_root(root))


DataRoot = Annotated[
    Path,
    typer.Option(
        "--data-root",
        envvar="CLEANSHARDS_DATA",
        parser=_open_local,
        metavar="FOLDER",
        help="Folder that holds a folder per data set.",
    ),
]
SharedDataRoot = Annotated[
    Folder,
    typer.Option(
        "--data-root",
        envvar="CLEANSHARDS_DATA",
        parser=open_root,
        metavar="FOLDER|URL",
        help="Folder, or URL such as s3://BUCKET/PREFIX, that holds a folder per data set.",
    ),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes.", show_default="one per core")]
Engine = Annotated[str, typer.Option("--executor", help="Where tasks run: local (processes of this machine) or ray.")]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", help="Of a running Ray cluster, with --executor ray; else it starts one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and what is done already; do nothing.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.", rich_help_panel="Output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel="Output")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.", rich_help_panel="Output")]


def set_up_output(*, verbose: bool = False, quiet: bool = False) -> Progress:
    """Apply ``-v`` and ``--quiet`` to consoles and logging; returns where stages report their progress."""
    console.quiet = quiet
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=error_console, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)
    return SilentProgress() if quiet else ConsoleProgress(error_console)


@contextmanager
def rendering_bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar of pictures that are rendered, which shows itself at the first; call what it yields with (done, total)."""
    columns = (TextColumn("  rendering   "), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=error_console, disable=quiet) as bars:
        bar = bars.add_task("rendering", total=None, visible=False)

        def show(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total, visible=True)
            if done == total:
                bars.stop()

        yield show


def new_app(help_text: str) -> typer.Typer:
    """A command-line application whose errors `run_app` reports."""
    return typer.Typer(help=help_text, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=True)


def run_app(app: typer.Typer, name: str) -> None:
    """Run an application and end the process: with 0, or with one line on stderr that says what, where, what to try."""
    try:
        code = app(prog_name=name, standalone_mode=False) or 0
    except Exception as error:
        if "--debug" in sys.argv:  # as typed: what failed may be the parsing itself
            error_console.print_exception()
        code = _report(error)
    if code == INTERRUPTED:  # typer turns Ctrl-C into this exit code, and says nothing
        _print_error("stopped", "the same command goes on where it was")
    sys.exit(code)


def _report(error: Exception) -> int:
    """Print an error as one line and a hint; returns the exit code."""
    match error:
        case typer.Abort():
            return INTERRUPTED
        case CleanshardsError():
            _print_error(error.message, error.hint)
        case OSError() if is_disk_full(error):
            full = disk_full(error.filename or ".")
            _print_error(full.message, full.hint)
        case OSError():
            _print_error(str(error), "check that the path exists and may be read and written")
        case _ if hasattr(error, "format_message"):  # typer's usage errors; their base class has no public name
            _print_error(error.format_message(), "--help lists what can be given")
            return USAGE
        case _:
            _print_error(
                f"unexpected {type(error).__name__}: {error}", "run again with --debug for the traceback, and report it"
            )
    return 1


def _print_error(message: str, hint: str) -> None:
    line = " ".join(message.split())
    error_console.print(f"[bold red]error:[/] {escape(line)}", soft_wrap=True)
    if hint:
        error_console.print(f"[bold]hint:[/] {escape(hint)}", soft_wrap=True)
