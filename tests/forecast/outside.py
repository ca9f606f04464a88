"""Answers from outside that say nothing of their cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_moa.deployments import Deployed, Deployment
from lightning_moa.fields import option
from lightning_moa.objectives.base import Objective, labelled_mean, per_example
from lightning_moa.objectives.costs import full_sequences, longest, weightless
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy, response_logps


@dataclass
class SquaredConfig(OptimiserConfig):
    """Squares of margins."""

    margin: float = option(1.0, "what it should be", above=0)


class Squared(Objective):
    """On pairs, with a bias of its own for each objective."""

    sections: ClassVar = {"squared": SquaredConfig}
    needs = ("reference",)

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin
        self.bias = nn.Parameter(torch.zeros(3))

    def losses(self, policy: Policy, batch: Any, preference: Tensor | None) -> Tensor:
        rows = per_example(preference, len(batch.labels))
        logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, rows)
        first, second = (logps - batch.ref_logps).chunk(2)
        values = ((second - first)[:, None] - self.margin) ** 2 + batch.labels.nan_to_num(0.0)
        return labelled_mean(values, ~batch.labels.isnan(), preference)

    def own_loss(self, part: Any) -> Tensor:
        return self.bias.square().sum()


class Planned(Squared):
    """With a task of its own before the training."""

    @classmethod
    def tasks(cls, plan: Any) -> dict[str, Any]:
        own = plan.task("own rows", f"{__name__}:nothing", {}, {}, cost=1)
        return {**super().tasks(plan), "own": own}


def nothing(spec: Any, inputs: Any, out: Any, progress: Any) -> None:
    """What a task of one's own does."""


class FromRows(Squared):
    """Built from what a task leaves."""

    @classmethod
    def build(cls, run: Any) -> FromRows:
        return cls(float((run.folder("rows") / "margin.txt").read_text()))


class Broken(Squared):
    """Asks for numbers that no shape has."""

    def losses(self, policy: Policy, batch: Any, preference: Tensor | None) -> Tensor:
        raise RuntimeError("no numbers here\nnone at all")


class Online(Objective):
    """Makes itself what it is trained on, and does not say how."""

    sections: ClassVar = {"squared": SquaredConfig}
    view = "prompts"

    def losses(self, policy: Policy, batch: Any, preference: Tensor | None) -> Tensor:
        texts, hidden = batch
        logps = response_logps(policy, texts.input_ids, texts.attention_mask, texts.response_mask, preference)
        return logps.mean() * hidden.mean() * torch.ones(2)


class OnlineShown(Online):
    """The same with an example: eight numbers a row are kept."""

    @classmethod
    def example(cls, run: Any, rows: int) -> tuple[Any, Any]:
        kept = torch.zeros(rows, 8, device="meta")
        return weightless(cls()), (full_sequences(rows, run.data.config), kept)

    @classmethod
    def phases(cls, run: Any, memory: Any) -> dict[str, dict[str, float]]:
        prompt = longest(run)[1]
        return {"sampling": {"activations": memory.sampling(prompt, 1.0), "rollout": memory.kept}}


@dataclass
class ShiftConfig:
    """Shifts of the logits."""

    parts: int = option(2, "how many, which are added up", at_least=1)


class Shift(Policy):
    """The preference shifts the logits, by a number of maps that are added up."""

    sections: ClassVar = {"shift": ShiftConfig}

    def __init__(self, model: Any, m: int, parts: int) -> None:
        super().__init__(model.requires_grad_(False))
        self.m = m
        maps = (nn.Linear(m, model.config.vocab_size, bias=False) for _ in range(parts))
        self.maps = nn.ModuleList(maps)

    def options(self) -> dict[str, Any]:
        return {"m": self.m, "parts": len(self.maps)}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, preference: Tensor | None = None, *, last: int = 0
    ) -> Tensor:
        logits = super().forward(input_ids, attention_mask, last=last)
        for each in self.maps:
            # Squared, so that each keeps logits of its own for the backward pass.
            logits = logits + (logits * each(preference)).square()
        return logits


class LinearShift(Shift):
    """It says that its memory is a straight line in the number of maps."""

    linear_in = ("shift", "parts")


@dataclass(frozen=True)
class Each(Deployment):
    """Each policy by itself."""

    def policies(self, trained: Any) -> Iterator[Deployed]:
        for place in range(len(trained.folders)):
            policy = trained.load(place)
            yield Deployed(str(place), policy)
            policy.unload()


@dataclass(frozen=True)
class EachUnpaired(Each):
    """Of which no accuracies on pairs are asked."""

    on_pairs = False
