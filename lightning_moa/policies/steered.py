"""What all policies share that a preference steers while they run: it is set, held for a block, or switched off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.steering import Steering, check_preference

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SteeredPolicy(Policy):
    """A policy whose own part reads `self.steering` as it runs: `steering.preference`, (m,) or (batch, m), and
    `steering.enabled`, false while the policy is its reference.

    A child sets `m`; with m = 0 it is switched on and off, and no preference steers it.

    Args:
        model: a transformers causal language model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.steering = Steering()

    def set_preference(self, preference: Tensor | None) -> None:
        self.steering.preference = None if preference is None else self._checked(preference, None)

    @contextmanager
    def steered(self, preference: Tensor | None, batch_size: int | None = None) -> Iterator[None]:
        if not self.steering.enabled or not self.m:
            yield
            return
        given = self.steering.preference if preference is None else preference
        if given is None:
            raise UserError(
                f"this policy needs a preference of shape ({self.m},) or (batch, {self.m}); none was given"
            )
        with self.steering.using(self._checked(given, batch_size)):
            yield

    def _checked(self, preference: Tensor, batch_size: int | None) -> Tensor | None:
        if not self.m:
            return None
        return check_preference(preference, self.m, batch_size).to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside the block the policy is its reference: adapters off. No preference is needed then."""
        with self.steering.using(self.steering.preference, enabled=False):
            yield

    def _checkpointing(self) -> dict[str, object]:
        return {"use_reentrant": False, "context_fn": self.steering.remember}
