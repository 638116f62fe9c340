"""Judge: a sample's pairs, one after another, without a word on which of the two was kept; and what is said of them."""

from typing import Any

from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel

from dedup.review.judging.judgements import Verdict
from dedup.review.judging.sample import Drawn
from dedup.review.judging.session import Session, parse_kind
from dedup.review.pages.layout import respond

AHEAD = 4  # pairs whose pictures the browser fetches before they are asked for


class Said(BaseModel):
    """What a reviewer says of the pair at a place of a sample."""

    place: int
    verdict: Verdict


def router(session: Session) -> APIRouter:
    """The addresses of the pages ``/judge`` and ``/near_misses``."""
    routes = APIRouter()

    @routes.get("/judge")
    def judge() -> Response:
        return respond(session, "judge", "judge.html.jinja", kind="dropped", has_source=session.reviewed.has_source)

    @routes.get("/near_misses")
    def near_misses() -> Response:
        return respond(
            session, "near_misses", "judge.html.jinja", kind="near_misses", has_source=session.reviewed.has_source
        )

    @routes.get("/api/samples/{kind}")
    def progress(kind: str) -> dict[str, Any]:
        return _describe(session, kind)

    @routes.get("/api/samples/{kind}/{place}")
    def pair(kind: str, place: int) -> dict[str, Any]:
        return _show(_find(session, kind, place), place)

    @routes.post("/api/samples/{kind}")
    def judge_pair(kind: str, said: Said) -> dict[str, Any]:
        session.judge(_find(session, kind, said.place).pair, said.verdict)
        return _describe(session, kind)

    @routes.post("/api/samples/{kind}/undo")
    def undo(kind: str) -> dict[str, Any]:
        place = session.undo(parse_kind(kind))
        return {**_describe(session, kind), "undone": place}

    return routes


def _find(session: Session, kind: str, place: int) -> Drawn:
    try:
        return session.drawn(parse_kind(kind), place)
    except IndexError:
        raise HTTPException(404, f"The sample has no place {place}.") from None


def _describe(session: Session, kind: str) -> dict[str, Any]:
    progress = session.progress(parse_kind(kind))
    drawn = session.sample(parse_kind(kind)).drawn
    places = range(progress["place"], min(progress["place"] + 1 + AHEAD, len(drawn)))
    return {**progress, "ahead": [_show(drawn[place], place) for place in places]}


def _show(drawn: Drawn, place: int) -> dict[str, Any]:
    numbers = drawn.numbers[::-1] if drawn.swapped else drawn.numbers
    return {"place": place, "pictures": [f"/pictures/{number}" for number in numbers]}
