"""Command: ``python -m train.explore EXPERIMENT RUN``. A run's folder in; pictures of what it has learned out.

Stands after the last word of "source → thumbnails → 128-bit semantic codes → duplicate groups → clean shards → DCGAN":
the experiments of Radford et al. 2016, section 6, each with figures beside its pictures. What every one is, and what to
make of it: docs/explore.md.
"""

from pipelines.cli import new_app, run_app
from train.explore.commands.arithmetic import arithmetic
from train.explore.commands.attributes import attributes
from train.explore.commands.filters import filters
from train.explore.commands.forget import forget
from train.explore.commands.guided import guided
from train.explore.commands.sheet import sheet
from train.explore.commands.turn import turn
from train.explore.commands.walk import walk
from train.explore.commands.windows import windows

app = new_app("See what a trained G and D have learned.")
for command in (walk, guided, windows, forget, sheet, attributes, arithmetic, turn, filters):
    app.command()(command)


if __name__ == "__main__":
    run_app(app, "python -m train.explore")
