"""LoRA: a low-rank update that knows no preference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import nn

from lightning_moa.answers import Sections
from lightning_moa.errors import UserError
from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.files import PolicyRun
from lightning_moa.policies.gates import PlainGate
from lightning_moa.policies.layers import Factors
from lightning_moa.policies.model import as_model
from lightning_moa.policies.settings import AdapterConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LoRA(AdapterPolicy):
    """W = W0 + scaling * B A (Panacea, eq. 4). B starts at 0, so the policy starts as its reference.

    Args:
        model: a transformers causal language model, changed in place; or its hub id or folder.
        rank: r.
        scaling: factor on the update (peft's lora_alpha / r).
        targets: which linear layers are adapted, as `resolve_targets` takes them.
        dropout: on the adapters' input, in training.
        seed: of A's first values; None draws them from torch's global generator.
    """

    sections: ClassVar[Sections] = {"adapter": AdapterConfig}

    @classmethod
    def build(cls, run: PolicyRun) -> Self:
        adapter: AdapterConfig = run.section("adapter")
        adapter.check_plain("LoRA")
        given = {
            "rank": adapter.rank,
            "scaling": adapter.scaling,
            "targets": adapter.targets,
            "dropout": adapter.dropout,
            "seed": run.seed,
        }
        return cls(run.model, **{**given, **run.options})

    def __init__(
        self,
        model: PreTrainedModel | str | Path,
        rank: int = 8,
        *,
        scaling: float = 1.0,
        targets: str | Sequence[str] = "all-linear-and-head",
        dropout: float = 0.0,
        seed: int | None = None,
    ) -> None:
        model = as_model(model)
        if rank < 1:
            raise UserError(f"rank={rank}: must be at least 1")
        self._options: dict[str, Any] = {"rank": rank, "scaling": scaling, "dropout": dropout}
        generator = None if seed is None else torch.Generator().manual_seed(seed)

        def factors(name: str, linear: nn.Linear) -> Factors:
            bound = 1 / math.sqrt(linear.in_features)
            a = torch.empty(rank, linear.in_features).uniform_(-bound, bound, generator=generator)
            return a.to(linear.weight.device), torch.zeros(
                linear.out_features, rank, device=linear.weight.device
            )

        super().__init__(
            model, targets=targets, dropout=dropout, factors=factors, gate=lambda: PlainGate(rank, scaling)
        )

    def own_options(self) -> dict[str, Any]:
        return dict(self._options)
