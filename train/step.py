"""Steps: a minibatch of pixels in; D, G or both trained on it, and what was measured, out.

The innermost part of "clean shards → DCGAN", and all of its arithmetic. What makes a step fast and changes no number
beyond rounding:

* G draws D's fake images without a graph, and D is frozen while G is trained: no gradient is computed for nothing. The
  fake images of the two steps are not shared: Algorithm 1 (Goodfellow et al. 2014) draws fresh z for G's.
* Pixels stay ``uint8`` until they are on the device; there, images and maps lie as it likes them (`choose_layout`).
* Nothing in a step waits for the device: z is drawn on the CPU and sent from pinned memory, and measures stay tensors.
* ``Precision``: convolutions in TF32, or all layers in bf16 by autocast. Weights, Adam, batch norm's statistics, logits
  and losses are float32 in each.
* ``compiled``: the forward and backward passes are compiled by `torch.compile`; on a GPU the whole step, Adam
  included, is then recorded as a CUDA graph and replayed, so that the CPU launches one thing and not hundreds.
* On a CPU, some gradients are had in a better way (`train.convolutions`), and memory is kept (`train.memory`).

z is drawn when its step begins, not ahead: a minibatch's z takes the CPU 0.1 ms, while the device is busy with the
steps before. So the state of ``noise`` between two steps is always the one from which the next z follows. Each of
several ranks draws the z of the whole minibatch and takes its part; gradients and measures are averaged over them.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.errors import ConfigError
from train.config import Loss, Precision
from train.dcgan import Discriminator, Generator, draw_z, from_pixels
from train.losses import discriminator_loss, generator_loss
from train.parallel import ALONE, Ranks
from train.state import TrainingState

WARM_UPS = 3  # runs before a recording, in which libraries choose their kernels and Adam makes its moments

Measured = dict[str, Tensor]


class Stepper:
    """Trains the networks of a state, a minibatch at a time.

    Args:
        state: what is trained; its networks, optimisers and ``noise`` are changed in place.
        device: where the networks are.
        compiled: whether to compile, and on a GPU to record, the steps; the first of each then takes up to minutes.
            Steps of several ranks are compiled and not recorded.
        ranks: the processes that train together, of which this is one.

    A recording knows the tensors that it was made with: after `TrainingState.restore`, make another Stepper.

    Raises:
        ConfigError: ``compiled``, and there is no compiler that works; the ranks cannot share a minibatch evenly.
    """

    def __init__(
        self, state: TrainingState, device: torch.device, *, compiled: bool = False, ranks: Ranks = ALONE
    ) -> None:
        self._state = state
        self._device = device
        self._ranks = ranks
        self._share = ranks.share(state.config.batch_size)
        alone = ranks.count == 1
        self._records = compiled and alone and can_record(device)
        self._judge: Callable[..., tuple[Tensor, Measured]] = judge
        self._deceive: Callable[..., tuple[Tensor, Measured]] = deceive
        if compiled:
            require_compiler(device)
            self._judge = torch.compile(judge, fullgraph=alone, dynamic=False)
            self._deceive = torch.compile(deceive, fullgraph=alone, dynamic=False)
        self._recordings: dict[str, _Recording] = {}
        for optimiser in self._optimisers():
            _prepare(optimiser, device, self._records)

    def step(self, pixels: Tensor, labels: Tensor | None, trains_d: bool, trains_g: bool) -> Measured:
        """Train D on a minibatch of images and as many drawn ones, then G on as many others, or one of the two.

        Args:
            pixels: uint8 RGB (B, R, R, 3), on the device; B is this rank's share of ``config.batch_size``.
            labels: int64 (B,), on the device, exactly where the networks have classes; drawn images are of these too.
            trains_d: whether D is trained.
            trains_g: whether G is trained.

        Returns:
            Scalars on the device, means over the ranks: ``value`` is V(D, G), ``d_real`` and ``d_fake`` the means of
            D(x) and D(G(z)), if D was trained; ``generator_loss`` is what G minimised, if G was.
        """
        measured: Measured = {}
        with _arithmetic(self._state.config.precision):
            if trains_d:
                measured |= self._run("discriminator", self._train_discriminator, pixels, self._draw(), labels)
            if trains_g:
                measured |= self._run("generator", self._train_generator, self._draw(), labels)
        return measured

    def set_learning_rate(self, learning_rate: float) -> None:
        """Let all later steps, recorded ones too, be of this size."""
        for optimiser in self._optimisers():
            for group in optimiser.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(learning_rate)
                else:
                    group["lr"] = learning_rate

    def _optimisers(self) -> tuple[Optimizer, Optimizer]:
        return self._state.discriminator_optimiser, self._state.generator_optimiser

    def _draw(self) -> Tensor:
        config = self._state.config
        z = draw_z(config.batch_size, config.model, self._state.noise)[self._share]
        if self._device.type == "cuda":
            z = z.pin_memory()
        return z.to(self._device, non_blocking=True)

    def _run(self, name: str, train: Callable[..., Measured], *inputs: Tensor | None) -> Measured:
        if not self._records:
            return train(*inputs)
        if name not in self._recordings:
            with undone(self._state):
                self._recordings[name] = _Recording(train, inputs)
        return self._recordings[name].replay(inputs)

    def _train_discriminator(self, pixels: Tensor, z: Tensor, labels: Tensor | None) -> Measured:
        state = self._state
        loss, measured = self._judge(
            state.generator, state.discriminator, pixels, z, labels, precision=state.config.precision
        )
        self._descend(loss, measured, state.discriminator_optimiser)
        return measured

    def _train_generator(self, z: Tensor, labels: Tensor | None) -> Measured:
        state = self._state
        with _frozen(state.discriminator):
            loss, measured = self._deceive(
                state.generator,
                state.discriminator,
                z,
                labels,
                loss=state.config.loss,
                precision=state.config.precision,
            )
            self._descend(loss, measured, state.generator_optimiser)
        return measured

    def _descend(self, loss: Tensor, measured: Measured, optimiser: Optimizer) -> None:
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        self._ranks.average([*(parameter.grad for parameter in parameters), *measured.values()])
        optimiser.step()


def judge(
    generator: Generator,
    discriminator: Discriminator,
    pixels: Tensor,
    z: Tensor,
    labels: Tensor | None,
    *,
    precision: Precision,
) -> tuple[Tensor, Measured]:
    """What D minimises on uint8 pixels (B, R, R, 3) and the images of z, (B, z_size); and its measures, detached."""
    with _layers_in(precision, pixels.device):
        with torch.no_grad():
            fake = generator(z, labels)
        # Apart, so that batch norm sees each with its own statistics.
        real_logits = discriminator(from_pixels(pixels), labels)
        fake_logits = discriminator(fake, labels)
    loss = discriminator_loss(real_logits, fake_logits)
    return loss, {
        "value": -loss.detach(),
        "d_real": real_logits.detach().sigmoid().mean(),
        "d_fake": fake_logits.detach().sigmoid().mean(),
    }


def deceive(
    generator: Generator,
    discriminator: Discriminator,
    z: Tensor,
    labels: Tensor | None,
    *,
    loss: Loss,
    precision: Precision,
) -> tuple[Tensor, Measured]:
    """What G minimises on z, (B, z_size); and the same as a measure, detached."""
    with _layers_in(precision, z.device):
        logits = discriminator(generator(z, labels), labels)
    objective = generator_loss(logits, loss)
    return objective, {"generator_loss": objective.detach()}


def _layers_in(precision: Precision, device: torch.device) -> torch.autocast:
    """Let layers compute in bf16 where the precision says so.

    Each call of a network rounds its weights anew: were they kept from one to the next, the gradients of real and of
    fake images would be added up in bf16, and a recording could hold weights of the time when it was made.
    """
    is_bf16 = precision is Precision.BF16
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16, cache_enabled=False)


def require_compiler(device: torch.device) -> None:
    """Compile something small for the device; ConfigError where that fails."""
    try:
        torch.compile(_increment)(torch.zeros(1, device=device))
    except RuntimeError as error:
        raise ConfigError(
            f"--compile is given, and torch.compile does not work here ({str(error).strip().splitlines()[0]})",
            hint="install a C++ compiler such as g++, or give --no-compile",
        ) from error


def _increment(values: Tensor) -> Tensor:
    return values + 1


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Ask for no gradients of a network's parameters; they still flow through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


@contextmanager
def _arithmetic(precision: Precision) -> Iterator[None]:
    """cuDNN's part of the precision. Products stay float32: they are D's logits, and G's small first layer."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=precision is Precision.TF32):
        yield


