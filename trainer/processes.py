"""Several processes that train one model together, as `torchrun` starts them; or one, for which nothing is done here.

Every process holds all weights and computes its own share of a batch. Sums are taken, never means: the parts of a loss
add up to the loss of the whole batch, and so do their gradients.

Shapes: B rows of all processes together, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from clipcli import errors
from clipcli.errors import ClipError

__all__ = ["Processes", "share_of", "together"]

Item = TypeVar("Item")

PATIENCE = timedelta(hours=6)  # the others wait while the first one measures and saves
BUCKET = 2**24  # numbers added up in one message


def share_of(count: int, rank: int, world: int) -> slice:
    """The rows of process `rank` where `count` are dealt out to `world`: one after the other, as evenly as can be."""
    return slice(count * rank // world, count * (rank + 1) // world)


@dataclass(frozen=True, kw_only=True, slots=True)
class Processes:
    """Which one of how many this is."""

    rank: int = 0
    world: int = 1

    @property
    def lead(self) -> bool:
        """Whether this is the one that measures, writes and speaks."""
        return self.rank == 0

    def own(self, count: int) -> slice:
        """This process's share of `count` rows."""
        return share_of(count, self.rank, self.world)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """(own rows, D) of each process to (count, D) in all of them; gradients flow back to where a row came from."""
        if self.world == 1:
            return rows
        gather: Any = _Gather.apply
        # Every process takes part in the way back, even one without rows or with a tower that does not learn.
        found: Tensor = gather(rows if rows.requires_grad else rows.detach().requires_grad_(), count, self)
        return found

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, several in one message."""
        if self.world == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def highest(self, *values: int) -> list[int]:
        """In each place the highest of the values that the processes have."""
        if self.world == 1:
            return list(values)
        found = torch.tensor(values, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return [int(value) for value in found.tolist()]

    def all_of(self, items: Sequence[Item]) -> list[Item]:
        """The items of all processes, plain values; the same list in each."""
        if self.world == 1:
            return list(items)
        found: list[list[Item]] = [[] for _ in range(self.world)]
        dist.all_gather_object(found, list(items))
        return [item for part in found for item in part]

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """What fails within in one of the processes fails in all of them.

        Raises:
            ClipError: as raised within, here or elsewhere.
        """
        mine: ClipError | None = None
        try:
            yield
        except ClipError as error:
            mine = error
        if self.world > 1:
            found: list[tuple[str, str] | None] = [None] * self.world
            dist.all_gather_object(found, None if mine is None else (type(mine).__name__, str(mine)))
            failed = [(rank, told) for rank, told in enumerate(found) if told is not None]
            if failed and mine is None:
                rank, (kind, text) = failed[0]
                raise getattr(errors, kind, ClipError)(f"process {rank}: {text}")
        if mine is not None:
            raise mine

    def told_by_lead(self, value: Any) -> Any:
        """What the lead has; plain values, the same in all afterwards."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


class _Gather(torch.autograd.Function):
    """Rows of all processes. The gradient of a row is the sum of what all of them did with it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, count: int, processes: Processes) -> Tensor:
        ctx.processes, ctx.count = processes, count
        longest = -(-count // processes.world)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(processes.world)]
        dist.all_gather(parts, padded)
        sizes = [share_of(count, rank, processes.world) for rank in range(processes.world)]
        return torch.cat([part[: one.stop - one.start] for part, one in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole[ctx.processes.own(ctx.count)], None, None


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(map(Tensor.numel, bucket)) + tensor.numel() > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@contextmanager
def together(*, cuda: bool = False) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, as its environment variables say; alone where there are none.

    Raises:
        ClipError: another process is gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Processes()
        return
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield Processes(rank=dist.get_rank(), world=dist.get_world_size())
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ClipError(
                f"another of the {dist.get_world_size()} processes is gone; the run can be resumed from what was saved"
            ) from error
        raise
    finally:
        dist.destroy_process_group()
