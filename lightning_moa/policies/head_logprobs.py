"""Log-probabilities under several heads from one pass of their backbone, in the memory of one head.

Logits of a vocabulary are what takes memory: (tokens, vocabulary) for each head, several times over in a backward pass.
Here they are formed for a few tokens and one head at a time, in the forward pass and again in the backward pass,
and no two blocks of them exist at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_moa.errors import UserError
from lightning_moa.policies.head_bank import Head, Terms
from lightning_moa.policies.heads import Heads

CHUNK = 128
"""Tokens whose logits exist at once: 25 MiB in float32 with a vocabulary of 50,000."""


def head_token_logps(
    policy: Heads, input_ids: Tensor, attention_mask: Tensor, response_mask: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """log pi_k(token t | tokens before t) under each head k; arguments and errors as for `head_logps`.

    Returns:
        (K, batch, time); 0 off the response.
    """
    if bool(response_mask[:, 0].any()):
        raise UserError(
            "response_mask marks position 0: the first token of a sequence has nothing to be predicted from"
        )
    if chunk < 1:
        raise UserError(f"chunk={chunk}: must be at least 1 token")
    hidden = policy.hidden(input_ids, attention_mask)
    predicted = response_mask[:, 1:].bool()
    states = hidden[:, :-1][predicted]
    kind = states.device.type
    if torch.is_autocast_enabled(kind):
        states = states.to(torch.get_autocast_dtype(kind))
    targets = input_ids[:, 1:][predicted]
    room = Room(min(chunk, len(states)))

    def of_all(heads: Sequence[Head]) -> Tensor:
        return torch.stack([target_logps(states, targets, head.terms(states), room) for head in heads])

    logps = policy.bank(states, of_all)
    room.clear()
    out = logps.new_zeros(len(logps), *predicted.shape)
    out[:, predicted] = logps
    return F.pad(out, (1, 0))


def head_logps(
    policy: Heads, input_ids: Tensor, attention_mask: Tensor, response_mask: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """log pi_k(y | x) under each head k, the sum over the response's tokens, in float32 (float64 of a float64 policy).

    The backward pass takes no time for a head whose gradient is 0, such as that of a dominated policy.

    Args:
        policy: K heads.
        input_ids: (batch, time) prompt and response, padded on either side.
        attention_mask: (batch, time), nonzero on tokens.
        response_mask: (batch, time) bool, True on the response's tokens at their own position, EOS included.
        chunk: tokens whose logits exist at once; more are faster and take more memory.

    Returns:
        (K, batch), at most 0; 0 for a row without response tokens.

    Raises:
        UserError: a response token at position 0, which has no probability; or as for `Heads.hidden`.
    """
    return head_token_logps(policy, input_ids, attention_mask, response_mask, chunk=chunk).sum(-1)


def target_logps(hidden: Tensor, targets: Tensor, terms: Terms, room: Room) -> Tensor:
    """(tokens,) log-softmax of a head's logits at the targets, in float32 at least.

    Args:
        hidden: (tokens, d), in the type that the logits are to be computed in.
        targets: (tokens,) token ids.
        terms: what the head makes of `hidden`.
        room: where the logits stand.
    """
    logps: Tensor = _TargetLogps.apply(hidden, targets, *terms, room)
    return logps


class Room:
    """Where a few tokens' logits stand, one block after the other of all heads.

    Blocks allocated anew would each leave a hole that the next just fails to fit, as small tensors are made
    between them: on the CPU, memory would grow with the number of heads after all.

    Args:
        tokens: of a block.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._blocks: dict[torch.dtype, Tensor] = {}

    def block(self, rows: int, like: Tensor, dtype: torch.dtype) -> Tensor:
        """(rows, len(like)) on like's device, to be overwritten; there is one of each type."""
        if dtype not in self._blocks:
            self._blocks[dtype] = like.new_empty(self.tokens, len(like), dtype=dtype)
        return self._blocks[dtype][:rows]

    def clear(self) -> None:
        """Give the memory back until it is needed again."""
        self._blocks.clear()


