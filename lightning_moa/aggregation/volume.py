"""The hypervolume of K policies as one differentiable objective (HaM, arXiv 2412.05469, sections 3.3 and 3.6).

A matrix (K, J) holds the values of J objectives, maximised, for each of K policies. Three ways lead from it to the
volume that the policies dominate together: the exact one, the paper's sum over all subsets, and an unbiased estimate
from random directions. `fronts_of` says which policies no other one dominates, which are next, and so on, so that
those that are dominated can have a volume of their own to maximise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from lightning_moa.aggregation.base import Run
from lightning_moa.aggregation.linear import Linear
from lightning_moa.answers import Sections
from lightning_moa.errors import UserError
from lightning_moa.pareto import even_preferences, hypervolume_gradient
from lightning_moa.pareto.points import as_point, as_points
from lightning_moa.policies.settings import HeadsConfig

MOST_POLICIES = 20
"""Above it the subsets of inclusion-exclusion, 2^K - 1, no longer fit into memory."""

METHODS = ("exact", "inclusion_exclusion", "random")
FRONTS = ("first", "all")

Reference = Sequence[float] | Tensor | None


def hypervolume(values: Tensor, reference_point: Reference = None) -> Tensor:
    """The exact hypervolume, differentiable once; its gradient is `pareto.hypervolume_gradient`'s.

    Computed in double precision on the CPU, whatever the type and device of `values`. A policy that another one
    dominates has a gradient of exactly 0; of equal policies the first has all of it.

    Args:
        values: (K, J), K >= 1, floating point; objectives, maximised.
        reference_point: (J,), a constant; None is 0.

    Returns:
        A scalar of the type and on the device of `values`, in the product of the objectives' units.

    Raises:
        UserError: another shape or type, NaN, infinite values, a reference of another length; and in the backward
            pass, where the gradient itself is differentiated.
    """
    volume, gradient = hypervolume_gradient(*_arrays(values, reference_point))
    return _Volume.apply(values, volume, torch.from_numpy(gradient).to(values))


class _Volume(torch.autograd.Function):
    """A volume whose gradient in `values` is known."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, volume: float, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(values, gradient)
        return values.new_full((), volume)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        values, gradient = ctx.saved_tensors
        slope = _Slope.apply(values, gradient) if torch.is_grad_enabled() else gradient
        return grad_output * slope, None, None


