import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pipelines.errors import ConfigError
from train import checkpoint, step
from train.config import Critic, Loss, ModelConfig, Precision, TrainConfig
from train.dcgan import draw_z, from_pixels
from train.losses import discriminator_loss, generator_loss
from train.state import TrainingState
from train.step import WARM_UPS, Measured, Stepper, require_compiler, undone

CPU = torch.device("cpu")
MODEL = ModelConfig(resolution=32, z_size=8, generator_width=8, discriminator_width=8)
CONFIG = TrainConfig(model=MODEL, batch_size=8)
BOTH, ONLY_D, ONLY_G = (True, True), (True, False), (False, True)


def minibatch(number: int, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (size, 32, 32, 3), dtype=torch.uint8, generator=generator)


def begin(config: TrainConfig, device: torch.device = CPU) -> TrainingState:
    return TrainingState.begin(config, "digest", device)


def weights(state: TrainingState) -> list[Tensor]:
    networks = (state.generator, state.discriminator)
    return [tensor.cpu().clone() for network in networks for tensor in network.state_dict().values()]


def moments(state: TrainingState) -> list[Tensor]:
    optimisers = (state.generator_optimiser, state.discriminator_optimiser)
    return [tensor.clone() for each in optimisers for of in each.state.values() for tensor in of.values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def step_plainly(state: TrainingState, pixels: Tensor, trains_d: bool, trains_g: bool) -> Measured:
    """Algorithm 1, read from the paper, with nothing done for speed."""
    config, measured = state.config, {}
    if trains_d:
        fake = state.generator(draw_z(len(pixels), config.model, state.noise)).detach()
        real_logits, fake_logits = state.discriminator(from_pixels(pixels)), state.discriminator(fake)
        state.discriminator_optimiser.zero_grad()
        d_loss = discriminator_loss(real_logits, fake_logits)
        d_loss.backward()
        state.discriminator_optimiser.step()
        measured |= {
            "value": -d_loss,
            "d_real": real_logits.sigmoid().mean(),
            "d_fake": fake_logits.sigmoid().mean(),
        }
    if trains_g:
        loss = generator_loss(
            state.discriminator(state.generator(draw_z(len(pixels), config.model, state.noise))), config.loss
        )
        state.generator_optimiser.zero_grad()
        loss.backward()
        state.generator_optimiser.step()
        measured["generator_loss"] = loss
    return measured


def run(step: Callable[..., Measured], steps: int) -> list[dict[str, float]]:
    return [{name: float(v) for name, v in step(minibatch(i)).items()} for i in range(steps)]


def largest_difference(config: TrainConfig, *, compiled: bool, steps: int, device: torch.device = CPU) -> float:
    """Of any measure, between a Stepper and an eager fp32 one on the CPU, from the same state."""
    exact = Stepper(begin(replace(config, precision=Precision.FP32)), CPU)
    fast = Stepper(begin(config, device), device, compiled=compiled)
    expected = run(lambda pixels: exact.step(pixels, None, *BOTH), steps)
    measured = run(lambda pixels: fast.step(pixels.to(device), None, *BOTH), steps)
    return max(abs(a[name] - b[name]) for a, b in zip(expected, measured, strict=True) for name in a)


@pytest.mark.parametrize(
    ("turns", "fields"),
    [
        ([BOTH], {}),
        ([ONLY_G, ONLY_D], {"gradient_l2": 1e-5, "loss": Loss.MINIMAX}),
        ([ONLY_D, ONLY_D, BOTH], {"model": replace(MODEL, critic=Critic.SIX_CONV)}),
    ],
)
def test_in_fp32_on_the_cpu_no_bit_differs_from_algorithm_1(
    turns: list[tuple[bool, bool]], fields: dict[str, object]
) -> None:
    config = replace(CONFIG, **fields)  # type: ignore[arg-type]
    plain, fast = begin(config), begin(config)
    stepper = Stepper(fast, CPU)
    for i in range(6):
        turn = turns[i % len(turns)]
        expected = step_plainly(plain, minibatch(i), *turn)
        measured = stepper.step(minibatch(i), None, *turn)
        assert measured.keys() == expected.keys()
        assert all(torch.equal(measured[name], expected[name]) for name in expected)
    assert same(weights(plain), weights(fast))
    assert same(moments(plain), moments(fast))
    assert torch.equal(plain.noise.get_state(), fast.noise.get_state())


def test_measures_are_scalars_without_a_graph() -> None:
    for measure in Stepper(begin(CONFIG), CPU).step(minibatch(0), None, *BOTH).values():
        assert measure.shape == ()
        assert measure.dtype == torch.float32
        assert not measure.requires_grad


def test_a_step_of_one_network_leaves_the_other_without_gradients() -> None:
    state = begin(CONFIG)
    stepper = Stepper(state, CPU)
    stepper.step(minibatch(0), None, *ONLY_G)
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    state.generator_optimiser.zero_grad()
    stepper.step(minibatch(1), None, *ONLY_D)
    assert all(parameter.grad is None for parameter in state.generator.parameters())


def test_between_two_steps_a_checkpoint_holds_the_noise_of_the_next(tmp_path: Path) -> None:
    whole, part, resumed = begin(CONFIG), begin(CONFIG), begin(CONFIG)
    for i in range(4):
        Stepper(whole, CPU).step(minibatch(i), None, *BOTH)
    for i in range(2):
        Stepper(part, CPU).step(minibatch(i), None, *BOTH)
    resumed.restore(checkpoint.read(checkpoint.write(part.pack(), tmp_path)))
    for i in range(2, 4):
        Stepper(resumed, CPU).step(minibatch(i), None, *BOTH)
    assert same(weights(whole), weights(resumed))


def test_bf16_stays_near_fp32_and_its_weights_and_moments_are_fp32() -> None:
    config = replace(CONFIG, precision=Precision.BF16)
    assert 0 < largest_difference(config, compiled=False, steps=50) < 0.05
    state = begin(config)
    Stepper(state, CPU).step(minibatch(0), None, *BOTH)
    assert {tensor.dtype for tensor in [*weights(state), *moments(state)] if tensor.is_floating_point()} == {
        torch.float32
    }


def test_tf32_is_fp32_on_the_cpu() -> None:
    assert largest_difference(replace(CONFIG, precision=Precision.TF32), compiled=False, steps=3) == 0


def test_compiled_steps_stay_near_eager_ones() -> None:
    try:
        require_compiler(CPU)
    except ConfigError as error:
        pytest.skip(error.message)
    assert largest_difference(CONFIG, compiled=True, steps=20) < 0.005


def test_without_a_compiler_the_error_says_so_before_training(tmp_path: Path) -> None:
    program = (
        "import torch; from train.step import require_compiler\n"
        "from pipelines.errors import ConfigError\n"
        "try: require_compiler(torch.device('cpu'))\n"
        "except ConfigError as error: print(error.message, '|', error.hint)"
    )
    broken = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | broken, capture_output=True, text=True, check=True
    )
    message, hint = done.stdout.split("|")
    assert "torch.compile does not work here" in message
    assert "C++ compiler" in hint


