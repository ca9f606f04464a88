"""Small studies that run on one process or several, started as a script; the tests compare what they leave.

The environment says what happens, for it reaches the processes that Lightning starts: STUDIES which of them run, WORDS
more arguments, STOP_AT the batch of a training in which the last process sends itself the signal STOP_BY (SIGTERM),
TRACE a file that gets the number of each batch that this process trains on, OF whose training these two are about: the
policies' (Alignment), or SFT's, or RewardModel's.
"""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.deployments import Steered, TrainedOn
from lightning_moa.figures.panels import PanelsConfig
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.gapo import GAPO
from lightning_moa.methods.ham import HaM
from lightning_moa.methods.panacea import Panacea
from lightning_moa.methods.products import GAPO_P1_PPO, SAFE_RLHF_PPO, Product, ham
from lightning_moa.methods.reward_model import RewardModel
from lightning_moa.methods.safe_rlhf import SafeRLHF
from lightning_moa.methods.sft import SFT
from lightning_moa.policies import Probe
from lightning_moa.processes import rank, world_size
from lightning_moa.study.conduct import conduct
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = "tests.runs.together"


class Traced(Alignment):
    """Stops, and notes what it trains on, as the environment says."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        stop_and_note("Alignment", batch_idx)
        super().training_step(batch, batch_idx)


def stop_and_note(of: str, batch_idx: int) -> None:
    """At a batch of such a training: what the environment says."""
    if os.environ.get("OF", "Alignment") != of:
        return
    if os.environ.get("STOP_AT") == str(batch_idx) and rank() == world_size() - 1:
        os.kill(os.getpid(), getattr(signal, os.environ.get("STOP_BY", "SIGTERM")))
    if "TRACE" in os.environ:
        with open(os.environ["TRACE"], "a") as trace:
            trace.write(f"{batch_idx}\n")


def trace_those_of_all_weights() -> None:
    """Let SFT and the training of a reward model do the same."""
    for kind in (SFT, RewardModel):

        def training_step(
            self: Any, batch: Any, batch_idx: int, kind: Any = kind, step: Any = kind.training_step
        ) -> Any:
            stop_and_note(kind.__name__, batch_idx)
            return step(self, batch, batch_idx)

        kind.training_step = training_step  # type: ignore[method-assign]


class Shown(Traced):
    """Logs the objectives' Gramian on all trained parameters, taken the same way under every strategy."""

    found: dict[str, float]

    def _backward(self, part: Any, preference: Any, *weights: Any) -> Any:
        gramian = self._gramian_of_fresh_passes(Probe(self.policy, "all"), part, preference)
        self.found = {f"dot_{i}_{j}": float(gramian[i, j]) for i in range(self.m) for j in range(i, self.m)}
        return super()._backward(part, preference, *weights)

    def logs(self) -> Any:
        return {**super().logs(), **self.found}


class ShownPanacea(Shown, Panacea):
    """Panacea, its Gramian shown."""


class ShownGAPO(Shown, GAPO):
    """GAPO, its Gramian shown."""


class ShownHaM(Shown, HaM):
    """HaM, its Gramian shown."""


class TracedSafeRLHF(Traced, SafeRLHF):
    """Safe RLHF, whose objectives are one before there is a gradient."""


PANACEA = Product(f"{HERE}:ShownPanacea", "svd_lora", "dpo", "linear", TrainedOn.sampled(), Steered())
GAPO_P1 = replace(GAPO_P1_PPO, method=f"{HERE}:ShownGAPO")
HAM = replace(ham(3), method=f"{HERE}:ShownHaM")
SAFE = replace(SAFE_RLHF_PPO, method=f"{HERE}:TracedSafeRLHF")
SHORT = [
    "scale=smoke",
    "seeds=[0]",
    "data.pairs=128",
    "data.sft_rows=128",
    "sft.steps=4",
    "evaluation.trained_rewards=false",
    "evaluation.grid_step=1",
    "evaluation.prompts=24",
    "evaluation.batch_size=16",
    "evaluation.max_new_tokens=8",
]
STUDIES: dict[str, tuple[str, str, Product, list[str]]] = {
    "panacea": (
        "panacea",
        "dpo",
        PANACEA,
        # At a rate at which so few steps go somewhere: differences of log-probs of 1e-6 are noise.
        ["dpo.steps=4", "dpo.batch_size=8", "dpo.preferences_per_batch=4", "dpo.accumulate=1", "dpo.lr=0.3"],
    ),
    "dropout": (
        "panacea",
        "rlhf",
        replace(PANACEA, objective="ppo"),
        ["ppo.steps=4", "ppo.batch_size=8", "ppo.accumulate=2", "ppo.update_iters=2", "adapter.dropout=0.2"],
    ),
    "gapo": (
        "gapo",
        "ppo",
        GAPO_P1,
        ["ppo.steps=3", "ppo.batch_size=8", "ppo.accumulate=2", "ppo.grad_clip=0.05"],
    ),
    "ham": (
        "ham",
        "assistant",
        HAM,
        [
            "likelihood.steps=4",
            "likelihood.batch_size=8",
            "likelihood.rows=64",
            "heads.warm_up=2",
            "heads.watch=2",
            "online.rounds=0",
        ],
    ),
    # All weights are trained first, of the base and of a reward model.
    "whole": (
        "panacea",
        "dpo",
        PANACEA,
        [
            *("sft.accumulate=2", "sft.lr=0.01", "sft.schedule=cosine"),
            *("reward_model.steps=4", "reward_model.accumulate=2", "reward_model.batch_size=8"),
            *("dpo.steps=1", "dpo.batch_size=8", "evaluation.trained_rewards=true", "evaluation.prompts=8"),
        ],
    ),
    "safe": (
        "gapo",
        "ppo",
        SAFE,
        ["ppo.steps=4", "ppo.batch_size=8", "ppo.accumulate=1", "ppo.update_iters=1"],
    ),
}


METHOD = "shown"
"""Every study's only method."""


def study_of(name: str) -> Study:
    """One of `STUDIES`, beside the scripts whose settings it takes."""
    paper, family, product, _ = STUDIES[name]
    options = PanelsConfig if paper == "ham" else StudyConfig
    file = REPOSITORY / "experiments" / paper / "script.py"
    return Study(str(file), family, {METHOD: product}, options, scale="smoke")


def main(config: StudyConfig, console: Console) -> None:
    """Run the study and leave its points."""
    name = os.environ["STUDY"]
    collected = conduct(config, study_of(name).methods, console)
    folder = Path(str(config.results_dir))
    folder.mkdir(parents=True, exist_ok=True)
    collected.points.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    import sys

    trace_those_of_all_weights()
    for name in os.environ["STUDIES"].split(","):
        os.environ["STUDY"] = name
        # Processes that are started from here begin with these arguments: they must not be read again.
        sys.argv[1:] = [*SHORT, *STUDIES[name][3], *os.environ["WORDS"].split()]
        try:
            script(study_of(name), main)
        except SystemExit as done:
            if done.code:
                raise
