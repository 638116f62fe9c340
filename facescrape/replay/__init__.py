"""The replay world: a web of made-up people on this machine, against which the whole collection runs as it is.

It stands opposite every arrow of "names → URLs → photographs → boxes → crops": one server on the loopback interface
plays DBpedia, the search providers and the hosts of the photographs, those that misbehave included. A `World` is what
there is, and knows the truth about it; `serve` plays it; `facescrape.web.wire.Replay` leads every URL to it.
"""

from facescrape.replay.demo import Demo, serve_demo
from facescrape.replay.exhibit import Exhibit
from facescrape.replay.folder import FolderPeople
from facescrape.replay.misbehaviour import BEHAVED, Kind, Misbehaviour
from facescrape.replay.providers import BRAVE_KEY, SEARXNG
from facescrape.replay.rendered import RenderedPeople
from facescrape.replay.server import ReplayServer, serve
from facescrape.replay.virtuoso import Virtuoso
from facescrape.replay.world import World

__all__ = [
    "BEHAVED",
    "BRAVE_KEY",
    "SEARXNG",
    "Demo",
    "Exhibit",
    "FolderPeople",
    "Kind",
    "Misbehaviour",
    "RenderedPeople",
    "ReplayServer",
    "Virtuoso",
    "World",
    "serve",
    "serve_demo",
]
