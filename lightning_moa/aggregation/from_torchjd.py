"""TorchJD's weightings (Quinton and Rey, 2024) where they take a Gramian: what others have written of multi-task
learning's aggregations, in place of a copy of ours. Needs the optional package torchjd, `pip install .[torchjd]`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torchjd.aggregation
from torchjd import Stateful

from lightning_moa.aggregation.base import Run
from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.errors import UserError

LAST = "Weighting"
"""How the names of TorchJD's classes end."""


class FromTorchJD(GradientAggregator):
    """The weights that a class of TorchJD's finds from the Gramian, computed in double precision on the CPU.

    The preference is its `pref_vector` where it has one, and is not looked at where it has none. Weights may be
    negative, as the paper of each has it. What it draws at random hangs on (seed, calls so far) alone.

    Args:
        weighting: its name in `torchjd.aggregation`, less the word Weighting: PCGrad, AlignedMTL, IMTLG, DualProj, ...
        seed: of what it draws.
        options: of its constructor.

    Raises:
        UserError: no such class, one that takes the gradients themselves, one that keeps something from one update to
            the next (which no checkpoint would hold), options that it has not, or a package that it needs besides.
    """

    def __init__(self, weighting: str, seed: int = 0, **options: Any) -> None:
        super().__init__()
        kinds = gramian_weightings()
        if weighting not in kinds:
            raise UserError(f"FromTorchJD: weighting={weighting}; allowed are {', '.join(sorted(kinds))}")
        kind = kinds[weighting]
        self.preferred = "pref_vector" in inspect.signature(kind).parameters
        try:
            self.weighting = kind(**options)
        except (TypeError, ValueError, ImportError) as error:
            raise UserError(f"FromTorchJD: weighting={weighting}: {error}") from error
        self.seed = seed
        self.step = 0

    @classmethod
    def build(cls, run: Run) -> Self:
        return cls(**{"seed": run.seed, **run.options})

    def solve(self, gramian: np.ndarray, preference: np.ndarray) -> np.ndarray:
        step, self.step = self.step, self.step + 1
        matrix = torch.from_numpy(np.ascontiguousarray(gramian, dtype=np.float64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, step]).generate_state(1)[0]))
            if not self.preferred:
                return self._weights(matrix)
            rows = [self._weights(matrix, row) for row in np.atleast_2d(preference)]
        return rows[0] if preference.ndim == 1 else np.stack(rows)

    def _weights(self, gramian: torch.Tensor, preference: np.ndarray | None = None) -> np.ndarray:
        if preference is not None:
            self.weighting.pref_vector = torch.from_numpy(preference)
        found: np.ndarray = self.weighting(gramian).numpy()
        return found

    def state_dict(self) -> dict[str, int]:
        """{"step": calls so far}."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.step = state["step"]


def gramian_weightings() -> dict[str, type]:
    """TorchJD's classes that take a Gramian and keep nothing, by their names less the word Weighting."""
    known = {name: getattr(torchjd.aggregation, name) for name in torchjd.aggregation.__all__}
    # Its public tests of that: an aggregator of the same name that says that it is one of a Gramian's weights.
    by_gramian = torchjd.aggregation.GramianWeightedAggregator
    return {
        name.removesuffix(LAST): kind
        for name, kind in known.items()
        if name.endswith(LAST)
        and not issubclass(kind, Stateful)
        and isinstance(one := known.get(name.removesuffix(LAST)), type)
        and issubclass(one, by_gramian)
    }


class _Named(FromTorchJD):
    """One of them, by a name of its own."""

    named: ClassVar[str]

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(self.named, seed, **options)


class PCGrad(_Named):
    """Each gradient loses what conflicts with the others', in a random order (Yu et al., 2020); their sum. It knows no
    preference."""

    named = "PCGrad"
    looks_at_preference = False


class AlignedMTL(_Named):
    """Gradients made orthogonal and of the length of the least singular value (Senushkin et al., 2023), then weighed by
    the preference. `scale_mode`: min, median or rmse of the singular values. Weights may be negative."""

    named = "AlignedMTL"


class IMTLG(_Named):
    """The direction whose projections on all gradients are equal (Liu et al., 2021). It knows no preference, and the
    scale of a loss does not matter. Weights may be negative."""

    named = "IMTLG"
    looks_at_preference = False
