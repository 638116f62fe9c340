"""Parallel: several processes that train one pair of networks; started by ``torchrun -m train.run …``.

Stands beside "clean shards → DCGAN". Each rank computes on its slice of every minibatch, of the images and of z alike,
so that what is trained on does not depend on the number of ranks; gradients, and what is measured, are averaged before
each step. With `synchronise_norms` batch norm sees the whole minibatch too, and the losses are those of one rank, but
for rounding. So all ranks hold the same weights and measures, and what they decide by these they decide alike.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.modules.batchnorm import _BatchNorm

from pipelines.errors import CleanshardsError, ConfigError, TrainingError

PATIENCE = timedelta(days=1)  # of ranks that wait: the first may have millions of images to pack


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes of a run, and which of them this is.

    Attributes:
        rank: of this process, from 0; the first writes files and speaks.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This rank's rows of a minibatch.

        Raises:
            ConfigError: the minibatch does not divide by the ranks.
        """
        if batch_size % self.count:
            raise ConfigError(
                f"a minibatch of {batch_size} does not divide by {self.count} processes",
                hint=f"give --batch-size {batch_size // self.count * self.count or self.count}",
            )
        own = batch_size // self.count
        return slice(self.rank * own, (self.rank + 1) * own)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over the ranks, in one message; nothing where there is one rank."""
        if self.count == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def agree(self, flag: bool) -> bool:
        """Whether any rank says so; all must ask at the same point."""
        if self.count == 1:
            return flag
        said = torch.tensor([float(flag)])
        distributed.all_reduce(said, op=distributed.ReduceOp.MAX)
        return bool(said.item())

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Ranks()


def is_first_rank() -> bool:
    """Whether torchrun, if it started this process, means it to be the first; known before the ranks are joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started; alone where it did not.

    An error that several ranks meet alike is raised in one; the others then end without a word.

    Raises:
        ConfigError: they do not find one another.
        TrainingError: another one has ended.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    try:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        store, rank, _ = next(rendezvous("env://", timeout=PATIENCE))
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"the {count} processes do not find one another ({error})", hint="start them with torchrun -m train.run …"
        ) from error
    try:
        yield Ranks(rank, count)
    except CleanshardsError as error:
        if _is_said(error, store):
            sys.exit(1)
        raise
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        lost = TrainingError(f"another of the {count} processes has ended", hint="what it said last says why")
        if _is_said(lost, store):
            sys.exit(1)
        raise lost from error
    finally:
        distributed.destroy_process_group()


def _is_said(error: CleanshardsError, store: Store) -> bool:
    """Whether another rank has said the same; from now on, one has."""
    try:
        return bool(store.add(error.message, 1) > 1)
    except RuntimeError:  # the process that keeps the store has ended
        return False


class _SumOverRanks(torch.autograd.Function):
    """The sum over the ranks; each rank's share of it weighs in every rank's loss."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _sum_over_ranks(values: Tensor) -> Tensor:
    total: Tensor = _SumOverRanks.apply(values)
    return total


class SyncedNorm(_BatchNorm):
    """Batch norm over the minibatches of all ranks, on any device (torch's own wants GPUs).

    Shapes as `torch.nn.BatchNorm1d` and `torch.nn.BatchNorm2d` have them: (B, C) or (B, C, H, W).
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the statistics of all ranks in training, and when drawing without running averages."""
        if not self.training and self.track_running_stats:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        values = input.float()
        here = values.new_tensor([values[:, 0].numel()])
        sums = _sum_over_ranks(torch.cat([values.sum(axes), here]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = values - mean.view(shape)
        variance = _sum_over_ranks(centred.square().sum(axes)) / count
        if self.training and self.track_running_stats:
            with torch.no_grad():
                assert self.running_mean is not None and self.running_var is not None
                assert self.num_batches_tracked is not None and self.momentum is not None
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        gain = (self.weight * (variance + self.eps).rsqrt()).view(shape)
        normalised: Tensor = centred * gain + self.bias.view(shape)
        return normalised.to(input.dtype)


def synchronise_norms(network: nn.Module) -> None:
    """Let every batch norm of a network see the minibatches of all ranks; parameters stay the same objects."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            synced = SyncedNorm(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
            synced.load_state_dict(child.state_dict())
            synced.to(child.weight.device)
            synced.weight, synced.bias = child.weight, child.bias  # the very ones that an optimiser knows
            setattr(network, name, synced)
        else:
            synchronise_norms(child)
