"""Every policy with every objective and every aggregation that has a name: which method a combination is, and whether a
study can be planned of it."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product as combinations

from lightning_moa.aggregation.names import AGGREGATIONS
from lightning_moa.answers import load, use
from lightning_moa.config import StudyConfig
from lightning_moa.deployments import Alone, EachHead, InPrompt, Nearest, Steered, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.pareto import preference_grid
from lightning_moa.policies.names import POLICIES
from lightning_moa.study.planning import objectives_of, plan_study

AXES = {"policy": POLICIES, "objective": OBJECTIVES, "aggregation": AGGREGATIONS}
"""The rooms' tables of names, so that a new answer is in the grid by itself."""


@dataclass(frozen=True)
class Cell:
    """One answer of each room, by its short name."""

    policy: str
    objective: str
    aggregation: str

    @property
    def name(self) -> str:
        """Of the method in a study."""
        return f"{self.policy}_{self.objective}_{self.aggregation}"

    @property
    def outline(self) -> Product:
        """The three answers, which bring the sections of a configuration; how they are used is not asked. Light."""
        return Product("dps", self.policy, self.objective, self.aggregation, TrainedOn.centre(), Alone())

    def method(self, m: int, step: float) -> Product:
        """The method that the answers make, by what they say of themselves, for m objectives.

        Each objective has a loss of its own where its settings allow that, so that the aggregation is what acts. Of
        policies that may be several at once there is one, unless the aggregation is of several. Then: where the
        preference stands in the prompts, or steers the policy, one policy is trained for drawn preferences and asked
        for all of the grid, whose spacing is `step`; where the aggregation alone hears it, a policy is trained for each
        preference of the grid without a zero; where nothing does, one is.

        Raises:
            UserError: answers that cannot be used so.
        """
        policy, objective, aggregation = (
            load(table[getattr(self, kind)].path, kind) for kind, table in AXES.items()
        )
        several = getattr(aggregation, "of_several", False)
        one = {policy.linear_in[1]: 1} if policy.may_be_several and not several else {}
        answers = (use(self.policy, **one), use(self.objective, **objective.keeps_apart), self.aggregation)
        drawn, own = TrainedOn.sampled(), TrainedOn.interior()
        if objective.in_prompt:
            return Product("ric", *answers, drawn, InPrompt(preference_grid(m, step).tolist()))
        if several:
            return Product("ham", *answers, drawn, EachHead())
        if policy.is_steered(one):
            return Product("panacea", *answers, drawn, Steered())
        if getattr(aggregation, "looks_at_preference", True):
            return Product("dps", *answers, own, Nearest())
        return Product("dps", *answers, TrainedOn.centre(), Alone())


def cells(
    policies: Sequence[str] = (), objectives: Sequence[str] = (), aggregations: Sequence[str] = ()
) -> list[Cell]:
    """The grid of these answers; of a room that none is named of, all.

    Raises:
        UserError: no such answer.
    """
    asked = {"policies": policies, "learned_by": objectives, "aggregations": aggregations}
    for (key, names), table in zip(asked.items(), AXES.values(), strict=True):
        for name in names:
            if name not in table:
                raise UserError(f"{key}={name}: allowed are {', '.join(table)}")
    chosen = [
        dict.fromkeys(names or table) for names, table in zip(asked.values(), AXES.values(), strict=True)
    ]
    return [Cell(*each) for each in combinations(*chosen)]


def planned(config: StudyConfig, grid: Sequence[Cell]) -> tuple[dict[Cell, Product], dict[Cell, str]]:
    """The cells that a study can be planned of, with their methods; and why of the others none can.

    Raises:
        UserError: settings that no study at all can be planned with.
    """
    own = replace(deepcopy(config), methods={})
    plan_study(own, {})
    m, methods, refused = len(objectives_of(own)), {}, {}
    for cell in grid:
        mine = only(config, [cell])
        try:
            product = cell.method(m, config.evaluation.grid_step)
            plan_study(mine, {cell.name: product})
        except UserError as error:
            refused[cell] = str(error).removeprefix(f"methods: {cell.name}: ")
        else:
            methods[cell] = product
    return methods, refused


def only(config: StudyConfig, grid: Sequence[Cell]) -> StudyConfig:
    """The configuration of a study of these cells."""
    own = deepcopy(config)
    own.methods = {cell.name: own.methods[cell.name] for cell in grid if cell.name in own.methods}
    return own
