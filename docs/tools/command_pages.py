"""Commands: the typer apps of the packages in; their help, as Markdown for the reference, out.

Every module that ends in ``run_app(app, "python -m …")`` is found by that line, so a new command has its place in the
reference without being named here.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.main import get_command

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("pipelines", "facescrape", "dedup", "train")  # in the order of the pipeline

# What every command has; it would be the longest part of the page.
_EVERYWHERE = {"--verbose", "--quiet", "--debug", "--help", "--install-completion", "--show-completion"}
_STARTS = re.compile(r'^ +run_app\(app, "python -m ([\w.]+)"\)', re.MULTILINE)


def find_commands() -> Mapping[str, Any]:
    """Every ``python -m MODULE`` of the packages, ``run`` first, as MODULE → its typer (click) command."""
    found = {}
    for package in PACKAGES:
        names = [(match[1], path) for path in (REPOSITORY / package).rglob("*.py") if (match := _search(path))]
        for name, path in sorted(names, key=lambda item: (item[0] != f"{package}.run", item[0])):
            module = f"{name}.__main__" if path.name == "__main__.py" else name
            found[name] = get_command(import_module(module).app)
    return found


def _search(path: Path) -> re.Match[str] | None:
    return _STARTS.search(path.read_text(encoding="utf-8"))


def describe_commands(commands: Mapping[str, Any]) -> str:
    """The help of commands, a section for each and one below for each subcommand."""
    return "\n".join(line for name, command in commands.items() for line in _describe(f"python -m {name}", command))


def _describe(name: str, command: Any, level: int = 2) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    yield f"\n{'#' * level} `{name.removeprefix('python -m ')}`\n"
    if hasattr(command, "commands"):
        yield _to_markdown(command.help or "")
        for word, subcommand in command.commands.items():
            yield from _describe(f"{name} {word}", subcommand, level + 1)
        return
    yield f"```text\n{' '.join([name, *command.collect_usage_pieces(context)])}\n```\n"
    yield _to_markdown(command.help or "")
    rows = [
        record
        for parameter in command.get_params(context)
        if not _EVERYWHERE & set(parameter.opts) and (record := parameter.get_help_record(context))
    ]
    if rows:
        yield "\n| | |\n|---|---|"
        yield from (f"| <code>{_escape(option)}</code> | {_escape(meaning)} |" for option, meaning in rows)


def _escape(text: str) -> str:
    """Text in which nothing is markup, so that ``<5`` and ``[default: …]`` are shown as they are, in one line."""
    return re.sub(r"[\[\]<>*_`|\\]", lambda match: f"&#{ord(match[0])};", re.sub(r"\s+", " ", text))


def _to_markdown(text: str) -> str:
    """A help text: rich's bold as Markdown's, and examples and aligned lists as they stand."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        plain = re.sub(r"\[/?[a-z ]*\]", "", paragraph)
        if all(line.startswith("  ") for line in plain.splitlines()):
            paragraphs.append(f"```{'bash' if 'python -m' in plain else 'text'}\n{_dedent(plain)}\n```")
        else:
            marked = re.split(r"\[bold\](.*?)\[/\w*\]", paragraph)
            paragraphs.append(
                "".join(f"**{_escape(part)}**" if i % 2 else _escape(part) for i, part in enumerate(marked))
            )
    return re.sub(r"\n```\n\n```bash\n", "\n", "\n\n".join(paragraphs))  # examples stand in one block


def _dedent(text: str) -> str:
    return "\n".join(line[2:] for line in text.splitlines())
