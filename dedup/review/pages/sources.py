"""Sources: a map of which source duplicates which."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from dedup.review.browsing.view import Browsing
from dedup.review.pages.layout import respond


def router(browsing: Browsing) -> APIRouter:
    """The address of the page ``/sources``."""
    routes = APIRouter()

    @routes.get("/sources")
    def page() -> Response:
        return respond(browsing.session, "sources", "sources.html.jinja", **_describe(browsing))

    return routes


def _describe(browsing: Browsing) -> dict[str, Any]:
    names, counts = browsing.origins.names, browsing.origins.count(browsing.groups.dropped)
    images = {row["name"]: row["images"] for row in browsing.reviewed.report.get("sources") or ()}
    most = max(1, int(counts.max(initial=0)))
    rows = [
        {
            "name": name,
            "images": images.get(name),
            "dropped": int(counts[place].sum()),
            "cells": [
                {
                    "kept": kept,
                    "count": count,
                    # By the root: a source mostly duplicates itself, and what it shares with others must show.
                    "heat": round(100 * (count / most) ** 0.5),
                    "address": "/groups?" + urlencode({"source": name, "kept_source": kept}),
                }
                for kept, count in zip(names, counts[place].tolist(), strict=True)
            ],
        }
        for place, name in enumerate(names)
    ]
    return {"rows": rows, "names": names}
