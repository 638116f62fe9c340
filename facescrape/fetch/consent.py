"""Consent: what a host says in robots.txt, headers and tdmrep.json goes in; whether we may use a picture comes out.

The conscience of the arrow "URLs → photographs": `pursuit` reads the bytes and asks here. Everything in this
module is pure, takes whatever hosts send without ever raising, and where that can be read in two ways, takes the
reading that leaves the picture alone.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from typing import Self

from protego import Protego

ROBOTS_BYTES = 1 << 19  # what is read of a robots.txt; RFC 9309, 2.5, asks for at least 500 KiB

# DeviantArt's noai and noimageai (https://www.deviantart.com/team/journal/A-New-Directive-for-Opting-Out-of-AI-Datasets-934500371),
# noml (https://noml.info), and Google's (see `opted_out`), of which "none" means noindex and nofollow.
FORBIDDING = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})


@dataclass(frozen=True, slots=True)
class Robots:
    """A host's robots.txt, by RFC 9309 (https://www.rfc-editor.org/rfc/rfc9309)."""

    _text: str
    _read: dict[str, Protego] = field(default_factory=dict, repr=False, compare=False)  # by agent, when first asked

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Take the content of a robots.txt: UTF-8, what is not that replaced; lines beyond `ROBOTS_BYTES` are left."""
        if len(body) > ROBOTS_BYTES:
            body = body[:ROBOTS_BYTES]
            body = body[: max(body.rfind(b"\n"), body.rfind(b"\r")) + 1]  # half a path would allow more than the whole
        return cls(body.decode("utf-8-sig", "replace"))

    def allows(self, url: str, agent: str) -> bool:
        """Whether a crawler that calls itself ``agent``, a product token, may fetch ``url``."""
        try:
            return self._rules(agent).can_fetch(url, _US)
        except ValueError:  # nothing that could be asked for
            return False

    def crawl_delay_s(self, agent: str) -> float | None:
        """Seconds to wait between two requests, where the host says so."""
        return self._rules(agent).crawl_delay(_US)

    def _rules(self, agent: str) -> Protego:
        rules = self._read.get(agent)
        if rules is None:
            lines = (_rename_agent(line, agent) for line in self._text.splitlines())
            rules = self._read[agent] = Protego.parse("\n".join(lines))
        return rules


# RFC 9309, 2.2.1, matches whole product tokens. Protego, which searches the names of groups in the agent's, would give
# us the rules of "User-agent: clean", and miss "User-agent: cleanshards/1.0". It also keeps a copy of a group's rules
# for each name of the group: gigabytes for a robots.txt that is written to that end. So all names but ours become one.
_US, _OTHERS = "us", "others"
_AGENT_LINE = re.compile(r"user(?:-|\s*)agent(?:\s*:|\s)\s*(\S.*)", re.IGNORECASE)
_TOKEN_END = re.compile(r"[\s*/;,]")


def _rename_agent(line: str, agent: str) -> str:
    found = _AGENT_LINE.fullmatch(line.partition("#")[0].strip())
    if found is None or found[1] == "*":
        return line
    token = _TOKEN_END.split(found[1], maxsplit=1)[0]
    return f"User-agent: {_US if token.lower() == agent.lower() else _OTHERS}"


@dataclass(frozen=True, slots=True)
class TdmPolicy:
    """A host's /.well-known/tdmrep.json: which of its files it reserves from text and data mining.

    By the TDM Reservation Protocol (https://www.w3.org/community/reports/tdmrep/CG-FINAL-tdmrep-20240510/): of the
    rules that match, the first counts. Its patterns are those of robots.txt. A header of a single file (see
    `opted_out`) may say otherwise.
    """

    _rules: tuple[tuple[Robots, bool], ...]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read the content of a tdmrep.json; what is not in its form reserves nothing, what is too long everything."""
        try:
            rules = json.loads(body.decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            return cls(())
        if not isinstance(rules, list):
            return cls(())
        return cls(tuple(_read_tdm_rules(rules if len(rules) <= _TDM_RULES else [_RESERVES_ALL])))

    def reserves(self, path: str) -> bool:
        """Whether the file at ``path``, with its query if it has one, is reserved."""
        url = f"http://host{path}"
        return next((reserved for pattern, reserved in self._rules if not pattern.allows(url, "")), False)


_TDM_RULES = 2000  # each is tried on every URL
_RESERVES_ALL = {"location": "/", "tdm-reservation": 1}


def _read_tdm_rules(rules: list[object]) -> Iterator[tuple[Robots, bool]]:
    for rule in rules:
        if not isinstance(rule, dict):
            continue
        location, reservation = rule.get("location"), rule.get("tdm-reservation")
        if isinstance(location, str) and location.isprintable() and reservation in (0, "0", 1, "1"):
            rooted = location if location.startswith(("/", "*")) else f"/{location}"
            yield Robots(f"User-agent: *\nDisallow: {rooted}"), reservation in (1, "1")


def opted_out(headers: Iterable[tuple[str, str]], agent: str, now: datetime) -> str | None:
    """Find the rule in an answer's headers that forbids us to use what it brought.

    X-Robots-Tag by Google's documentation (https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag):
    rules between commas, of which some have values, and of these one, ``unavailable_after``, a date with colons and
    commas in it; "bot: " before a rule says for whom it and those after it in the same header are meant.
    TDM-Reservation by the protocol that `TdmPolicy` names.

    Args:
        headers: names and values, one per line that was sent: two of one name that are joined to one cannot be told
            apart any more, and the scope of the first would spread to the second.
        agent: our product token.
        now: with a time zone.

    Returns:
        The rule, for the log; None where nothing forbids.
    """
    for name, value in headers:
        match name.strip().lower():
            case "tdm-reservation" if "1" in _TDM_VALUE.split(value):
                return "TDM-Reservation: 1"
            case "x-robots-tag" if len(value) > _TAG_CHARACTERS:  # who writes that much does not want to be read
                return f"X-Robots-Tag: {value[:40]}..."
            case "x-robots-tag":
                rule = next((rule for rule in _rules_for(agent, value) if _forbids(rule, now)), None)
                if rule is not None:
                    return f"X-Robots-Tag: {rule}"
    return None


_TAG_CHARACTERS = 4096
_TDM_VALUE = re.compile(r"[\s,;\"']+")
_SEPARATOR = re.compile(r"[,;]")
_WITH_VALUE = frozenset({"max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"})
_SCOPE = re.compile(r"\s*([A-Za-z_*][^\s:]*)\s*:(.*)", re.DOTALL)  # begins unlike a time of day
_EVERYONE = frozenset({"*", "robots"})


def _rules_for(agent: str, value: str) -> Iterator[str]:
    """The rules of one X-Robots-Tag that are meant for us, each with its value."""
    parts = _SEPARATOR.split(value)
    for_us = True
    while parts:
        rule = parts.pop(0)
        while (scope := _SCOPE.fullmatch(rule)) and scope[1].lower() not in _WITH_VALUE | FORBIDDING:
            for_us = scope[1].partition("/")[0].lower() in {agent.lower(), *_EVERYONE}
            rule = scope[2]
        # "Fri, 25 Jun 2010 15:00:00 GMT" and "June 25, 2010" go on behind a comma, with a digit, as no rule begins
        if scope and scope[1].lower() == "unavailable_after":
            while parts and parts[0].lstrip()[:1].isdigit():
                rule += "," + parts.pop(0)
        if for_us:
            yield rule.strip()


def _forbids(rule: str, now: datetime) -> bool:
    name, _, value = rule.partition(":")
    match name.strip().lower():
        case "unavailable_after":
            end = _read_date(value.strip())
            if end is not None and end <= now:
                return True
        case valued if valued in _WITH_VALUE:
            return False
    return not FORBIDDING.isdisjoint(_WORD.findall(rule.lower()))  # words: some hosts leave out the commas


_WORD = re.compile(r"[\w-]+")


def _read_date(text: str) -> datetime | None:
    """A date of ISO 8601, RFC 822 or RFC 850; without a time zone it is UTC's; None where it is no date."""
    try:
        date = datetime.fromisoformat(text.upper().removesuffix("GMT").removesuffix("UTC").strip())
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except ValueError:
        pass
    try:
        parts = parsedate_tz(text) or parsedate_tz(f"{text} 00:00:00 GMT")
        if parts is None:
            return None
        year, month, day, hour, minute, second = parts[:6]
        zone = timezone(timedelta(seconds=parts[9] or 0))
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)  # 60: a leap second
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
