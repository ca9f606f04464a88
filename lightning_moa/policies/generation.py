"""Sampling responses whose noise does not depend on the batch they are sampled in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.noise import gumbel
from lightning_moa.policies.steering import of_rows
from lightning_moa.policies.vocabulary import ends_of, setting

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEAST_TEMPERATURE = 1e-6
"""Logits divided by less may be infinite."""


@dataclass
class Responses:
    """Sampled responses, padded on the right to the longest that was allowed."""

    tokens: Tensor
    """(batch, max_new_tokens) token ids; PAD (EOS where the model has no PAD) after the end."""
    mask: Tensor
    """(batch, max_new_tokens) bool, True on the response's tokens, the closing EOS included."""
    logps: Tensor | None = None
    """(batch,) log-probability that each was drawn with, where `temperature` or `top_p` make it another than the
    policy's own; else None."""

    def ended(self, ends: list[int]) -> Tensor:
        """(batch,) bool, whether a response's last token is one of these, rather than the last that was allowed."""
        last = self.mask.sum(1).clamp(min=1) - 1
        return torch.isin(self.tokens.gather(1, last[:, None])[:, 0], self.tokens.new_tensor(ends))


def generate(
    policy: Policy,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    max_new_tokens: int,
    preference: Tensor | None = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    row_keys: Tensor | None = None,
    synced_gpus: bool = False,
    room: Tensor | None = None,
) -> Responses:
    """Sample a response to each prompt.

    The noise of a row is a function of (seed, its key, the step): rows with equal keys share it, and a row
    gets the same response (up to rounding of the logits) alone and in any batch. No token is left out, PAD neither:
    log-probs count every token, and the probability of one that never came could grow unseen, which would let PPO
    drive its KL term below 0. A response ends at its first EOS and nowhere else. The model is in evaluation mode
    meanwhile; generation settings that came with it are left aside.

    Args:
        policy: any policy; inside `policy.reference()` its reference is sampled.
        input_ids: (batch, time) prompts, padded on the left.
        attention_mask: (batch, time), nonzero on tokens.
        max_new_tokens: longest response, EOS included.
        preference: (m,) or (batch, m), as `Policy.forward` takes it.
        temperature: divides the logits; 0 takes the most likely token.
        top_p: samples from the smallest set of tokens whose probability reaches it.
        seed: of the noise.
        row_keys: (batch,) int64, what a row's noise hangs on (such as the prompt's index, so that all
            preferences of a prompt share it); None takes the row's position.
        synced_gpus: keep stepping until all processes are done, as weights partitioned among them need.
        room: (batch,) int64, longest response to each prompt, where that is less than `max_new_tokens`; None: it isn't.

    Raises:
        UserError: a prompt padded on the right, a value out of range, or as for `Policy.forward`.
    """
    limits = torch.full((len(input_ids),), max_new_tokens, device=input_ids.device)
    if room is not None:
        limits = torch.minimum(limits, room.to(limits))
    steps = int(limits.max())
    keys = torch.arange(len(input_ids)) if row_keys is None else row_keys
    if not synced_gpus and _too_long_together(policy.model, attention_mask, limits):
        words = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        return _apart(policy, input_ids, attention_mask, preference, limits, keys, words)
    _check(policy.model, input_ids, attention_mask, int(limits.min()), steps, temperature, top_p)
    eos, pad = ends_of(policy.model), setting(policy.model, "pad_token_id")
    fill = pad if pad is not None else (eos[0] if eos else 0)
    if tuple(keys.shape) != (len(input_ids),) or keys.dtype != torch.int64:
        raise UserError(
            f"row_keys {tuple(keys.shape)} of {keys.dtype}: int64 of shape ({len(input_ids)},) is needed"
        )
    width = input_ids.shape[1]
    pick = _Pick(width, temperature, top_p, seed, keys.to(input_ids.device))
    with torch.no_grad(), evaluating(policy), policy.steered(preference, len(input_ids)), policy.held():
        if policy.decodes_by_model:
            whole = _decode(policy.model, input_ids, attention_mask, limits, eos, fill, pick, synced_gpus)
        else:
            # Processes that step together take equally many steps, whatever their own prompts leave.
            together = max_new_tokens if synced_gpus else None
            asked = (input_ids, attention_mask, preference, limits)
            whole = _decode_by_forward(policy, *asked, eos, fill, pick, together)
        tokens = whole[:, width:]
    responses = _finish(tokens, max_new_tokens, limits, eos, fill)
    if pick.logps:
        drawn = torch.stack(pick.logps, dim=1)
        responses.logps = drawn.masked_fill(~responses.mask[:, : drawn.shape[1]], 0).sum(1)
    return responses


