"""The stages of a collection in a row: names → URLs → photographs → boxes → crops.

All of it lies below one folder, ``DATASET/raw``: a folder per stage, the archive of everything that was ever fetched,
and the report.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from facescrape.archive import Archive
from facescrape.config import CollectionConfig
from facescrape.crop import CropStage
from facescrape.detect import DetectStage, FaceFilter
from facescrape.detectors import choose_detector
from facescrape.fetch.fetcher import Fetcher
from facescrape.fetch.politeness import Politeness
from facescrape.names.dbpedia import DBPEDIA, Days
from facescrape.names.stages import NamesFileStage, choose_names
from facescrape.photos import PhotoStage, archive_of, distinct_urls
from facescrape.search import SearchStage, UrlFile, open_provider
from facescrape.web.client import ApiClient
from facescrape.web.wire import Wire, user_agent
from pipelines.executors import Executor, LocalExecutor
from pipelines.manifest import Manifest
from pipelines.progress import Progress
from pipelines.stage import Stage, plan_stages, run_stage

RAW = "raw"  # the folder of a collection, within that of its data set
MODELS = "models"  # the folder of models that are fetched, within the data root


@dataclass(frozen=True, slots=True)
class Web:
    """How the web is asked.

    Attributes:
        wire: how hosts are reached.
        contact: whom servers can write to; None: nobody.
        politeness: how hosts of photographs are treated.
        processes: that fetch photographs, each from hosts of its own.
        sleep: waits between requests to DBpedia and to search providers.
    """

    wire: Wire
    contact: str | None
    politeness: Politeness
    processes: int = 1
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Collection:
    """What is to be collected, and how.

    Attributes:
        web: how the web is asked.
        names: the stages that end with names.parquet, each on the one before.
        search: finds URLs for the names.
        detect: finds the faces in the photographs.
        crop: cuts them out.
    """

    web: Web
    names: Sequence[Stage]
    search: SearchStage
    detect: DetectStage
    crop: CropStage

    def run(self, root: Path, executor: Executor, progress: Progress) -> Manifest:
        """Run what is not done yet, below ``root``; the caller holds `pipelines.stage.dataset_lock`.

        Returns:
            The manifest of the crops.
        """
        alone = LocalExecutor(1)  # what asks one server asks it in series
        done: list[Manifest] = []
        for stage in (*self.names, self.search):
            done = [run_stage(stage, done, root, alone, progress)]
        (urls,) = done
        fetch_photographs(urls, self.web, progress)
        return cut_faces(self.detect, self.crop, urls, executor, progress)

    def plan(self, root: Path) -> Iterator[tuple[str, str]]:
        """Stage by stage, what `run` would do; writes nothing."""
        done: dict[str, Manifest] = {}
        asking = (*self.names, self.search)
        before: list[tuple[str, ...]] = [(), *((stage.name,) for stage in asking)]
        yield from plan_stages(list(zip(asking, before, strict=False)), root, done)
        following = cutting_stages(self.detect, self.crop)
        if SearchStage.name not in done:
            yield "fetch", f"would run, after {SearchStage.name}"
        else:
            total, known = count_known(done[SearchStage.name])
            if known == total:
                yield "fetch", "done already"
                yield from plan_stages(following, root, done)
                return
            yield "fetch", f"would fetch {total - known:,} of {total:,} URLs"
        yield from ((stage.name, "would run, after fetch") for stage, _ in following)


def plan_collection(
    config: CollectionConfig,
    web: Web,
    *,
    data_root: Path,
    names: Path | None = None,
    endpoint: str = DBPEDIA,
    provider: str = "commons",
    provider_url: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Collection:
    """The stages of a collection.

    Args:
        config: what to collect.
        web: how the web is asked.
        data_root: where models are fetched to.
        names: a list of names; None: DBpedia's.
        endpoint: DBpedia's.
        provider: of searches, or a file of URLs, which names its people.
        provider_url: of the provider's instance.
        environment: holds the provider's key, if it wants one.

    Raises:
        CleanshardsError: an option cannot be used, or the detector's model cannot be had.
    """
    make_client = partial(ApiClient, web.wire, user_agent(web.contact), sleep=web.sleep)
    found = open_provider(provider, client_factory=make_client, url=provider_url, environment=environment)
    born = Days(config.born_after, config.born_before)
    if isinstance(found, UrlFile) and names is None:
        named: tuple[Stage, ...] = (NamesFileStage(found.people, config.people),)
    else:
        named = choose_names(names, endpoint, born, config.people, make_client)
    return Collection(
        web,
        named,
        SearchStage(found, config.images_per_person, config.people_per_shard),
        *plan_faces(config, data_root),
    )


def plan_faces(config: CollectionConfig, data_root: Path) -> tuple[DetectStage, CropStage]:
    """The stages that need no network, but for a detector's model the first time."""
    model = Path(config.yunet_model) if config.yunet_model else None
    detector = choose_detector(config.detector, data_root / MODELS, model)
    return DetectStage(detector, FaceFilter(config.min_face)), CropStage(config.size)


def fetch_photographs(urls: Manifest, web: Web, progress: Progress) -> None:
    """Bring the archive up to date for all URLs of a collection."""
    total, known = count_known(urls)
    with Archive(archive_of(urls)) as archive, progress.stage("fetch", total=total, done=known) as advance:
        wanted = chain.from_iterable(distinct for _, distinct in distinct_urls(urls))
        agent = user_agent(web.contact)
        fetcher = Fetcher(archive, web.wire, agent, politeness=web.politeness, processes=web.processes)
        fetcher.run(wanted, lambda outcome: advance(1))


def count_known(urls: Manifest) -> tuple[int, int]:
    """How many distinct URLs there are, and how many of them have an outcome."""
    folder = archive_of(urls)
    if not folder.exists():
        return sum(len(distinct) for _, distinct in distinct_urls(urls)), 0
    total = known = 0
    with Archive(folder) as archive:
        for _, distinct in distinct_urls(urls):
            total, known = total + len(distinct), known + len(archive.known(distinct))
    return total, known


def cut_faces(detect: DetectStage, crop: CropStage, urls: Manifest, executor: Executor, progress: Progress) -> Manifest:
    """Bring photographs, boxes and crops to what the archive holds: the part that needs no network.

    Returns:
        The manifest of the crops.
    """
    done, root = {urls.stage: urls}, archive_of(urls).parent
    for stage, names in cutting_stages(detect, crop):
        # What becomes of the URLs is read from the archive, which one process does best.
        runs_on = LocalExecutor(1) if isinstance(stage, PhotoStage) else executor
        done[stage.name] = run_stage(stage, [done[name] for name in names], root, runs_on, progress)
    return done[crop.name]


def cutting_stages(detect: DetectStage, crop: CropStage) -> list[tuple[Stage, tuple[str, ...]]]:
    """The stages after the fetch, each with the names of the stages whose manifests it reads."""
    photos = PhotoStage()
    return [
        (photos, (SearchStage.name,)),
        (detect, (photos.name,)),
        (crop, (SearchStage.name, photos.name, detect.name)),
    ]
