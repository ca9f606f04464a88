"""Mean rewards on a grid of preferences, and what the front that they make is worth, while a policy is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd

from lightning_moa.callbacks.looks import Look, log_numbers
from lightning_moa.errors import UserError
from lightning_moa.pareto import hypervolume, preference_grid
from lightning_moa.rewards.base import Rewards, Rule


class GridRewards(Look):
    """Samples on a grid of preferences (or from each head) and logs, at each look:

    `grid/reward/<objective>`, the mean over the grid; `grid/best/<objective>`, the largest on it; `grid/hypervolume` of
    the points above `reference_point`; `grid/kl` from the reference, nats per response; `grid/length`, tokens; and
    `grid/regret`, J*(lambda) - J(lambda) with J = lambda . reward - beta KL, the mean over the grid, where the best
    policies are known (a synthetic world scored by its own rewards) and `beta` is given.

    `fronts` keeps every look: step, policy, lambda_<objective>, reward_<objective>, kl, length.

    Args:
        rewards, every, prompts, ...: see `Look`.
        grid_step: spacing of the grid, divides 1.
        reference_point: (m,), in units of the rewards; None: the lowest score of a response at the first look.
        beta: weight of the KL in the regret.
        path: a CSV that `fronts` is written to at each look; None: none.

    Raises:
        UserError: before anything is trained: nothing scores the responses, a step that does not divide 1, or a
            reference point of another length.
    """

    def __init__(
        self,
        rewards: Rewards | Mapping[str, Rule] | None = None,
        *,
        grid_step: float = 0.25,
        reference_point: Sequence[float] | None = None,
        beta: float | None = None,
        path: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rewards, **options)
        self.grid_step = grid_step
        self._given_point = None if reference_point is None else [float(each) for each in reference_point]
        self.reference_point = self._given_point
        self.beta = beta
        self.path = None if path is None else Path(path)
        self.fronts: list[dict[str, Any]] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self.rewards is None:
            raise UserError("GridRewards: the data knows no rewards; give rewards={objective: function}")
        preference_grid(len(self.objectives(pl_module)), self.grid_step)
        scored = self.rewards.objectives
        if self._given_point is not None and len(self._given_point) != len(scored):
            raise UserError(
                f"GridRewards: reference_point={self._given_point}: {len(scored)} numbers are needed, of "
                f"{', '.join(scored)}"
            )
        if stage == "fit" and not trainer.global_step:
            # Another training than the one that was looked at before; one that is taken up brings its state.
            self.fronts, self.reference_point = [], self._given_point

    def look(self, trainer: L.Trainer, module: Any) -> None:
        assert self.rewards is not None
        names, weighed = self.rewards.objectives, self.objectives(module)
        columns = [f"reward_{name}" for name in names]
        rows, lowest = [], []
        for name, policy, grid in self.members(module.policy, preference_grid(len(weighed), self.grid_step)):
            frame = self.sampled(trainer, module, policy, grid)
            lowest.append(frame[columns].min().to_numpy())
            means = frame.groupby("preference")[[*columns, "log_ratio", "tokens"]].mean()
            for i, mean in enumerate(means.itertuples(index=False)):
                weights = [float("nan")] * len(weighed) if grid is None else grid[i].tolist()
                told = dict(zip([*columns, "kl", "length"], map(float, mean), strict=True))
                lambdas = dict(zip([f"lambda_{each}" for each in weighed], weights, strict=True))
                rows.append({"step": trainer.global_step, "policy": name, **lambdas, **told})
        if self.reference_point is None:
            self.reference_point = np.min(lowest, axis=0).tolist()
        self.fronts += rows
        front = pd.DataFrame(rows)
        if self.path is not None and trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_name(self.path.name + ".part")
            pd.DataFrame(self.fronts).to_csv(part, index=False, lineterminator="\n")
            part.replace(self.path)
        log_numbers(trainer, self._numbers(front))

    def _numbers(self, front: pd.DataFrame) -> dict[str, float]:
        assert self.rewards is not None
        names = self.rewards.objectives
        values = front[[f"reward_{name}" for name in names]].to_numpy()
        found = {f"grid/reward/{name}": float(values[:, i].mean()) for i, name in enumerate(names)}
        found |= {f"grid/best/{name}": float(values[:, i].max()) for i, name in enumerate(names)}
        assert self.reference_point is not None
        found["grid/hypervolume"] = float(hypervolume(values, reference_point=self.reference_point))
        found |= {"grid/kl": float(front["kl"].mean()), "grid/length": float(front["length"].mean())}
        regret = self._regret(front, values)
        return found if regret is None else found | {"grid/regret": regret}

    def _regret(self, front: pd.DataFrame, values: np.ndarray) -> float | None:
        assert self.rewards is not None
        source = self.data.source
        columns = [f"lambda_{name}" for name in source.objectives]
        known = tuple(self.rewards.objectives) == tuple(source.objectives) and set(columns) <= set(front)
        if self.beta is None or not known or front[columns].isna().any(axis=None):
            return None
        grid = front[columns].to_numpy()
        exact = source.exact_front(grid, self.beta)
        if exact is None:
            return None
        reached = (grid * values).sum(1) - self.beta * front["kl"].to_numpy()
        return float((exact.values - reached).mean())

    def state_dict(self) -> dict[str, Any]:
        return {"fronts": self.fronts, "reference_point": self.reference_point}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.fronts, self.reference_point = list(state_dict["fronts"]), state_dict["reference_point"]
