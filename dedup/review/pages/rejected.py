"""Rejected: images that cannot be used, by reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from dedup.review.browsing.rejections import WHY
from dedup.review.browsing.view import Browsing
from dedup.review.pages.layout import respond
from pipelines.images import RejectReason

ROWS_PER_PAGE = 100


def router(browsing: Browsing) -> APIRouter:
    """The addresses of the page ``/rejected``."""
    routes = APIRouter()

    @routes.get("/rejected")
    def page() -> Response:
        rejections = browsing.rejections
        reasons = [
            {"value": reason.value, "name": reason.value.replace("_", " "), "why": WHY[reason], "count": count}
            for reason, count in rejections.counts().items()
        ]
        return respond(browsing.session, "rejected", "rejected.html.jinja", reasons=reasons, total=len(rejections))

    @routes.get("/api/rejected")
    def rejected(
        reason: RejectReason | None = None, after: Annotated[int, Query(ge=-1, lt=1 << 62)] = -1
    ) -> dict[str, Any]:
        rows, following = browsing.rejections.page(reason, after, ROWS_PER_PAGE)
        return {"rows": rows, "following": following}

    return routes
