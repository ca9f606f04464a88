"""The form that every policy has; as it stands, a causal language model that knows no preference."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.files import PolicyRun, write_policy
from lightning_moa.policies.model import still

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """Why tensors that are given can't take the place of one's own, in words; None where they can. Of tensors that
    ZeRO-3 shares out the shapes are not looked at."""
    for kind, names in (("missing", own.keys() - given.keys()), ("unexpected", given.keys() - own.keys())):
        if names:
            return f"{len(names)} {kind}, such as {min(names)}"
    for name, value in own.items():
        if given[name].shape != value.shape and not hasattr(value, "ds_id"):
            return f"{name} has shape {tuple(given[name].shape)}, this policy needs {tuple(value.shape)}"
    return None


class Policy(nn.Module):
    """A transformers causal language model behind the interface that all policies share.

    This class trains all weights of the model and ignores preferences. Its children adapt a frozen model. One that a
    study may train says by `options` what it is made with, frees the model by `unload`, and by `reference` is the
    model as it was; `build`, `trained_state` and `save` have defaults that fit most.

    Args:
        model: a transformers causal language model. Its dropout is switched off, since log-ratios compare two passes.
    """

    sections: ClassVar[Mapping[str, type]] = {}
    """Sections of a study's configuration, by name: the dataclasses of the settings that it is built from."""
    linear_in: ClassVar[tuple[str, str] | None] = None
    """The section and the key of a number of like parts, in which memory is a straight line; None: there is none."""

    build_options: ClassVar[tuple[str, ...]] = ()
    """What a method may say of it, by `use`, that `build` takes, besides the constructor's arguments."""

    may_be_several: ClassVar[bool] = False
    """Whether it may be several policies at once, as many as `linear_in` says."""

    logits_of_responses: ClassVar[bool] = False
    """Whether its training forms logits of the responses' tokens alone, wherever in a batch these lie."""

    m = 0
    """Number of objectives whose preference steers the policy; with 0 it accepts any and ignores it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        still(model)
        self.model = model
        self._slices_logits = "logits_to_keep" in inspect.signature(model.forward).parameters

    several: int | None = None
    """K where it is K policies at once, whose losses have a row each (heads); else None."""

    @classmethod
    def build(cls, run: PolicyRun) -> Self:
        """The policy that a run begins with, on `run.model`, whose weights are frozen already.

        By default the constructor's arguments are the model, the fields of the policy's sections, what the method says
        besides, and those of `m` (number of objectives) and `seed` that the constructor has.
        """
        given: dict[str, Any] = {}
        for name in cls.sections:
            given |= vars(run.section(name))
        known = inspect.signature(cls.__init__).parameters
        given |= {key: value for key, value in (("m", run.m), ("seed", run.seed)) if key in known}
        return cls(run.model, **{**given, **run.options})

    @classmethod
    def is_steered(cls, said: Mapping[str, Any]) -> bool:
        """Whether a preference steers it as a study builds it (m > 0); `said`: what the method says of it."""
        return False

    @classmethod
    def vocabulary(cls, section: Callable[[str], Any], objectives: Sequence[str]) -> list[str]:
        """Words that a tokenizer which is made for the study must have besides the data's."""
        return []

    @classmethod
    def rebuild(cls, model: PreTrainedModel, options: dict[str, Any]) -> Self:
        """A policy of the same form on a model, which is changed in place; `options` as `options()` gave them."""
        return cls(model, **options)

    def options(self) -> dict[str, Any]:
        """The constructor's arguments besides model and seed, as JSON can hold them."""
        raise UserError(
            f"{type(self).__name__}.options(): it must give what the policy is made with, to be saved"
        )

    def trained_state(self) -> dict[str, Tensor]:
        """All that is trained, by name, and `kept_buffers`."""
        trained = {name: value for name, value in self.named_parameters() if value.requires_grad}
        return trained | dict(self.kept_buffers())

    def kept_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The policy's own persistent buffers, by name, which training may change; the model's are the base's."""
        for place, module in self.named_modules():
            if place.partition(".")[0] == "model":
                continue
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    yield f"{place}.{name}".removeprefix("."), buffer

    def load_trained_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `trained_state` gave.

        Raises:
            UserError: a key is missing or unexpected, or a tensor has another shape. Nothing is changed then.
        """
        own = self.trained_state()
        wrong = misfit(own, state)
        if wrong is not None:
            raise UserError(f"adapter weights: {wrong}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name])

    def save(self, folder: str | Path, *, objectives: Sequence[str] = (), base_id: str | None = None) -> None:
        """Write what is trained, not the base, to a folder that `load_policy` reads.

        Args:
            folder: made if missing; a policy that it holds already is replaced.
            objectives: the preference's names, in order; one for each of the policy's m values, or none. A policy
                with m = 0 may name whatever it was trained on.
            base_id: the caller's name for the base weights, compared on loading where both are given.
        """
        if objectives and self.m and len(objectives) != self.m:
            raise UserError(
                f"objectives={list(objectives)}: this policy is steered by {self.m} values; name each"
            )
        write_policy(
            folder, type(self), self.options(), self.trained_state(), self.model, objectives, base_id
        )

    def unload(self) -> PreTrainedModel:
        """Take out of the model what the policy has put in, and give it back. The policy is of no use afterwards."""
        return self.model

    def members(self) -> list[tuple[str, Policy]]:
        """The policies that can be sampled, with a name each: itself, or its heads."""
        return [("policy", self)]

    def penalty(self) -> Tensor | None:
        """A scalar that is lowered beside the objectives, where the policy asks for one."""
        return None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, preference: Tensor | None = None, *, last: int = 0
    ) -> Tensor:
        """Next-token logits.

        Args:
            input_ids: (batch, time) token ids, padded on either side.
            attention_mask: (batch, time), nonzero on tokens.
            preference: (m,) for all rows, or (batch, m), one per row, on the simplex. It holds for this call.
                None takes the one given to `set_preference`. A policy with m = 0 ignores it.
            last: return the logits of this many last positions only; 0: of all.

        Returns:
            (batch, time or last, vocabulary); position t predicts the token at t + 1.

        Raises:
            UserError: a steered policy has no preference, or it has another shape or is off the simplex.
        """
        with self.steered(preference, len(input_ids)):
            logits: Tensor = self.run(input_ids, attention_mask, last).logits
        return logits[:, -last:]

    def run(self, input_ids: Tensor, attention_mask: Tensor, last: int = 0, **options: Any) -> Any:
        """The model's own output, steered as it stands; `options` go to the model, `position_ids` among them where the
        mask is one of its own making, (batch, 1, time, time).

        Logits are formed of the `last` positions alone where the model can do that, else of all.
        """
        if self._slices_logits:
            options["logits_to_keep"] = last
        if "position_ids" not in options:
            options["position_ids"] = position_ids(attention_mask)
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **options)

    def set_preference(self, preference: Tensor | None) -> None:
        """The preference of all later calls that give none; None takes it back. Ignored where m = 0."""

    @contextmanager
    def steered(self, preference: Tensor | None, batch_size: int | None = None) -> Iterator[None]:
        """Steer everything inside the block (such as `generate`) by a preference, as in `forward`."""
        yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block, which takes no gradient, neither weights nor preference change: what hangs on them alone
        is worked out once."""
        yield

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside the block the policy is its reference: the same base weights, adapters off.

        Raises:
            UserError: the policy trains all its weights, so that none of them are the reference's.
        """
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            raise UserError(
                "a policy that trains all weights holds no reference: keep a frozen copy of it instead"
            )
        yield

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters that training changes, in a fixed order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @property
    def decodes_by_model(self) -> bool:
        """Whether the model's own loop, steered, samples from the policy: not where `forward` or `run` is its own."""
        kind = type(self)
        return kind.forward is Policy.forward and kind.run is Policy.run

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass, to save memory. Puts the model in training mode: a
        pretrained one arrives in evaluation mode, where transformers would silently keep all activations."""
        self.model.train()
        self.model.activation_checkpointing_enable(activation_checkpointing_kwargs=self._checkpointing())

    def _checkpointing(self) -> dict[str, object]:
        return {"use_reentrant": False}


def position_ids(attention_mask: Tensor) -> Tensor:
    """(batch, time) positions that count tokens only, so that padding on either side moves no token."""
    return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)
