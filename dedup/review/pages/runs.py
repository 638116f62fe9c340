"""Runs: the data set's training runs: losses, samples over time, metrics; one, or two side by side."""

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Response

from dedup.review.judging.session import Session
from dedup.review.pages.layout import FOR_AN_HOUR, respond
from dedup.review.training.runs import Run, describe, find_run, find_runs, read_picture, summarise
from pipelines.store import local_path


def router(session: Session) -> APIRouter:
    """The addresses of the page ``/runs``, and of the pictures in runs' folders."""
    routes = APIRouter()

    @routes.get("/runs")
    def runs() -> Response:
        return respond(session, "runs", "runs.html.jinja", command=f"python -m train.run {session.reviewed.root.name}")

    @routes.get("/api/runs")
    def summaries() -> Response:
        found = find_runs(local_path(session.reviewed.root))
        return as_json({"runs": [summarise(run, run.read_measured()) for run in found]})

    @routes.get("/api/runs/{name}")
    def one(name: str, known: str = "") -> Response:
        run = require_run(session, name)
        return as_json({"version": known} if known == run.version() else describe(run))

    @routes.get("/runs/{name}/files/{path:path}")
    def file(name: str, path: str) -> Response:
        try:
            content, media_type = read_picture(require_run(session, name), path)
        except FileNotFoundError:
            raise HTTPException(404, "The run has no such picture.") from None
        return Response(content, media_type=media_type, headers=FOR_AN_HOUR)

    return routes


def require_run(session: Session, name: str) -> Run:
    """The run of that name; 404 where there is none."""
    try:
        return find_run(local_path(session.reviewed.root), name)
    except KeyError:
        raise HTTPException(404, "There is no such run.") from None


def as_json(content: Any) -> Response:
    """JSON in ASCII, as texts of a run's files may hold what UTF-8 cannot."""
    return Response(json.dumps(content, allow_nan=False), media_type="application/json")
