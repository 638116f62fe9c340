"""Convolutions: maps in, maps out, as torch has them; on a CPU with a faster way to the gradients of weights.

The layers of both networks. On a CPU, torch's convolutions (oneDNN's) go over all gradients of a layer's weights once
for each image, which at 4×4 places takes longer than the arithmetic where there are more of them than a cache holds.
Those gradients are a matrix product here: of the small maps, as (maps, B·places), and of the patches of the large ones
that each place is tied to, as (B·places, maps·k²). All else is torch's, and so is everything on a GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

# Where the product pays: measured with AVX-512; at twice the side, or half as many weights, torch's own way is as fast.
SMALL_SIDE = 4  # pixels, at most, of the smaller maps
MANY_WEIGHTS = 3_000_000  # at least


def choose_layout(device: torch.device) -> torch.memory_format:
    """How weights and maps lie in memory: channels last on a GPU, which its matrix units want; not on a CPU."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


class Convolution(nn.Conv2d):
    """Maps (B, in, H, W) → (B, out, H/stride, W/stride)."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        if _pays(self, input, max(input.shape[2:]) // self.stride[0]):
            maps: Tensor = _Convolve.apply(input, self.weight, _Geometry(self))
            return maps
        return super().forward(input)


class Upsampling(nn.ConvTranspose2d):
    """Maps (B, in, H, W) → (B, out, H·stride, W·stride): the paper's fractionally-strided convolution."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve; ``output_size`` is `torch.nn.ConvTranspose2d`'s."""
        if output_size is None and _pays(self, input, max(input.shape[2:])):
            maps: Tensor = _Convolve.apply(input, self.weight, _Geometry(self))
            return maps
        return super().forward(input, output_size)


def _pays(layer: nn.Conv2d | nn.ConvTranspose2d, maps: Tensor, small_side: int) -> bool:
    """Whether the gradient of a layer's weights may be asked for, and a matrix product is the better way to it."""
    if not (torch.is_grad_enabled() and layer.weight.requires_grad and layer.bias is None):
        return False
    return maps.device.type == "cpu" and small_side <= SMALL_SIDE and layer.weight.numel() >= MANY_WEIGHTS


class _Geometry:
    """What of a layer decides its maps, but for its weights: square, without dilation and groups."""

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        (self.stride, _), (self.dilation, _) = layer.stride, layer.dilation
        self.padding = int(layer.padding[0])
        self.transposed = layer.transposed
        self.output_padding = layer.output_padding[0]

    def as_arguments(self) -> tuple[Any, ...]:
        """As torch's convolutions take it, after input, weight and bias."""
        pairs = ([side] * 2 for side in (self.stride, self.padding, self.dilation))
        return (*pairs, self.transposed, [self.output_padding] * 2, 1)


class _Convolve(torch.autograd.Function):
    """A convolution, or a transposed one, whose gradient of weights is a matrix product."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, maps: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.geometry = geometry
        return torch.convolution(maps, weight, None, *geometry.as_arguments())

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (gradient,) = gradients
        maps, weight = ctx.saved_tensors
        geometry: _Geometry = ctx.geometry
        of_maps = None
        if ctx.needs_input_grad[0]:
            of_maps, _, _ = torch.ops.aten.convolution_backward(
                gradient, maps, weight, None, *geometry.as_arguments(), [True, False, False]
            )
        small, large = (maps, gradient) if geometry.transposed else (gradient, maps)
        patches = unfold(large, weight.shape[2:], padding=geometry.padding, stride=geometry.stride)
        tied = patches.transpose(1, 2).reshape(-1, patches.shape[1])
        places = small.flatten(2).transpose(1, 2).reshape(-1, small.shape[1])
        return of_maps, (places.t() @ tied).view_as(weight), None
