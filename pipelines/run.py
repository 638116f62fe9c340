"""Command: ``python -m pipelines.run list | download | verify | publish``. A name in; a data set's source on disk out.

Where the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN" begins:
see which data sets have a name and what of them is on disk, fetch one, and check what is finished.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal as format_bytes
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from pipelines.cli import (
    DataRoot,
    Debug,
    DryRun,
    Quiet,
    SharedDataRoot,
    Verbose,
    console,
    error_console,
    new_app,
    rendering_bar,
    run_app,
    set_up_output,
)
from pipelines.download import Report
from pipelines.errors import ConfigError, IntegrityError, SourceError
from pipelines.lsun import download_lmdb, plan_download
from pipelines.manifest import MANIFEST_NAME, Manifest
from pipelines.publish.cli import publish
from pipelines.registry import (
    DEFAULT_DATA_ROOT,
    DEFAULT_FOLDER,
    DatasetSpec,
    describe_download,
    how_to_get,
    load_registry,
)
from pipelines.sources import open_source
from pipelines.stage import dataset_lock
from pipelines.store import Folder, LocalFolder, open_root

CLEAN = "clean"  # the stage that de-duplication ends with

app = new_app(
    "See, fetch and check data sets: where every pipeline starts.\n\n"
    "A data set is an entry of the registry: LSUN's scenes and objects, ImageNet-1k, CIFAR-10, two that are rendered "
    "here. A file [bold]datasets.toml[/] in the working directory adds your own and overrides what ships."
)


@app.command("list")
def list_datasets(
    name: Annotated[str | None, typer.Argument(help="Say all about this one.", show_default="all, a line each")] = None,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    debug: Debug = False,
) -> None:
    """Show the data sets that have a name, how large they are, and what of them is on disk.

    [bold]raw[/]: a source that can be read; [bold]clean[/]: what de-duplication has made of it.

    Examples:

      python -m pipelines.run list

      python -m pipelines.run list lsun_bedroom
    """
    set_up_output()
    registry = load_registry()
    if name is None:
        _print_all(list(registry), data_root)
    else:
        _print_one(registry.dataset(name), data_root)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="A name that `list` shows.")],
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    keep_zip: Annotated[
        bool, typer.Option("--keep-zip", help="Leave the publisher's zip beside what it held.")
    ] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fetch a data set from its publisher, or render one that is made here: demo or portraits.

    A stopped download goes on where it was when the same command is given
    again. The free space is checked first; then the size, the SHA-256 and the
    checksums within the zip, and the number of images. Nothing half-done ever
    stands under its final name.

    Examples:

      python -m pipelines.run download demo

      python -m pipelines.run download lsun_church_outdoor --data-root /mnt/big
    """
    set_up_output(verbose=verbose, quiet=quiet)
    spec = load_registry().dataset(name)
    path = spec.path(data_root)
    if not (spec.url or spec.rendered):
        raise ConfigError(f"{name} cannot be downloaded", hint=f"{how_to_get(spec, data_root)} (there: {path})")
    if dry_run:
        _print_plan(spec, data_root)
        return
    with dataset_lock(data_root / name, f"python -m pipelines.run download {name}"):
        if spec.rendered:
            images = _render(spec, data_root, quiet)
        else:
            with _progress_bars(quiet) as report:
                images = download_lmdb(spec, data_root, keep_zip=keep_zip, report=report)
    console.print(f"{images:,} images in [bold]{escape(str(path))}[/]", soft_wrap=True)
    # Faces that look one way have codes close together, though each is another person's.
    radius = " --radius 2" if spec.rendered == "portraits" else ""
    console.print(f"next: python -m dedup.run {name}{radius}{_root_option(data_root)}", soft_wrap=True)


