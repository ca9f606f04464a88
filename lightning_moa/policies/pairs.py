"""Log-probabilities of pairs of responses, their prompts going through the model once for both.

A row holds the prompt and behind it both responses, each of which attends to the prompt and to itself. What a response
sees, and at which positions, is what it sees in a row of its own; a prompt as long as its responses saves a third of
the work. Pairs of about the same length go through together, so that little is spent on padding. It takes a model that
heeds a mask of its own making: `model.share_prompts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lightning_moa.batches import PairBatch
from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.logprobs import response_logps
from lightning_moa.policies.steering import of_rows

CPU_TOKENS, OTHER_TOKENS = 640, 16384
"""How many tokens go through at a time, padding included: enough to keep a core busy, or another device."""
SHARING = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gpt_neox", "opt")
"""transformers' model types for which a shared prompt was seen to give the numbers of two rows."""


def share_prompts(policy: Policy) -> None:
    """Let a policy's model, and all policies that are made on it, see the prompts of pairs once.

    Raises:
        UserError: a model of a kind that this is not known to hold for.
    """
    config = policy.model.config
    if config.model_type not in SHARING:
        raise UserError(
            f"model.share_prompts: not known to hold for a {config.model_type}; allowed are {', '.join(SHARING)}"
        )
    policy.model.shares_prompts = True  # type: ignore[assignment]


def pair_logps(policy: Policy, batch: PairBatch, preference: Tensor | None = None) -> Tensor:
    """log pi(y | x) of both responses of each pair, the sum over the response's tokens, in float32.

    Args:
        policy: any policy.
        batch: pairs, padded on the right; or n times the same ones, one after the other.
        preference: (m,), or one per pair, (batch, m).

    Returns:
        (2 * batch,), responses 0 first.

    Raises:
        UserError: as `response_logps`.
    """
    if _can_share(policy, batch.input_ids.shape[1]):
        return _shared(policy, batch, preference)
    rows = preference if preference is None or preference.ndim == 1 else torch.cat([preference, preference])
    return response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, rows)


def _can_share(policy: Policy, time: int) -> bool:
    """Not where the policy's own `run` reads its mask, nor where a layer sees a window that is shorter than a row."""
    window = getattr(policy.model.config, "sliding_window", None)
    asked = getattr(policy.model, "shares_prompts", False)
    return asked and policy.decodes_by_model and (window is None or time <= window)


def _shared(policy: Policy, batch: PairBatch, preference: Tensor | None) -> Tensor:
    prompts, first, second = _pieces(batch)
    lengths = prompts.mask.sum(1) + first.mask.sum(1) + second.mask.sum(1)
    order = lengths.argsort(stable=True)
    own = order.new_empty(len(order)).scatter(0, order, torch.arange(len(order), device=order.device))
    found = []
    for rows in _groups(lengths[order].tolist(), order):
        pieces = [piece.at(rows) for piece in (prompts, first, second)]
        found.append(_of_rows(policy, pieces, of_rows(preference, rows)))
    return torch.cat([torch.cat(side)[own] for side in zip(*found, strict=True)])


def _groups(lengths: list[int], order: Tensor) -> list[Tensor]:
    """Places of pairs of about the same length, which are padded little beside each other; `lengths` ascend."""
    cuts, most = [0], CPU_TOKENS if order.device.type == "cpu" else OTHER_TOKENS
    for place, length in enumerate(lengths):
        if place > cuts[-1] and (place + 1 - cuts[-1]) * length > most:
            cuts.append(place)
    return list(order.tensor_split(cuts[1:]))


