"""A moving average of G: the weights of each step in, a second G out, whose images change less from step to step.

Stands beside the last word of "clean shards → DCGAN": training never reads it, samples and exports may.

GAN training circles around its optimum rather than settling on it, and the average of the weights lies nearer to it
than the last of them (Yazıcı et al. 2019, "The unusual effectiveness of averaging in GAN training").
"""

import copy
from typing import Any

import torch

from train.dcgan import Generator


class MovingAverage:
    """An exponential moving average of G's parameters, and of its batch norm's running averages.

    Running averages are averaged as the parameters are, because a layer's activations follow the weights: those of the
    newest weights, copied, would belong to a network that is not the averaged one. In the first layer, which is linear
    in its weights, the averaged mean is just the mean under the averaged weights; further in, and for variances, it is
    near (docs/sampling.md has figures, and `train.statistics` the remedy).

    Attributes:
        generator: the averaged G, in evaluation mode and without gradients: ready to draw.
        decay: what the average keeps of itself at an update, once it is warm.
        updates: updates so far.
    """

    def __init__(self, generator: Generator, decay: float) -> None:
        self.generator = copy.deepcopy(generator).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @property
    def next_decay(self) -> float:
        """The decay of the next update, min(decay, (1 + n) / (10 + n)) after n updates.

        A decay of 0.999 from the first step on would leave a third of initial weights after a thousand steps. The
        formula is that of TensorFlow's ``ExponentialMovingAverage`` (``num_updates``).
        """
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """Take in G's weights after a step. A few kernels whatever the layers, and the device is not waited for.

        The decay is a number on the host that changes while the average warms up: no captured graph may hold this.
        """
        averages, counts = _split(self.generator)
        newest, newest_counts = _split(generator)
        torch._foreach_lerp_(averages, newest, 1 - self.next_decay)
        if counts:
            torch._foreach_copy_(counts, newest_counts)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on, the decay aside: ``updates`` and ``generator``."""
        return {"updates": self.updates, "generator": self.generator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.updates = state["updates"]
        self.generator.load_state_dict(state["generator"])


def _split(generator: Generator) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What can be averaged, and what only counts (batch norm's minibatches)."""
    tensors = [*generator.parameters(), *generator.buffers()]
    return [t for t in tensors if t.is_floating_point()], [t for t in tensors if not t.is_floating_point()]
