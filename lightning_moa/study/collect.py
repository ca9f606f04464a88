"""From finished runs to the frames of the results schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lightning_moa.rewards.sources import TRAINED
from lightning_moa.run_folders import record
from lightning_moa.study.planning import REFERENCE, Plan
from lightning_moa.study.provenance import policies_of
from lightning_moa.study.tasks import Task
from lightning_moa.task_files import ACCURACIES

TEXTS = ("prompt", "response")
_FRAMES = ("points", "accuracies", "ranked", "responses", "timings", "costs")


@dataclass(frozen=True)
class Exact:
    """The best policies: `grid` for the preferences that policies are measured at, `front` to be drawn. Columns
    `lambda_*`, `gold_*`, `kl` in nats, `value` = lambda . gold - beta kl, and the probability of each of the world's
    modes on the kind of prompt that the objectives are at odds on, such as `risky_*`."""

    beta: float
    grid: pd.DataFrame
    front: pd.DataFrame


@dataclass(frozen=True)
class Collected:
    """The rows of a study, without its paper, artefact and scale."""

    objectives: tuple[str, ...]
    points: pd.DataFrame
    accuracies: pd.DataFrame
    responses: pd.DataFrame
    timings: pd.DataFrame
    costs: pd.DataFrame
    """method, seed, trained_models, trained_parameters (of all its policies), training_steps."""
    exact: Exact | None
    data_lines: list[str]
    """What the data set kept and dropped, as the first seed's reference policy saw it."""
    rewards: dict[str, str]
    """objective -> what its column `reward_*` comes from, in words; empty where there is none."""
    policies: dict[tuple[str, int], list[Path]]
    """(method, seed): the folders of its trained policies, in the order of training preferences."""
    trained: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    """(method, seed): the same for run.yaml, with the preferences that they were trained for."""
    ranked: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Of each held-out pair, whether a policy ranks it right: what accuracies are means of."""
    reward_models: pd.DataFrame = field(default_factory=pd.DataFrame)
    """How the reward models that were trained here order held-out pairs: of the schema's REWARD_MODELS."""
    measured_with: dict[str, Any] = field(default_factory=dict)
    """What the numbers hang on besides the methods."""
    evaluated: dict[str, dict[str, int]] = field(default_factory=dict)
    """prompts, pairs -> part of the data set -> rows that were measured on, of the first seed."""

    @property
    def space(self) -> str:
        """Where rewards are compared: `gold`, the true ones, where they are known; else by a `judge`, where
        there is one; else `reward`, what policies learn from."""
        if self.exact is not None:
            return "gold"
        return "judge" if f"judge_{self.objectives[0]}" in self.points else "reward"


def collect(plan: Plan, runs: Path) -> Collected:
    """Read what every evaluation and every training run of a finished plan has left."""
    frames: dict[str, list[pd.DataFrame]] = {"points": [], "accuracies": [], "ranked": [], "responses": []}
    timings: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    folders: dict[tuple[str, int], list[Path]] = {}
    named: dict[tuple[str, int], dict[str, Any]] = {}
    for seed, tasks in plan.seeds.items():
        for method, evaluation in tasks.evaluations.items():
            policies = tasks.policies.get(method, [])
            # A policy that went on training in rounds has cost them all.
            trained = [[record(runs, stage.key) for stage in _stages(task)] for task in policies]
            for name, into in frames.items():
                path = runs / evaluation.key / f"{name}.csv"
                if path.is_file():
                    frame = read_frame(path)
                    into.append(frame.assign(method=method, seed=seed))
            if method != REFERENCE:
                folders[method, seed] = [runs / task.key / "policy" for task in policies]
                named[method, seed] = policies_of(method, seed, evaluation, policies)
                costs.append({"method": method, "seed": seed, **_cost(trained)})
                timings.append({"method": method, "seed": seed, **_timing(trained)})
    joined: dict[str, Any] = {
        name: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        for name, parts in frames.items()
    }
    for name in plan.objectives:
        for prefix in ("reward_", "gold_"):
            if prefix + name not in joined["points"]:
                joined["points"][prefix + name] = float("nan")
    relative = without_a_zero(plan)
    _from_the_reference(joined, relative)
    return Collected(
        plan.objectives,
        **joined,
        timings=pd.DataFrame(timings),
        costs=pd.DataFrame(costs),
        exact=_exact(plan, runs),
        data_lines=_data_lines(plan, runs),
        rewards={
            name: f"{words}, less its mean over the reference policy's"
            if f"reward_{name}" in relative
            else words
            for name, words in plan.rewards.items()
        },
        policies=folders,
        trained=named,
        reward_models=_reward_models(plan, runs),
        evaluated=_evaluated(plan, runs),
    )


def without_a_zero(plan: Plan) -> list[str]:
    """The columns of scores that come from models which every seed has trained for itself, on pairs."""
    measured = next(iter(plan.seeds.values())).evaluations[REFERENCE]
    sources = measured.spec["rewards"]
    columns = {
        "rewards": [f"reward_{name}" for name, source in sources.items() if source["kind"] == TRAINED],
        "judge": [f"judge_{name}" for name in plan.objectives],
    }
    return [
        column
        for role, names in columns.items()
        if role in measured.needs and measured.needs[role].spec["learns"] == "pairs"
        for column in names
    ]