def _of_rows(policy: Policy, pieces: list[_Piece], preference: Tensor | None) -> tuple[Tensor, Tensor]:
    """(rows,) log-probs of the first responses, and of the second ones."""
    both = [torch.cat([getattr(piece, name) for piece in pieces], dim=1) for name in ("ids", "mask")]
    # 0 for the prompt, 1 and 2 for the responses: each token sees the prompt and its own response, up to itself.
    parts = torch.cat([torch.full_like(piece.ids, i) for i, piece in enumerate(pieces)], dim=1)
    place = [piece.mask.long().cumsum(1) - 1 for piece in pieces]
    length, first, second = (piece.mask.sum(1, keepdim=True) for piece in pieces)
    places = torch.cat([place[0], place[1] + length, place[2] + length], dim=1)
    # All that is there, in order, at the right end of each row.
    width = int((length + first + second).max())
    moved = (both[1].long()).argsort(dim=1, stable=True)[:, -width:]
    ids, there, part, positions = (each.gather(1, moved) for each in (*both, parts, places))
    time = torch.arange(width, device=ids.device)
    seen = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])
    # Padding sees itself, so that no row of the mask is empty.
    seen = (seen & (time[None, :] <= time[:, None]) & there[:, None, :]) | (time[None, :] == time[:, None])
    kept = int((first + second).max()) + 1
    dtype = policy.model.dtype
    mask = torch.zeros(seen.shape, dtype=dtype, device=ids.device).masked_fill(~seen, torch.finfo(dtype).min)
    part, tokens = (part * there)[:, -kept:], ids[:, -kept:]
    # What stands before a token predicts it; before a second response's first stands the prompt's last.
    before = torch.arange(kept, device=ids.device).expand(len(ids), -1) - 1
    before = torch.where(before == kept - 1 - second, kept - 1 - first - second, before).clamp(min=0)
    row, column = part.nonzero(as_tuple=True)
    with policy.steered(preference, len(ids)), _logits_at(policy, row, before[row, column] - kept) as at:
        logits = at(policy.run(ids, mask[:, None], kept, position_ids=positions.clamp(min=0)).logits)
    found = logits.float().log_softmax(-1).gather(1, tokens[row, column][:, None])[:, 0]
    logps = found.new_zeros(part.shape).index_put((row, column), found)
    return logps.masked_fill(part != 1, 0.0).sum(1), logps.masked_fill(part != 2, 0.0).sum(1)


@contextmanager
def _logits_at(policy: Policy, row: Tensor, place: Tensor) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, a model's logits become those of n places alone, (n, vocabulary), by the function that is given.

    A plain output head is asked for nothing else: what it sees lies side by side, and without padding. Of a slice of
    its input torch would make a copy of its weights for each row.

    Args:
        policy: whose model is run.
        row, place: (n,), the latter from the end, below 0.
    """
    head = policy.model.get_output_embeddings()
    if type(head) is not nn.Linear:
        yield lambda logits: logits[row, place]
        return
    handle = head.register_forward_pre_hook(lambda _, given: (given[0][row, place],))
    try:
        yield lambda logits: logits
    finally:
        handle.remove()


class _Piece:
    """Token ids and their mask, (batch, time) each."""

    def __init__(self, ids: Tensor, mask: Tensor) -> None:
        self.ids, self.mask = ids, mask

    def at(self, rows: Tensor) -> _Piece:
        """Of some of the pairs."""
        return _Piece(self.ids[rows], self.mask[rows])


def _pieces(batch: PairBatch) -> tuple[_Piece, _Piece, _Piece]:
    """Prompts padded on the left, and both responses on the right."""
    in_prompt = batch.attention_mask.bool() & ~batch.response_mask
    rows = len(batch.input_ids) // 2
    if not torch.equal(in_prompt[:rows].sum(1), in_prompt[rows:].sum(1)):
        raise UserError("the prompts of a pair's two rows differ in length: they cannot be shared")
    prompts = _gathered(batch.input_ids[:rows], in_prompt[:rows], left=True)
    sides = batch.input_ids.chunk(2), batch.response_mask.chunk(2)
    first, second = (_gathered(ids, mask, left=False) for ids, mask in zip(*sides, strict=True))
    return prompts, first, second


def _gathered(ids: Tensor, mask: Tensor, *, left: bool) -> _Piece:
    """The marked tokens of each row, in order, beside each other, with padding on one side."""
    lengths = mask.sum(1)
    width = int(lengths.max())
    # A stable sort of the mask brings the marked tokens together without changing their order.
    order = (mask if left else ~mask).long().argsort(dim=1, stable=True)
    order = order[:, -width:] if left else order[:, :width]
    place = torch.arange(width, device=ids.device)
    there = place >= width - lengths[:, None] if left else place < lengths[:, None]
    return _Piece(ids.gather(1, order), there)