class _Slope(torch.autograd.Function):
    """The gradient as a function of `values`, so that differentiating it fails instead of giving 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        raise UserError(
            "hypervolume: its gradient can't be differentiated again; allowed is one backward pass, "
            "or inclusion_exclusion, which has second derivatives"
        )


def inclusion_exclusion(values: Tensor, reference_point: Reference = None) -> Tensor:
    """The exact hypervolume as HaM's equation 6: sum_S (-1)^(|S| - 1) prod_j min_{k in S} y_kj.

    The sum is over the 2^K - 1 non-empty subsets S of the policies. Values below the reference are cut off at it.
    Equal values share the gradient of their minimum. Terms cancel, so a dominated policy's gradient is 0 but for
    rounding.

    Arguments, result and errors as for `hypervolume`; K is at most 20.
    """
    sides = _sides(values, reference_point)
    policies = len(sides)
    if policies > MOST_POLICIES:
        raise UserError(
            f"inclusion_exclusion: {policies} policies have 2^{policies} - 1 subsets, allowed are at most "
            f"{MOST_POLICIES} policies; use the method exact"
        )
    volume = sides.new_zeros(())
    for size in range(1, policies + 1):
        subsets = torch.tensor(list(combinations(range(policies), size)), device=sides.device)
        common = sides[subsets].amin(dim=1)
        volume = volume + (-1) ** (size - 1) * common.prod(dim=-1).sum()
    return volume.to(values.dtype)


def random_scalarisation(values: Tensor, directions: Tensor, reference_point: Reference = None) -> Tensor:
    """An unbiased estimate of the hypervolume (HaM, section 3.6, eq. 10): c_J mean_w max_k min_j (y_kj / w_j)^J.

    Along a direction w from the reference point the dominated region ends at rho(w) = max_k min_j y_kj / w_j, and a
    cone of that length has the volume rho^J / J per unit of solid angle. The positive part of the unit sphere
    measures 2 pi^(J/2) / (2^J Gamma(J/2)), hence c_J = pi^(J/2) / (2^J Gamma(J/2 + 1)). The standard error falls as
    1 / sqrt(N); time and memory are N K J.

    Args:
        values: as for `hypervolume`.
        directions: (N, J), w, unit vectors with all weights above 0, such as `sample_directions` gives.
        reference_point: (J,), a constant; None is 0.

    Returns:
        A scalar, differentiable. Each direction gives its gradient to one value, shared where several are equal.

    Raises:
        UserError: as for `hypervolume`, or directions of another shape or with weights that aren't above 0.
    """
    sides = _sides(values, reference_point)
    objectives = sides.shape[1]
    if directions.ndim != 2 or not len(directions) or directions.shape[1] != objectives:
        raise UserError(
            f"random_scalarisation: directions of shape {tuple(directions.shape)}, allowed is (N, {objectives})"
        )
    # Written so that NaN fails too.
    if not bool((directions > 0).all()):
        raise UserError("random_scalarisation: allowed are directions with all weights above 0")
    reach = (sides / directions.to(sides)[:, None]).amin(dim=-1).amax(dim=-1)
    constant = math.pi ** (objectives / 2) / (2**objectives * math.gamma(objectives / 2 + 1))
    return (constant * reach.pow(objectives).mean()).to(values.dtype)


def sample_directions(objectives: int, count: int, generator: torch.Generator) -> Tensor:
    """Directions drawn uniformly from the positive part of the unit sphere: (count, objectives) float64.

    On the generator's device; the generator is advanced.
    """
    if objectives < 1 or count < 1:
        raise UserError(f"directions: {count} of {objectives} objectives, allowed is at least 1 of each")
    size = (count, objectives)
    normal = torch.randn(size, generator=generator, dtype=torch.float64, device=generator.device).abs()
    return normal / normal.norm(dim=1, keepdim=True)


def fronts_of(values: Tensor, reference_point: Reference = None) -> list[list[int]]:
    """Non-dominated sorting: the policies that no other one dominates, those that only these dominate, and so on.

    A front is what the hypervolume of all that is left rests on. So of equal policies each has a front of its own,
    and policies that aren't above the reference in every objective are in none.

    Args:
        values, reference_point: as for `hypervolume`.

    Returns:
        Rows of `values`, each in one front at most; K fronts at most, none of them empty.

    Raises:
        UserError: as for `hypervolume`.
    """
    points, reference = _arrays(values, reference_point)
    left, fronts = np.arange(len(points)), []
    while len(left):
        _, gradient = hypervolume_gradient(points[left], reference)
        alive = (gradient > 0).any(axis=1)
        if not alive.any():
            break
        fronts.append(left[alive].tolist())
        left = left[~alive]
    return fronts


class Hypervolume:
    """HaM's aggregation: maximise the volume that K policies dominate together.

    The losses (K, J) are the negatives of the objectives' values, so the scalar to minimise is
    -HV(-losses, reference_point). It needs no preference: the policies spread over the front by themselves.

    A policy that another one dominates has no gradient in it and would be lost. Two ways keep them, neither of them
    HaM's:

    * `fronts="all"` maximises the sum of the hypervolumes of each front of `fronts_of`, as Wang et al. (2017) and
      Deist et al. (2021) do. The first front's gradient is the paper's, and where no policy is dominated all is. A
      policy that is dominated makes its way back as if those above it weren't there.
    * The first `warm_up` steps minimise mean_k sum_j w_kj L_kj instead, policy k having preference k of an even grid
      (`even_preferences`), which draws the policies apart: that is linear scalarisation, not HaM.

    An aggregator isn't told the step, so this one counts: `step`, its only state, is the number of calls so far. A
    run that is taken up again sets it through `load_state_dict`. Call it for training steps only.

    Args:
        reference_point: (J,), in the units of the objectives (not of the losses); None is 0.
        method: "exact"; "inclusion_exclusion", the paper's formula for up to 20 policies; or "random", the unbiased
            estimate, whose directions at each step are a function of (seed, step) alone.
        directions: N, how many for "random".
        seed: for "random".
        warm_up: steps, 0 for none.
        fronts: "first", the volume of all policies, which rests on the first front alone; or "all", see above.
    """

    sections: ClassVar[Sections] = {"heads": HeadsConfig}
    of_each = True
    of_several = True
    looks_at_preference = False

    @classmethod
    def takes(cls, said: Mapping[str, Any]) -> tuple[float, float]:
        return (-math.inf, math.inf) if said.get("reference_point") is not None else (-math.inf, 0.0)

    @classmethod
    def build(cls, run: Run) -> Self:
        heads: HeadsConfig = run.section("heads")
        return cls(
            method=heads.volume,
            directions=heads.scalarisations,
            # Directions of its own for every seed and every round.
            seed=1000 * run.seed + run.stage if heads.volume == "random" else 0,
            # It counts batches. What is gone on with has drawn apart already.
            warm_up=0 if run.stage else heads.warm_up * run.accumulate,
            fronts=heads.fronts,
            **run.options,
        )

    def __init__(
        self,
        reference_point: Reference = None,
        method: str = "exact",
        directions: int = 1024,
        seed: int = 0,
        warm_up: int = 0,
        fronts: str = "first",
    ) -> None:
        for name, choice, allowed in (("method", method, METHODS), ("fronts", fronts, FRONTS)):
            if choice not in allowed:
                raise UserError(f"{name}={choice}: allowed are {', '.join(allowed)}")
        for name, value, least in (("directions", directions, 1), ("seed", seed, 0), ("warm_up", warm_up, 0)):
            if value < least:
                raise UserError(f"{name}={value}: must be at least {least}")
        self.reference_point = reference_point
        self.method = method
        self.directions = directions
        self.seed = seed
        self.warm_up = warm_up
        self.fronts = fronts
        self.step = 0

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """-HV(-losses, reference_point) of losses (K, J), the sum of its fronts', or the warm-up's mean; `preference`
        isn't looked at."""
        if losses.ndim != 2:
            raise UserError(f"losses of shape {tuple(losses.shape)}: allowed is (K, J), one row per policy")
        step = self.step
        self.step += 1
        if step < self.warm_up:
            return Linear()(losses, torch.from_numpy(even_preferences(*losses.shape)).to(losses))
        values = -losses
        if self.fronts == "first":
            return -self._volume(values, step)
        volumes = [self._volume(values[front], step) for front in fronts_of(values, self.reference_point)]
        # Where there is no front, all values are at or below the reference.
        return -torch.stack(volumes).sum() if volumes else -self._volume(values, step)

    def _volume(self, values: Tensor, step: int) -> Tensor:
        if self.method == "exact":
            return hypervolume(values, self.reference_point)
        if self.method == "inclusion_exclusion":
            return inclusion_exclusion(values, self.reference_point)
        return random_scalarisation(values, self._directions(step, values.shape[1]), self.reference_point)

    def _directions(self, step: int, objectives: int) -> Tensor:
        stream = np.random.SeedSequence([self.seed, step]).generate_state(1, np.uint64)
        return sample_directions(objectives, self.directions, torch.Generator().manual_seed(int(stream[0])))

    def state_dict(self) -> dict[str, int]:
        """What a run that is taken up again needs: {"step": calls so far}."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from what `state_dict` gave."""
        if set(state) != {"step"} or not isinstance(state["step"], int) or state["step"] < 0:
            raise UserError(f"state {dict(state)}: allowed is {{'step': a whole number from 0}}")
        self.step = state["step"]


def _arrays(values: Tensor, reference_point: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Both in double precision as numpy has them, for its checks to read: (K, J) and (J,)."""
    if not values.is_floating_point() or values.ndim != 2:
        raise UserError(
            f"values of shape {tuple(values.shape)} and type {values.dtype}: "
            f"allowed are floating-point tensors (K, J), one row per policy"
        )
    if reference_point is None:
        return _array(values), np.zeros(values.shape[1])
    if isinstance(reference_point, Tensor):
        return _array(values), _array(reference_point)
    return _array(values), np.asarray(reference_point)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float64).numpy()


def _sides(values: Tensor, reference_point: Reference) -> Tensor:
    """How far the values (K, J) are above the reference, at least 0, in double precision.

    The gradient of a value at the reference is 0.
    """
    points, reference = _arrays(values, reference_point)
    if not len(as_points(points, "values")):
        raise UserError("values: no policies; allowed is at least one row")
    reference = as_point(reference, "reference_point", values.shape[1])
    return torch.relu(values.double() - torch.from_numpy(reference).to(values.device))
