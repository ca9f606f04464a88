"""What the processes of one run work out together. With one process everything here is what it would be without it.

Processes that train one policy share each batch: a process has an equal, contiguous part of its rows, and strategies
average the processes' gradients. So that their update is the one of the joint batch, whatever is made of the losses
(a maximum, a hypervolume), losses are means over all processes' rows before they are aggregated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Item = TypeVar("Item")


def together() -> bool:
    """Whether several processes have joined for this run."""
    return (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    )


def world_size() -> int:
    """Number of processes that have joined."""
    return torch.distributed.get_world_size() if together() else 1


def rank() -> int:
    """Place of this process among them."""
    return torch.distributed.get_rank() if together() else 0


def summed(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors, without gradient."""
    total = tensor.detach().clone()
    if together():
        torch.distributed.all_reduce(total)
    return total


def joint_mean(total: Tensor, count: Tensor | int) -> Tensor:
    """sum of all processes' totals / sum of their counts, at least 1 each; all processes must call it.

    Its value is the same on each process. Its gradient is that of this process's own share times the number of
    processes, so that the average of their gradients is the gradient of the joint mean.

    Args:
        total: of this process's rows, with gradient.
        count: what it is divided by, of `total`'s shape or one for all of it.
    """
    if not together():
        return total / (count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1))
    counts = summed(torch.as_tensor(count, device=total.device)).clamp(min=1)
    return summed(total) / counts + world_size() * (total - total.detach()) / counts


def rows_of_joint_batch(rows: int, device: torch.device | None = None) -> Tensor:
    """(rows,) int64: places in the joint batch of this process's rows."""
    return torch.arange(rows, device=device) + rank() * rows


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its average over the processes, for parameters that no strategy looks after."""
    if not together():
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world_size()


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' numbers; all must ask."""
    found = torch.tensor(number, device=device)
    if together():
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return int(found)


def any_of(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any of the processes; all must ask."""
    return largest(int(flag), device) > 0


def is_partitioned(module: nn.Module) -> bool:
    """Whether a process holds but its share of the module's weights (DeepSpeed's ZeRO-3)."""
    return any(hasattr(parameter, "ds_id") for parameter in module.parameters())


@contextmanager
def gathered(parameters: Iterable[nn.Parameter], *, write: bool = False) -> Iterator[None]:
    """Inside the block the parameters are whole on each process, where they are shared out; all must enter it.

    write: what process 0 writes to them becomes theirs.
    """
    shared_out = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not shared_out:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(shared_out, modifier_rank=0 if write else None):
        yield


def full_size(tensor: Tensor) -> int:
    """Entries of a tensor, also where a process holds but its share of them."""
    return int(getattr(tensor, "ds_numel", tensor.numel()))


def all_objects(content: Any) -> list[Any]:
    """What each process gives, in the order of their ranks; all must call it. Small things only: they are pickled on
    the way between processes of one run."""
    if not together():
        return [content]
    found: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(found, content)
    return found


def from_first(content: Any) -> Any:
    """What process 0 gives; all must call it."""
    return all_objects(content)[0]


def wait_for_all() -> None:
    """Go on when all processes are here."""
    if together():
        torch.distributed.barrier()


def own_share(items: Iterable[Item]) -> Iterator[Item]:
    """Every so-many-th of the items, which are the same on all processes: what this one is to work on."""
    return islice(items, rank(), None, world_size())