class _TargetLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        inner: Tensor | None,
        up: Tensor | None,
        room: Room,
    ) -> Tensor:
        logits = _Logits(hidden, weight, bias, inner, up, room)
        normaliser = torch.empty(len(hidden), dtype=logits.wide, device=hidden.device)
        logps = torch.empty_like(normaliser)
        for rows in logits.blocks():
            block = logits.of(rows)
            logps[rows] = block.gather(1, targets[rows, None])[:, 0]
            highest = block.amax(1, keepdim=True)
            normaliser[rows] = (block.sub_(highest).exp_().sum(1, keepdim=True).log() + highest)[:, 0]
        ctx.save_for_backward(hidden, targets, weight, bias, inner, up, normaliser)
        ctx.room = room
        return logps - normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, targets, weight, bias, inner, up, normaliser = ctx.saved_tensors
        needed = ctx.needs_input_grad[:6]
        wanted = [
            torch.zeros_like(tensor) if need and tensor is not None else None
            for tensor, need in zip((hidden, targets, weight, bias, inner, up), needed, strict=True)
        ]
        if bool(upstream.any()):
            logits = _Logits(hidden, weight, bias, inner, up, ctx.room)
            for rows in logits.blocks():
                # d log p(target) / d logits = (one at the target) - p
                slope = logits.of(rows).sub_(normaliser[rows, None]).exp_().neg_()
                slope.scatter_add_(1, targets[rows, None], torch.ones_like(slope[:, :1]))
                logits.pull(rows, slope.mul_(upstream[rows, None]), wanted)
        return (*wanted, None)


class _Logits:
    """One head's logits, block by block, and the way back from their gradient to what they are made of."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        inner: Tensor | None,
        up: Tensor | None,
        room: Room,
    ) -> None:
        self.hidden = hidden
        self.weight = weight.to(hidden.dtype)
        self.bias = None if bias is None else bias.to(hidden.dtype)
        self.inner = inner
        self.up = None if up is None or inner is None else up.to(inner.dtype)
        self.wide = torch.promote_types(hidden.dtype, torch.float32)
        self.room = room

    def blocks(self) -> list[slice]:
        """The tokens of each block."""
        step = self.room.tokens
        return [slice(start, start + step) for start in range(0, len(self.hidden), max(step, 1))]

    def of(self, rows: slice) -> Tensor:
        """(rows, vocabulary), in float32 at least; the caller's to overwrite, and gone with the next block."""
        hidden = self.hidden[rows]
        block = self.room.block(len(hidden), self.weight, hidden.dtype)
        torch.mm(hidden, self.weight.T, out=block)
        if self.bias is not None:
            block += self.bias
        block = self._as(block, self.wide)
        if self.inner is None or self.up is None:
            return block
        if self.up.dtype == self.wide:
            return block.addmm_(self.inner[rows], self.up.T)
        update = self.room.block(len(hidden), self.up, self.up.dtype)
        return block.add_(torch.mm(self.inner[rows], self.up.T, out=update))

    def pull(self, rows: slice, slope: Tensor, gradients: list[Tensor | None]) -> None:
        """Add what a block's gradient (rows, vocabulary) gives to those of hidden, -, weight, bias, inner, up."""
        hidden, _, weight, bias, inner, up = gradients
        narrow = self._as(slope, self.hidden.dtype)
        if hidden is not None:
            hidden[rows] = narrow @ self.weight
        if weight is not None:
            _accumulate(weight, narrow, self.hidden[rows])
        if bias is not None:
            bias += slope.sum(0).to(bias.dtype)
        if self.inner is None or self.up is None:
            return
        narrow = self._as(slope, self.up.dtype)
        if inner is not None:
            inner[rows] = narrow @ self.up
        if up is not None:
            _accumulate(up, narrow, self.inner[rows])

    def _as(self, block: Tensor, dtype: torch.dtype) -> Tensor:
        """The block itself, or its values in the block of another type."""
        if block.dtype == dtype:
            return block
        return self.room.block(len(block), self.weight, dtype).copy_(block)


def _accumulate(total: Tensor, slope: Tensor, factor: Tensor) -> None:
    """total += slope' factor, without a second matrix of total's size where the types allow it."""
    if total.dtype == slope.dtype:
        total.addmm_(slope.T, factor)
    else:
        total += slope.T @ factor
