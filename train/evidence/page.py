"""Page: folders of findings in; one page of Markdown, and the pictures that it shows, out."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path

import jinja2

from pipelines.errors import IntegrityError
from pipelines.images import ImageRejected, decode
from pipelines.planting import encode_image
from pipelines.store import write_atomically
from train.evidence.sections import SECTIONS, Section
from train.findings import FINDING_NAME, Figure, Finding, format_figure, format_number, read_finding

OTHERS = "Other data sets"
STRUCTURE = {"train", "evidence", "probe"}  # folders that name nothing
SUPERVISED = "_supervised"
STILL = ".png"
QUALITY = 88


@dataclass(frozen=True, slots=True)
class Found:
    """A finding and the folder that it and its pictures lie in."""

    folder: Path
    finding: Finding

    @property
    def subject(self) -> str:
        """What it is about: data set and run, as ``rooms/rooms64``; one name where they have the same."""
        parts = [part for part in self.folder.parts[-5:-1] if part not in STRUCTURE]
        return "/".join(dict.fromkeys(parts[-2:]))

    @property
    def stills(self) -> list[str]:
        """The names of its pictures that do not move."""
        return [name for name in self.finding.pictures if name.endswith(STILL)]

    @property
    def clips(self) -> list[str]:
        """The names of those that do: they stay with the run."""
        return [name for name in self.finding.pictures if not name.endswith(STILL)]

    def name_copy(self, picture: str) -> str:
        """The name of a picture's copy beside the page."""
        return f"{self.finding.experiment}-{self.subject.replace('/', '-')}-{Path(picture).stem}.jpg"


@dataclass(frozen=True, slots=True)
class Measured:
    """Findings without pictures, of one title: a table, the best first.

    Attributes:
        title: theirs.
        found: all of them.
    """

    title: str
    found: Sequence[Found]

    @property
    def commands(self) -> list[str]:
        """Each command once."""
        return list(dict.fromkeys(each.finding.conditions.command for each in self.found))

    @property
    def seconds(self) -> float:
        """What they took, one after another."""
        return sum(each.finding.conditions.seconds for each in self.found)


@dataclass(frozen=True, slots=True)
class Filled:
    """A section with what was found: tables, then findings with pictures."""

    section: Section
    measured: Sequence[Measured]
    shown: Sequence[Found]


def collect(roots: Iterable[Path]) -> list[Found]:
    """Every finding below ``roots``, in the order of their paths.

    Raises:
        IntegrityError: one is damaged.
    """
    paths = chain.from_iterable(sorted(root.rglob(FINDING_NAME)) for root in roots)
    return [Found(path.parent, read_finding(path)) for path in dict.fromkeys(path.resolve() for path in paths)]


def fill(found: Sequence[Found]) -> list[Filled]:
    """The paper's sections in their order, then one for each other experiment there is."""
    known = {section.experiment for section in SECTIONS}
    others = sorted({_probed(each) for each in found} - known)
    sections = [*SECTIONS, *(Section(name, f"{OTHERS}: {name}", "", ()) for name in others)]
    return [
        _fill_section(section, [each for each in found if _probed(each) == section.experiment]) for section in sections
    ]


def _fill_section(section: Section, found: Sequence[Found]) -> Filled:
    rows = [each for each in found if not each.finding.pictures]
    titles = sorted({each.finding.title for each in rows})
    measured = [Measured(title, _best_first(each for each in rows if each.finding.title == title)) for title in titles]
    return Filled(section, measured, [each for each in found if each.finding.pictures])


def _probed(found: Found) -> str:
    """The experiment whose section a finding belongs to: the supervised network stands beside the probe of its data."""
    return found.finding.experiment.removesuffix(SUPERVISED)


def _best_first(found: Iterable[Found]) -> list[Found]:
    return sorted(found, key=lambda each: [-figure.value for figure in each.finding.figures])


def write_page(found: Sequence[Found], page: Path) -> None:
    """Write the page, and copies of its pictures, as JPEGs, into the folder beside it that has its name.

    Raises:
        IntegrityError: a picture is damaged.
    """
    pictures = page.with_suffix("")
    stale = set(pictures.glob("*")) if pictures.is_dir() else set()
    for each in found:
        for name in each.stills:
            pictures.mkdir(parents=True, exist_ok=True)
            copy = pictures / each.name_copy(name)
            write_atomically(copy, copy_picture(each.folder / name))
            stale.discard(copy)
    for path in stale:
        path.unlink()
    text = _template().render(sections=fill(found), pictures=pictures.name)
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, re.sub(r"\n{3,}", "\n\n", text).encode())


def copy_picture(path: Path) -> bytes:
    """A picture as a JPEG, a fifth of a PNG of samples. Raises IntegrityError where it is damaged."""
    try:
        image = decode(path.read_bytes())
    except (OSError, ImageRejected) as error:
        raise IntegrityError(f"{path} is damaged ({error})", hint="run its experiment again") from error
    return encode_image(image, ".jpg", QUALITY)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"ours": format_figure, "paper": _format_paper, "time": _format_time, "code": _hide_root}
    return environment.from_string(files("train.evidence").joinpath("evidence.md.jinja").read_text("utf-8"))


def _format_paper(figure: Figure) -> str:
    return "" if figure.paper is None else format_number(figure.paper, figure.unit)


def _format_time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _hide_root(command: str) -> str:
    """A command without the absolute folders of the machine it ran on."""
    return re.sub(r"(?<=[\s=:])/(?:[^\s/]+/)*(?=[^\s/]+/(?:train|probe|raw)/)", f"data{os.sep}", command)
