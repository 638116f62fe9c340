"""Every command that the documentation shows exists, with the options it is shown with."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

import dedup.against
import dedup.audit
import dedup.pretrain
import dedup.query
import dedup.run
import facescrape.run
import pipelines.run
import train.evaluate
import train.evidence.__main__
import train.explore.__main__
import train.export
import train.import_theano
import train.probe.__main__
import train.run
import train.sample
import train.search.__main__
import train.theory.__main__

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
APPS: dict[str, typer.Typer] = {
    "pipelines.run": pipelines.run.app,
    "dedup.run": dedup.run.app,
    "dedup.against": dedup.against.app,
    "dedup.query": dedup.query.app,
    "dedup.audit": dedup.audit.app,
    "dedup.pretrain": dedup.pretrain.app,
    "facescrape.run": facescrape.run.app,
    "train.run": train.run.app,
    "train.sample": train.sample.app,
    "train.evaluate": train.evaluate.app,
    "train.export": train.export.app,
    "train.probe": train.probe.__main__.app,
    "train.search": train.search.__main__.app,
    "train.explore": train.explore.__main__.app,
    "train.evidence": train.evidence.__main__.app,
    "train.import_theano": train.import_theano.app,
    "train.theory": train.theory.__main__.app,
}


def shown(pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
    for page in PAGES:
        for match in re.finditer(pattern, page.read_text(encoding="utf-8")):
            yield page.name, match


@pytest.mark.parametrize(
    ("page", "module", "words"),
    [
        (page, match[1], match[2].split())
        for page, match in shown(r"python -m ((?:pipelines|dedup|facescrape|train)\.\w+)([^`\n|#]*)")
    ],
)
def test_shown_commands_exist(page: str, module: str, words: list[str]) -> None:
    command = get_command(APPS[module])
    if hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"{page}: python -m {module} has no {words[0]}"
        command = command.commands[words[0]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}


def test_shown_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page, match in shown(r"(?m)(?:^|`)make ((?:[a-z-]+ ?)+)"):
        assert set(match[1].split()) <= targets, page


def test_links_between_files_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_python_modules_named_in_benchmarks_exist() -> None:
    for page, match in shown(r"benchmarks\.(\w+)"):
        assert (REPOSITORY / "benchmarks" / f"{match[1]}.py").exists(), page
