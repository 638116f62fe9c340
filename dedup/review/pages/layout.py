"""Layout: what every page is laid out in, with a bar that leads to the others; and how a picture is sent."""

from collections.abc import Callable

from fastapi import HTTPException, Response
from fastapi.responses import HTMLResponse

from dedup.review.judging.session import Session
from dedup.review.reviewed import Picture
from pipelines.page import render_page

FOR_AN_HOUR = {"cache-control": "private, max-age=3600"}  # the browser may keep it
PAGES = {  # address → name, as they stand in the bar
    "judge": "Judge",
    "near_misses": "Near misses",
    "groups": "Groups",
    "search": "Search",
    "threshold": "Threshold",
    "sources": "Sources",
    "rejected": "Rejected",
    "runs": "Runs",
    "draw": "Draw",
    "pick": "Pick",
}


def respond(session: Session, name: str, template: str, **values: object) -> HTMLResponse:
    """A page of the review.

    Args:
        session: what is shown.
        name: of the page, in `PAGES`.
        template: beside this file; extends ``review.html.jinja``.
        values: what it shows.
    """
    html = render_page(
        "dedup.review.pages",
        template,
        dataset=session.reviewed.root.name,
        pages=PAGES,
        here=name,
        title=PAGES[name],
        **values,
    )
    return HTMLResponse(html)


def send_picture(read: Callable[[int], Picture], number: int) -> Response:
    """The picture of a number, as the browser may keep it for an hour.

    Args:
        read: raises IndexError where there is no such picture.
        number: of the picture.

    Raises:
        HTTPException: 404, there is none.
    """
    try:
        found = read(number)
    except IndexError:
        raise HTTPException(404, f"There is no picture {number}.") from None
    return Response(found.content, media_type=found.media_type, headers=FOR_AN_HOUR)