def _from_the_reference(frames: dict[str, pd.DataFrame], columns: Sequence[str]) -> None:
    """Scores as differences to the mean of the same seed's reference policy, in place.

    Pairs determine a model of rewards but for a constant (Stiennon et al., 2020, section 3.4, set it so that the
    reference has a mean of 0), so scores of several seeds' models as they are have as many zero points.
    """
    points = frames["points"]
    known = [name for name in columns if name in points]
    before = points[points["method"] == REFERENCE].groupby("seed")[known].mean()
    for frame in (points, frames["responses"]):
        if len(frame) and len(known):
            frame[known] -= before.loc[frame["seed"]].to_numpy()


def joined(parts: Sequence[Collected]) -> Collected:
    """The rows of several studies of the same objectives as one. A method and seed that several of them have, such as
    the reference policy, comes from the first; so do the exact front and the data's lines."""
    frames: dict[str, list[pd.DataFrame]] = {name: [] for name in _FRAMES}
    taken: set[tuple[str, int]] = set()
    for part in parts:
        seen = set()
        for name, into in frames.items():
            frame: pd.DataFrame = getattr(part, name)
            if len(frame):
                owners = list(zip(frame["method"], frame["seed"], strict=True))
                seen |= set(owners)
                into.append(frame[[owner not in taken for owner in owners]])
        taken |= seen
    whole: dict[str, Any] = {
        name: pd.concat(rows, ignore_index=True) if rows else pd.DataFrame() for name, rows in frames.items()
    }
    folders = {key: paths for part in reversed(parts) for key, paths in part.policies.items()}
    named = {key: said for part in reversed(parts) for key, said in part.trained.items()}
    return replace(parts[0], **whole, policies=folders, trained=named)


def _exact(plan: Plan, runs: Path) -> Exact | None:
    if plan.exact is None:
        return None
    folder = runs / plan.exact.key
    grid, front = (pd.read_csv(folder / f"{name}.csv") for name in ("grid", "front"))
    return Exact(plan.exact.spec["beta"], grid, front)


def _stages(task: Task) -> list[Task]:
    """The rounds that a policy was trained in, the last one first."""
    stages = [task]
    while "start" in stages[-1].needs:
        stages.append(stages[-1].needs["start"])
    return stages


def _cost(trained: list[list[dict[str, Any]]]) -> dict[str, int]:
    return {
        "trained_models": len(trained),
        "trained_parameters": sum(stages[0]["trained_parameters"] for stages in trained),
        "training_steps": sum(stages[0]["steps"] for stages in trained),
    }


def _timing(trained: list[list[dict[str, Any]]]) -> dict[str, float]:
    return {
        "seconds": sum(stage["seconds"] for stages in trained for stage in stages),
        "peak_memory_mib": max(stage["peak_memory_mib"] for stages in trained for stage in stages),
        "trained_parameters": sum(stages[0]["trained_parameters"] for stages in trained),
    }


def _reward_models(plan: Plan, runs: Path) -> pd.DataFrame:
    rows = []
    for seed, tasks in plan.seeds.items():
        needs = tasks.evaluations[REFERENCE].needs
        for role, model in (("rewards", "reward"), ("judge", "judge")):
            if role in needs:
                counts = json.loads((runs / needs[role].key / ACCURACIES).read_text())
                rows += [_ordered(model, seed, name, **each) for name, each in counts.items()]
    return pd.DataFrame(rows)


def _ordered(model: str, seed: int, objective: str, right: int, pairs: int) -> dict[str, Any]:
    found = {"model": model, "seed": seed, "objective": objective, "pairs": pairs}
    if not pairs:
        return found | {"accuracy": None, "ci_low": None, "ci_high": None}
    from scipy.stats import binomtest  # half of a script's start, were it above

    low, high = binomtest(right, pairs).proportion_ci(0.95, method="wilson")
    return found | {"accuracy": right / pairs, "ci_low": low, "ci_high": high}


def _evaluated(plan: Plan, runs: Path) -> dict[str, dict[str, int]]:
    seed = next(iter(plan.seeds.values()))
    found: dict[str, dict[str, int]] = {}
    for evaluation in seed.evaluations.values():
        found |= record(runs, evaluation.key).get("evaluated", {})
    return found


def _data_lines(plan: Plan, runs: Path) -> list[str]:
    seed = next(iter(plan.seeds.values()))
    evaluation = seed.evaluations[REFERENCE]
    base: Task = evaluation.needs["base"]
    return (runs / base.key / "data.txt").read_text().splitlines()


def read_frame(path: Path) -> pd.DataFrame:
    """What a measurement has left; prompts and responses as they were said, of digits too."""
    known = dict.fromkeys(("policy", *TEXTS), "str")
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=known)
    texts = [name for name in TEXTS if name in frame]
    frame[texts] = frame[texts].fillna("")
    return frame
