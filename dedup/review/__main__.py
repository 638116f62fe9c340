"""Command: ``python -m dedup.review DATASET``. A finished data set in; pages to see and judge it, in the browser, out.

Beside the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN": the paper
(section 4.1.1) says that "visual inspection of hash collisions" found few false ones; this is where anyone inspects.
"""

import os
import re
import secrets
import socket
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli import Debug, Quiet, SharedDataRoot, console, new_app, run_app, set_up_output
from pipelines.errors import ConfigError
from pipelines.registry import DEFAULT_FOLDER
from pipelines.store import Folder, local_path

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = ("", "0.0.0.0", "::")

app = new_app("Look at a finished data set and judge it, in the browser.")


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="A data set that python -m dedup.run has worked on.")],
    source: Annotated[
        list[str] | None,
        typer.Option(help="Where its images are now.", show_default="where they were when it was made"),
    ] = None,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    reviewer: Annotated[str, typer.Option(help="Who judges: the name of the file that judgements go to.")] = "reviewer",
    timed: Annotated[bool, typer.Option("--times/--no-times", help="Keep when each judgement was made.")] = True,
    near_misses: Annotated[
        bool, typer.Option("--near-misses", help="Begin with pairs that just failed: what is missed?")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the sample: another draws other pairs.", show_default="as before, or 0"),
    ] = None,
    merge: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="Take another person's file of judgements in, and end."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on, as browsers are to give it. Any but this one lets others in.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 0,
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """See what was decided about DATASET's images, and judge it.

    A page on this machine shows pairs of images that were taken for
    duplicates, drawn at random and without saying which one was kept. A
    hundred judgements by keyboard, in a few minutes, give the share that is
    false, with an exact interval; it goes to report.json, the report's page
    and the data card. Every judgement is kept at once, below
    [bold]DATA_ROOT/DATASET/review[/]; the same command goes on where it was.

    [bold]python -m dedup.run DATASET --apply-review[/] honours the judgements
    from then on.

    Examples:

      python -m dedup.review lsun_bedroom

      python -m dedup.review lsun_bedroom --near-misses --reviewer ann

      python -m dedup.review lsun_bedroom --merge bob.jsonl
    """
    set_up_output(quiet=quiet)
    try:
        import uvicorn

        from dedup.review.server import create_app
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the review needs {error.name}, which is not installed", hint="pip install 'cleanshards[review]'"
        ) from error
    from dedup.review.judging.judgements import merge as merge_judgements
    from dedup.review.judging.session import Session
    from dedup.review.judging.summary import FOLDER
    from dedup.review.reviewed import Reviewed

    root = data_root / dataset
    reviewed = Reviewed.open(root, source or (), data_root)
    if merge:
        for text in merge:
            name, path = _split_name(text)
            added = merge_judgements(local_path(root / FOLDER), path, name)
            console.print(f"{added:,} new judgements from {path}", soft_wrap=True)
        _bind(root)
        return
    session = Session(reviewed, reviewer, seed=seed, timed=timed)
    listener = _listen(host, port)
    address = f"{host}:{listener.getsockname()[1]}"
    hosts = frozenset({address, address.replace(LOOPBACK, "localhost")})
    token = secrets.token_urlsafe(24)
    url = f"http://{address}/{'near_misses' if near_misses else 'judge'}?token={token}"
    if not reviewed.has_source:
        console.print(
            "the source is not at hand: pages show 32×32 thumbnails; --source says where it is", style="yellow"
        )
    console.print(f"review of [bold]{dataset}[/]: {url}", soft_wrap=True)
    console.print("Ctrl-C ends it; every judgement is kept at once", style="dim")
    if host != LOOPBACK:
        console.print("others in the network can reach it: whoever has the address can judge", style="yellow")
    if opens and _has_screen():
        webbrowser.open(url)
    config = uvicorn.Config(create_app(session, hosts, token), log_level="warning", server_header=False)
    with suppress(KeyboardInterrupt):  # which is how a review ends
        uvicorn.Server(config).run(sockets=[listener])
    _bind(root)


def _bind(root: Folder) -> None:
    """Take what was said into the report; its parts import torch, which no page waits for."""
    from dedup.review.judging.binding import bind_review

    bind_review(root)


def _has_screen() -> bool:
    """Whether a browser can open a window; one of text would take the terminal, and run no script."""
    return sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


def _listen(host: str, port: int) -> socket.socket:
    if host in ANY_ADDRESS:
        raise ConfigError(
            f"--host {host} names no host that a browser could ask for", hint="give this machine's address or name"
        )
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror})", hint="give another --port, or 0 for one that is free"
        ) from error
    # Its connections inherit it. Without, an answer's second packet waits 40 ms until the browser has seen the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _split_name(text: str) -> tuple[str | None, Path]:
    """The name that ``NAME=FILE`` gives, and the file."""
    name, equals, path = text.partition("=")
    if equals and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)


if __name__ == "__main__":
    run_app(app, "python -m dedup.review")
