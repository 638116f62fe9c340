"""Command: ``python -m dedup.against DATASET --reference OTHER``. Two data sets in; the images they share out.

Beside the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN": a test set that stands in the training set measures memory, and this finds it.
"""

import shlex
import sys
from functools import partial
from typing import Annotated, Any

import typer

from pipelines.cli import (
    Debug,
    Engine,
    Quiet,
    RayAddress,
    SharedDataRoot,
    Verbose,
    Workers,
    console,
    error_console,
    new_app,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError
from pipelines.executors import choose_executor
from pipelines.registry import DEFAULT_FOLDER, locate_sources
from pipelines.stage import dataset_lock
from pipelines.store import Folder

app = new_app("Find which images of one data set are near-duplicates of another's.")


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="The set that is looked at, such as a test set.")],
    reference: Annotated[str, typer.Option(help="The set that is looked in, such as the training set.")],
    source: Annotated[
        list[str] | None, typer.Option(help="Where DATASET's images are, as for python -m dedup.run.")
    ] = None,
    reference_source: Annotated[list[str] | None, typer.Option(help="Where the reference's images are.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Write clean shards of DATASET without what was found.")] = False,
    radius: Annotated[
        int | None, typer.Option(help="Bits in which the codes of a pair may differ.", show_default="by the set's size")
    ] = None,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    executor: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where an encoder is fitted.")] = "auto",
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find which images of DATASET are near-duplicates of an image of another set, in linear time.

    Test against train: what share of a test set was trained on. What
    [bold]python -m dedup.run[/] has left of either set is used as it is, and the rest is
    made. Below [bold]DATA_ROOT/DATASET/against/REFERENCE[/]:

      against.parquet    each image that has a match, and its best one
      report/index.html  the numbers, with pictures; also report.json
      rejected.parquet   each image that cannot be used, and why
      clean/             with --drop: DATASET's shards without them

    Neither data set is changed. Duplicates within DATASET are another
    question: give what --drop leaves to python -m dedup.run.

    Examples:

      python -m dedup.against cifar10_test --reference cifar10 --source parquet:test.parquet

      python -m dedup.against mine --reference lsun_bedroom --source folder:mine --drop

      python -m dedup.run mine_clean --source shards:data/mine/against/lsun_bedroom/clean
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    if dataset == reference:
        raise ConfigError(
            f"{dataset} cannot be compared with itself", hint=f"python -m dedup.run {dataset} finds what is in it twice"
        )
    engine = choose_executor(executor, workers, ray_address)
    # torch takes seconds to import: not for --help, and not in every worker, which imports this file too.
    from dedup.comparison.contamination import make_galleries, make_report, write_report
    from dedup.comparison.crossed import cross_datasets, drop_matches
    from dedup.comparison.encoded import encode_alike, find_source, make_thumbnails, share_encoder
    from dedup.profiles import choose_profile

    profile = choose_profile("default", seed=0, radius=radius)
    command = f"python -m dedup.against {shlex.join(sys.argv[1:])}"
    names, uris = (dataset, reference), (source or (), reference_source or ())
    roots = [data_root / name for name in names]
    folder = roots[0] / "against" / reference
    thumbnails, sources = [], []
    for name, given, root in zip(names, uris, roots, strict=True):
        if not quiet:
            error_console.print(f"[bold]{name}[/]")
        with dataset_lock(root, command):
            thumbnails.append(make_thumbnails(root, partial(locate_sources, name, given, data_root), engine, progress))
        sources.append(find_source(thumbnails[-1], name, given, data_root))
    if not quiet:
        error_console.print(f"[bold]{dataset} against {reference}[/]")
    with dataset_lock(roots[0], command):
        encoder = share_encoder(roots, thumbnails, profile, device, folder, engine, progress)
        images, others = (
            encode_alike(root, made, encoder, below, engine, progress)
            for root, made, below in zip(roots, thumbnails, (folder, folder / "reference"), strict=True)
        )
        crossed = cross_datasets(images, others, profile.matching, folder, engine, progress)
        if drop:
            crossed = drop_matches(
                crossed, sources[0] or locate_sources(dataset, (), data_root), folder, engine, progress
            )
        report = make_report(dataset, reference, crossed)
        galleries = make_galleries(crossed, (sources[0], sources[1]), folder, engine, progress)
        write_report(report, crossed, galleries, folder)
    _print_report(report, folder)


def _print_report(report: dict[str, Any], folder: Folder) -> None:
    """The share, the accounts, and where things are."""
    console.print(
        f"\n[bold]{report['dataset']}[/]: {report['matched']:,} of {report['images']:,} images "
        f"([yellow]{report['share']:.2%}[/]) match one of the {report['reference_images']:,} of "
        f"[bold]{report['reference']}[/]"
    )
    for rule, count in report["matched_by_rule"].items():
        if count:
            console.print(f"  {rule.replace('_', ' ')} {count:,}", style="dim")
    if "kept" in report:
        console.print(
            f"  read {report['read']:,} = kept [green]{report['kept']:,}[/] + dropped [yellow]{report['dropped']:,}[/] "
            f"+ rejected {report['rejected']:,}"
        )
        console.print(f"  {'clean shards':<13} {folder / 'clean'}", soft_wrap=True)
    console.print(f"  {'matches':<13} {folder}/against.parquet", soft_wrap=True)
    console.print(f"  {'report':<13} {folder / 'report'}/index.html", soft_wrap=True)


if __name__ == "__main__":
    run_app(app, "python -m dedup.against")
