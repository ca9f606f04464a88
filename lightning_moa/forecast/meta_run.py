"""A run as its answers are built from it, where there is nothing yet: no files, no tokenizer, and no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightning_moa.answers import load
from lightning_moa.errors import UserError
from lightning_moa.objectives import Objective
from lightning_moa.objectives.base import OptimiserFactory
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy
from lightning_moa.rewards import RuleRewards
from lightning_moa.runs.context import Answers, Context

Spec = dict[str, Any]


@dataclass(frozen=True)
class MetaRun(Context):
    """What a policy and an objective are built from (`policies.files.PolicyRun`, `objectives.base.Run`)."""

    @staticmethod
    def of(spec: Spec, policy: Policy) -> MetaRun:
        """Of an `align` task's spec, as it is or what of it says how large a policy is.

        Args:
            spec: the task's.
            policy: on the meta device: the run's own, or the base before that is built.
        """
        objective = load(spec["objective"], "objective") if "objective" in spec else Objective
        no_method: Any = None
        answers = Answers(no_method, load(spec["policy"], "policy"), objective, None)
        data: Any = SimpleNamespace(
            config=SimpleNamespace(**spec["data"]), objectives=tuple(spec["objectives"])
        )
        return MetaRun(spec, {}, answers, data, None, policy, steps=1)

    def folder(self, role: str) -> Path:
        raise UserError(
            f"{self.answers.objective.__name__}: it is built from what {role!r} has left, which isn't there yet; for a "
            "forecast it needs a classmethod example(run, rows) that does without"
        )

    def rewards(self, batch_size: int) -> Any:
        """The objectives' names; nothing is scored."""
        return RuleRewards(dict.fromkeys(self.objectives, _no_scores))

    def optimiser(self, settings: OptimiserConfig, updates: int) -> OptimiserFactory:
        return _no_optimiser


def _no_optimiser(parameters: Any) -> Any:
    return None


def _no_scores(prompts: Sequence[str], responses: Sequence[str]) -> Any:
    return None


def own_sections(spec: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """Those sections of a spec that an answer reads."""
    given = spec["sections"]
    return {name: given[name] for name in answer.sections if name in given}
