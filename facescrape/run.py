"""Command: ``python -m facescrape.run faces | demo | report | forget``. Names of people in; shards of crops out."""

import datetime
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal as format_bytes
from rich.markup import escape

from facescrape.archive import Archive
from facescrape.collection import RAW, Collection, Web, cut_faces, plan_collection, plan_faces
from facescrape.config import BYTES_PER_PHOTOGRAPH, CollectionConfig, choose_preset
from facescrape.fetch.politeness import Politeness
from facescrape.forget import find_wanted, remove
from facescrape.names.dbpedia import DBPEDIA
from facescrape.photos import ARCHIVE
from facescrape.report.pages import make_report, write_report
from facescrape.search import PROVIDERS
from facescrape.web.wire import Internet
from pipelines.cli import (
    DataRoot,
    Debug,
    DryRun,
    Engine,
    Quiet,
    RayAddress,
    Verbose,
    Workers,
    console,
    new_app,
    rendering_bar,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError, SourceError
from pipelines.executors import Executor, choose_executor
from pipelines.manifest import MANIFEST_NAME, Manifest
from pipelines.progress import Progress
from pipelines.registry import DEFAULT_DATA_ROOT, load_registry
from pipelines.stage import dataset_lock

MOST_FETCHERS = 4  # each has 192 connections at once; more would wait for hosts and not for a core

app = new_app(
    "Collect a set of faces: names of people, web image queries, photographs, face boxes, crops.\n\n"
    "Who it asks, what it leaves alone, and how pictures are removed: docs/faces.md."
)

Dataset = Annotated[str, typer.Option("--dataset", help="Folder of the data set, below the data root.")]
Detector = Annotated[
    str, typer.Option(help="haar (comes with OpenCV), or yunet (finds more).", rich_help_panel="Faces")
]
YunetModel = Annotated[
    Path | None,
    typer.Option(help="YuNet's model at hand.", show_default="fetched once, 230 kB", rich_help_panel="Faces"),
]
MinFace = Annotated[
    int, typer.Option(min=1, help="Least side of a face box, in pixels of the photograph.", rich_help_panel="Faces")
]
Size = Annotated[int, typer.Option(min=1, help="Most side of a crop, in pixels.", rich_help_panel="Faces")]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask again for what failed and may have passed.", rich_help_panel="Web")
]


