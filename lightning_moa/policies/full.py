"""Full fine-tuning: every weight of the model is trained, and the model as it was stays the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lightning_moa.errors import UserError
from lightning_moa.policies.quantised import is_quantised
from lightning_moa.policies.steered import SteeredPolicy
from lightning_moa.policies.steering import Steering

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Shifted(nn.Module):
    """W0 + D where the policy is on, W0 where it is its reference; D in single precision, over any base."""

    def __init__(self, weight: Tensor, steering: Steering) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros_like(weight, dtype=torch.float32))
        self.steering = steering

    def forward(self, weight: Tensor) -> Tensor:
        return (weight + self.delta).to(weight.dtype) if self.steering.enabled else weight


class FullWeights(SteeredPolicy):
    """W = W0 + D for every weight, D of W's own shape and 0 at the start. It knows no preference.

    Adam's step of D is its step of W, so this is full fine-tuning; W0 is kept beside D, for the reference. A weight
    that the output head shares with the token embedding is trained apart in each. Not for strategies that partition
    weights as they are made.

    Args:
        model: a transformers causal language model, changed in place.

    Raises:
        UserError: a base in 8 or 4 bits.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        if is_quantised(model):
            raise UserError("full: the base is quantised; allowed are weights that can be trained")
        super().__init__(model.requires_grad_(False))
        self.changed = [
            (module, name) for module in model.modules() for name, _ in module.named_parameters(recurse=False)
        ]
        for module, name in self.changed:
            shift = _Shifted(getattr(module, name), self.steering)
            parametrize.register_parametrization(module, name, shift)

    def options(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def held(self) -> Iterator[None]:
        with parametrize.cached():
            yield

    def unload(self) -> PreTrainedModel:
        """The model as it was. The policy is of no use afterwards."""
        for module, name in self.changed:
            parametrize.remove_parametrizations(module, name, leave_parametrized=False)
        return self.model
