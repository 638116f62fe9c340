"""Command: ``python -m dedup.run DATASET``. A source in; clean shards, tables and a report page out."""

import logging
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from dedup.truth import read_truth
from pipelines.cli import (
    Debug,
    DryRun,
    Engine,
    Quiet,
    RayAddress,
    SharedDataRoot,
    Verbose,
    Workers,
    console,
    new_app,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError
from pipelines.executors import choose_executor
from pipelines.registry import DEFAULT_FOLDER, load_registry, locate_sources
from pipelines.sources import SeveralSources
from pipelines.stage import dataset_lock
from pipelines.store import Folder

STAGES = (
    *("thumbnails", "encoder", "codes", "calibration", "chance", "search", "candidates", "pairs"),
    *("verdicts", "sharpness", "groups", "clean"),
)


app = new_app("De-duplicate a data set with semantic hashes.")
logger = logging.getLogger(__name__)


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="A name of 'python -m pipelines.run list', or any with --source.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the images are: lmdb:, folder:, webdataset:, parquet:, imagenet: or shards:PATH; or NAME=URI "
            "to begin its keys with NAME/. May be given several times: one that is added at the end is read alone."
        ),
    ] = None,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    profile: Annotated[str, typer.Option(help="default, or paper: equal codes, to the letter.")] = "default",
    radius: Annotated[
        int | None, typer.Option(help="Bits in which the codes of a pair may differ.", show_default="by the set's size")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Score that a pair must have on the thumbnails: the odds, as a natural logarithm.", show_default="1"
        ),
    ] = None,
    keep: Annotated[str, typer.Option(help="Which of a group is kept: largest, first or sharpest.")] = "largest",
    prefer: Annotated[
        str | None, typer.Option(help="Source (its NAME or URI) whose images are kept before those of others.")
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Plant near-duplicates into a sample; choose the radius by what is found."),
    ] = False,
    false_rate: Annotated[
        float, typer.Option(min=0, max=1, help="With --calibrate: share of the dropped images that may be false.")
    ] = 0.01,
    encoder: Annotated[
        str, typer.Option(help="auto; shipped; or fitted to these images. Kept from then on, whatever the set gains.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the encoder's weights, noise and sample.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the encoder's fit.", show_default="the profile's")
    ] = None,
    apply_review: Annotated[
        bool,
        typer.Option("--apply-review", help="Honour what people said in python -m dedup.review, now and from now on."),
    ] = False,
    truth: Annotated[Path | None, typer.Option(help="CSV of known near-duplicates, for recall in the report.")] = None,
    executor: Engine = "local",
    ray_address: RayAddress = None,
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
      card.md             the same for whoever is given the set

    Nothing is ever written to the source. A run that was stopped or killed
    goes on where it was when the same command is given again; a changed
    option runs again just what depends on it, and a source that has grown
    has just its new images read.

    Examples:

      python -m dedup.run lsun_bedroom

      python -m dedup.run rooms --source lmdb:/data/rooms --truth rooms.csv

      python -m dedup.run pets --source cats=folder:cats --source dogs=folder:dogs --calibrate
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    # torch takes seconds to import: not for --help, and not in every worker, which imports this file too.
    from dedup.calibration.stages import Calibration
    from dedup.card import add_provenance, write_card
    from dedup.decisions import Decisions
    from dedup.keepers import Keeping
    from dedup.pipeline import Deduplication, publish
    from dedup.profiles import choose_profile
    from dedup.report import make_report, write_report
    from dedup.review.judging.judgements import decide
    from dedup.review.judging.summary import FOLDER as REVIEW
    from dedup.stages import choose_origin

    root = data_root / dataset
    for uri in source or ():
        require_source_outside(uri, root)
    records = locate_sources(dataset, source or (), data_root)
    records.digest()  # a source that cannot be read is said before anything is made
    known = read_truth(truth) if truth else None
    chosen = choose_profile(profile, seed=seed, radius=radius, threshold=threshold, steps=steps)
    decisions = decide(root / REVIEW) if apply_review else Decisions.read(root / REVIEW)
    deduplication = Deduplication(
        records,
        chosen,
        keeping=Keeping(keep, find_preferred(prefer, source or (), records)),
        origin=choose_origin(encoder, profile),
        device=device,
        shard_size=shard_size,
        calibration=Calibration(false_rate=false_rate) if calibrate else None,
        decisions=decisions,
    )
    if dry_run:
        _print_plan(deduplication.plan(root), root)
        return
    engine = choose_executor(executor, workers, ray_address)
    started = time.perf_counter()
    with dataset_lock(root, f"python -m dedup.run {shlex.join(sys.argv[1:])}"):
        logger.info("%s with profile %s into %s", records.name, profile, root)
        if apply_review:
            decisions.write(root / REVIEW)
        finished = deduplication.run(root, engine, progress)
        report = make_report(dataset, records, source or (), chosen, finished, root, known)
        report = add_provenance(report, data_root, load_registry(), sys.argv[1:])
        write_report(report, finished, root)
        write_card(report, root)
        publish(finished, root)
    _print_report(report, root, time.perf_counter() - started)