@app.command()
def faces(
    dataset: Dataset = "faces",
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    preset: Annotated[str, typer.Option(help="small: 100 people × 50 images, or paper: 10,000 × 300.")] = "small",
    people: Annotated[int | None, typer.Option(help="How many names.", show_default="the preset's")] = None,
    images_per_person: Annotated[
        int | None, typer.Option(help="Search results per name.", show_default="the preset's")
    ] = None,
    born_after: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The earliest birthday.", show_default="1900-01-01"),
    ] = None,
    names: Annotated[
        Path | None, typer.Option(help="Names of your own: text, CSV or parquet.", show_default="DBpedia's")
    ] = None,
    endpoint: Annotated[str, typer.Option(help="SPARQL endpoint of DBpedia.", rich_help_panel="Web")] = DBPEDIA,
    provider: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(PROVIDERS)}, or a file of URLs (.txt, .csv, .tsv, .parquet).", rich_help_panel="Web"
        ),
    ] = "commons",
    provider_url: Annotated[str | None, typer.Option(help="Of your SearXNG instance.", rich_help_panel="Web")] = None,
    contact: Annotated[
        str | None,
        typer.Option(
            envvar="CLEANSHARDS_CONTACT", help="Whom servers can write to: an address or a page.", rich_help_panel="Web"
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Requests per second and host.", rich_help_panel="Web")] = 2.0,
    connections: Annotated[int, typer.Option(min=1, help="Connections per host.", rich_help_panel="Web")] = 2,
    retry_failed: RetryFailed = False,
    detector: Detector = "haar",
    yunet_model: YunetModel = None,
    min_face: MinFace = 128,
    size: Size = 128,
    executor: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Collect faces of people from the web.

    Names of DBpedia, image searches for each, photographs, face boxes and
    square crops, all below [bold]DATA_ROOT/DATASET/raw[/]:

      crops/                   WebDataset tars, a parquet beside each
      archive/                 each photograph once; what became of each URL
      report/index.html        the funnel, a wall of faces, boxes drawn
      report/attribution.html  a credit for each picture

    A run that was stopped goes on where it was, and asks no server twice.

    Examples:

      python -m facescrape.run faces --contact you@example.org

      python -m facescrape.run faces --preset paper --detector yunet
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    config = choose_preset(
        preset,
        people=people,
        images_per_person=images_per_person,
        born_after=born_after.date() if born_after else None,
        detector=detector,
        yunet_model=str(yunet_model) if yunet_model else None,
        min_face=min_face,
        size=size,
    )
    politeness = Politeness(connections_per_host=connections, requests_per_s_per_host=rate)
    web = Web(Internet(), contact, politeness, processes=min(workers or os.cpu_count() or 1, MOST_FETCHERS))
    root = data_root / dataset / RAW
    collection = plan_collection(
        config, web, endpoint=endpoint, names=names, provider=provider, provider_url=provider_url, data_root=data_root
    )
    if dry_run:
        console.print(f"Below [bold]{root}[/]:")
        for stage, state in collection.plan(root):
            console.print(f"  {stage:<12} {state}")
        return
    asked = f"names of {names}" if names else "the most linked people of DBpedia"
    _announce(config, web, f"{asked}, photographs of {provider}", root)
    _collect(
        collection, config, root, choose_executor(executor, workers, ray_address), progress, retry_failed=retry_failed
    )
    console.print(f"next: {_dedup_command(dataset, data_root)}", soft_wrap=True)


@app.command()
def demo(
    dataset: Dataset = "faces_demo",
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    photos: Annotated[
        Path | None,
        typer.Option(help="Serve these instead: a folder of photographs per person.", show_default="rendered ones"),
    ] = None,
    people: Annotated[int, typer.Option(min=1, help="How many people to render.")] = 14,
    images_per_person: Annotated[int, typer.Option(min=1, help="Photographs of each.")] = 16,
    provider: Annotated[
        str, typer.Option(help="Which provider is replayed: commons, openverse, searxng or brave.")
    ] = "commons",
    retry_failed: RetryFailed = False,
    detector: Detector = "haar",
    yunet_model: YunetModel = None,
    min_face: MinFace = 128,
    size: Size = 128,
    executor: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Collect faces from a replay of the web on this machine.

    A server on the loopback interface plays DBpedia, the search providers
    and the hosts of photographs, robots.txt, opt-outs and broken hosts
    included. Nothing leaves this machine. The photographs are rendered: the
    people do not exist.

    Examples:

      python -m facescrape.run demo

      python -m facescrape.run demo --dataset mine --photos FOLDER --min-face 64
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    from facescrape.replay import BRAVE_KEY, SEARXNG, serve_demo  # brings the renderer with it

    engine = choose_executor(executor, workers, ray_address)
    root = data_root / dataset / RAW
    with (
        rendering_bar(quiet) as rendered,
        serve_demo(photos, people, images_per_person, root.with_name("replay"), engine, rendered) as world,
    ):
        config = CollectionConfig(
            people=world.people,
            images_per_person=world.images_per_person,
            people_per_shard=1,
            detector=detector,
            yunet_model=str(yunet_model) if yunet_model else None,
            min_face=min_face,
            size=size,
        )
        quick = Politeness(connections_per_host=4, requests_per_s_per_host=None, pause_s=0.2)
        web = Web(world.wire, None, quick, sleep=lambda seconds: None)  # nobody there minds
        collection = plan_collection(
            config,
            web,
            provider=provider,
            provider_url=SEARXNG,
            environment={"BRAVE_API_KEY": BRAVE_KEY},
            data_root=data_root,
        )
        _collect(collection, config, root, engine, progress, retry_failed=retry_failed)
    console.print(f"next: {_dedup_command(dataset, data_root)}", soft_wrap=True)


@app.command()
def report(
    dataset: Dataset = "faces",
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the report anew: after de-duplication it says what that kept.

    Example:

      python -m facescrape.run report
    """
    set_up_output(quiet=quiet)
    root = data_root / dataset / RAW
    CollectionConfig.load(root)
    with dataset_lock(root, f"python -m facescrape.run report --dataset {dataset}"):
        _report(root)


@app.command()
def forget(
    url: Annotated[
        list[str] | None, typer.Option(help="Of a photograph, or of the page that shows it; may be repeated.")
    ] = None,
    person: Annotated[
        list[str] | None, typer.Option(help="Name, or DBpedia URI; all pictures found for it; may be repeated.")
    ] = None,
    also_duplicates: Annotated[
        bool, typer.Option("--also-duplicates", help="Also what de-duplication found to be near-duplicates.")
    ] = False,
    dataset: Dataset = "faces",
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    executor: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove pictures that somebody asks to have removed, and never fetch them again.

    The photographs, all copies with equal bytes, their crops, and their
    entries in the raw and the clean shards. Folders that were made of them
    (thumbnails, packed pixels, pages) go, and are made again by the commands
    that made them.

    Examples:

      python -m facescrape.run forget --url https://example.org/photo.jpg

      python -m facescrape.run forget --person "Ada Example"
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    if not url and not person:
        raise ConfigError("nothing is named that is to be forgotten", hint="give --url URL or --person NAME")
    folder = data_root / dataset
    root = folder / RAW
    config = CollectionConfig.load(root)
    with dataset_lock(folder, "python -m facescrape.run forget"), dataset_lock(root, "python -m facescrape.run forget"):
        removal = remove(root, folder, find_wanted(root, url or [], person or []), also_duplicates=also_duplicates)
        is_finished = (root / "crops" / MANIFEST_NAME).exists()
        if is_finished:
            detect, crop = plan_faces(config, data_root)
            cut_faces(
                detect, crop, Manifest.load(root / "urls"), choose_executor(executor, workers, ray_address), progress
            )
            _report(root)
    console.print(
        f"forgotten: {removal.urls:,} URLs, {removal.pictures:,} photographs, {removal.crops:,} crops", soft_wrap=True
    )
    if removal.folders:
        again = f"to be made again by {_dedup_command(dataset, data_root)}"
        console.print(f"  removed, {again}: {', '.join(removal.folders)}", soft_wrap=True)
    if not is_finished:
        console.print(
            "  the collection is not finished: its next run takes them out of what it had begun", soft_wrap=True
        )
    for other in removal.near:
        console.print(f"  a near-duplicate remains (--also-duplicates removes it too): {escape(other)}", soft_wrap=True)


def _announce(config: CollectionConfig, web: Web, what: str, root: Path) -> None:
    """Say what will be done, how much it is, and where it goes, before it begins."""
    per_s = web.politeness.requests_per_s_per_host or 0.0
    console.print(
        f"[bold]{config.people:,}[/] people × {config.images_per_person:,}: up to [bold]{config.photographs:,}[/] "
        f"photographs ({escape(what)})\n"
        f"  about {format_bytes(config.photographs * BYTES_PER_PHOTOGRAPH)} into {root}; "
        f"{format_bytes(shutil.disk_usage(_existing(root)).free)} are free there\n"
        f"  at most {per_s:g} requests a second and {web.politeness.connections_per_host} connections per host: from a "
        f"single host about {_hours(config.photographs / per_s)}",
        soft_wrap=True,
    )
    if web.contact is None:
        console.print("  no --contact: servers cannot write to you, and some refuse", style="yellow")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.absolute().parent)


def _hours(seconds: float) -> str:
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.0f} hours"


def _collect(
    collection: Collection,
    config: CollectionConfig,
    root: Path,
    executor: Executor,
    progress: Progress,
    *,
    retry_failed: bool,
) -> None:
    """Run a collection, and write and print its report."""
    with dataset_lock(root, f"python -m facescrape.run {shlex.join(sys.argv[1:])}"):
        config.save(root)
        if retry_failed:
            with Archive(root / ARCHIVE) as archive:
                console.print(f"asking again for {archive.drop_failed():,} URLs that failed")
        crops = collection.run(root, executor, progress)
        _report(root)
    if not crops.records:
        raise SourceError(
            f"no face is kept of all that was collected below {root}",
            hint="the report says why; --min-face keeps smaller ones, more people or images bring more",
        )


def _report(root: Path) -> None:
    """Write the report and print its funnel."""
    report = make_report(root, root.parent)
    write_report(report, root)
    console.print(f"\n[bold]{report['dataset']}[/]")
    for step in report["funnel"]:
        lost = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in step["lost"].items() if count)
        console.print(f"  {step['step']:<14} {step['in']:>9,} → {step['out']:>9,}   [dim]{lost}[/]", soft_wrap=True)
    for name, path in (("crops", "crops"), ("report", "report/index.html"), ("credits", "report/attribution.html")):
        console.print(f"  {name:<14} {root / path}", soft_wrap=True)


def _dedup_command(dataset: str, data_root: Path) -> str:
    """What comes next; a data set that the registry does not know has to say where its images are."""
    is_known = dataset in load_registry().datasets
    source = "" if is_known else f" --source shards:{data_root / dataset / RAW / 'crops'}"
    where = "" if data_root == DEFAULT_DATA_ROOT else f" --data-root {data_root}"
    return f"python -m dedup.run {dataset}{source}{where}"


if __name__ == "__main__":
    run_app(app, "python -m facescrape.run")
