"""Encoded data sets: a data set's folder in; its thumbnails, encoder and codes, as they lie on disk or made now, out.

Stands at "source → thumbnails → 128-bit semantic codes" of "source → thumbnails → 128-bit semantic codes → duplicate
groups → clean shards → DCGAN", for whatever compares one data set with another: `dedup.against`, `dedup.audit`, and
`dedup.query`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from dedup.comparison.exhibits import align_splits
from dedup.encoder import load_encoder
from dedup.finished import ENCODER, Encoded, load_encoded
from dedup.pipeline import Deduplication
from dedup.profiles import Profile
from dedup.stages.encoding import CodeStage, EncoderStage
from dedup.thumbnails import ThumbnailStage
from pipelines.errors import CleanshardsError, SourceError
from pipelines.executors import Executor, LocalExecutor
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.registry import locate_sources
from pipelines.sources import Source
from pipelines.stage import run_stage
from pipelines.store import Folder


def make_thumbnails(
    root: Folder, open_source: Callable[[], Source], executor: Executor, progress: Progress
) -> Manifest:
    """A data set's thumbnails: what lies there finished as it is, else made from the source.

    The caller holds `pipelines.stage.dataset_lock`.
    """
    try:
        return Manifest.load(root / ThumbnailStage.name)
    except FileNotFoundError:
        return run_stage(ThumbnailStage(open_source()), [], root, executor, progress)


def encode_dataset(
    root: Folder,
    open_source: Callable[[], Source],
    profile: Profile,
    device: str,
    executor: Executor,
    progress: Progress,
) -> Encoded:
    """A data set's thumbnails, encoder and codes: what lies there finished as it is, else made.

    The caller holds `pipelines.stage.dataset_lock`.
    """
    with suppress(SourceError):
        return load_encoded(root)
    made = Deduplication(open_source(), profile, device=device).run(root, executor, progress, until="codes")
    return Encoded(made["thumbnails"], made["encoder"], made["codes"])


def share_encoder(
    roots: Sequence[Folder],
    thumbnails: Sequence[Manifest],
    profile: Profile,
    device: str,
    below: Folder,
    executor: Executor,
    progress: Progress,
) -> Manifest:
    """An encoder for several data sets: that of the largest that has one, or else a new one, made ``below``.

    So as few pictures as can be are encoded again. An encoder of profile paper, to whose codes mirrored pictures are
    strangers, is not shared.
    """
    largest = sorted(range(len(roots)), key=lambda place: -thumbnails[place].records)
    for place in largest:
        with suppress(SourceError):
            if is_mirrored(encoder := load_encoded(roots[place]).encoder):
                return encoder
    stage = EncoderStage(profile.encoder, "auto", device)
    return run_stage(stage, [thumbnails[largest[0]]], below, threaded(executor), progress)


def encode_alike(
    root: Folder, thumbnails: Manifest, encoder: Manifest, below: Folder, executor: Executor, progress: Progress
) -> Encoded:
    """A data set with codes of a given encoder: its own ones where they are, else made as a stage ``below``."""
    with suppress(SourceError):
        if (own := load_encoded(root)).encoder.digest == encoder.digest:
            return own
    return Encoded(
        thumbnails, encoder, run_stage(CodeStage(), [thumbnails, encoder], below, threaded(executor), progress)
    )


def threaded(executor: Executor) -> Executor:
    """Where to run stages that use every core of a machine by themselves: one task at a time on each."""
    return LocalExecutor(1) if isinstance(executor, LocalExecutor) else executor


def is_mirrored(encoder: Manifest) -> bool:
    """Whether the code of a mirrored picture is the mirrored code (`dedup.codes.mirror_codes`), so that it is found."""
    return load_encoder(encoder.path(ENCODER)).config.mirrored


def find_source(thumbnails: Manifest, name: str, uris: Sequence[str], data_root: Folder) -> Source | None:
    """The source that a data set was made of (see `pipelines.registry.locate_sources`); None where it is not on disk.

    Raises:
        CleanshardsError: one is given, and cannot be opened, or is another than the data set was made of.
    """
    try:
        source = locate_sources(name, uris, data_root)
        align_splits(source, thumbnails)
    except CleanshardsError:
        if uris:
            raise
        return None
    return source
