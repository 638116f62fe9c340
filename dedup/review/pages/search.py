"""Search: images by a part of their key, or by a picture that somebody has."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from dedup.review.browsing.keys import find_keys
from dedup.review.browsing.view import Browsing
from dedup.review.pages.layout import respond

HITS_PER_PAGE = 48
AT_LEAST = 12  # of the nearest images are shown, near-duplicates or not


def router(browsing: Browsing) -> APIRouter:
    """The addresses of the page ``/search``."""
    routes = APIRouter()

    @routes.get("/search")
    def page() -> Response:
        return respond(browsing.session, "search", "search.html.jinja", images=len(browsing.reviewed.images))

    @routes.get("/api/search")
    def by_key(key: Annotated[str, Query(min_length=1, max_length=1_000)], after: str | None = None) -> dict[str, Any]:
        starts = browsing.reviewed.images.ids.starts
        hits, following = find_keys(
            browsing.reviewed.found.thumbnails, starts, key, HITS_PER_PAGE, _parse(after) if after else None
        )
        found = _describe(browsing, [hit.number for hit in hits if hit.number is not None])
        shown = [{"key": hit.key, "reason": hit.reason} if hit.number is None else found[hit.number] for hit in hits]
        return {"images": shown, "following": f"{following[0]}.{following[1]}" if following else None}

    @routes.post("/api/search")
    async def by_picture(request: Request) -> dict[str, Any]:
        image = await request.body()
        return await run_in_threadpool(_look_up, browsing, image)

    return routes


def _look_up(browsing: Browsing, image: bytes) -> dict[str, Any]:
    matches = browsing.lookup.query(image, AT_LEAST)
    found = _describe(browsing, [match.number for match in matches])
    return {
        "images": [
            {
                **found[match.number],
                "distance": match.distance,
                "score": None if match.score is None else round(match.score, 2),
                "mirrored": match.mirrored,
                "same_bytes": match.same_bytes,
                "verified": match.verified,
            }
            for match in matches
        ]
    }


def _describe(browsing: Browsing, numbers: list[int]) -> dict[int, dict[str, Any]]:
    """By number: what is shown of each image, the image that is kept for it, and the size of its group."""
    asked = np.array(numbers, np.int64)
    images, kept = browsing.describe(asked), browsing.groups.kept_for(asked).tolist()
    return {
        number: {**images[number], "kept": for_it, "size": browsing.groups.size_of(for_it)}
        for number, for_it in zip(numbers, kept, strict=True)
    }


def _parse(after: str) -> tuple[int, int]:
    try:
        part, row = map(int, after.split("."))
    except ValueError:
        raise HTTPException(404, f"There is no page after {after}.") from None
    return part, row
