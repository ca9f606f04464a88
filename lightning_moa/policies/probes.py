"""Which tensors of a policy a gradient-based aggregator looks at."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy

PROBES = ("last_layer", "all", "activations")

_BLOCK = re.compile(r"^.*?\.(?:layers|h)\.(\d+)\.")
_BEFORE_BLOCKS = re.compile(r"\b(embed\w*|wte|wpe|project_in)\b")
"""Embeddings and OPT's projection of them, by their names in transformers' models."""


class Probe:
    """Gives the tensors that the objectives' gradients are taken of. The choice changes the algorithm.

    'last_layer', as in GAPO's paper: the trained parameters of the last transformer block and of what comes after it
    (which layer the paper means isn't known to us). A gradient of them goes back through one block alone.
    'all': every trained parameter. 'activations': the last hidden states, which go into the output head, of the
    batch that the losses are of; an upper bound in Sener and Koltun (2018), and no parameter at all.

    Args:
        policy: whose tensors.
        kind: one of the three.
    """

    def __init__(self, policy: Policy, kind: str) -> None:
        if kind not in PROBES:
            raise UserError(f"probe={kind}: allowed are {', '.join(PROBES)}")
        self.policy = policy
        self.kind = kind
        self._seen: Tensor | None = None
        if kind == "activations":
            head = policy.model.get_output_embeddings()
            head.register_forward_pre_hook(self._see)

    def tensors(self) -> list[Tensor]:
        """The tensors; activations are those of the last forward pass with gradient, given out once.

        Raises:
            UserError: there was no such pass.
        """
        if self.kind == "all":
            return list(self.policy.trainable_parameters())
        if self.kind == "last_layer":
            return list(last_layer(self.policy))
        if self._seen is None:
            raise UserError(
                "probe=activations: no forward pass with gradient has gone through the output head"
            )
        seen, self._seen = self._seen, None
        return [seen]

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the model has its hook copied; activations are part of a graph, which can't be.
        return {**self.__dict__, "_seen": None}

    def _see(self, head: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].requires_grad:
            self._seen = inputs[0]


def last_layer(policy: Policy) -> list[nn.Parameter]:
    """The trained parameters from the last transformer block that has some on, in the model's order.

    What comes after the blocks (a final norm, the output head) belongs to it; where no block has a trained parameter,
    it is all there is.

    Raises:
        UserError: the policy has no trained parameters within its model.
    """
    trained = [(name, each) for name, each in policy.model.named_parameters() if each.requires_grad]
    if not trained:
        raise UserError(
            "probe=last_layer: no trained parameter of the policy lies within its model; allowed are all, activations"
        )
    blocks = {name: int(found.group(1)) for name, _ in trained if (found := _BLOCK.match(name))}
    last = max(blocks.values(), default=-1)
    head = {id(each) for each in policy.model.get_output_embeddings().parameters()}
    return [
        each
        for name, each in trained
        # A head may share its weight with the token embedding.
        if blocks.get(name, last) == last and (id(each) in head or not _BEFORE_BLOCKS.search(name))
    ]
