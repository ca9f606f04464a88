"""Gates: what multiplies the r activations between an adapter's two factors.

A gate maps the policy's preference, (m,), (batch, m) or None, to values (r,) or (batch, r). With A of shape
(r, in) and B of shape (out, r), an adapted layer computes W0 x + B (gate * (A x)).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_moa.errors import UserError


class PlainGate(nn.Module):
    """LoRA's: the constant `scaling`, whatever the preference."""

    value: Tensor

    def __init__(self, rank: int, scaling: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.full((rank,), scaling), persistent=False)

    def forward(self, preference: Tensor | None) -> Tensor:
        return self.value


class SVDGate(nn.Module):
    """Panacea's diagonal, scaling * (sigma_1 .. sigma_k, s lambda_1 .. s lambda_m) (Section 4.1, after eq.
    5).

    sigma starts at 0. The same s multiplies all of a weight matrix's preference entries, as the text before eq. 6 has
    it; with `per_objective` each has an s of its own, as eq. 9 does. It is learned from `scale_init`, or stays at
    `fixed_scale`.
    """

    def __init__(
        self,
        k: int,
        m: int,
        scaling: float,
        scale_init: float,
        fixed_scale: float | None,
        per_objective: bool = False,
    ) -> None:
        super().__init__()
        self.k, self.m = k, m
        self.scaling = scaling
        self.fixed_scale = fixed_scale
        # An unused or empty parameter would trip distributed training, so each exists only where it is used.
        if k:
            self.sigma = nn.Parameter(torch.zeros(k))
        if m and fixed_scale is None:
            self.scale = nn.Parameter(torch.full((m if per_objective else 1,), scale_init))

    def forward(self, preference: Tensor | None) -> Tensor:
        if not self.m:
            return self.scaling * self.sigma
        if preference is None:
            raise UserError(
                f"this policy needs a preference of shape ({self.m},) or (batch, {self.m}); none was given"
            )
        steered = (self.scale if self.fixed_scale is None else self.fixed_scale) * preference
        if not self.k:
            return self.scaling * steered
        sigma = self.sigma.to(steered.dtype).expand(*steered.shape[:-1], self.k)
        return self.scaling * torch.cat([sigma, steered], dim=-1)


class SoupGate(nn.Module):
    """Rewarded Soups': lambda_i for each of the r_i rows that member i brings."""

    index: Tensor

    def __init__(self, ranks: list[int]) -> None:
        super().__init__()
        member = torch.arange(len(ranks)).repeat_interleave(torch.tensor(ranks))
        self.register_buffer("index", member, persistent=False)

    def forward(self, preference: Tensor | None) -> Tensor:
        if preference is None:
            raise UserError("a soup needs a preference, one weight for each member; none was given")
        return preference[..., self.index]
