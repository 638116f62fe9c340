"""Explore: numbered samples of a run: boxes on them, exemplars of them, and the commands that use these."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, HTTPException, Query, Response
from pydantic import BaseModel, Field

from dedup.review.judging.session import Session
from dedup.review.pages.layout import respond
from dedup.review.pages.runs import as_json, require_run
from dedup.review.training.jobs import Jobs, say_command
from dedup.review.training.runs import find_runs
from dedup.review.training.sheets import FILES, Box, Sheet, is_ready, open_sheet, read_said, save_boxes, save_exemplars
from pipelines.store import local_path

MOST_BOXES = 10_000


class Place(BaseModel):
    """Names a sheet."""

    run: str
    checkpoint: str
    seed: int = 0
    label: int = 0


class DrawnBox(BaseModel):
    """See `dedup.review.training.sheets.Box`."""

    image: int
    left: int
    top: int
    width: int
    height: int


class SaidBoxes(Place):
    """See `dedup.review.training.sheets.save_boxes`."""

    count: int
    boxes: Annotated[list[DrawnBox], Field(max_length=MOST_BOXES)]
    known: str


class SaidExemplars(Place):
    """See `dedup.review.training.sheets.save_exemplars`."""

    experiment: Literal["arithmetic", "turn"]
    numbers: dict[str, list[int]]
    names: dict[str, str]
    known: str


class Asked(Place):
    """A command that is to run."""

    experiment: Literal["sheet", "forget", "arithmetic", "turn"]


def router(session: Session) -> APIRouter:
    """The addresses of the pages ``/draw`` and ``/pick``, of what is said there, and of the commands that they run."""
    jobs, saving = Jobs(), threading.Lock()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(jobs.stop)

    routes = APIRouter(lifespan=lifespan)
    command = f"python -m train.run {session.reviewed.root.name}"

    @routes.get("/draw")
    def draw() -> Response:
        return respond(session, "draw", "draw.html.jinja", command=command)

    @routes.get("/pick")
    def pick() -> Response:
        return respond(session, "pick", "pick.html.jinja", command=command)

    @routes.get("/api/checkpoints")
    def checkpoints() -> Response:
        found = find_runs(local_path(session.reviewed.root))
        classes = [run.config.get("classes", 0) for run in found]
        return as_json(
            {
                "runs": [
                    {"name": run.name, "checkpoints": run.checkpoints, "classes": count}
                    for run, count in zip(found, classes, strict=True)
                ]
            }
        )

    @routes.get("/api/sheet")
    def sheet(place: Annotated[Place, Query()]) -> Response:
        return as_json(_describe(_open(session, place)))

    @routes.post("/api/boxes")
    def keep_boxes(said: SaidBoxes) -> Response:
        boxes = [Box(**box.model_dump()) for box in said.boxes]
        found = _open(session, said)
        with saving:
            save_boxes(found, said.count, boxes, said.known)
        return as_json(_describe_said(found, "forget"))

    @routes.post("/api/exemplars")
    def keep_exemplars(said: SaidExemplars) -> Response:
        found = _open(session, said)
        with saving:
            save_exemplars(found, said.experiment, said.numbers, said.names, said.known)
        return as_json(_describe_said(found, said.experiment))

    @routes.post("/api/jobs")
    def start(asked: Asked) -> Response:
        found = _open(session, asked)
        if asked.experiment != "sheet" and not is_ready(
            asked.experiment, read_said(found, asked.experiment)["content"]
        ):
            raise HTTPException(400, "Too little is said of the samples for this.")
        return as_json(jobs.start(asked.experiment, found.arguments(asked.experiment)))

    @routes.get("/api/jobs")
    def job() -> Response:
        return as_json({"job": jobs.describe()})

    @routes.post("/api/jobs/stop")
    def stop() -> Response:
        jobs.stop()
        return as_json({"job": jobs.describe()})

    return routes


def _open(session: Session, place: Place) -> Sheet:
    return open_sheet(require_run(session, place.run), place.checkpoint, place.seed, place.label)


def _describe(sheet: Sheet) -> dict[str, Any]:
    """The sheet: samples (addresses; none: they are not drawn), resolution, command, and what is said of them."""
    drawn = sheet.read()
    paths = [sheet.folder / f"{number:06d}.png" for number in range(drawn.count)] if drawn else []
    return {
        "samples": [sheet.run.address(path) for path in paths],
        "resolution": drawn.resolution if drawn else 0,
        "command": say_command(sheet.arguments("sheet")),
        "said": {experiment: _describe_said(sheet, experiment) for experiment in FILES},
    }


def _describe_said(sheet: Sheet, experiment: str) -> dict[str, Any]:
    """What is said for an experiment (content, known), whether that is enough, the command, and what it has found."""
    said = read_said(sheet, experiment)
    return {
        **said,
        "ready": is_ready(experiment, said["content"]),
        "file": str(sheet.said(experiment)),
        "command": say_command(sheet.arguments(experiment)),
        "finding": sheet.run.find(sheet.found(experiment)),
    }
