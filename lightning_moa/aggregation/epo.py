"""EPO, exact Pareto optimal search (Mahapatra and Rajan, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from scipy.optimize import linprog
from torch import Tensor

from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.aggregation.tchebycheff import shortfall
from lightning_moa.errors import UserError


class EPO(GradientAggregator):
    """Comes to the point of the front at which all lambda_i l_i are equal, whatever the front's shape.

    l_i = L_i + z_i is how far objective i is below its ideal point, at least 0. While the lambda_i l_i differ, measured
    by u = KL(their shares, equal shares), a step lowers u as far as a mixture of the gradients can that does not raise
    the largest of them; once u is small, a step lowers all losses. The weights are those of two linear programs over
    the simplex.

    Where the ray does not meet the front it ends at the front's nearest end. It looks at the values of the losses, so
    they must be what is to become small: DPO's are, a clipped surrogate of PPO's is not, and is refused.

    Args:
        ideal_point: z, one value per objective, at least as large as the objective can become; None is 0.
        balanced: u at or below which the shares count as equal.

    Raises:
        UserError: `balanced` not above 0; a loss below what its ideal point allows.
    """

    @classmethod
    def takes(cls, said: Mapping[str, Any]) -> tuple[float, float]:
        return (-inf, inf) if said.get("ideal_point") is not None else (0.0, inf)

    def __init__(self, ideal_point: Sequence[float] | None = None, balanced: float = 1e-4) -> None:
        super().__init__()
        if not (np.isfinite(balanced) and balanced > 0):
            raise UserError(f"EPO: balanced={balanced}; it must be above 0")
        self.ideal_point = None if ideal_point is None else list(ideal_point)
        self.balanced = balanced
        self._short = np.zeros(0)

    def weighted(self, losses: Tensor, preference: Tensor, gramian: np.ndarray) -> Tensor:
        short = shortfall(losses, self.ideal_point).detach().double().cpu().numpy()
        # Several policies under one preference have the gradients of their mean, and its losses.
        self._short = short.mean(axis=0) if short.ndim > preference.ndim else short
        if self._short.min() < 0:
            raise UserError(
                f"EPO: a loss is {self._short.min():g} below its ideal point; each must be at least 0: another "
                "ideal_point is needed, or losses that have a least value"
            )
        return super().weighted(losses, preference, gramian)

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        if preference.ndim == 2:
            rows = range(len(preference))
            return np.stack([self.weights(gramian, self._short[i], preference[i]) for i in rows])
        return self.weights(gramian, self._short, preference)

    def weights(self, gramian: np.ndarray, short: np.ndarray, preference: np.ndarray) -> np.ndarray:
        """(m,) on the simplex, for shortfalls (m,) and a preference (m,)."""
        scale = np.diag(gramian).max()
        weighed = preference * short
        if not scale or not weighed.sum():
            return preference
        products = gramian / scale
        share = weighed / weighed.sum()
        logs = np.log(np.where(share > 0, share, 1.0) * len(share))
        unbalance = float(share @ logs)
        pull = preference * np.where(share > 0, logs - unbalance, 0.0)
        towards = products @ pull
        if unbalance > self.balanced:
            return self._balance(products, towards, weighed)
        return self._descend(products, towards)

    @staticmethod
    def _balance(products: np.ndarray, towards: np.ndarray, weighed: np.ndarray) -> np.ndarray:
        """As far as may be along the direction that lowers u. `towards`: each gradient's product with it."""
        floor = np.where(towards > 0, -np.inf, towards)
        if (towards > 0).any():
            floor[weighed == weighed.max()] = 0.0
        else:
            floor[:] = 0.0
        found = _program(towards, products, floor)
        # The shortest mixture meets each of these conditions, so that none without a solution is left.
        assert found is not None, "EPO: the linear program has no solution"
        return found

    @staticmethod
    def _descend(products: np.ndarray, towards: np.ndarray) -> np.ndarray:
        """As far down as may be in all losses together, none rising, and u not rising where that is possible."""
        gain, floor = products.sum(0), np.zeros(len(products))
        held = _program(
            gain, np.vstack([products, towards]), np.append(floor, min(float(towards.max()), 0.0))
        )
        found = _program(gain, products, floor) if held is None else held
        assert found is not None, "EPO: the linear program has no solution"
        return found


def _program(gain: np.ndarray, rows: np.ndarray, floor: np.ndarray) -> np.ndarray | None:
    """The b over the simplex, (m,), with the largest <gain, b> under rows b >= floor; None: there is none."""
    asked = np.isfinite(floor)
    found = linprog(
        -gain,
        A_ub=-rows[asked] if asked.any() else None,
        b_ub=-floor[asked] if asked.any() else None,
        A_eq=np.ones((1, len(gain))),
        b_eq=[1.0],
        bounds=(0, 1),
    )
    return None if not found.success else np.clip(found.x, 0.0, None)
