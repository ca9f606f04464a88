"""A base model and the tokenizer that it came with, made to agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_moa.errors import UserError
from lightning_moa.policies.base_folder import check_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NEVER = -1e4
"""Added to the logit of an id without text: its probability is 0 in every precision, and nothing becomes infinite."""


def agree(model: PreTrainedModel, tokenizer: Any, where: str, closing: Sequence[int] = ()) -> None:
    """Let a model sample no id without text, and end responses at the tokenizer's EOS, too, and at what closes a turn;
    in place.

    Args:
        model: a causal language model. Where its embedding has rows beyond the tokenizer's tokens, its output head gets
            a bias that makes their probability 0, in sampling and in log-probs alike.
        tokenizer: a fast one.
        where: what named both, for errors.
        closing: further ids that end a response, such as what a chat template closes an assistant's turn by.

    Raises:
        UserError: a token has no row in the embedding; or ids have no text and the output head is no linear layer.
    """
    embedding: Any = model.get_input_embeddings()
    rows = len(embedding.weight)
    ids = set(tokenizer.get_vocab().values())
    check_sizes(max(ids), rows, where)
    silent = sorted(set(range(rows)) - ids)
    eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    agree_on(model, silent, [*eos, *closing], where)


def agree_on(model: PreTrainedModel, silent: Sequence[int], ends: Sequence[int], where: str) -> None:
    """The same, of ids that are known: those without text, and those that end a response."""
    known = agreed(model)
    if set(silent) - set(known["silent"]):
        _silence(model, list(silent), where)
    already = ends_of(model)
    more = [each for each in dict.fromkeys(ends) if each not in already]
    if more:
        model.generation_config.eos_token_id = [*already, *more]
    if silent or more or known["silent"]:
        model._agreed = {  # type: ignore[assignment]
            "silent": sorted({*silent, *known["silent"]}),
            "ends": list(dict.fromkeys([*known["ends"], *more])),
        }


def agreed(model: PreTrainedModel) -> dict[str, list[int]]:
    """What `agree` has changed of a model: ids that it silenced, and ids that it lets end a response."""
    found: Any = getattr(model, "_agreed", None)
    return found if isinstance(found, dict) else {"silent": [], "ends": []}


def ends_of(model: PreTrainedModel) -> list[int]:
    """The ids that end a response: those of the model's generation settings, else of its configuration."""
    found = setting(model, "eos_token_id")
    return [] if found is None else [found] if isinstance(found, int) else list(found)


def setting(model: PreTrainedModel, name: str) -> Any:
    """Of the model's generation settings, else of its configuration; None where neither says anything."""
    value = getattr(model.generation_config, name, None)
    return getattr(model.config, name, None) if value is None else value


@torch.no_grad()
def _silence(model: PreTrainedModel, ids: list[int], where: str) -> None:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UserError(
            f"{where}: {len(ids)} ids of its embedding have no text, such as {ids[0]}, and its output head "
            f"({type(head).__name__}) is no linear layer that could be kept from sampling them"
        )
    bias = torch.zeros(head.out_features, dtype=head.weight.dtype, device=head.weight.device)
    if head.bias is not None:
        bias += head.bias
    bias[ids] = NEVER
    head.bias = nn.Parameter(bias, requires_grad=head.weight.requires_grad)
