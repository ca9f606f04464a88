"""A response while it is sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lightning_moa.policies import Policy


@contextmanager
def watching(policy: Policy, tell: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside the block each step of `generate` tells the tokens before it.

    The tokens are read where they enter the model, so that any policy's sampling is told. What `tell` raises ends it.

    Args:
        policy: what is sampled from, once.
        tell: takes (batch, n) token ids, all sampled so far but the newest.
    """
    parts: list[Tensor] = []

    def enters(_: Any, arguments: tuple[Tensor, ...]) -> None:
        ids = arguments[0]
        if not parts:
            parts.append(ids)
            return
        # With its cache a model is given the newest token alone; without one the whole text, perhaps several times.
        if policy.decodes_by_model:
            parts.append(ids)
        elif ids.shape[1] > sum(part.shape[1] for part in parts):
            parts[1:] = [ids[:, parts[0].shape[1] :]]
        else:
            return
        tell(torch.cat(parts[1:], dim=1))

    hook = policy.model.get_input_embeddings().register_forward_pre_hook(enters)
    try:
        yield
    finally:
        hook.remove()