def test_the_learning_rate_can_change_between_steps() -> None:
    state = begin(CONFIG)
    stepper = Stepper(state, CPU)
    stepper.step(minibatch(0), None, *BOTH)
    before = [parameter.clone() for parameter in state.generator.parameters()]
    stepper.set_learning_rate(0.0)
    stepper.step(minibatch(1), None, *BOTH)
    assert same(before, list(state.generator.parameters()))
    stepper.set_learning_rate(1e-3)
    stepper.step(minibatch(2), None, *BOTH)
    assert not same(before, list(state.generator.parameters()))


def test_a_run_recorded_on_a_gpu_goes_on_without_recording() -> None:
    recorded, plain = begin(CONFIG), begin(CONFIG)
    for optimiser in (recorded.generator_optimiser, recorded.discriminator_optimiser):
        for group in optimiser.param_groups:
            group.update(capturable=True, lr=torch.tensor(CONFIG.learning_rate))  # as a recording leaves it
    for state in (recorded, plain):
        Stepper(state, CPU).step(minibatch(0), None, *BOTH)
    for a, b in zip(weights(recorded), weights(plain), strict=True):
        torch.testing.assert_close(a, b)


def test_conditional_networks_are_trained_with_their_labels() -> None:
    config = replace(CONFIG, model=replace(MODEL, classes=4))
    labels = torch.arange(8) % 4
    first, second = begin(config), begin(config)
    Stepper(first, CPU).step(minibatch(0), labels, *BOTH)
    Stepper(second, CPU).step(minibatch(0), labels.flip(0), *BOTH)
    assert not same(weights(first), weights(second))


