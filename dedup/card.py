"""Card: what report.json says of a finished run in; the data set's card, as the Hugging Face Hub reads it, out.

It describes the clean shards of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards →
DCGAN" to whoever is given them: YAML between two lines of ``---``, then Markdown
(https://huggingface.co/docs/hub/datasets-cards). It is written for strangers: no path of this machine stands in it.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

import jinja2
from scipy.stats import binomtest

from pipelines.publish.publication import CARD_NAME, quote_yaml
from pipelines.registry import DatasetSpec, Registry
from pipelines.store import Folder, LocalFolder, open_root

CREDITS = "attribution.html"  # the page on which facescrape credits each photograph
CONFIDENCE = 0.95

# The licences of data among those that the Hub knows by an id (https://huggingface.co/docs/hub/repositories-licenses).
HUB_LICENCE = re.compile(
    r"cc0-1\.0|cc-by-(2\.[05]|[34]\.0)|cc-by-sa-[34]\.0|cc-by-nc-[234]\.0|cc-by-nd-4\.0|cc-by-nc-nd-[34]\.0"
    r"|cc-by-nc-sa-[234]\.0|cdla-(sharing-1\.0|permissive-[12]\.0)|odbl|odc-by|pddl|c-uda|etalab-2\.0|gfdl|unlicense"
    r"|apache-2\.0|mit|bsd(-[23]-clause)?|afl-3\.0|artistic-2\.0"
)
SIZES = {10**3: "1K", 10**4: "10K", 10**5: "100K", 10**6: "1M", 10**7: "10M", 10**8: "100M", 10**9: "1B"}

# Options of `dedup.run` that say where it worked and what it showed, and how many values follow each.
LOCAL_OPTIONS = {
    **dict.fromkeys(("--data-root", "--workers", "--executor", "--ray-address", "--device"), 1),
    **dict.fromkeys(("--dry-run", "--verbose", "-v", "--quiet", "-q", "--debug"), 0),
}
_LEADS_TO_PATH = re.compile(r"(?:--?[\w-]+=)?(?:[A-Za-z0-9][\w.-]*=)?(?:[a-z][a-z0-9]+:)?")


def add_provenance(
    report: Mapping[str, Any], data_root: Folder | Path, registry: Registry, arguments: Sequence[str]
) -> dict[str, Any]:
    """A report that also says where its images came from, as far as this machine knows it.

    A source without a URI is the data set's own; any other is a registered data set's where it lies in its folder.

    Args:
        report: of `dedup.report.make_report`.
        data_root: folder that holds a folder per data set.
        registry: the data sets that have a name.
        arguments: what `dedup.run` was called with, or ``cleanshards``.

    Returns:
        The report with ``command``, and with description, terms and credits in each of ``sources``: in words, empty
        where nothing is known. Credits is the page on which facescrape credits the photographs, as its path in the data
        set's folder.
    """
    folder = open_root(data_root)
    base = folder.path.resolve() if isinstance(folder, LocalFolder) else None
    sources = []
    for source in report["sources"]:
        uri = source["uri"]
        path = _locate(uri) if uri else None
        spec = _find_spec(report["dataset"], path, base, registry)
        lies_in = path or (spec.path(base) if spec and base else None)
        known = {"description": spec.description, "terms": spec.terms} if spec else {"description": "", "terms": ""}
        sources.append({**source, **known, "credits": _find_credits(lies_in)})
    own = arguments[1:] if arguments[:1] == ["dedup"] and report["dataset"] in arguments[1:] else arguments
    return {**report, "sources": sources, "command": shlex.join(["python", "-m", "dedup.run", *without_places(own)])}


def make_card(report: Mapping[str, Any]) -> str:
    """The card of a de-duplicated data set.

    Args:
        report: the content of report.json; what was not asked for may be absent, as may what `add_provenance` adds.

    Returns:
        YAML front matter and Markdown. Texts of the report are kept to one line and cannot end what they stand in.
    """
    given = report.get("sources") or [{"name": report["source"], "images": report["read"]}]
    sources = [{**dict.fromkeys(("description", "terms", "credits"), ""), **source} for source in given]
    optional = {"review": None, "calibration": None, "truth": None, "decisions": None}
    return _template().render(
        report={**optional, "command": f"python -m dedup.run {report['dataset']}", **report, "sources": sources},
        faces=[source for source in sources if source["credits"]],
        licence=choose_licence([source["terms"] for source in sources]),
        size=choose_size(report["kept"]),
        verified=report["profile"] != "paper",
    )


def write_card(report: Mapping[str, Any], root: Folder | Path) -> None:
    """Write ``card.md`` below the data set's folder."""
    open_root(root).write(CARD_NAME, make_card(report).encode())


