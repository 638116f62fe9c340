"""Losses: the logits of D in, what G and D minimise out.

Goodfellow et al. 2014, equation 1: D maximises and G minimises the value V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))],
with D = sigmoid(logits). All is computed from logits, where neither log overflows.

Shapes: ``real`` and ``fake`` are logits of shape (B,), of images x and of images G(z); results are scalars.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from train.config import Loss


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What D minimises: -V(D, G), the binary cross-entropy of telling real from fake.

    0 where D is never wrong, log 4 where it knows no better than 1/2, as it does at the optimum.
    """
    return binary_cross_entropy_with_logits(real, torch.ones_like(real)) + binary_cross_entropy_with_logits(
        fake, torch.zeros_like(fake)
    )


def generator_loss(fake: Tensor, loss: Loss) -> Tensor:
    """What G minimises: -E[log D(G(z))], or E[log(1 - D(G(z)))] for the minimax loss."""
    if loss is Loss.MINIMAX:
        return -binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
