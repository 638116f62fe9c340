"""Progress: what a person sees while stages run."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Advance = Callable[[int], None]  # called with the records of each finished task


class Progress(Protocol):
    """Where `run_stage` reports; passed in, so that the core prints nothing."""

    def stage(self, name: str, *, total: int, done: int) -> AbstractContextManager[Advance]:
        """Open a stage of ``total`` tasks of which ``done`` are finished already."""
        ...


class SilentProgress:
    """Reports nothing."""

    @contextmanager
    def stage(self, name: str, *, total: int, done: int) -> Iterator[Advance]:
        """Accept and forget."""
        yield lambda records: None


class ConsoleProgress:
    """A bar per stage: tasks, records per second, the time left; plain lines where the console is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def stage(self, name: str, *, total: int, done: int) -> Iterator[Advance]:
        """Show one stage from ``done`` to ``total`` tasks."""
        if done == total:
            self.console.print(f"  [dim]{name:<12} done already[/dim]", highlight=False)
            yield lambda records: None
            return
        columns = (
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>14}", style="cyan"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self.console) as bars:
            bar = bars.add_task(name, total=total, completed=done, rate="")
            records_done = 0

            def advance(records: int) -> None:
                nonlocal records_done
                records_done += records
                seconds = bars.tasks[bar].elapsed or 0.0
                rate = f"{records_done / seconds:,.0f}/s" if seconds > 0.2 else ""
                bars.update(bar, advance=1, rate=rate)

            yield advance
