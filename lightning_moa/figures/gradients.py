"""What the watched runs of a study saw of their objectives' gradients. Light: no torch.

The objectives are maximised and the losses minimised, so the signs of the two cancel in every inner product here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lightning_moa.config import MethodConfig, StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.study.collect import Collected
from lightning_moa.task_files import GRADIENTS

WATCH = 4
"""Updates between two looks at the gradients of a method that the configuration says nothing of."""


@dataclass(frozen=True, eq=False)
class Look:
    """All objectives' gradients g_i before one update, in the tensors of one probe."""

    method: str
    seed: int
    policy: int
    """Which of the method's policies, in the order of its training preferences."""
    step: int
    """Updates made before."""
    probe: str
    weights: np.ndarray
    """(m,) what the method multiplied the losses by: its update is along d = sum_i weights_i g_i."""
    gramian: np.ndarray
    """(m, m) inner products <g_i, g_j> in the probed tensors."""
    gain: np.ndarray
    """(m,) <g_i, parameters' actual step> over all trained parameters: what the update gained, to first order."""
    moved: float
    """Length of that step; 0 where the learning rate was."""

    @property
    def norms(self) -> np.ndarray:
        """(m,) lengths of the gradients."""
        return np.sqrt(np.diag(self.gramian))

    @property
    def cosines(self) -> np.ndarray:
        """(m (m - 1) / 2,) cosine of each pair of gradients, in the order of `pairs`; NaN where one is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = self.gramian / np.outer(self.norms, self.norms)
        return np.asarray(whole[np.triu_indices(len(whole), 1)])

    @property
    def progress(self) -> np.ndarray:
        """(m,) <g_i, d>: how fast each objective gains along d, within the probed tensors."""
        return np.asarray(self.gramian @ self.weights)

    @property
    def length(self) -> float:
        """||d|| within the probed tensors."""
        return float(np.sqrt(max(self.weights @ self.gramian @ self.weights, 0.0)))


def shares(weights: np.ndarray) -> np.ndarray:
    """Weights (..., m) over their sum; NaN where all are 0."""
    sums = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, sums, out=np.full_like(weights, np.nan), where=sums > 0)


def pairs(objectives: Collection[str]) -> list[str]:
    """Names of the pairs of objectives, `<first>_<second>`."""
    names = list(objectives)
    return [f"{first}_{second}" for i, first in enumerate(names) for second in names[i + 1 :]]


def watched(config: StudyConfig, methods: Collection[str]) -> StudyConfig:
    """The same, with looks at these methods' gradients at every WATCH-th update where it says nothing of a method.

    Raises:
        UserError: a method whose gradients are not to be looked at.
    """
    said = {name: config.methods.get(name, MethodConfig(watch=WATCH)) for name in methods}
    for name, own in said.items():
        if not own.watch:
            raise UserError(f"methods.{name}.watch=0: this figure is of its gradients; 1 or more is needed")
    return replace(config, methods={**config.methods, **said})


def read_looks(collected: Collected, methods: Collection[str]) -> list[Look]:
    """Every look at these methods' gradients, by method, seed, policy, step and probe.

    Raises:
        UserError: a method's runs have left none.
    """
    found = []
    for method in methods:
        for seed in sorted(seed for name, seed in collected.policies if name == method):
            for place, folder in enumerate(collected.policies[method, seed]):
                found += _read(folder.parent / GRADIENTS, method, seed, place, collected.objectives)
    return found


def _read(path: Path, method: str, seed: int, place: int, objectives: tuple[str, ...]) -> list[Look]:
    # A run whose losses were scalarised before they could be looked at leaves a file without rows.
    if not path.is_file() or not path.read_text().strip(' "\n'):
        raise UserError(
            f"methods.{method}.watch: its run has left no gradients; 1 or more is needed, and ppo.weigh=surrogates"
        )
    frame = pd.read_csv(path)
    dots = [f"dot_{name}" for name in objectives]
    found = []
    for (step, probe), rows in frame.groupby(["step", "probe"], sort=False):
        ordered = rows.set_index("objective").loc[list(objectives)]
        found.append(
            Look(
                method,
                seed,
                place,
                int(str(step)),
                str(probe),
                ordered["weight"].to_numpy(),
                ordered[dots].to_numpy(),
                ordered["gain"].to_numpy(),
                float(ordered["moved"].iloc[0]),
            )
        )
    return found
