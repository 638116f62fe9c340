"""Report: a finished collection in; its accounts as ``report.json``, a page with pictures, and a credit for each out.

Stands after "names → URLs → photographs → boxes → crops", and once more after de-duplication of the crops.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from facescrape.report.accounts import Group, Tables, count_collection, read_dropped
from facescrape.report.credits import Directory, group_by_person, iterate_pages, page_name, read_directory
from facescrape.report.gallery import FACE_SIDE, Place, choose_faces, choose_photographs, read_crops
from pipelines.page import render_page
from pipelines.store import write_atomically

PAGES = "report"
ROWS_LISTED = 20
THUMBNAIL_SIDE = 48

# Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
# Networks", 2016, section 4.2 (https://arxiv.org/abs/1511.06434): "3M images from 10K people", "approximately 350,000
# face boxes". The authors' own file, of boxes at 128 px, is faces_364293_128px.hdf5
# (https://github.com/Newmu/dcgan_code/blob/master/faces/load.py).
PAPER = {"people": 10_000, "images": 3_000_000, "boxes": 350_000, "boxes_of_authors": 364_293}


def make_report(root: Path, dataset_folder: Path) -> dict[str, Any]:
    """Count everything, from the tables and not from memory.

    Args:
        root: of the collection: stage folders names, urls, photos, boxes, crops.
        dataset_folder: where de-duplication of the crops leaves its results, if it has run.

    Returns:
        The content of ``report.json``: dataset; funnel (of each step its name, how many came in and went on, and lost
        by reason); deduplicated; ratios; by_provider and by_licence (results, downloaded, crops); hosts (number, and
        of the largest: host, ok, failed); bytes; fetch_seconds; fetched (first, last); detector; fingerprint of the
        crops; version.

    Raises:
        SourceError: the collection is not finished.
        IntegrityError: the accounts do not balance.
    """
    tables = Tables(root)
    accounts = count_collection(tables, dataset_folder)
    fetching = accounts.fetching
    counts = {step.name: step for step in accounts.steps}
    pictures = counts["pictures"].came_in
    hosts = sorted(fetching.hosts.items(), key=lambda item: (-sum(item[1]), item[0]))
    return {
        "dataset": dataset_folder.name,
        "funnel": [
            {"step": step.name, "in": step.came_in, "out": step.went_on, "lost": dict(step.lost)}
            for step in accounts.steps
        ],
        "deduplicated": accounts.is_deduplicated,
        "ratios": {
            "images_per_person": _ratio(pictures, counts["people"].came_in),
            "boxes_per_image": _ratio(counts["faces"].went_on, pictures),
        },
        "by_provider": _groups(accounts.by_provider),
        "by_licence": _groups(accounts.by_licence),
        "hosts": {
            "number": len(hosts),
            "largest": [{"host": host, "ok": ok, "failed": failed} for host, (ok, failed) in hosts[:ROWS_LISTED]],
        },
        "bytes": {"downloaded": fetching.downloaded_bytes, "distinct": fetching.distinct_bytes},
        "fetch_seconds": round(fetching.seconds, 3),
        "fetched": [at.isoformat() if at else None for at in (fetching.first_at, fetching.last_at)],
        "detector": ", ".join(accounts.detectors) or None,
        "fingerprint": tables.crops.fingerprint,
        "version": version("cleanshards"),
    }


def write_report(report: Mapping[str, Any], root: Path, credits_per_page: int = 1000) -> None:
    """Write ``report.json``, ``report/index.html`` and the pages of ``report/attribution.html`` below ``root``.

    Pages of an earlier, larger collection go: they would show what is forgotten.
    """
    tables = Tables(root)
    dropped = read_dropped(root.parent) if report["deduplicated"] else set[str]()
    faces = choose_faces(tables, dropped)
    directory = read_directory(tables, {place.photo_sha256 for place in faces}, credits_per_page)
    folder = root / PAGES
    folder.mkdir(exist_ok=True)
    written = {"index.html"}
    for number, page in enumerate(_attribution_pages(report, tables, directory, credits_per_page), start=1):
        write_atomically(folder / page_name(number), page.encode())
        written.add(page_name(number))
    for path in folder.glob("*.html"):
        if path.name not in written:
            path.unlink()
    write_atomically(folder / "index.html", _index_page(report, tables, directory, faces).encode())
    write_atomically(root / "report.json", json.dumps(report, indent=1).encode())


def _index_page(report: Mapping[str, Any], tables: Tables, directory: Directory, faces: list[Place]) -> str:
    crops = _read_crops(tables, ((place.shard, place.key) for place in faces), FACE_SIDE)
    return render_page(
        "facescrape.report",
        "report.html.jinja",
        report=report,
        steps={step["step"]: step for step in report["funnel"]},
        paper=PAPER,
        listed=ROWS_LISTED,
        wall=[(directory.entries[place.photo_sha256], crops[place.key]) for place in faces],
        photographs=choose_photographs(tables),
    )


def _attribution_pages(report: Mapping[str, Any], tables: Tables, directory: Directory, per_page: int) -> Iterator[str]:
    """The pages that credit all photographs; at least one, so that links to it lead somewhere."""
    pages = iterate_pages(tables, per_page) if directory.pages else iter([[]])
    for number, page in enumerate(pages, start=1):
        yield render_page(
            "facescrape.report",
            "attribution.html.jinja",
            report=report,
            directory=directory,
            number=number,
            page_name=page_name,
            groups=group_by_person(credit for _, credit in page),
            crops=_read_crops(tables, ((shard, key) for shard, credit in page for key in credit.keys), THUMBNAIL_SIDE),
        )


def _read_crops(tables: Tables, places: Iterable[tuple[str, str]], side: int) -> dict[str, str]:
    """Crops as data URIs by key, given as (shard, key); each shard is read once."""
    keys: dict[str, list[str]] = {}
    for shard, key in places:
        keys.setdefault(shard, []).append(key)
    return {key: uri for shard in keys for key, uri in read_crops(tables, shard, keys[shard], side).items()}


def _groups(groups: Mapping[str, Group]) -> dict[str, dict[str, int]]:
    return {name: asdict(group) for name, group in groups.items()}


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
