"""Groups: duplicates as they were grouped, page by page; and what the person who looks says of two images."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, HTTPException, Response
from pydantic import BaseModel

from dedup.review.browsing.groups import Order
from dedup.review.browsing.view import Browsing
from dedup.review.pages.layout import respond, send_picture

GROUPS_PER_PAGE = 24
AT_FIRST, AT_ONCE = 12, 60  # dropped images of a group that are shown, and that are added


class Said(BaseModel):
    """What is said of two images, by number; None: it is taken back."""

    first: int
    second: int
    verdict: Literal["same", "different"] | None


def router(browsing: Browsing) -> APIRouter:
    """The addresses of the page ``/groups``, of marks on two images, and of previews."""
    routes = APIRouter()

    @routes.get("/groups")
    def page() -> Response:
        return respond(browsing.session, "groups", "groups.html.jinja", groups=len(browsing.groups))

    @routes.get("/api/groups")
    def groups(
        order: Order = "size",
        after: int | None = None,
        source: str | None = None,
        kept_source: str | None = None,
        group: int | None = None,
    ) -> dict[str, Any]:
        if group is not None:
            return {"groups": browsing.show([_find(browsing, group, None, AT_FIRST)]), "total": 1, "following": None}
        among = _within(browsing, source, kept_source)
        try:
            found = browsing.groups.page(order, after, GROUPS_PER_PAGE, AT_FIRST, among)
        except KeyError:
            raise HTTPException(404, f"There is no group of picture {after}.") from None
        return {"groups": browsing.show(found.groups), "total": found.total, "following": found.following}

    @routes.get("/api/groups/{kept}")
    def members(kept: int, after: int | None = None) -> dict[str, Any]:
        return browsing.show([_find(browsing, kept, after, AT_ONCE)])[0]

    @routes.get("/previews/{number}")
    def preview(number: int) -> Response:
        return send_picture(browsing.previews.read, number)

    @routes.post("/api/marks")
    def mark(said: Said) -> dict[str, Any]:
        try:
            browsing.marks.mark(said.first, said.second, said.verdict)
        except IndexError:
            raise HTTPException(404, "There is no such picture.") from None
        return {"said": said.verdict}

    return routes


def _find(browsing: Browsing, kept: int, after: int | None, most: int) -> Any:
    try:
        return browsing.groups.members(kept, after, most)
    except KeyError:
        raise HTTPException(404, f"There is no group of picture {kept} that goes on there.") from None


def _within(browsing: Browsing, source: str | None, kept_source: str | None) -> npt.NDArray[np.bool_] | None:
    if source is None or kept_source is None:
        return None
    try:
        return browsing.origins.within(browsing.groups.dropped, source, kept_source)
    except KeyError:
        raise HTTPException(404, f"The data set has no sources {source} and {kept_source}.") from None
