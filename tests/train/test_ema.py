import numpy as np
import pytest
import torch

from train.config import ModelConfig, NormStatistics
from train.dcgan import Generator, draw_z
from train.ema import MovingAverage

CONFIG = ModelConfig(resolution=32, z_size=8, generator_width=4)


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wander(generator: Generator, steps: int, source: torch.Generator) -> list[dict[str, np.ndarray]]:
    """Change the weights as training would, and the running averages by drawing; the states after each step."""
    states = []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.1, generator=source))
            generator(draw_z(4, CONFIG, source))
        states.append({name: tensor.numpy().copy() for name, tensor in generator.state_dict().items()})
    return states


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_is_the_recurrence(decay: float) -> None:
    generator = Generator(CONFIG)
    expected = {name: tensor.numpy().astype(float) for name, tensor in generator.state_dict().items()}
    average = MovingAverage(generator, decay)
    source = noise(0)
    for n in range(12):
        (state,) = wander(generator, 1, source)
        average.update(generator)
        keep = min(decay, (1 + n) / (10 + n))
        for name, value in state.items():
            counts = name.endswith("num_batches_tracked")
            expected[name] = value if counts else keep * expected[name] + (1 - keep) * value
    assert average.updates == 12
    for name, tensor in average.generator.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_first_thousand_steps_forget_the_initial_weights() -> None:
    generator = Generator(CONFIG)
    average = MovingAverage(generator, 0.9999)
    initial = 1.0
    while average.updates < 1000:
        initial *= average.next_decay
        average.updates += 1
    assert initial < 1e-15
    average.updates = 10**6
    assert average.next_decay == 0.9999


def test_a_restored_average_goes_on_as_an_undisturbed_one() -> None:
    generator = Generator(CONFIG)
    average = MovingAverage(generator, 0.9)
    source = noise(1)
    wander(generator, 3, source)
    average.update(generator)
    restored = MovingAverage(Generator(CONFIG), 0.9)
    restored.load_state_dict(average.state_dict())
    wander(generator, 1, source)
    for either in (average, restored):
        either.update(generator)
    ours, theirs = average.state_dict(), restored.state_dict()
    assert ours["updates"] == theirs["updates"] == 2
    assert all(torch.equal(ours["generator"][name], theirs["generator"][name]) for name in ours["generator"])


def test_the_average_is_ready_to_draw_and_apart_from_g() -> None:
    generator = Generator(CONFIG)
    average = MovingAverage(generator, 0.9)
    before = generator.project[0].weight.clone()
    average.generator.project[0].weight.zero_()
    assert torch.equal(generator.project[0].weight, before)
    assert all(parameter.requires_grad for parameter in generator.parameters())
    assert generator.training
    assert not average.generator.training
    assert not average.generator(draw_z(2, CONFIG, noise(0))).requires_grad


def test_a_generator_without_running_averages_has_none_to_average() -> None:
    generator = Generator(ModelConfig(resolution=32, generator_width=4, norm_statistics=NormStatistics.BATCH))
    average = MovingAverage(generator, 0.9)
    average.update(generator)
    assert not list(average.generator.buffers())