def choose_licence(terms: Sequence[str]) -> dict[str, str]:
    """The card's fields on the licence: of the Hub's ids where all sources state the same one.

    Otherwise ``other``, with a name that leads to the card's text; ``unknown`` where no source states anything.
    """
    stated = {text.strip().lower().replace(" ", "-") for text in terms}
    if not any(stated):
        return {"license": "unknown"}
    if len(stated) == 1 and HUB_LICENCE.fullmatch(only := stated.pop()):
        return {"license": only}
    return {"license": "other", "license_name": "terms-of-the-sources"}


def choose_size(images: int) -> str:
    """The Hub's size category of so many images."""
    below = "n<"
    for limit, name in SIZES.items():
        if images < limit:
            return f"{below}{name}"
        below = f"{name}<n<"
    return "1B<n<10B"


def without_places(arguments: Sequence[str]) -> list[str]:
    """A command's arguments for somebody else's machine: every path cut to its last part, `LOCAL_OPTIONS` left out."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, joined, _ = argument.partition("=")
        if option in LOCAL_OPTIONS:
            for _ in range(0 if joined else LOCAL_OPTIONS[option]):
                next(rest, None)
            continue
        lead = _LEADS_TO_PATH.match(argument)
        start = lead.end() if lead else 0
        kept.append(
            argument[:start] + (PurePath(argument[start:].replace("\\", "/")).name or argument[start:].strip("/"))
        )
    return kept


def _locate(uri: str) -> Path:
    """Where ``[NAME=]SCHEME:PATH`` leads."""
    return Path(uri.partition(":")[2]).expanduser().resolve()


def _find_spec(dataset: str, path: Path | None, base: Path | None, registry: Registry) -> DatasetSpec | None:
    if path is None:
        return registry.datasets.get(dataset)
    if base is None or not path.is_relative_to(base) or path == base:
        return None
    return registry.datasets.get(path.relative_to(base).parts[0])


def _find_credits(source: Path | None) -> str:
    """Where facescrape's attribution page lies, from the data set's folder on; "" where the source has none."""
    for folder in source.parents[:2] if source else ():
        for page in (folder / "report" / CREDITS, folder / "raw" / "report" / CREDITS):
            if page.is_file():
                return "/".join(page.parts[-3:])
    return ""


def _one_line(text: object) -> str:
    """A text without line breaks, control characters, or what UTF-8 cannot hold."""
    encodable = str(text).encode("utf-8", "replace").decode()
    return " ".join("".join(letter if letter.isprintable() else " " for letter in encodable).split())


def _quote(text: object) -> str:
    """A YAML scalar of one line."""
    return quote_yaml(_one_line(text))


def _escape(text: object) -> str:
    """Text that Markdown shows as it is: no HTML, link, emphasis or border of a table."""
    return re.sub(r"([\\`*\[\]<>|~$])", r"\\\1", _one_line(text).replace("&", "&amp;"))


def _code(text: object) -> str:
    """A code span of Markdown, which a backtick within cannot end."""
    line = _one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _interval(hits: int, trials: int) -> str:
    """The exact interval of a share (Clopper & Pearson 1934), in words."""
    low, high = binomtest(hits, trials).proportion_ci(CONFIDENCE, "exact")
    return f"{CONFIDENCE:.0%} interval {low:.1%} to {high:.1%}"


def _end(text: str) -> str:
    """A text as a sentence."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown has other dangers than HTML: see the filters
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "thousands": "{:,}".format,
        "percent": "{:.1%}".format,
        "words": lambda t: t.replace("_", " "),
    }
    environment.filters |= {"quote": _quote, "prose": _escape, "code": _code, "sentence": _end, "one_line": _one_line}
    environment.globals["interval"] = _interval
    return environment.from_string(files("dedup").joinpath("card.md.jinja").read_text("utf-8"))
