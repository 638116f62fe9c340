from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from train import convolutions
from train.convolutions import MANY_WEIGHTS, SMALL_SIDE, Convolution, Upsampling

LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "halving": (lambda: Convolution(6, 5, 5, stride=2, padding=2, bias=False), 2 * SMALL_SIDE),
    "keeping": (lambda: Convolution(6, 5, 5, stride=1, padding=2, bias=False), SMALL_SIDE),
    "doubling": (lambda: Upsampling(6, 5, 5, stride=2, padding=2, output_padding=1, bias=False), SMALL_SIDE),
    "even kernels": (lambda: Convolution(6, 5, 4, stride=2, padding=1, bias=False), 2 * SMALL_SIDE),
    "large maps": (lambda: Convolution(6, 5, 5, stride=2, padding=2, bias=False), 4 * SMALL_SIDE),
}


@pytest.fixture
def few_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the product pay for small layers."""
    monkeypatch.setattr(convolutions, "MANY_WEIGHTS", 0)


def plainly(layer: nn.Module, maps: Tensor) -> Tensor:
    """torch's own convolution, by the same weights."""
    if isinstance(layer, nn.ConvTranspose2d):
        return conv_transpose2d(maps, layer.weight, None, layer.stride, layer.padding, layer.output_padding)  # type: ignore[arg-type]
    assert isinstance(layer, nn.Conv2d)
    return conv2d(maps, layer.weight, None, layer.stride, layer.padding)


def run(call: Callable[[Tensor], Tensor], layer: nn.Module, maps: Tensor) -> list[Tensor]:
    """What comes out, and the gradients of maps and of weights."""
    maps = maps.clone().requires_grad_()
    layer.zero_grad()
    out = call(maps)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    (out * weights).sum().backward()
    (parameter,) = layer.parameters()
    assert maps.grad is not None
    assert parameter.grad is not None
    return [out.detach(), maps.grad, parameter.grad.clone()]


@pytest.mark.usefixtures("few_weights")
@pytest.mark.parametrize("name", LAYERS)
def test_maps_and_gradients_are_torchs(name: str) -> None:
    make, side = LAYERS[name]
    layer = make().double()
    maps = torch.randn(3, 6, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, torchs = run(layer, layer, maps), run(lambda given: plainly(layer, given), layer, maps)
    assert torch.equal(ours[0], torchs[0])
    for mine, exact in zip(ours, torchs, strict=True):
        torch.testing.assert_close(mine, exact)


@pytest.mark.usefixtures("few_weights")
@pytest.mark.parametrize("name", LAYERS)
def test_in_bf16_gradients_stay_near_and_weights_keep_their_type(name: str) -> None:
    make, side = LAYERS[name]
    layer = make()
    maps = torch.randn(3, 6, side, side, generator=torch.Generator().manual_seed(0))
    exact = run(layer, layer, maps)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        rounded = run(layer, layer, maps)
    assert [tensor.dtype for tensor in rounded] == [torch.bfloat16, torch.float32, torch.float32]
    for near, true in zip(rounded, exact, strict=True):
        assert (near.float() - true).norm() < 0.01 * true.norm()


def uses_the_product(maps: Tensor) -> bool:
    return maps.grad_fn is not None and "_Convolve" in type(maps.grad_fn).__name__


@pytest.mark.usefixtures("few_weights")
def test_only_gradients_between_small_maps_are_had_otherwise() -> None:
    layer = Convolution(6, 5, 5, stride=2, padding=2, bias=False)
    small, large = torch.zeros(2, 6, 8, 8), torch.zeros(2, 6, 16, 16)
    assert uses_the_product(layer(small))
    assert not uses_the_product(layer(large))
    with torch.no_grad():
        assert not uses_the_product(layer(small))
    layer.requires_grad_(False)
    assert not uses_the_product(layer(small.requires_grad_()))


def test_few_weights_are_left_to_torch() -> None:
    many = Upsampling(MANY_WEIGHTS // 100, 4, 5, stride=2, padding=2, output_padding=1, bias=False)
    few = Upsampling(MANY_WEIGHTS // 100 - 1, 4, 5, stride=2, padding=2, output_padding=1, bias=False)
    assert uses_the_product(many(torch.zeros(2, many.in_channels, 1, 1)))
    assert not uses_the_product(few(torch.zeros(2, few.in_channels, 1, 1)))


def test_layers_are_torchs_by_name_and_weights() -> None:
    ours = Upsampling(6, 5, 5, stride=2, padding=2, output_padding=1, bias=False)
    torchs = nn.ConvTranspose2d(6, 5, 5, stride=2, padding=2, output_padding=1, bias=False)
    torchs.load_state_dict(ours.state_dict())
    maps = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(maps), torchs(maps))
