"""Binding: what reviewers said, as it lies; ``report.json``, the report's page and the data card brought to it out.

Beside the arrow "duplicate groups → clean shards" of "source → thumbnails → 128-bit semantic codes → duplicate groups →
clean shards → DCGAN".
"""

import json
import logging
from typing import Any

from dedup.card import write_card
from dedup.report import write_report
from dedup.review.judging.summary import summarise
from pipelines.errors import DatasetLocked
from pipelines.manifest import Manifest
from pipelines.stage import dataset_lock
from pipelines.store import Folder

logger = logging.getLogger(__name__)


def bind_review(root: Folder) -> None:
    """Write what was judged of a finished data set into its report, unless a run is changing it just now."""
    try:
        with dataset_lock(root, "python -m dedup.review"):
            report: dict[str, Any] = json.loads(root.read("report.json"))
            review = summarise(root, report["population"])
            if review == report.get("review"):
                return
            finished = {stage: Manifest.load(root / stage) for stage in report["stages"]}
            report["review"] = review
            write_report(report, finished, root)
            write_card(report, root)
    except DatasetLocked:
        logger.warning("a run is at work on %s: it will take the judgements into its report", root)