def _prepare(optimiser: Optimizer, device: torch.device, records: bool) -> None:
    """Make an optimiser fit for being recorded, or, where a checkpoint brought such a one, for not being recorded."""
    for group in optimiser.param_groups:
        learning_rate = float(group["lr"])
        group["capturable"] = records
        # A recording reads the learning rate from the device; a number would be recorded as it was.
        group["lr"] = torch.tensor(learning_rate, device=device) if records else learning_rate


class _Recording:
    """A function of tensors, run on the GPU once and replayed with other contents of its inputs."""

    def __init__(self, function: Callable[..., Measured], inputs: Sequence[Tensor | None]) -> None:
        self._inputs = [None if tensor is None else tensor.clone() for tensor in inputs]
        self._graph, self._outputs = record(partial(function, *self._inputs))

    def replay(self, inputs: Sequence[Tensor | None]) -> Measured:
        for kept, given in zip(self._inputs, inputs, strict=True):
            if kept is not None and given is not None:
                kept.copy_(given, non_blocking=True)
        self._graph.replay()
        # Copies, since the next replay writes over the outputs themselves.
        values = torch.stack(list(self._outputs.values())).unbind()
        return dict(zip(self._outputs, values, strict=True))


def can_record(device: torch.device) -> bool:
    """Whether `record` works there."""
    return device.type == "cuda"


def record(function: Callable[[], Measured]) -> tuple[torch.cuda.CUDAGraph, Measured]:
    """Run a function on the GPU some times and record it once more; what it gives lies where each replay writes it.

    All on one stream other than the usual one, as recording wants it: what libraries set up in the warm-up, and the
    nodes of autograd, belong to that stream.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*capturable=True")  # Adam's, of steps that are not recorded
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # The threads of a feed go on using the GPU meanwhile, which only this mode allows them.
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        outputs = function()
    return graph, outputs


@contextmanager
def undone(state: TrainingState) -> Iterator[None]:
    """Put back all that the block changes in the networks and optimisers, in the same tensors; moments it makes: 0."""
    before = {id(tensor): tensor.detach().clone() for tensor in _tensors(state)}
    yield
    with torch.no_grad():
        for tensor in _tensors(state):
            if id(tensor) in before:
                tensor.copy_(before[id(tensor)])
            else:
                tensor.zero_()


def _tensors(state: TrainingState) -> Iterator[Tensor]:
    for network in (state.generator, state.discriminator):
        yield from network.parameters()
        yield from network.buffers()
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        moments: Mapping[Any, Mapping[str, Any]] = optimiser.state
        for of_parameter in moments.values():
            yield from (value for value in of_parameter.values() if isinstance(value, Tensor))
