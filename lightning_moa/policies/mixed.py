"""Several policies of one base, mixed token by token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.steering import check_preference


class MixedPolicies(Policy):
    """log pi(token | what stands before) = sum_i lambda_i log pi_i(token | what stands before), up to a constant.

    Args:
        members: a policy that is member i at corner i of the simplex, such as a soup; m forward passes make one.
    """

    def __init__(self, members: Policy) -> None:
        super().__init__(members.model)
        self.members_at = members
        self.m = members.m

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, preference: Tensor | None = None, *, last: int = 0
    ) -> Tensor:
        if preference is None:
            raise UserError(f"this policy needs a preference of shape ({self.m},) or (batch, {self.m})")
        checked = check_preference(preference, self.m, len(input_ids)).to(input_ids.device)
        weights = checked.expand(len(input_ids), -1)
        total: Tensor | None = None
        for i, corner in enumerate(torch.eye(self.m, device=input_ids.device)):
            logits = self.members_at(input_ids, attention_mask, corner, last=last)
            # In 16 bits the sum would be as far off as .06 nats.
            logps = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            part = weights[:, i, None, None].to(logps) * logps
            total = part if total is None else total + part
        assert total is not None
        return total

    @contextmanager
    def reference(self) -> Iterator[None]:
        with self.members_at.reference():
            yield
