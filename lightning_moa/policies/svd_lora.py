"""SVD-LoRA: Panacea's update, with the preference among its singular values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lightning_moa.answers import Sections
from lightning_moa.errors import UserError
from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.files import PolicyRun
from lightning_moa.policies.gates import SVDGate
from lightning_moa.policies.layers import Factors, normal
from lightning_moa.policies.model import as_model
from lightning_moa.policies.settings import AdapterConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SVDLoRA(AdapterPolicy):
    """W = W0 + scaling * U diag(sigma_1 .. sigma_k, s lambda_1 .. s lambda_m) V' (Panacea, eq. 5).

    U, V, sigma and one s per weight matrix (or per objective of one) are trained. U and V start at N(0, init_std^2),
    sigma and s at 0: the policy starts exactly as its reference, at every preference, and the first gradients reach
    sigma and s alone.

    Args:
        model: a transformers causal language model, changed in place; or its hub id or folder.
        k: preference-agnostic singular values.
        m: number of objectives. With 0 this is the SVD-LoRA of rank k that Panacea's baselines train (which
            get one more singular value than Panacea's k): it knows no preference, accepts any and ignores it.
        scaling: factor on the update. Where a paper gives a `lora_scaling`, this is lora_scaling / lora_dim, with k
            for lora_dim (our reading, after Safe-RLHF's LoRA layers).
        targets: which linear layers are adapted, as `resolve_targets` takes them.
        dropout: on the adapters' input, in training.
        scale_init: s at the start; another value than 0 makes the policy start off its reference.
        fixed_scale: keeps s at this value instead (Panacea, Figure 7); None learns it. As with `scale_init`,
            the policy then starts off its reference.
        per_objective: one s for each objective of a weight matrix (eq. 9) instead of one for all (the text before
            eq. 6).
        init_std: standard deviation of U and V at the start.
        orthogonality: weight of `penalty`, which holds U and V near to orthogonal matrices (Section 4.1); 0: none.
        seed: of their first values; None draws them from torch's global generator.
    """

    sections: ClassVar[Sections] = {"adapter": AdapterConfig}
    build_options = ("steered",)

    @classmethod
    def is_steered(cls, said: Mapping[str, Any]) -> bool:
        return bool(said.get("steered", True))

    @classmethod
    def build(cls, run: PolicyRun) -> Self:
        """Steered by the study's m objectives, of rank k + m; with the option steered=False of rank k + 1."""
        adapter: AdapterConfig = run.section("adapter")
        steered = cls.is_steered(run.options)
        said = {key: value for key, value in run.options.items() if key != "steered"}
        given = {
            "k": adapter.rank if steered else adapter.rank + 1,
            "m": run.m if steered else 0,
            "fixed_scale": adapter.fixed_scale if steered else None,
            "scaling": adapter.scaling,
            "targets": adapter.targets,
            "dropout": adapter.dropout,
            "orthogonality": adapter.orthogonality,
            "seed": run.seed,
        }
        return cls(run.model, **{**given, **said})

    def __init__(
        self,
        model: PreTrainedModel | str | Path,
        k: int = 8,
        m: int = 0,
        *,
        scaling: float = 1.0,
        targets: str | Sequence[str] = "all-linear-and-head",
        dropout: float = 0.0,
        scale_init: float = 0.0,
        fixed_scale: float | None = None,
        per_objective: bool = False,
        init_std: float = 0.02,
        orthogonality: float = 0.0,
        seed: int | None = None,
    ) -> None:
        model = as_model(model)
        if k < 0 or m < 0 or k + m < 1:
            raise UserError(f"k={k}, m={m}: neither may be negative, and their sum must be at least 1")
        if init_std <= 0:
            raise UserError(
                f"init_std={init_std}: must be above 0, or no gradient reaches any part of the adapter"
            )
        self.k = k
        self.m = m
        self.orthogonality_weight = orthogonality
        self._options: dict[str, Any] = {
            "k": k,
            "m": m,
            "scaling": scaling,
            "dropout": dropout,
            "scale_init": scale_init,
            "fixed_scale": fixed_scale,
            "per_objective": per_objective,
            "init_std": init_std,
            "orthogonality": orthogonality,
        }
        generator = None if seed is None else torch.Generator().manual_seed(seed)

        def factors(name: str, linear: nn.Linear) -> Factors:
            v = normal(k + m, linear.in_features, init_std, linear.weight, generator)
            return v, normal(linear.out_features, k + m, init_std, linear.weight, generator)

        super().__init__(
            model,
            targets=targets,
            dropout=dropout,
            factors=factors,
            gate=lambda: SVDGate(k, m, scaling, scale_init, fixed_scale, per_objective),
        )

    def own_options(self) -> dict[str, Any]:
        return dict(self._options)

    def penalty(self) -> Tensor | None:
        return self.orthogonality_weight * self.orthogonality() if self.orthogonality_weight else None

    def orthogonality(self) -> Tensor:
        """||U'U - I||^2 + ||V'V - I||^2 (squared Frobenius norms) summed over the layers, a scalar to
        minimise."""
        total = []
        for layer in self.layers.values():
            for gram in (layer.lora_B.T @ layer.lora_B, layer.lora_A @ layer.lora_A.T):
                total.append((gram - torch.eye(len(gram), device=gram.device)).square().sum())
        return torch.stack(total).sum()