def require_source_outside(uri: str, root: Folder) -> None:
    """Refuse a source that stands in a folder which a stage of this run would make anew.

    Raises:
        ConfigError: it does.
    """
    path = Path(uri.partition(":")[2]).expanduser().resolve()
    if any(path.is_relative_to(Path(str(root / stage)).resolve()) for stage in STAGES):
        raise ConfigError(f"the source {uri} is what this run would write", hint="give the result another DATASET name")


def find_preferred(prefer: str | None, uris: Sequence[str], sources: SeveralSources) -> str:
    """The name of the source that ``--prefer`` names; "": of none.

    Raises:
        ConfigError: it names none.
    """
    if prefer is None:
        return ""
    for uri, member in zip(uris, sources.members, strict=False):
        if prefer in {uri, uri.partition("=")[2], member.name}:
            return member.name
    names = ", ".join(member.name for member in sources.members)
    raise ConfigError(f"--prefer {prefer} is none of the sources", hint=f"give one of: {names}")


def _print_plan(plan: Iterable[tuple[str, str]], root: Folder) -> None:
    console.print(f"Below [bold]{root}[/]:")
    for stage, state in plan:
        console.print(f"  {stage:<12} {state}")


def _print_report(report: dict[str, Any], root: Folder, seconds: float) -> None:
    """The accounts, recall where a truth table was given, and where things are."""
    console.print(
        f"\n[bold]{report['dataset']}[/]: read {report['read']:,} = kept [green]{report['kept']:,}[/] "
        f"+ dropped [yellow]{report['dropped']:,}[/] + rejected {report['rejected']:,}   "
        f"[dim]{report['groups']:,} groups, {seconds:,.0f} s[/]"
    )
    for reason, count in report["rejected_by_reason"].items():
        console.print(f"  rejected: {reason.replace('_', ' ')} {count:,}", style="dim")
    encoder = "the shipped encoder" if report["encoder"]["origin"] == "shipped" else "an encoder fitted to these images"
    console.print(f"  codes by {encoder}, within {report['radius']} of 128 bits", style="dim")
    if report.get("calibration"):
        _print_calibration(report["calibration"])
    if sum(report["decisions"].values()):
        said = report["decisions"]
        console.print(
            f"  people decided {said['same']:,} pairs to be the same and {said['different']:,} to differ", style="dim"
        )
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
        console.print(f"  {name:<13} {root}/{path}", soft_wrap=True)


def _print_calibration(calibration: dict[str, Any]) -> None:
    """What was found of the near-duplicates planted into the user's own images, and what may be false."""
    kinds = calibration["by_kind"]
    worst = min(kinds, key=lambda kind: kinds[kind]["found"] / max(1, kinds[kind]["planted"]))
    row = kinds[worst]
    console.print(
        f"  calibration: {calibration['recall']:.1%} of {calibration['planted']:,} planted near-duplicates found "
        f"({worst}: {row['found'] / max(1, row['planted']):.1%}); "
        f"of about {calibration['expected_dropped']:,.0f} dropped, {calibration['expected_false']:,.1f} expected false "
        f"(at most {calibration['false_at_most']:,.1f} with a confidence of 95%)"
    )


if __name__ == "__main__":
    run_app(app, "python -m dedup.run")
