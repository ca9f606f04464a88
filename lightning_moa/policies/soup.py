"""Rewarded Soups: the interpolation of several policies' updates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_moa.errors import UserError
from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.gates import SoupGate
from lightning_moa.policies.layers import Factors, as_linear, is_linear
from lightning_moa.policies.loading import load_policy

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Member = dict[str, Factors]
"""One member's factors by layer, everything that multiplies them folded into B: its delta W is B A."""


class RewardedSoup(AdapterPolicy):
    """delta W = sum_i lambda_i delta W_i over n members on the same base (Rame et al., 2023).

    The members' factors stand side by side, (A_1; ..; A_n) and (B_1 .. B_n), and lambda_i gates the rows of
    member i. So their updates are interpolated exactly. Averaging their A and their B would be another thing:
    the factors of two runs are not aligned.

    The soup is steered by m = n weights and holds nothing to train. Build it from saved members with
    `from_folders`.

    Args:
        model: the base of all members, changed in place.
        members: each with the same layers, as `AdapterPolicy.factors` gives them.
    """

    def __init__(self, model: PreTrainedModel, members: Sequence[Member]) -> None:
        if not members:
            raise UserError("a soup needs at least one member")
        targets = list(members[0])
        for position, member in enumerate(members):
            if member.keys() != members[0].keys():
                raise UserError(
                    f"soup: member {position} adapts other layers than member 0; they must be the same"
                )
        self.m = len(members)
        self.ranks = [len(member[targets[0]][0]) for member in members]

        def factors(name: str, linear: nn.Linear) -> Factors:
            a = torch.cat([member[name][0] for member in members])
            b = torch.cat([member[name][1] for member in members], dim=1)
            if a.shape[1] != linear.in_features or b.shape[0] != linear.out_features:
                raise UserError(
                    f"soup: the members' {name} does not fit the base model's; they were trained on another"
                )
            return a.to(linear.weight.device), b.to(linear.weight.device)

        super().__init__(
            model, targets=targets, dropout=0.0, factors=factors, gate=lambda: SoupGate(self.ranks)
        )
        self.requires_grad_(False)

    @classmethod
    def from_folders(
        cls,
        model: PreTrainedModel,
        folders: Sequence[str | Path],
        *,
        kind: type[AdapterPolicy] | None = None,
        base_id: str | None = None,
    ) -> RewardedSoup:
        """The soup of saved policies, one folder each, in the order of the objectives; `kind` and `base_id` as for
        `load_policy`.

        Raises:
            UserError: as for `load_policy`, or a member that is itself steered by a preference, or no adapter.
        """
        members = []
        for folder in folders:
            policy = load_policy(model, folder, kind=kind, base_id=base_id)
            try:
                if not isinstance(policy, AdapterPolicy):
                    raise UserError(
                        f"a soup's members are low-rank updates; {type(policy).__name__} is no AdapterPolicy"
                    )
                members.append(policy.factors())
            finally:
                policy.unload()
        return cls(model, members)

    @classmethod
    def rebuild(cls, model: PreTrainedModel, options: dict[str, Any]) -> RewardedSoup:
        targets = options["targets"]
        linears = dict(model.named_modules())
        missing = [name for name in targets if not is_linear(linears.get(name))]
        if missing:
            raise UserError(f"targets: {missing[0]} is no linear layer of {type(model).__name__}")

        def blank(rank: int, layer: Any) -> Factors:
            linear = as_linear(layer)
            return torch.zeros(rank, linear.in_features), torch.zeros(linear.out_features, rank)

        return cls(
            model, [{name: blank(rank, linears[name]) for name in targets} for rank in options["ranks"]]
        )

    def own_options(self) -> dict[str, Any]:
        return {"ranks": self.ranks}