def _too_long_together(model: PreTrainedModel, attention_mask: Tensor, limits: Tensor) -> bool:
    """Whether some row's limit is more than another's prompt leaves of the model's positions: rows that have ended
    go on stepping with those that have not."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or len(limits.unique()) == 1:
        return False
    return int(attention_mask.bool().sum(-1).max()) + int(limits.max()) > positions


def _apart(
    policy: Policy,
    input_ids: Tensor,
    attention_mask: Tensor,
    preference: Tensor | None,
    limits: Tensor,
    keys: Tensor,
    words: dict[str, Any],
) -> Responses:
    """Rows of each limit by themselves; their noise is their keys', so their responses are those of one batch."""
    parts = []
    for limit in limits.unique():
        rows = (limits == limit).nonzero()[:, 0]
        own = of_rows(preference, rows)
        asked = (input_ids[rows], attention_mask[rows])
        room, mine = limits[rows], keys[rows.to(keys.device)]
        parts.append((rows, generate(policy, *asked, preference=own, row_keys=mine, room=room, **words)))
    order = torch.cat([rows for rows, _ in parts]).argsort()
    tokens, mask = (
        torch.cat([getattr(part, name) for _, part in parts])[order] for name in ("tokens", "mask")
    )
    logps = [part.logps for _, part in parts if part.logps is not None]
    return Responses(tokens, mask, torch.cat(logps)[order] if logps else None)


class _Pick:
    """A transformers logits processor whose arg max is a sample: log p + Gumbel noise (the Gumbel-max
    trick)."""

    def __init__(self, width: int, temperature: float, top_p: float, seed: int, keys: Tensor) -> None:
        from transformers import TopPLogitsWarper

        self.width = width
        self.temperature = temperature
        self.nucleus = TopPLogitsWarper(top_p) if top_p < 1 else None
        self.seed = seed
        self.logps: list[Tensor] | None = None if temperature == 1 and top_p == 1 else []
        # A grid of preferences asks for the noise of each prompt many times.
        self.keys, self.row = keys.unique(return_inverse=True)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self.temperature == 0:
            self._note(scores.new_zeros(len(scores)))
            return scores
        scores = scores / self.temperature
        if self.nucleus is not None:
            scores = self.nucleus(input_ids, scores)
        noise = gumbel(self.seed, self.keys, input_ids.shape[1] - self.width, scores.shape[1])
        noisy = scores + noise[self.row]
        if self.logps is not None:
            self._note(scores.log_softmax(-1).gather(1, noisy.argmax(-1, keepdim=True))[:, 0])
        return noisy

    def _note(self, logps: Tensor) -> None:
        if self.logps is not None:
            self.logps.append(logps)


class _Full:
    """A transformers stopping criterion: responses, `width` columns behind, that have reached their limits (batch,)."""

    def __init__(self, width: int, limits: Tensor) -> None:
        self.width = width
        self.limits = limits

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        return input_ids.shape[1] - self.width >= self.limits


