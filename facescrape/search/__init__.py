"""Search: the arrow "names → URLs" of "names → URLs → photographs → boxes → crops".

`SearchStage` takes people and writes tables of URLs; a `SearchProvider` finds them, each in a module of its own.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from facescrape.search import brave, commons, openverse, searxng
from facescrape.search.base import Result, SearchProvider
from facescrape.search.brave import Brave
from facescrape.search.commons import Commons
from facescrape.search.openverse import Openverse
from facescrape.search.searxng import SearXng
from facescrape.search.stage import SearchStage
from facescrape.search.url_file import UrlFile
from facescrape.web.client import ClientFactory
from pipelines.errors import ConfigError

__all__ = ["PROVIDERS", "Result", "SearchProvider", "SearchStage", "UrlFile", "open_provider"]

PROVIDERS = (Commons.name, Openverse.name, SearXng.name, Brave.name)


def open_provider(
    name: str, *, client_factory: ClientFactory, url: str | None, environment: Mapping[str, str]
) -> SearchProvider:
    """The provider that a user chose.

    Args:
        name: one of `PROVIDERS`, or the path of a file of URLs.
        client_factory: makes the client that asks it.
        url: of the user's instance, for SearXNG.
        environment: holds the key, for Brave.

    Raises:
        ConfigError: there is no such provider, it lacks what it needs, or the file cannot be used.
    """
    if name == Commons.name:
        return Commons(client_factory(commons.SERVICE))
    if name == Openverse.name:
        return Openverse(client_factory(openverse.SERVICE))
    if name == SearXng.name:
        if not url:
            raise ConfigError("SearXNG is searched at an instance of yours", hint="give its URL")
        return SearXng(url, client_factory(searxng.SERVICE))
    if name == Brave.name:
        key = environment.get(brave.KEY_VARIABLE, "").strip()
        if not re.fullmatch("[!-~]+", key):
            raise ConfigError(
                f"Brave needs a key, and {brave.KEY_VARIABLE} {'holds none' if key else 'is not set'}",
                hint=f"get one at https://api-dashboard.search.brave.com, and export {brave.KEY_VARIABLE}=KEY",
            )
        return Brave(client_factory(brave.SERVICE), key)
    if "." in name or "/" in name:
        return UrlFile.load(Path(name))
    raise ConfigError(
        f"no search provider is called {name!r}",
        hint=f"the providers are {', '.join(PROVIDERS)}, and files of URLs (.txt, .csv, .tsv, .parquet)",
    )
