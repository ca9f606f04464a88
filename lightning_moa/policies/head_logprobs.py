"""Log-probabilities under several heads from one pass of their backbone, in the memory of one head.

Logits of a vocabulary are what takes memory: (tokens, vocabulary) for each head, several times over in a backward pass.
Here they are formed for a few tokens and one head at a time, in the forward pass and again in the backward pass.
What low-rank heads share, the product with the model's own head, is formed once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        terms = [head.terms(states) for head in heads]
        # Full heads share nothing; low-rank ones the model's own head.
        together = [terms] if terms[0].up is not None else [[each] for each in terms]
        return torch.cat([target_logps(states, targets, each, room) for each in together])

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


def target_logps(hidden: Tensor, targets: Tensor, terms: Sequence[Terms], room: Room) -> Tensor:
    """(K, tokens) log-softmax of K heads' logits at the targets, in float32 at least.

    Args:
        hidden: (tokens, d), in the type that the logits are to be computed in.
        targets: (tokens,) token ids.
        terms: what each head makes of `hidden`; several are updates of one weight, whose product is formed once for
            all of them.
        room: where the logits stand.
    """
    weight, bias = terms[0].weight, terms[0].bias
    inners = [each.inner for each in terms if each.inner is not None]
    ups = [each.up for each in terms if each.up is not None]
    assert all(each.weight is weight for each in terms)
    assert len(terms) == max(len(ups), 1)
    assert len(inners) == len(ups)
    logps: Tensor = _TargetLogps.apply(hidden, targets, weight, bias, room, *inners, *ups)
    return logps


class Room:
    """Where a few tokens' logits stand, one block after the other of all heads.

    Blocks allocated anew would each leave a hole that the next just fails to fit, as small tensors are made
    between them: on the CPU, memory would grow with the number of heads after all.

    Args:
        tokens: whose logits exist at once.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._blocks: dict[tuple[str, torch.dtype], Tensor] = {}

    def rows(self, blocks: int) -> int:
        """Tokens of a block where so many of them are there at once."""
        return max(self.tokens // blocks, 1)

    def block(self, of: str, rows: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """(rows, width), to be overwritten; there is one of each name and type."""
        block = self._blocks.get((of, dtype))
        if block is None or len(block) < rows:
            block = self._blocks[of, dtype] = torch.empty(rows, width, dtype=dtype, device=device)
        return block[:rows]

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
        room: Room,
        *own: Tensor,
    ) -> Tensor:
        logits = _Logits(hidden, weight, bias, own, room)
        normaliser = torch.empty(logits.heads, len(hidden), dtype=logits.wide, device=hidden.device)
        logps = torch.empty_like(normaliser)
        for rows, k, block in logits.blocks(range(logits.heads), at_once=2):
            logps[k, rows] = block.gather(1, targets[rows, None])[:, 0]
            highest = block.amax(1, keepdim=True)
            normaliser[k, rows] = (block.sub_(highest).exp_().sum(1, keepdim=True).log() + highest)[:, 0]
        ctx.save_for_backward(hidden, targets, weight, bias, normaliser, *own)
        ctx.room = room
        return logps - normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, targets, weight, bias, normaliser, *own = ctx.saved_tensors
        tensors = (hidden, targets, weight, bias, None, *own)
        wanted = [
            torch.zeros_like(tensor) if need and tensor is not None else None
            for tensor, need in zip(tensors, ctx.needs_input_grad, strict=True)
        ]
        logits = _Logits(hidden, weight, bias, own, ctx.room)
        live = [k for k in range(logits.heads) if bool(upstream[k].any())]
        for rows, k, block in logits.blocks(live, at_once=3):
            # d log p(target) / d logits = (one at the target) - p
            slope = block.sub_(normaliser[k, rows, None]).exp_().neg_()
            slope.scatter_add_(1, targets[rows, None], torch.ones_like(slope[:, :1]))
            slope.mul_(upstream[k, rows, None])
            logits.pull_own(rows, k, slope, wanted[5:])
            summed = logits.summed(slope, first=k == live[0], alone=len(live) == 1)
            if k == live[-1]:
                logits.pull(rows, summed, wanted[0], wanted[2], wanted[3])
        return tuple(wanted)


class _Logits:
    """The logits of a head, or of several that are low-rank updates of one weight, block by block, and the way back
    from their gradients to what they are made of."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        own: Sequence[Tensor],
        room: Room,
    ) -> None:
        self.hidden = hidden
        self.weight = weight.to(hidden.dtype)
        self.bias = None if bias is None else bias.to(hidden.dtype)
        self.inners = own[: len(own) // 2]
        self.ups = [up.to(inner.dtype) for inner, up in zip(self.inners, own[len(own) // 2 :], strict=True)]
        self.heads = max(len(self.ups), 1)
        self.wide = torch.promote_types(hidden.dtype, torch.float32)
        self.room = room

    def blocks(self, heads: Sequence[int], at_once: int) -> Iterator[tuple[slice, int, Tensor]]:
        """Each block's tokens, a head, and its logits (rows, vocabulary), in float32 at least: the caller's to
        overwrite, and gone with the next. Of several heads, `at_once` blocks are there: of what they share, a head's,
        and the sum of their slopes."""
        step = self.room.rows(1 if self.heads == 1 else at_once)
        for start in range(0, len(self.hidden) if len(heads) else 0, step):
            rows = slice(start, start + step)
            shared = self._shared(rows)
            for k in heads:
                # The last may overwrite what all began with.
                block = shared if k == heads[-1] else self._block("own", shared, self.wide).copy_(shared)
                yield rows, k, self._plus_own(block, rows, k)

    def pull(
        self, rows: slice, slope: Tensor, hidden: Tensor | None, weight: Tensor | None, bias: Tensor | None
    ) -> None:
        """Add what a block's gradient (rows, vocabulary), summed over heads, gives to those of what they share."""
        narrow = self._as(slope, self.hidden.dtype)
        if hidden is not None:
            hidden[rows] = narrow @ self.weight
        if weight is not None:
            _accumulate(weight, narrow, self.hidden[rows])
        if bias is not None:
            bias += slope.sum(0).to(bias.dtype)

    def pull_own(self, rows: slice, k: int, slope: Tensor, own: Sequence[Tensor | None]) -> None:
        """Add what head k's gradient (rows, vocabulary) gives to those of all heads' inner, then all heads' up."""
        if not self.ups:
            return
        inner, up = own[k], own[self.heads + k]
        narrow = self._as(slope, self.inners[k].dtype)
        if inner is not None:
            inner[rows] = narrow @ self.ups[k]
        if up is not None:
            _accumulate(up, narrow, self.inners[k][rows])

    def summed(self, slope: Tensor, first: bool, alone: bool) -> Tensor:
        """The sum of a block's slopes so far; of one head alone its own."""
        if alone:
            return slope
        total = self._block("sum", slope, self.wide)
        return total.copy_(slope) if first else total.add_(slope)

    def _shared(self, rows: slice) -> Tensor:
        """(rows, vocabulary): hidden weight' + bias."""
        hidden = self.hidden[rows]
        block = self.room.block("shared", len(hidden), len(self.weight), hidden.dtype, hidden.device)
        torch.mm(hidden, self.weight.T, out=block)
        if self.bias is not None:
            block += self.bias
        return self._as(block, self.wide)

    def _plus_own(self, block: Tensor, rows: slice, k: int) -> Tensor:
        """The block itself, with inner up' of a low-rank head added."""
        if not self.ups:
            return block
        inner, up = self.inners[k][rows], self.ups[k]
        if inner.dtype == self.wide:
            return block.addmm_(inner, up.T)
        return block.add_(torch.mm(inner, up.T, out=self._block("update", block, inner.dtype)))

    def _as(self, block: Tensor, dtype: torch.dtype) -> Tensor:
        """The block itself, or its values in the block of another type."""
        return block if block.dtype == dtype else self._block("as", block, dtype).copy_(block)

    def _block(self, of: str, like: Tensor, dtype: torch.dtype) -> Tensor:
        return self.room.block(of, like.shape[0], like.shape[1], dtype, like.device)


def _accumulate(total: Tensor, slope: Tensor, factor: Tensor) -> None:
    """total += slope' factor, without a second matrix of total's size where the types allow it."""
    if total.dtype == slope.dtype:
        total.addmm_(slope.T, factor)
    else:
        total += slope.T @ factor
