"""What LoRA, SVD-LoRA and soups share: a frozen base with one adapted layer in the place of each target."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.files import replace_files
from lightning_moa.policies.layers import (
    AdaptedLinear,
    Factors,
    adapted_layers,
    eject,
    inject,
    resolve_targets,
)
from lightning_moa.policies.quantised import is_quantised
from lightning_moa.policies.steered import SteeredPolicy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class AdapterPolicy(SteeredPolicy, ABC):
    """A policy whose trained part is a low-rank update of each target layer.

    A child says which update, through the two functions that it hands to this constructor; the model given is
    changed in place (`unload` undoes it) and its own weights are frozen.

    Args:
        model: a transformers causal language model.
        targets: which linear layers are adapted, as `resolve_targets` takes them.
        dropout: on the adapters' input, in training.
        factors: (layer's name, linear layer) to its first A and B.
        gate: makes one layer's gate.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        targets: str | Sequence[str],
        dropout: float,
        factors: Callable[[str, nn.Linear], Factors],
        gate: Callable[[], nn.Module],
    ) -> None:
        super().__init__(model)
        self.targets = resolve_targets(model, targets)

        def make(name: str, linear: nn.Linear) -> AdaptedLinear:
            made = gate().to(linear.weight.device)
            return AdaptedLinear(linear, factors(name, linear), made, self.steering, dropout)

        inject(model, self.targets, make)

    @abstractmethod
    def own_options(self) -> dict[str, Any]:
        """The constructor's arguments besides model, targets and seed, as JSON can hold them."""

    def options(self) -> dict[str, Any]:
        return {**self.own_options(), "targets": list(self.targets)}

    @property
    def layers(self) -> dict[str, AdaptedLinear]:
        """The adapted layers by name, in the model's order."""
        return adapted_layers(self.model)

    @property
    def _device(self) -> torch.device:
        return self.model.get_submodule(self.targets[0]).lora_A.device  # type: ignore[return-value]

    @contextmanager
    def held(self) -> Iterator[None]:
        layers = self.layers.values()
        try:
            for layer in layers:
                layer.hold()
            yield
        finally:
            for layer in layers:
                layer.release()

    def trained_state(self) -> dict[str, Tensor]:
        """The adapters' tensors: `<layer>.lora_A`, `<layer>.lora_B` and the gates' parameters; and `kept_buffers`."""
        return dict(self.kept_buffers()) | {
            f"{name}.{key}": value
            for name, layer in self.layers.items()
            for key, value in layer.state_dict().items()
            if not key.startswith("base.")
        }

    def factors(self) -> dict[str, Factors]:
        """Each layer's factors, detached copies, all that multiplies them folded into B: delta W is B A.

        Raises:
            UserError: the policy is steered by a preference, so that no single update is what it does.
        """
        if self.m:
            raise UserError(
                f"a soup's members know no preference; this {type(self).__name__} takes {self.m} values"
            )
        with torch.no_grad():
            return {
                name: (_copy(layer.lora_A), _copy(layer.lora_B * layer.gate(None)))
                for name, layer in self.layers.items()
            }

    def unload(self) -> PreTrainedModel:
        """Take the adapters out of the model and give it back, frozen. The policy is of no use afterwards."""
        eject(self.model)
        return self.model

    def merge(self, preference: Tensor | None = None) -> PreTrainedModel:
        """A plain transformers model with the weights W0 + delta W at a preference (m,); a deep copy, in float32: in 16
        bits most of a small update would be rounded away.

        Raises:
            UserError: as for `fixed`, or a base in 8 or 4 bits.
        """
        if is_quantised(self.model):
            raise UserError(
                "merge: the base is quantised, and a weight rounded again would not be this policy (a 4-bit one that "
                "has been evaluated on a CPU merges wrong altogether); load the policy onto the base unquantised"
            )
        with torch.no_grad(), self.fixed(preference):
            model = copy.deepcopy(self.model).float()
            head = model.get_output_embeddings()
            for layer in adapted_layers(model).values():
                # A new parameter, since an output head may share its weight with the token embedding.
                layer.base.weight = nn.Parameter(layer.base.weight + layer.delta())
                if layer is head:
                    model.config.tie_word_embeddings = False
        eject(model)
        return model.requires_grad_(True)

    @contextmanager
    def fixed(self, preference: Tensor | None) -> Iterator[None]:
        """Inside the block the policy is held at one preference (m,), adapters on.

        Raises:
            UserError: as for `forward`, or a preference per example.
        """
        with self.steering.using(self.steering.preference), self.steered(preference):
            held = self.steering.preference
            if self.m and held is not None and held.ndim != 1:
                raise UserError(
                    f"preference of shape {tuple(held.shape)}: one vector of shape ({self.m},) is needed here"
                )
            yield

    def export(self, preference: Tensor | None, folder: str | Path) -> None:
        """Write the policy at one preference, (m,), as a vanilla LoRA that stock `peft.PeftModel.from_pretrained`
        loads.

        The gate is folded into A, so B A is the policy's exact update.

        Raises:
            UserError: as for `fixed`.
        """
        tensors = {}
        with torch.no_grad(), self.fixed(preference):
            for name, layer in self.layers.items():
                gate = layer.gate(self.steering.preference)
                prefix = f"base_model.model.{name}"
                tensors[f"{prefix}.lora_A.weight"] = (gate[:, None] * layer.lora_A).cpu().contiguous()
                tensors[f"{prefix}.lora_B.weight"] = layer.lora_B.detach().cpu().contiguous()
        rank = len(next(iter(self.layers.values())).lora_A)
        # By hand, and the rest left to its defaults: peft takes seconds to import, and bitsandbytes with it.
        config = {
            **{"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True},
            **{"r": rank, "lora_alpha": rank, "target_modules": self.targets, "bias": "none"},
        }
        files = {
            "adapter_model.safetensors": save(tensors, metadata={"format": "pt"}),
            "adapter_config.json": json.dumps(config, indent=2).encode(),
        }
        replace_files(Path(folder), files)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().float().clone()