@pytest.mark.parametrize("steps_before", [0, 2])
def test_warming_up_leaves_no_trace(steps_before: int) -> None:
    warmed, cold = begin(CONFIG), begin(CONFIG)
    for state in (warmed, cold):
        for i in range(steps_before):
            Stepper(state, CPU).step(minibatch(i), None, *BOTH)
    noise = warmed.noise.get_state()
    with undone(warmed):
        Stepper(warmed, CPU).step(minibatch(100), None, *BOTH)
    warmed.noise.set_state(noise)
    for state in (warmed, cold):
        Stepper(state, CPU).step(minibatch(7), None, *BOTH)
    assert same(weights(warmed), weights(cold))
    assert same(moments(warmed), moments(cold))


class Rerun:
    """What a CUDA graph does, on the CPU: runs a function again, and puts what it gives where the first run put it."""

    def __init__(self, function: Callable[[], Measured]) -> None:
        self.function = function
        for _ in range(WARM_UPS):
            function()
        self.outputs = function()

    def replay(self) -> None:
        for name, value in self.function().items():
            self.outputs[name].copy_(value)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize("classes", [0, 4])
def test_recorded_steps_are_those_that_are_not(
    monkeypatch: pytest.MonkeyPatch, classes: int, precision: Precision
) -> None:
    made: list[Rerun] = []

    def record(function: Callable[[], Measured]) -> tuple[Rerun, Measured]:
        made.append(Rerun(function))
        return made[-1], made[-1].outputs

    monkeypatch.setattr(step, "can_record", lambda device: True)
    monkeypatch.setattr(step, "record", record)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    rate = 2.0**-12  # the same number in float32, which a recording reads it in
    config = replace(CONFIG, model=replace(MODEL, classes=classes), precision=precision, learning_rate=rate)
    plain, recorded = begin(config), begin(config)
    steppers = Stepper(plain, CPU), Stepper(recorded, CPU, compiled=True)
    results: list[list[Measured]] = [[], []]
    for i, turn in enumerate([ONLY_D, BOTH, ONLY_G, BOTH, ONLY_D]):
        labels = torch.arange(8).roll(i) % classes if classes else None
        for stepper, measured in zip(steppers, results, strict=True):
            stepper.set_learning_rate(rate / 2**i)
            measured.append(stepper.step(minibatch(i), labels, *turn))
    assert len(made) == 2
    for expected, measured in zip(*results, strict=True):
        assert measured.keys() == expected.keys()
        assert all(torch.equal(measured[name], expected[name]) for name in expected)
    assert same(weights(plain), weights(recorded))
    assert same(moments(plain), moments(recorded))
    assert torch.equal(plain.noise.get_state(), recorded.noise.get_state())


class Watched(TorchDispatchMode):
    """Notes the operations that the host cannot finish before the device has."""

    WAIT = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique"})

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        name = func.overloadpacket.__name__
        if name in self.WAIT:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_nothing_in_a_step_waits_for_the_device(precision: Precision) -> None:
    stepper = Stepper(begin(replace(CONFIG, precision=precision)), CPU)
    with Watched() as watched:
        for i in range(2):
            measured = stepper.step(minibatch(i), None, *BOTH)
        assert watched.waits == []
        measured["value"].item()
    assert watched.waits == ["_local_scalar_dense"]  # the watch sees what it is there for
    assert watched.count > 100


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.01), ("tf32", 0.02), ("bf16", 0.1)])
def test_on_a_gpu_steps_stay_near_those_of_the_cpu(precision: str, tolerance: float, compiled: bool) -> None:
    config = replace(CONFIG, precision=Precision(precision))
    assert largest_difference(config, compiled=compiled, steps=20, device=torch.device("cuda")) < tolerance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_run_follows_turns_and_learning_rates() -> None:
    gpu = torch.device("cuda")
    runs = {}
    for compiled in (False, True):
        state = begin(CONFIG, gpu)
        stepper = Stepper(state, gpu, compiled=compiled)
        for i, turn in enumerate([ONLY_D, BOTH, ONLY_G, ONLY_D, BOTH]):
            stepper.set_learning_rate(2e-4 / (i + 1))
            stepper.step(minibatch(i).to(gpu), None, *turn)
        runs[compiled] = weights(state)
    for eager, recorded in zip(runs[False], runs[True], strict=True):
        torch.testing.assert_close(eager, recorded, atol=1e-3, rtol=0)
