"""Layout: what every page of the review is laid out in: a bar that leads to the others, and its script."""

from fastapi.responses import HTMLResponse

from dedup.review.judging.session import Session
from pipelines.page import render_page

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