def _decode(
    model: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    limits: Tensor,
    eos: list[int],
    fill: int,
    pick: _Pick,
    synced_gpus: bool,
) -> Tensor:
    """(batch, time + new) token ids by transformers' own loop and key-value cache."""
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    config = GenerationConfig(
        do_sample=False,
        use_cache=True,
        max_new_tokens=int(limits.max()),
        eos_token_id=eos or None,
        pad_token_id=fill,
    )
    former, model.generation_config = model.generation_config, GenerationConfig()
    try:
        out: Tensor = model.generate(  # type: ignore[operator]
            inputs=input_ids,
            attention_mask=attention_mask.long(),
            generation_config=config,
            logits_processor=LogitsProcessorList([pick]),
            stopping_criteria=StoppingCriteriaList([_Full(input_ids.shape[1], limits)]),
            synced_gpus=synced_gpus,
        )
    finally:
        model.generation_config = former
    return out


def _decode_by_forward(
    policy: Policy,
    input_ids: Tensor,
    attention_mask: Tensor,
    preference: Tensor | None,
    limits: Tensor,
    eos: list[int],
    fill: int,
    pick: _Pick,
    steps: int | None,
) -> Tensor:
    """The same for a policy whose logits are not its model's: a whole forward pass for each token, without a cache; so
    many of them as `steps` says, though all be done."""
    ids, mask = input_ids, attention_mask.bool()
    ends = torch.tensor(eos, dtype=ids.dtype, device=ids.device)
    done = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for step in range(1, (steps or int(limits.max())) + 1):
        logits = policy(ids, mask, preference, last=1)[:, -1].to(torch.float32)
        chosen = pick(ids, logits).argmax(-1).masked_fill(done, fill)
        ids = torch.cat([ids, chosen[:, None].to(ids)], dim=1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        done |= torch.isin(chosen, ends) | (step >= limits)
        if bool(done.all()) and steps is None:
            break
    return ids


def _finish(tokens: Tensor, max_new_tokens: int, limits: Tensor, eos: list[int], fill: int) -> Responses:
    """Mask everything after the first EOS, or beyond a limit, and pad to the full width."""
    is_eos = torch.isin(tokens, torch.tensor(eos, dtype=tokens.dtype, device=tokens.device))
    mask = (is_eos.long().cumsum(-1) - is_eos.long()) == 0
    mask &= torch.arange(tokens.shape[1], device=tokens.device) < limits[:, None]
    room = (0, max_new_tokens - tokens.shape[1])
    tokens = nn.functional.pad(tokens.masked_fill(~mask, fill), room, value=fill)
    return Responses(tokens, nn.functional.pad(mask, room, value=False))


@contextmanager
def evaluating(policy: Policy) -> Iterator[None]:
    """Evaluation mode inside the block; each module's own mode after it."""
    modes = [(module, module.training) for module in policy.modules()]
    policy.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def check_decoding(max_new_tokens: int, temperature: float, top_p: float) -> None:
    """Raise `UserError` where a value is out of range."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens={max_new_tokens}: must be at least 1, for each prompt")
    if not (temperature == 0 or temperature >= LEAST_TEMPERATURE):
        raise UserError(
            f"temperature={temperature}: must be 0 (the most likely token), or at least {LEAST_TEMPERATURE:g}"
        )
    if not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p}: must be above 0 and at most 1")


def _check(
    model: PreTrainedModel,
    input_ids: Tensor,
    mask: Tensor,
    shortest: int,
    steps: int,
    temperature: float,
    top_p: float,
) -> None:
    if mask.shape != input_ids.shape:
        raise UserError(
            f"attention_mask {tuple(mask.shape)} and input_ids {tuple(input_ids.shape)} must have one shape"
        )
    if not bool(mask[:, -1].bool().all()):
        raise UserError("prompts to sample from must be padded on the left: attention_mask ends in 0")
    check_decoding(shortest, temperature, top_p)
    positions = getattr(model.config, "max_position_embeddings", None)
    longest = int(mask.bool().sum(-1).max()) + steps
    if positions is not None and longest > positions:
        raise UserError(
            f"a prompt and {steps} new tokens take {longest} positions; the model has {positions}"
        )
