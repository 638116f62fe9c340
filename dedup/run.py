"""Command: ``python -m dedup.run DATASET``. A source in; clean shards, tables and a report page out."""

import logging
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dedup.truth import read_truth
from pipelines.cli import (
    DataRoot,
    Debug,
    DryRun,
    Engine,
    Quiet,
    Verbose,
    Workers,
    console,
    new_app,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError
from pipelines.executors import choose_executor
from pipelines.registry import locate_source
from pipelines.stage import dataset_lock

STAGES = ("thumbnails", "encoder", "codes", "pairs", "groups", "clean")

app = new_app("De-duplicate a data set with semantic hashes.")
logger = logging.getLogger(__name__)


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="A name of 'python -m pipelines.run list', or any with --source.")],
    source: Annotated[
        str | None,
        typer.Option(help="Where the images are: lmdb:, folder:, webdataset:, parquet:, imagenet: or shards:PATH."),
    ] = None,
    data_root: DataRoot = Path("data"),
    profile: Annotated[str, typer.Option(help="default, or paper: equal codes, to the letter.")] = "default",
    radius: Annotated[
        int | None, typer.Option(help="Bits in which the codes of a pair may differ.", show_default="at most 24")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the encoder's weights, noise and sample.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the encoder's fit.", show_default="the profile's")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="CSV of known near-duplicates, for recall in the report.")] = None,
    executor: Engine = "local",
    workers: Workers = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where the encoder is fitted.")] = "auto",
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="Records per shard.", show_default="256 to 10,000, about 64 shards")
    ] = None,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """De-duplicate DATASET with 128-bit semantic hashes, in linear time.

    Thumbnails, a 3072-128-3072 denoising autoencoder, codes, groups, then
    clean shards, all below [bold]DATA_ROOT/DATASET[/]:

      clean/              WebDataset tars, a parquet beside each
      duplicates.parquet  each dropped image, and the one kept for it
      rejected.parquet    each image that cannot be used, and why
      report/index.html   the accounts, with pictures; also report.json

    Nothing is ever written to the source. A run that was stopped or killed
    goes on where it was when the same command is given again; a changed
    option runs again just what depends on it.

    Examples:

      python -m dedup.run lsun_bedroom

      python -m dedup.run rooms --source lmdb:/data/rooms --truth rooms.csv
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    # torch takes seconds to import: not for --help, and not in every worker, which imports this file too.
    from dedup.pipeline import Deduplication, publish
    from dedup.profiles import choose_profile
    from dedup.report import make_report, write_report

    root = data_root / dataset
    records = locate_source(dataset, source, data_root)
    require_source_outside(source, root)
    records.digest()  # a source that cannot be read is said before anything is made
    known = read_truth(truth) if truth else None
    deduplication = Deduplication(
        records,
        choose_profile(profile, seed=seed, radius=radius, steps=steps),
        device=device,
        shard_size=shard_size,
    )
    if dry_run:
        _print_plan(deduplication.plan(root), root)
        return
    engine = choose_executor(executor, workers)
    started = time.perf_counter()
    with dataset_lock(root, f"python -m dedup.run {shlex.join(sys.argv[1:])}"):
        logger.info("%s with profile %s into %s", records.name, profile, root)
        finished = deduplication.run(root, engine, progress)
        report = make_report(dataset, records.name, profile, finished, known)
        write_report(report, finished, root)
        publish(finished, root)
    _print_report(report, root, time.perf_counter() - started)


def require_source_outside(uri: str | None, root: Path) -> None:
    """Refuse a source that stands in a folder which a stage of this run would make anew.

    Raises:
        ConfigError: it does.
    """
    path = Path(uri.partition(":")[2]).expanduser().resolve() if uri else None
    if path is not None and any(path.is_relative_to((root / stage).resolve()) for stage in STAGES):
        raise ConfigError(f"the source {uri} is what this run would write", hint="give the result another DATASET name")


def _print_plan(plan: Iterable[tuple[str, str]], root: Path) -> None:
    console.print(f"Below [bold]{root}[/]:")
    for stage, state in plan:
        console.print(f"  {stage:<12} {state}")


def _print_report(report: dict[str, Any], root: Path, seconds: float) -> None:
    """The accounts, recall where a truth table was given, and where things are."""
    console.print(
        f"\n[bold]{report['dataset']}[/]: read {report['read']:,} = kept [green]{report['kept']:,}[/] "
        f"+ dropped [yellow]{report['dropped']:,}[/] + rejected {report['rejected']:,}   "
        f"[dim]{report['groups']:,} groups, {seconds:,.0f} s[/]"
    )
    for reason, count in report["rejected_by_reason"].items():
        console.print(f"  rejected: {reason.replace('_', ' ')} {count:,}", style="dim")
    truth = report.get("truth")
    if truth:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for kind, row in truth["by_kind"].items():
            table.add_row(
                f"  {kind}", f"{row['found']:,} of {row['planted']:,}", f"{row['found'] / row['planted']:.1%}"
            )
        table.add_row(
            "  [bold]recall[/]", f"{truth['found']:,} of {truth['planted']:,}", f"[bold]{truth['recall']:.1%}[/]"
        )
        console.print(table)
        console.print(
            f"  {len(truth['across'])} of {truth['dropped']:,} dropped stand with another picture of the table"
        )
    for name, path in (("clean shards", "clean"), ("report", "report/index.html")):
        console.print(f"  {name:<13} {root / path}", soft_wrap=True)


def _share(part: int, whole: int) -> tuple[str, str]:
    return f"{part:,} of {whole:,}", f"{part / whole:.1%}"


if __name__ == "__main__":
    run_app(app, "python -m dedup.run")
