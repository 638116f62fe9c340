"""Command: ``python -m dedup.audit DATASET SAMPLES``. Generated samples in; which are training images by heart out.

After the last arrow of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN".
"""

import shlex
import sys
from functools import partial
from pathlib import Path
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
    new_app,
    run_app,
    set_up_output,
)
from pipelines.errors import ConfigError
from pipelines.executors import choose_executor
from pipelines.registry import DEFAULT_FOLDER, NAME, locate_sources
from pipelines.sources import Source, open_source
from pipelines.stage import dataset_lock
from pipelines.store import Folder

app = new_app("Find which generated samples are training images by heart.")


@app.command()
def main(
    dataset: Annotated[str, typer.Argument(help="The data set that the generator was trained on.")],
    samples: Annotated[str, typer.Argument(help="A folder of generated images, or a source: scheme:PATH.")],
    held_out: Annotated[
        str | None,
        typer.Option(help="Folder or source of real images that were not trained on.", show_default="leave one out"),
    ] = None,
    source: Annotated[
        list[str] | None, typer.Option(help="Where DATASET's images are, as for python -m dedup.run.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the result.", show_default="SAMPLES's name")] = None,
    data_root: SharedDataRoot = DEFAULT_FOLDER,
    executor: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where an encoder is fitted.")] = "auto",
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find for each generated sample its nearest training image, and how much of it is memory.

    Of the 64 training images nearest by code, the one that verifies best is
    the nearest. Copies verify as duplicates do. Memory is measured against
    real images that were not trained on: the share of samples that come
    nearer to a training image than all but the nearest 1% of those. Without
    --held-out a fifth of the training images stands for them, each compared
    with all others. If DATASET was de-duplicated, its clean shards are what was
    trained on. Below [bold]DATA_ROOT/DATASET/audit/NAME[/]:

      audit.parquet      each sample, and its nearest training image
      report/index.html  the numbers, with pictures; also report.json

    Examples:

      python -m dedup.audit faces runs/faces/samples

      python -m dedup.audit cifar10 folder:samples --held-out parquet:cifar10/test.parquet --name epoch_90
    """
    progress = set_up_output(verbose=verbose, quiet=quiet)
    sampled, unseen = _open(samples), _open(held_out) if held_out else None
    label = name or Path(samples.rpartition(":")[2]).name
    if not NAME.fullmatch(label):
        raise ConfigError(
            f"{label!r} cannot name the result", hint="give a --name of letters, digits, '_', '-' and '.'"
        )
    engine = choose_executor(executor, workers, ray_address)
    # torch takes seconds to import: not for --help, and not in every worker, which imports this file too.
    from dedup.comparison.encoded import encode_dataset, find_source
    from dedup.comparison.memorisation import (
        Nearness,
        judge,
        make_galleries,
        make_report,
        make_table,
        read_nearest,
        write_report,
    )
    from dedup.comparison.memorised import audit_samples, load_groups
    from dedup.profiles import choose_profile

    root = data_root / dataset
    folder = root / "audit" / label
    with dataset_lock(root, f"python -m dedup.audit {shlex.join(sys.argv[1:])}"):
        locate = partial(locate_sources, dataset, source or (), data_root)
        training = encode_dataset(root, locate, choose_profile("default", seed=0), device, engine, progress)
        images = find_source(training.thumbnails, dataset, source or (), data_root)
        audited = audit_samples(training, load_groups(root, training), sampled, unseen, folder, engine, progress)
        nearest, unseen_nearest = read_nearest(audited)
        verdict = judge(Nearness.of(nearest), Nearness.of(unseen_nearest))
        table = make_table(audited, verdict)
        report = make_report(dataset, label, audited, verdict, table)
        galleries = make_galleries(audited, (sampled, images), folder, engine, progress)
        write_report(report, table, audited, galleries, folder)
    _print_report(report, folder)


def _open(text: str) -> Source:
    """The source that a path of a folder, or a URI, names; one that cannot be read is said before anything is made."""
    source = open_source(f"folder:{text}" if Path(text).is_dir() else text)
    source.digest()
    return source


def _print_report(report: dict[str, Any], folder: Folder) -> None:
    """What was found, what it is worth, and where things are."""
    low, high = report["interval"]
    others = "training images left out" if report["held_out"]["left_out"] else "held-out images"
    console.print(
        f"\n[bold]{report['name']}[/]: {report['compared']:,} samples against {report['training_images']:,} training "
        f"images of [bold]{report['dataset']}[/]"
    )
    console.print(f"  copies        [yellow]{report['copies']:,}[/] ({report['copies'] / report['compared']:.2%})")
    console.print(
        f"  nearer        [yellow]{report['share']:.2%}[/] ({low:.2%} to {high:.2%}) than the nearest "
        f"{report['expected_share']:.2%} of {report['held_out']['images']:,} {others}"
    )
    if copies := report["held_out"]["copies"]:
        console.print(
            f"  note          {copies:,} of the {others} are near-duplicates of training images too, and move the "
            f"limit; python -m dedup.{'run' if report['held_out']['left_out'] else 'against'} finds and drops them",
            style="dim",
        )
    console.print(f"  {'table':<13} {folder}/audit.parquet", soft_wrap=True)
    console.print(f"  {'report':<13} {folder / 'report'}/index.html", soft_wrap=True)


if __name__ == "__main__":
    run_app(app, "python -m dedup.audit")
