"""Command: ``python -m train.explore filters RUN``. A run's folder in; the filters next to the pixels out."""

from pipelines.cli import Debug, Quiet
from train.device import Device
from train.explore.cli import Checkpoint, DeviceOption, Out, Run, Session, WeightsOption
from train.explore.filters import as_tiles, correlate_neighbours, critic_filters, generator_filters
from train.explore.layout import WIDE_GAP, beside, caption, enlarge, frame, tile
from train.findings import Figure
from train.runs import Weights
from train.samples import encode_png

COLUMNS = 8
FILTER_SIDE = 40  # pixels, as shown


def filters(
    run: Run,
    *,
    weights: WeightsOption = Weights.AUTO,
    checkpoint: Checkpoint = None,
    out: Out = None,
    device: DeviceOption = Device.CPU,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the filters of D's first layer and of G's last.

    Each set is scaled jointly: grey is a weight of 0.

    Examples:

      python -m train.explore filters data/demo/train/demo
    """
    session = Session("filters", run, out=out, weights=weights, checkpoint=checkpoint, device=device, quiet=quiet)
    opened = session.exploration.opened
    sets = {
        "D's first layer": critic_filters(opened.discriminator),
        "G's last layer": generator_filters(opened.generator),
    }
    pictures = [
        caption(tile(enlarge(as_tiles(found), FILTER_SIDE), COLUMNS), f"{name}, {len(found)} filters")
        for name, found in sets.items()
    ]
    figures = [
        Figure(f"{name}: correlation of neighbours", correlate_neighbours(found), note="0 as drawn at the beginning")
        for name, found in sets.items()
    ]
    session.publish(
        "Filters next to the pixels",
        figures=figures,
        pictures={"filters.png": encode_png(frame(beside(*pictures, gap=2 * WIDE_GAP)))},
        differs="The paper shows none of these.",
    )
