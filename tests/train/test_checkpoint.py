from dataclasses import replace
from pathlib import Path

import pytest
import torch
from contents import differences
from torch import nn

from pipelines.errors import IntegrityError, TrainingError
from pipelines.store import temporary_name
from train import checkpoint
from train.checkpoint import KEPT_CHECKPOINTS, Saver
from train.config import ModelConfig, TrainConfig
from train.state import TrainingState
from train.watch import Diversity, Watcher

CPU = torch.device("cpu")
CONFIG = TrainConfig(model=ModelConfig(resolution=32, generator_width=4, discriminator_width=4), ema_decay=0.9)


@pytest.fixture
def state() -> TrainingState:
    return TrainingState.begin(CONFIG, "digest", CPU)


def test_a_checkpoint_holds_no_code_and_everything_else(state: TrainingState, tmp_path: Path) -> None:
    content = torch.load(checkpoint.write(state.pack(), tmp_path), weights_only=True)
    assert content.keys() == {
        *(
            "format",
            "version",
            "torch",
            "config",
            "data_digest",
            "epoch",
            "minibatch",
            "images_seen",
            "measures",
            "noise",
        ),
        *("watcher", "rollbacks", "best", "ema"),
        *("generator", "discriminator", "generator_optimiser", "discriminator_optimiser"),
    }
    assert content["config"]["resolution"] == 32


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_never_written(state: TrainingState, tmp_path: Path, number: float) -> None:
    with torch.no_grad():
        state.discriminator.classify.weight[0, 0] = number
    with pytest.raises(TrainingError, match=r"discriminator\.classify\.weight is not finite"):
        checkpoint.write(state.pack(), tmp_path)
    assert not checkpoint.find_checkpoints(tmp_path)


def test_the_last_few_are_kept_and_leftovers_removed(state: TrainingState, tmp_path: Path) -> None:
    for images_seen in range(0, 600, 100):
        state.images_seen = images_seen
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        (tmp_path / "checkpoints" / ".tmp-killed").touch()
        checkpoint.write(state.pack(), tmp_path)
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [300, 400, 500]
    assert len(list((tmp_path / "checkpoints").iterdir())) == KEPT_CHECKPOINTS


