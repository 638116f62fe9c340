import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import ConfigError
from train.config import ModelConfig, NormStatistics, TrainConfig
from train.dcgan import Generator, draw_z, initialise
from train.parallel import synchronise_norms
from train.samples import draw
from train.statistics import Statistics, prepare, stream_calibration, usual_statistics

CPU = torch.device("cpu")
KEEPING = TrainConfig(model=ModelConfig(resolution=32, z_size=8, generator_width=4), batch_size=8)
KEEPING_NONE = TrainConfig(
    model=ModelConfig(resolution=32, z_size=8, generator_width=4, norm_statistics=NormStatistics.BATCH), batch_size=8
)
BOTH = pytest.mark.parametrize("config", [KEEPING, KEEPING_NONE], ids=["running", "batch"])


def make_z(rows: int, seed: int = 0) -> Tensor:
    return draw_z(rows, KEEPING.model, torch.Generator().manual_seed(seed))


def make_generator(config: TrainConfig) -> Generator:
    """One that has drawn a few minibatches in training."""
    generator = Generator(config.model)
    initialise(generator, config.model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for seed in range(3):
            generator(make_z(8, seed))
    return generator


def calibrate(config: TrainConfig, minibatches: int = 20) -> list[tuple[Tensor, ...]]:
    return list(stream_calibration(config, CPU, minibatches=minibatches))


@pytest.mark.parametrize(
    ("config", "statistics"),
    [
        *((KEEPING, statistics) for statistics in Statistics),
        *((KEEPING_NONE, statistics) for statistics in (Statistics.BATCH, Statistics.RECALIBRATED)),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_drawing_leaves_the_state_as_it_was(config: TrainConfig, statistics: Statistics, training: bool) -> None:
    generator = make_generator(config).train(training)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    draw(prepare(generator, config.model, statistics, calibrate(config)), make_z(4))
    after = generator.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert generator.training is training
    assert all(module.training is training for module in generator.modules())
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.track_running_stats) for norm in norms} == {(0.1, config is KEEPING)}


@BOTH
@pytest.mark.parametrize("statistics", [Statistics.BATCH, Statistics.RECALIBRATED])
def test_only_the_batchs_statistics_tie_an_image_to_its_companions(config: TrainConfig, statistics: Statistics) -> None:
    ready = prepare(make_generator(config), config.model, statistics, calibrate(config))
    z = make_z(8)
    alone = ready(torch.cat([z[:2], make_z(2, seed=9)]))[:2]
    among = ready(z)[:2]
    assert torch.allclose(alone, among, atol=1e-6) is (statistics is Statistics.RECALIBRATED)


def test_the_batchs_statistics_are_those_of_training() -> None:
    generator = make_generator(KEEPING)
    ready = prepare(generator, KEEPING.model, Statistics.BATCH)
    z = make_z(8)
    torch.testing.assert_close(ready(z), generator.train()(z).detach())


def test_running_statistics_are_those_that_training_kept() -> None:
    generator = make_generator(KEEPING)
    ready = prepare(generator, KEEPING.model, Statistics.RUNNING)
    z = make_z(8)
    torch.testing.assert_close(ready(z), generator.eval()(z).detach())


@BOTH
@pytest.mark.parametrize("statistics", [Statistics.BATCH, Statistics.RECALIBRATED])
def test_one_process_of_several_draws_alone(config: TrainConfig, statistics: Statistics) -> None:
    generator = make_generator(config)
    expected = prepare(generator, config.model, statistics, calibrate(config))(make_z(4))
    synchronise_norms(generator)  # there are no other processes here: to ask them would be an error
    assert torch.equal(prepare(generator, config.model, statistics, calibrate(config))(make_z(4)), expected)


@BOTH
def test_recalibrated_statistics_are_the_mean_of_the_minibatches(config: TrainConfig) -> None:
    generator = make_generator(config)
    minibatches = calibrate(config, 5)
    ready = prepare(generator, config.model, Statistics.RECALIBRATED, minibatches)
    activations = [generator.project[0](z) for (z,) in minibatches]
    mean = torch.stack([of_one.mean(0) for of_one in activations]).mean(0)
    variance = torch.stack([of_one.var(0) for of_one in activations]).mean(0)
    torch.testing.assert_close(ready.project[1].running_mean, mean.detach())
    torch.testing.assert_close(ready.project[1].running_var, variance.detach())


def test_running_statistics_that_were_not_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="no running averages"):
        prepare(make_generator(KEEPING_NONE), KEEPING_NONE.model, Statistics.RUNNING)


def test_there_is_no_recalibration_with_nothing() -> None:
    with pytest.raises(ValueError, match="no minibatch"):
        prepare(make_generator(KEEPING), KEEPING.model, Statistics.RECALIBRATED)


def test_what_a_run_draws_its_samples_with() -> None:
    assert usual_statistics(KEEPING) is Statistics.RUNNING
    assert usual_statistics(KEEPING_NONE) is Statistics.BATCH


def test_calibration_is_decided_by_the_runs_seed() -> None:
    first, again = calibrate(KEEPING), calibrate(KEEPING)
    assert [z.shape for (z,) in first] == [(8, 8)] * 20
    assert all(torch.equal(a, b) for (a,), (b,) in zip(first, again, strict=True))
    other = TrainConfig(model=KEEPING.model, batch_size=8, seed=1)
    assert not torch.equal(first[0][0], calibrate(other)[0][0])
    (limited,) = next(stream_calibration(KEEPING, CPU, limit=0.5))
    assert float(limited.abs().max()) <= 0.5


def test_a_conditional_generator_is_calibrated_on_all_classes() -> None:
    config = TrainConfig(model=ModelConfig(resolution=32, z_size=8, generator_width=4, classes=4), batch_size=8)
    assert [labels.tolist() for _, labels in calibrate(config, 2)] == [[0, 1, 2, 3] * 2] * 2
    ready = prepare(Generator(config.model), config.model, Statistics.RECALIBRATED, calibrate(config, 2))
    assert draw(ready, make_z(2), torch.tensor([0, 3])).shape == (2, 32, 32, 3)
