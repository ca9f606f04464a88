"""The preference in the prompt, for any objective (DPA, Wang et al., 2024): LoRA on a model that reads the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lightning_moa.answers import Sections
from lightning_moa.errors import UserError
from lightning_moa.policies.files import PolicyRun
from lightning_moa.policies.in_prompt import RewardPrompt
from lightning_moa.policies.lora import LoRA
from lightning_moa.policies.settings import AdapterConfig, RiCConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pieces = Sequence[Sequence[Sequence[int]]]
"""Objective, weight from 0 to 1 in equal steps -> the tokens that say so."""


class PromptedLoRA(LoRA):
    """LoRA, and in front of each text the tokens of "<r1> lambda_1 ... <rm> lambda_m", weights rounded as RiC's rewards
    are. All objectives and deployments take it as any steered policy; its reference reads no such tokens. So it does
    not start as its reference, unlike the others.

    It is sampled without a cache. What it is at one preference is no update of the weights, so that there is nothing
    to export or merge.

    Args:
        model, rank, options: as `LoRA` has them.
        pieces: (m, steps + 1, any number) token ids, see `spelled`.

    Raises:
        UserError: texts and weights together longer than the positions that the model has learned.
    """

    sections: ClassVar[Sections] = {"adapter": AdapterConfig, "ric": RiCConfig}

    ids: Tensor
    present: Tensor

    @classmethod
    def is_steered(cls, said: Mapping[str, Any]) -> bool:
        return True

    @classmethod
    def build(cls, run: PolicyRun) -> Self:
        adapter: AdapterConfig = run.section("adapter")
        adapter.check_plain("PromptedLoRA")
        names = ("rank", "scaling", "targets", "dropout")
        given = {"pieces": spelled(run.section("ric"), run.tokenizer, run.m), "seed": run.seed}
        return cls(run.model, **{**given, **{name: getattr(adapter, name) for name in names}, **run.options})

    @classmethod
    def vocabulary(cls, section: Callable[[str], Any], objectives: Sequence[str]) -> list[str]:
        return goals(section("ric"), len(objectives)).tokens()

    def __init__(
        self, model: PreTrainedModel | str | Path, rank: int = 8, *, pieces: Pieces, **options: Any
    ) -> None:
        super().__init__(model, rank, **options)
        self.m, self.pieces = len(pieces), [[list(tokens) for tokens in each] for each in pieces]
        longest = max(len(tokens) for each in pieces for tokens in each)
        padded = [[[0] * (longest - len(tokens)) + list(tokens) for tokens in each] for each in pieces]
        missing = [[longest - len(tokens) for tokens in each] for each in pieces]
        places = torch.arange(longest) >= torch.tensor(missing)[..., None]
        for name, table in (("ids", torch.tensor(padded)), ("present", places)):
            self.register_buffer(name, table.to(self._device), persistent=False)

    def own_options(self) -> dict[str, Any]:
        return {**super().own_options(), "pieces": self.pieces}

    def run(self, input_ids: Tensor, attention_mask: Tensor, last: int = 0, **options: Any) -> Any:
        preference = self.steering.preference
        if not self.steering.enabled or preference is None:
            return super().run(input_ids, attention_mask, last, **options)
        time = input_ids.shape[1]
        if preference.is_meta:
            # In a forecast, where there are no values to look up.
            width = self.ids[:, 0].numel()
            ids, mask = (table.new_zeros(len(input_ids), width) for table in (input_ids, attention_mask))
        else:
            steps = (preference.expand(len(input_ids), -1) * (self.ids.shape[1] - 1)).round().long()
            which = torch.arange(self.m, device=steps.device)
            ids, mask = (table[which, steps].flatten(1) for table in (self.ids, self.present))
        self._check_length(time + ids.shape[1])
        whole = torch.cat([ids.to(input_ids), input_ids], dim=1)
        present = torch.cat([mask.to(input_ids.device), attention_mask.bool()], dim=1)
        out = super().run(whole, present, last or time, **options)
        out.logits = out.logits[:, -time:]
        if out.hidden_states is not None:
            out.hidden_states = tuple(each[:, -time:] for each in out.hidden_states)
        return out

    def _check_length(self, time: int) -> None:
        """Rotary positions go on; learned ones end."""
        config = self.model.config
        most = getattr(config, "max_position_embeddings", None)
        if most is not None and time > most and not hasattr(config, "rope_parameters"):
            raise UserError(f"the preference and its text take {time} positions; the model has {most}")

    @contextmanager
    def fixed(self, preference: Tensor | None) -> Iterator[None]:
        raise UserError(
            "a policy that reads its preference in the prompt is no update of the weights at one preference: there is "
            "nothing to export or merge"
        )
        yield


def goals(settings: RiCConfig, m: int) -> RewardPrompt:
    """How weights from 0 to 1 are written, as section `ric` says."""
    return RewardPrompt.of(settings, [f"objective {i}" for i in range(m)], np.zeros(m), np.ones(m))


def spelled(settings: RiCConfig, tokenizer: Any, m: int) -> Pieces:
    """The tokens of each objective's marker with each weight.

    Args:
        settings: `marker` and `decimals`.
        tokenizer: None, as in a forecast, counts a token for each word.

    Raises:
        UserError: a tokenizer that cannot spell them.
    """
    prompt, steps = goals(settings, m), 10**settings.decimals
    if tokenizer is None:
        return [[[0, 0]] * (steps + 1)] * m
    prompt.check(tokenizer)
    values = prompt.tokens()[m:]
    each = [
        [f"{' ' if i else ''}{marker} {value}" for value in values] for i, marker in enumerate(prompt.markers)
    ]
    return [
        tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"] for texts in each
    ]
