"""Threshold: how many images each threshold would drop, and how well, before any run; and what people decided."""

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel

from dedup.review.browsing.curve import Judged, count_dropped, expect_false, expect_missed
from dedup.review.browsing.marks import Mark
from dedup.review.browsing.view import Browsing
from dedup.review.judging.estimate import Share
from dedup.review.judging.judgements import agree
from dedup.review.pages.layout import respond
from pipelines.registry import DEFAULT_FOLDER
from pipelines.store import open_root

TENTHS = np.arange(-90, 201)  # of a score: where the slider can stand
MARKS_PER_PAGE = 60


class Pair(BaseModel):
    """A pair by the SHA-256 of its images' bytes, the smaller first."""

    first: str
    second: str


def router(browsing: Browsing) -> APIRouter:
    """The addresses of the page ``/threshold``."""
    routes = APIRouter()
    report = browsing.reviewed.report

    @routes.get("/threshold")
    def page() -> Response:
        return respond(
            browsing.session,
            "threshold",
            "threshold.html.jinja",
            threshold=report["threshold"],
            dropped=report["dropped"],
            groups=report["groups"],
            command=shlex.join(make_command(browsing)),
            first=float(TENTHS[0] / 10),
            last=float(TENTHS[-1] / 10),
        )

    @routes.get("/api/threshold")
    def curve() -> dict[str, Any]:
        if report["threshold"] is None:
            raise HTTPException(404, "This run compared codes alone: it has no threshold.")
        thresholds = (TENTHS / 10).astype(np.float32)
        session = browsing.session
        verdicts = agree(session.journal.judgements)
        dropped, near = (Judged.of(session.sample(kind), verdicts) for kind in ("dropped", "near_misses"))
        own = float(report["threshold"])
        return {
            "tenths": TENTHS.tolist(),
            "dropped": count_dropped(browsing.forest, thresholds).tolist(),
            "false": [_show(expect_false(dropped, near, own, at)) for at in (TENTHS / 10).tolist()],
            "missed": [_show(expect_missed(dropped, near, own, at)) for at in (TENTHS / 10).tolist()],
            "judged": {"dropped": len(dropped), "near_misses": len(near)},
        }

    @routes.get("/api/marks")
    def marks(after: str = "") -> dict[str, Any]:
        decided = browsing.marks.decided()
        rest = [mark for mark in decided if mark.place > after]
        shown = rest[:MARKS_PER_PAGE]
        return {
            "total": len(decided),
            "same": sum(mark.decision == "same" for mark in decided),
            "changing": sum(not mark.agrees for mark in decided),
            "honoured": sum(mark.honoured for mark in decided),
            "marks": _describe(browsing, shown),
            "following": shown[-1].place if len(rest) > len(shown) else None,
        }

    @routes.post("/api/marks/back")
    def take_back(pair: Pair) -> dict[str, Any]:
        try:
            browsing.marks.take_back((pair.first, pair.second))
        except KeyError:
            raise HTTPException(404, "You have said nothing of this pair.") from None
        return {"said": None}

    return routes


def make_command(browsing: Browsing) -> list[str]:
    """What runs de-duplication again with another threshold, which goes behind it, as words of a shell."""
    root = browsing.reviewed.root
    given = [row["uri"] for row in browsing.reviewed.report.get("sources") or () if row["uri"]]
    below = str(root).rpartition("/")[0]
    where = [] if open_root(below) == DEFAULT_FOLDER else ["--data-root", below]
    sources = [word for uri in given for word in ("--source", uri)]
    return ["python", "-m", "dedup.run", root.name, *sources, *where]


def _show(share: Share | None) -> list[float] | None:
    return None if share is None else [round(value, 6) for value in (share.value, share.low, share.high)]


def _describe(browsing: Browsing, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    numbers = sorted({number for mark in marks for number in mark.numbers if number is not None})
    images = browsing.describe(np.array(numbers, np.int64))
    return [
        {
            "pair": {"first": mark.pair[0], "second": mark.pair[1]},
            "decision": mark.decision,
            "images": [None if number is None else images[number] for number in mark.numbers],
            "agrees": mark.agrees,
            "honoured": mark.honoured,
            "own": mark.own,
        }
        for mark in marks
    ]
