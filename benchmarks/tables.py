"""What the benchmark programs share: the machine's name, the best of several timings, and a printed table."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

console = Console(width=140, highlight=False)


def print_machine(*packages: str) -> None:
    """Print what the figures depend on: processor, Python and package versions."""
    versions = "  ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    console.print(f"{_processor()}, {os.cpu_count()} cores; Python {platform.python_version()}  {versions}")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column left, all others right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def best_seconds(functions: Sequence[Callable[[], object]], rounds: int = 5) -> list[float]:
    """The shortest time of each function, run in turn so that a busy moment of the machine hits none alone."""
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
