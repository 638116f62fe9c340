"""Server: a session in; the pages that show it, as an ASGI application, out.

Beside the sentence "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN". What pages
have in common is here; each page's own addresses are in `dedup.review.pages`.
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse, RedirectResponse

from dedup.review.browsing.rejections import WHY
from dedup.review.browsing.view import Browsing
from dedup.review.guard import App, Guard
from dedup.review.judging.session import Session
from dedup.review.pages import explore, groups, judge, rejected, runs, search, sources, threshold
from dedup.review.pages.layout import send_picture
from pipelines.errors import CleanshardsError
from pipelines.images import ImageRejected


def create_app(session: Session, hosts: frozenset[str], token: str) -> App:
    """The application that shows a session.

    Args:
        session: what is shown.
        hosts: what requests may give as their host, with the port.
        token: what the person who may see it was given.
    """
    app = FastAPI(title="cleanshards review", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    def home() -> Response:
        return RedirectResponse("/judge", status_code=303)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        folder = files("dedup.review").joinpath("static")
        by_name = {file.name: file for file in folder.iterdir()}
        if name not in by_name:
            raise HTTPException(404, f"There is no {name}.")
        return Response(by_name[name].read_bytes(), media_type="text/javascript; charset=utf-8")

    @app.get("/pictures/{number}")
    def picture(number: int) -> Response:
        return send_picture(session.reviewed.picture, number)

    app.include_router(judge.router(session))
    browsing = Browsing(session)
    for page in (groups, search, threshold, sources, rejected):
        app.include_router(page.router(browsing))
    app.include_router(runs.router(session))
    app.include_router(explore.router(session))
    app.exception_handler(CleanshardsError)(_tell(lambda error: f"{error.message}: {error.hint}"))
    app.exception_handler(ImageRejected)(_tell(lambda error: f"This picture cannot be used. {WHY[error.reason]}"))
    app.exception_handler(HTTPException)(_tell_status)
    return Guard(app, hosts, token)


def _tell(describe: Callable[..., str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def told(_: Request, error: Exception) -> Response:
        return PlainTextResponse(describe(error), status_code=400)

    return told


async def _tell_status(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(str(error.detail), status_code=error.status_code)
