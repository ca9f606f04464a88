"""What an answer promises, checked at the first update of a training; the losses' shape at each."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_moa.aggregation import GradientAggregator
from lightning_moa.errors import BrokenContract, warn
from lightning_moa.objectives import Objective
from lightning_moa.policies import Policy
from lightning_moa.policies.generation import evaluating

SHAKE = 0.05
"""Standard deviation of what is added to the trained tensors, for as long as a policy is looked at: at its start it may
be its reference at every preference."""


def check_shape(objective: Objective, policy: Policy, losses: Any, preference: Tensor, m: int) -> None:
    """Losses (count,), or (g, count) for g preferences or members. Asked of every update's.

    Raises:
        BrokenContract: names the objective, what was expected and what came.
    """
    name, count = type(objective).__name__, objective.count(m)
    groups = policy.several or (len(preference) if preference.ndim == 2 else 0)
    expected = (groups, count) if groups else (count,)
    # One policy is its own row, where the objective knows of no rows.
    fine = (expected, (count,)) if policy.several == 1 else (expected,)
    if not isinstance(losses, Tensor) or tuple(losses.shape) not in fine:
        came = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise BrokenContract(f"{name}.losses: shape {expected} is expected for {m} objectives, {came} came")


def check_losses(objective: Objective, policy: Policy, losses: Tensor) -> None:
    """They are finite, and have a gradient.

    Raises:
        BrokenContract: names the objective and what came.
    """
    name = type(objective).__name__
    if not bool(torch.isfinite(losses).all()):
        raise BrokenContract(f"{name}.losses: finite numbers are expected, {losses.detach().tolist()} came")
    if not losses.requires_grad:
        raise BrokenContract(
            f"{name}.losses: they hang on no trained tensor of {type(policy).__name__}, so nothing would be learned"
        )


def check_total(aggregator: Any, total: Any) -> None:
    """An aggregator gives one finite scalar that hangs on the losses.

    Raises:
        BrokenContract: names the aggregator and what came.
    """
    name = type(aggregator).__name__
    if not isinstance(total, Tensor) or total.numel() != 1:
        came = tuple(total.shape) if isinstance(total, Tensor) else type(total).__name__
        raise BrokenContract(f"{name}: one scalar is expected of an aggregation, {came} came")
    if not bool(torch.isfinite(total).all()):
        raise BrokenContract(f"{name}: a finite scalar is expected of an aggregation, {total.item()} came")
    if not total.requires_grad:
        raise BrokenContract(
            f"{name}: the scalar hangs on no loss (is it detached?), so nothing would be learned"
        )


def state_of(aggregator: Any) -> dict[str, Any]:
    """What an aggregation from outside holds that no checkpoint does: copies, as far as they can be made."""
    if hasattr(aggregator, "state_dict") or isinstance(aggregator, GradientAggregator):
        return {}
    found = {}
    for name, value in getattr(aggregator, "__dict__", {}).items():
        # What can't be copied or compared is none of a sum that goes on.
        with suppress(Exception):
            found[name] = copy.deepcopy(value.detach() if isinstance(value, Tensor) else value)
    return found


def tell_stateful(aggregator: Any, before: Mapping[str, Any]) -> None:
    """Warn of an aggregation that changes what it holds and has no `state_dict`: it may need that for its next call.

    Args:
        aggregator: after its first call.
        before: its `state_of` before it.
    """
    changed = [
        name
        for name, after in state_of(aggregator).items()
        if name not in before or _differ(before[name], after)
    ]
    if changed:
        warn(
            f"{type(aggregator).__name__} changes {', '.join(changed)} from one update to the next, and no checkpoint "
            "holds it: where it is needed, a training that is stopped goes on without it. Kept are the buffers of a "
            "torch.nn.Module, and what state_dict() and load_state_dict() say"
        )


def _differ(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return not torch.equal(one, other)
    with suppress(Exception):
        return not bool(np.all(one == other))
    return False


def check_gradients(policy: Policy) -> None:
    """A gradient reaches every trained tensor. Called behind the backward pass.

    Raises:
        BrokenContract: names the policy and the first tensor without one.
    """
    for name, parameter in policy.named_parameters():
        # Where DeepSpeed takes gradients away as they come, there is none to see.
        if parameter.requires_grad and parameter.grad is None and not hasattr(parameter, "ds_id"):
            raise BrokenContract(
                f"{type(policy).__name__}: no gradient reaches {name}; a trained tensor must take part in the logits"
            )


@torch.no_grad()
def check_steering(policy: Policy, input_ids: Tensor, attention_mask: Tensor) -> None:
    """A policy that says that it is steered (m > 0) gives other logits for another preference.

    Args:
        policy: on one process, its weights whole.
        input_ids, attention_mask: (batch, time), of which the first row is looked at.

    Raises:
        BrokenContract: the logits are the same at two corners of the simplex.
    """
    if not policy.m:
        return
    corners = torch.eye(policy.m, device=input_ids.device)
    # Up to its last token: what is said behind padding means nothing.
    end = int(attention_mask[0].nonzero().max()) + 1
    row = (input_ids[:1, :end], attention_mask[:1, :end])
    with evaluating(policy), shaken(policy):
        first, second = (policy(*row, corner, last=1) for corner in (corners[0], corners[-1]))
    if policy.m > 1 and torch.equal(first, second):
        raise BrokenContract(
            f"{type(policy).__name__} says that {policy.m} preference values steer it, but its logits are the same at "
            f"{corners[0].tolist()} and {corners[-1].tolist()}"
        )


@contextmanager
def shaken(policy: Policy) -> Iterator[None]:
    """Inside the block the trained tensors are off their values by noise; each has exactly its own after it."""
    generator = torch.Generator().manual_seed(0)
    parameters = policy.trainable_parameters()
    former = [each.detach().clone() for each in parameters]
    try:
        for each in parameters:
            each.add_(SHAKE * torch.randn(each.shape, generator=generator).to(each))
        yield
    finally:
        for each, value in zip(parameters, former, strict=True):
            each.copy_(value)