@app.command()
def verify(
    name_or_folder: Annotated[
        str, typer.Argument(metavar="NAME|FOLDER|URL", help="A data set's name, or any folder or URL.")
    ],
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Hash every finished file of a data set again, and say which differ from their manifests.

    Ends with exit code 1 where one does.

    Examples:

      python -m pipelines.run verify lsun_bedroom

      python -m pipelines.run verify /mnt/big/lsun_bedroom/clean
    """
    set_up_output(quiet=quiet)
    folder = data_root / name_or_folder
    if not folder.names():
        folder = open_root(name_or_folder)
    finished = folder.holding(MANIFEST_NAME)
    if not finished:
        raise SourceError(
            f"nothing finished lies in {folder} (no {MANIFEST_NAME} there)",
            hint="give a data set that python -m dedup.run has worked on, or a folder",
        )
    differing = 0
    for stage_folder in finished:
        differences = list(find_differences(stage_folder))
        differing += len(differences)
        for difference in differences:
            error_console.print(f"  [red]differs[/]  {escape(difference)}", soft_wrap=True)
        if not differences:
            console.print(f"  [green]as it was[/]  {escape(str(stage_folder))}", soft_wrap=True)
    if differing:
        raise IntegrityError(
            f"{differing} {'file differs' if differing == 1 else 'files differ'} in {folder}",
            hint="remove what differs: the command that made it makes what is missing",
        )


app.command()(publish)


def find_differences(stage_folder: Folder) -> Iterator[str]:
    """Hash the files of a finished stage; yields what differs from its manifest, in words."""
    try:
        manifest = Manifest.load(stage_folder)
    except IntegrityError as error:
        yield error.message
        return
    for shard in manifest.shards:
        for file in shard.files:
            if stage_folder.hash(file.name) != file.sha256:
                yield str(stage_folder / file.name)


def describe_disk(spec: DatasetSpec, data_root: Folder) -> str:
    """What of a data set is there: nothing (""), a part of its download, its source, or its clean shards."""
    try:
        return f"clean ({Manifest.load(data_root / spec.name / CLEAN).records:,} images)"
    except FileNotFoundError:
        pass
    except IntegrityError:
        return "clean, but damaged"
    if not isinstance(data_root, LocalFolder):
        return ""
    if spec.is_on_disk(data_root.path):
        return "raw"
    fetched_bytes = plan_download(spec, data_root.path).fetched_bytes if spec.url else 0
    return f"{format_bytes(fetched_bytes)} fetched" if fetched_bytes else ""


def _print_all(specs: list[DatasetSpec], data_root: Folder) -> None:
    """A line per data set: cut at a terminal's edge, whole in a pipe."""
    known = {spec.name for spec in specs}
    made = [name for name in sorted(data_root.names()) if MANIFEST_NAME in (data_root / name / CLEAN).names()]
    others = [DatasetSpec(name, "made with --source", f"shards:{CLEAN}") for name in made if name not in known]
    rows = [("name", "images", "download", f"in {data_root}", "what")]
    rows += [_describe(spec, data_root) for spec in [*specs, *others]]
    for name, images, size, disk, what in rows:
        line = f"[cyan]{name:<24}[/] {images:>10} {size:>9}  [green]{escape(disk):<26}[/] {escape(what)}"
        style = "bold" if name == "name" else None
        if console.is_terminal:
            console.print(line, style=style, no_wrap=True, overflow="ellipsis")
        else:
            console.print(line, soft_wrap=True)


def _describe(spec: DatasetSpec, data_root: Folder) -> tuple[str, str, str, str, str]:
    images = f"{spec.images:,}" if spec.images else ""
    size = "rendered" if spec.rendered else "by hand" if spec.obtain else ""
    if spec.url and spec.size_bytes:
        size = f"{'' if spec.size_is_exact else '~'}{format_bytes(spec.size_bytes)}"
    return spec.name, images, size, describe_disk(spec, data_root), spec.description


def _print_one(spec: DatasetSpec, data_root: Folder) -> None:
    disk = describe_disk(spec, data_root)
    on_disk = data_root.path if isinstance(data_root, LocalFolder) else None
    rows = {
        "name": spec.name,
        "what": spec.description,
        "images": f"{spec.images:,}" if spec.images else "",
        "pictures": spec.pictures,
        "terms": spec.terms,
        "source": spec.uri(on_disk) if on_disk else spec.source,
        "url": spec.url,
        "sha256": spec.sha256,
        "on disk": disk or "nothing",
        "to get it": how_to_get(spec, on_disk) if on_disk and not disk else "",
    }
    for label, value in rows.items():
        if value:
            console.print(f"[bold]{label:<10}[/] {escape(value)}", soft_wrap=True)


def _print_plan(spec: DatasetSpec, data_root: Path) -> None:
    path = spec.path(data_root)
    if path.exists():
        console.print(f"{path} is there already", markup=False, soft_wrap=True)
    elif spec.rendered:
        console.print(f"would render {path}", markup=False, soft_wrap=True)
    else:
        fetched_bytes = plan_download(spec, data_root).fetched_bytes
        done = f", of which {format_bytes(fetched_bytes)} are here" if fetched_bytes else ""
        console.print(f"would fetch {spec.url} ({describe_download(spec)}{done})", markup=False, soft_wrap=True)
        console.print(f"and unpack it to {path}", markup=False, soft_wrap=True)


def _render(spec: DatasetSpec, data_root: Path, quiet: bool) -> int:
    """Render a data set, unless it is there; returns how many images it holds."""
    from pipelines.synthetic import write_rooms  # both take OpenCV along, for which the other commands need not wait
    from pipelines.synthetic_portraits import write_portraits

    path = spec.path(data_root)
    if not path.exists():
        write = write_rooms if spec.rendered == "rooms" else write_portraits
        with rendering_bar(quiet) as progress:
            write(path, progress=progress)
    return sum(split.records or 0 for split in open_source(spec.uri(data_root)).splits())


@contextmanager
def _progress_bars(quiet: bool) -> Iterator[Report]:
    """A bar for each thing that a download does: bytes, speed, the time left."""
    columns = (
        TextColumn("  {task.description:<12}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=error_console, disable=quiet) as bars:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done_bytes: int, total_bytes: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total_bytes)
            bars.update(tasks[what], completed=done_bytes, total=total_bytes)

        yield report


def _root_option(data_root: Path) -> str:
    return "" if data_root == DEFAULT_DATA_ROOT else f" --data-root {data_root}"


if __name__ == "__main__":
    run_app(app, "python -m pipelines.run")
