"""How long HaM's objective takes, forward and backward: the exact gradient, inclusion-exclusion, and BoTorch.

    python -m benchmarks.hypervolume [--sizes 5x2 64x2] [--trials 31]

Sizes are policies x objectives. The values lie on a sphere, where no policy dominates another, or anywhere in the unit
cube. The ways are checked to give the same value and gradient first. Prints a table and writes
results/benchmarks/hypervolume.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from botorch.utils.multi_objective.box_decompositions.dominated import DominatedPartitioning
from torch import Tensor

from benchmarks.measuring import RESULTS, medians, report
from lightning_moa.aggregation import hypervolume, inclusion_exclusion

SIZES = ["5x2", "12x2", "64x2", "1024x2", "16x3", "128x3", "32x4"]
MOST_SUBSETS = 12
"""Policies up to which inclusion-exclusion is timed; each more doubles it."""


def botorch_volume(values: Tensor) -> Tensor:
    """The quickest way through BoTorch to an exact hypervolume that can be differentiated.

    That is the sum over the disjoint cells of its dominated partitioning. For two objectives autograd goes through
    the partitioning. From three on it does not: an in-place change inside breaks the backward pass, and the
    partitioning that has one, of the non-dominated space, is slower by far. So the cells are found without
    gradients, and each of their bounds, which is some policy's value or the reference, is looked up in `values`.
    """
    reference = values.new_zeros(values.shape[1])
    if values.shape[1] == 2:
        return DominatedPartitioning(reference, values).compute_hypervolume()
    with torch.no_grad():
        bounds = DominatedPartitioning(reference, values).get_hypercell_bounds()
    candidates = torch.cat([values, reference[None]]).T
    ordered = candidates.gather(1, candidates.detach().argsort(dim=1))
    flat = bounds.reshape(-1, values.shape[1]).T.contiguous()
    places = torch.searchsorted(ordered.detach(), flat)
    low, high = ordered.gather(1, places).reshape(values.shape[1], 2, -1).unbind(1)
    return (high - low).prod(dim=0).sum()


def values_of(kind: str, policies: int, objectives: int) -> Tensor:
    """A matrix (policies, objectives) in the unit cube: on the sphere, or uniform."""
    generator = torch.Generator().manual_seed(policies)
    size = (policies, objectives)
    if kind == "random":
        return torch.rand(size, dtype=torch.float64, generator=generator)
    normal = torch.randn(size, dtype=torch.float64, generator=generator).abs()
    return normal / normal.norm(dim=1, keepdim=True)


def step(volume: Callable[[Tensor], Tensor], values: Tensor) -> tuple[Tensor, Tensor]:
    """A forward and a backward pass: the value and its gradient."""
    leaf = values.clone().requires_grad_()
    result = volume(leaf)
    result.backward()
    assert leaf.grad is not None
    return result.detach(), leaf.grad


def check_equal(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> None:
    """Values and gradients are the same but for rounding."""
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def compare(kind: str, policies: int, objectives: int, trials: int) -> dict[str, Any]:
    """One row: the median seconds of each way at one size."""
    values = values_of(kind, policies, objectives)
    volumes: dict[str, Callable[[Tensor], Tensor]] = {"exact": hypervolume, "botorch": botorch_volume}
    if policies <= MOST_SUBSETS:
        volumes["inclusion_exclusion"] = inclusion_exclusion
    exact = step(hypervolume, values)
    for volume in volumes.values():
        check_equal(step(volume, values), exact)
    ways = {name: (lambda volume=volume: step(volume, values)) for name, volume in volumes.items()}
    seconds = medians(ways, trials)
    subsets = seconds.get("inclusion_exclusion", float("nan"))
    return {
        "points": kind,
        "policies": policies,
        "objectives": objectives,
        "exact_s": seconds["exact"],
        "subsets_s": subsets,
        "botorch_s": seconds["botorch"],
        "times_subsets": subsets / seconds["exact"],
        "times_botorch": seconds["botorch"] / seconds["exact"],
        "trials": trials,
    }


def main(sizes: list[tuple[int, int]], trials: int, folder: Path) -> pd.DataFrame:
    """A row for each size and kind of points."""
    torch.set_num_threads(1)
    rows = [compare(kind, *size, trials) for size in sizes for kind in ("front", "random")]
    return report("hypervolume", rows, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="matrices, as policies x objectives")
    parser.add_argument("--trials", type=int, default=31, help="whose median is taken")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    arguments = parser.parse_args()
    matrices = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    main(matrices, arguments.trials, arguments.folder)  # type: ignore[arg-type]
