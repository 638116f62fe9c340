"""Rollback: a state that came apart, and its run's checkpoints, in; an earlier state with another noise out.

Stands beside "clean shards → DCGAN". What a seed leads to is decided, so the same state must not go on as it did: each
time, every z from there on is of another stream. The order of the images stays.
"""

from pathlib import Path

from pipelines.errors import TrainingError
from train import checkpoint
from train.state import TrainingState
from train.watch import OnCollapse

MOST_ROLLBACKS = 3


def go_back(state: TrainingState, run_folder: Path, on_collapse: OnCollapse) -> None:
    """Take over the last checkpoint of when all was well; one that training has gone back to before, only if it must.

    The caller saves the state then: that notes the return, and removes the checkpoints of the course that was left.

    Raises:
        TrainingError: training is to stop instead, has gone back `MOST_ROLLBACKS` times, or there is nowhere to go to.
    """
    message = f"training came apart at image {state.images_seen:,} (signs in {run_folder / 'stats.jsonl'})"
    calmer = "begin another run with a lower --learning-rate or --beta1"
    if on_collapse is OnCollapse.STOP:
        raise TrainingError(message, hint=f"the last checkpoints are kept; {calmer}")
    if len(state.rollbacks) >= MOST_ROLLBACKS:
        raise TrainingError(f"{message}, after {MOST_ROLLBACKS} returns to earlier checkpoints", hint=calmer)
    well = checkpoint.find_well(run_folder)
    if not well:
        raise TrainingError(f"{message}, and no checkpoint is of before the first signs", hint=calmer)
    fresh = [path for path in well if not _is_return(path)]
    state.roll_back(checkpoint.read((fresh or well)[-1]))


def _is_return(path: Path) -> bool:
    """Whether a checkpoint was written when training had just gone back to it."""
    content = checkpoint.read(path, mapped=True)
    return bool(content["rollbacks"][-1:] == [content["images_seen"]])