@pytest.mark.parametrize("kept_bytes", [0, 5, 5000, -1])
def test_a_checkpoint_cut_short_is_named(state: TrainingState, tmp_path: Path, kept_bytes: int) -> None:
    path = checkpoint.write(state.pack(), tmp_path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(IntegrityError, match=rf"{path.name} is damaged, or no checkpoint$"):
        checkpoint.read(path)


def test_a_checkpoint_with_other_bytes_is_named(state: TrainingState, tmp_path: Path) -> None:
    path = checkpoint.write(state.pack(), tmp_path)
    whole = path.read_bytes()
    weights = whole.index(state.discriminator.state_dict()["classify.weight"].numpy().tobytes())
    for place in (weights, whole.index(b"digest")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match=path.name):
            checkpoint.read(path)


@pytest.mark.parametrize("content", [[0], 7, "text", {"weights": torch.zeros(3)}, nn.Linear(2, 2)])
def test_another_file_of_torch_is_no_checkpoint(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(IntegrityError, match=r"other\.pt is damaged, or no checkpoint$"):
        checkpoint.read(tmp_path / "other.pt")


def test_another_format_is_named(state: TrainingState, tmp_path: Path) -> None:
    path = checkpoint.write(state.pack() | {"format": 0}, tmp_path)
    with pytest.raises(IntegrityError, match=f"its format is 0, not {checkpoint.FORMAT}"):
        checkpoint.read(path)


def write_at(state: TrainingState, folder: Path, *images_seen: int) -> list[Path]:
    paths = []
    for state.images_seen in images_seen:
        paths.append(checkpoint.write(state.pack(), folder))
    return paths


def test_the_last_checkpoint_that_can_be_read_is_gone_on_from(state: TrainingState, tmp_path: Path) -> None:
    warnings: list[str] = []
    assert checkpoint.read_last(tmp_path, warnings.append) is None
    *_, before, last = write_at(state, tmp_path, 100, 200, 300)
    assert (checkpoint.read_last(tmp_path, warnings.append) or {})["images_seen"] == 300
    assert warnings == []

    last.write_bytes(last.read_bytes()[:5000])
    assert (checkpoint.read_last(tmp_path, warnings.append) or {})["images_seen"] == 200
    assert warnings == [f"checkpoint {last} is damaged, or no checkpoint; going on from {before.name}"]
    write_at(state, tmp_path, 250)
    assert not last.exists()  # or the next one to resume would hear of it again

    for path in checkpoint.find_checkpoints(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="there is no earlier one") as caught:
        checkpoint.read_last(tmp_path)
    assert "--name" in caught.value.hint


def test_the_last_well_ones_are_kept_while_training_is_ill(state: TrainingState, tmp_path: Path) -> None:
    state.watcher = Watcher(Diversity(60.0, 40.0))
    write_at(state, tmp_path, 100, 200, 300, 400)
    for images_seen in range(500, 1000, 100):
        state.watcher.look(0.999, 0.001, Diversity(50.0, 35.0))
        write_at(state, tmp_path, images_seen)
    assert [int(path.stem) for path in checkpoint.find_well(tmp_path)] == [200, 300, 400]
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [200, 300, 400, 700, 800, 900]
    state.watcher.look(0.5, 0.5, Diversity(50.0, 35.0))
    write_at(state, tmp_path, 1000, 1100, 1200)
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [1000, 1100, 1200]


def test_other_options_are_named_and_more_epochs_welcome(state: TrainingState) -> None:
    content = state.pack()
    longer = replace(CONFIG, epochs=100)
    checkpoint.require_same_run(content, longer, "digest")
    wider = ModelConfig(resolution=32, generator_width=8, discriminator_width=4)
    other = replace(CONFIG, model=wider, beta1=0.9)
    with pytest.raises(TrainingError, match=r"beta1 was 0\.5 and is 0\.9, generator_width was 4 and is 8"):
        checkpoint.require_same_run(content, other, "digest")
    with pytest.raises(TrainingError, match="images"):
        checkpoint.require_same_run(content, CONFIG, "another digest")
    checkpoint.require_same_run(content, replace(CONFIG, beta1=0.9), "another digest", allow_changes=True)
    with pytest.raises(TrainingError, match="generator_width was 4"):
        checkpoint.require_same_run(content, other, "digest", allow_changes=True)


def test_training_may_go_on_while_a_checkpoint_is_written(state: TrainingState, tmp_path: Path) -> None:
    weight = state.generator.project[0].weight
    before = weight.detach().clone()
    with Saver(tmp_path, kept=2) as saver:
        for images_seen in (1, 2, 3):
            state.images_seen = images_seen
            saver.save(state, is_best=images_seen == 2)
            with torch.no_grad():
                weight.add_(1)
    paths = checkpoint.find_checkpoints(tmp_path)
    assert [int(path.stem) for path in paths] == [2, 3]
    best = checkpoint.read(tmp_path / "checkpoints" / "best.pt")
    assert best["images_seen"] == 2
    assert torch.equal(best["generator"]["project.0.weight"], before + 1)
    assert torch.equal(checkpoint.read(paths[-1])["generator"]["project.0.weight"], before + 1 + 1)


def test_what_goes_wrong_in_the_background_is_raised(state: TrainingState, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not finite"), Saver(tmp_path) as saver, torch.no_grad():
        state.discriminator.classify.weight[0, 0] = float("nan")
        saver.save(state)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_at_the_next_save(state: TrainingState, tmp_path: Path) -> None:
    write_at(state, tmp_path, 100)
    (tmp_path / "checkpoints" / temporary_name("000000000200.pt")).symlink_to("/dev/full")
    with Saver(tmp_path) as saver:
        state.images_seen = 200
        saver.save(state)
        state.images_seen = 300
        with pytest.raises(OSError, match="No space left"):
            saver.save(state)
        saver.save(state)  # some space was made
    assert [int(path.stem) for path in checkpoint.find_checkpoints(tmp_path)] == [100, 300]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_a_rank_that_is_not_the_first_writes_nothing_and_sees_the_same_nan(state: TrainingState) -> None:
    with Saver(None) as saver:
        saver.save(state)
        state.measures.add(8, {"value": torch.tensor(float("nan"))})
        with pytest.raises(TrainingError, match="value became nan at image 8"):
            saver.save(state)


def test_everything_comes_back(state: TrainingState, tmp_path: Path) -> None:
    state.epoch, state.minibatch, state.images_seen = 3, 2, 500
    state.measures.add(500, {"value": torch.tensor(-1.25)})
    state.noise.manual_seed(9)
    state.watcher = Watcher(Diversity(60.0, 40.0), Diversity(50.0, 35.0), sure_rows=4, sign_rows=2)
    state.rollbacks = [100, 300]
    state.best = {"name": "kid", "value": 0.25}
    for network in (state.generator, state.discriminator):
        for parameter in network.parameters():
            parameter.grad = torch.rand_like(parameter)
    state.generator_optimiser.step()
    state.discriminator_optimiser.step()

    other = TrainingState.begin(replace(CONFIG, seed=1), "digest", CPU)
    other.restore(checkpoint.read(checkpoint.write(state.pack(), tmp_path)))
    assert differences(state.pack(), other.pack()) == [".config.seed"]


def test_going_back_takes_all_but_the_noise_and_the_best(state: TrainingState) -> None:
    content = state.pack()
    draws = []
    for rollbacks in (1, 2):
        state.images_seen = 700
        state.best = {"name": "kid", "value": 0.25}
        state.roll_back(content)
        assert (state.images_seen, state.rollbacks) == (0, [0] * rollbacks)
        assert state.best == {"name": "kid", "value": 0.25}
        draws.append(torch.rand(3, generator=state.noise))
    assert not torch.equal(*draws)
