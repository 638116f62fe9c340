"""Requests and answers of the replay world, as its hosts see them; `facescrape.replay.server` puts them on the wire."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """A GET request.

    Attributes:
        host: lower case, without a port.
        target: path and query as they were sent.
        headers: by their names in lower case.
        number: how often this host was asked for this path, from 1.
    """

    host: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    number: int = 1

    @property
    def path(self) -> str:
        """The target without its query, percent-encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of several with one name the last."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: of HTTP.
        body: as sent.
        headers: besides Content-Length.
        length_bytes: of the body, filled up with zeros to it; None: its own.
        delay_s: before anything is sent.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length_bytes: int | None = None
    delay_s: float = 0.0


def text(body: str, status: int = 200) -> Answer:
    """An answer of plain text."""
    return Answer(status, body.encode(), (("Content-Type", "text/plain; charset=utf-8"),))


def as_json(value: Any, status: int = 200, *headers: tuple[str, str], kind: str = "application/json") -> Answer:
    """An answer of JSON."""
    return Answer(status, json.dumps(value).encode(), (("Content-Type", kind), *headers))


NOT_FOUND = text("Not Found", 404)
