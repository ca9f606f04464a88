"""What a training step of GAPO costs for m objectives, against a step of PPO on one objective.

    python -m benchmarks.gapo_step [--objectives 2 3 4 8] [--sizes 64x2 256x6] [--prompts 64] [--trials 7]

A step is all of it: rollout, losses, the gradients that the probe asks for, the weights, one backward pass, both
optimisers. TorchJD's `backward` and `jac_to_grad` stand beside it on the same model and losses. Prints a table and
writes results/benchmarks/gapo_step.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchjd.autojac
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler
from torchjd.aggregation import MGDA

from benchmarks.measuring import RESULTS, medians, peak_memory, report, synthetic, training_step
from lightning_moa.aggregation import GAPO, Linear
from lightning_moa.batches import PromptBatch
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.gapo import GAPO as TrainedByGAPO
from lightning_moa.objectives import PPO, PPOSettings
from lightning_moa.objectives.rollout import Sampling
from lightning_moa.policies import PROBES, LoRA, build_model
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards import RuleRewards

SINGLE = "PPO on one"
OURS = "GAPO"
PEERS = {"TorchJD": None, "TorchJD 1 by 1": 1}
"""By how many losses it differentiates at once; None is its default, all."""
RULES = ("helpful", "harmless", "humorous", "concise")

Step = Callable[[], Any]


class Bench:
    """A model size and a batch of prompts: steps of policies that all start the same."""

    def __init__(self, prompts: int, hidden: int, layers: int, updates: int) -> None:
        data = synthetic(prompts, RULES)
        self.hidden, self.layers, self.updates = hidden, layers, updates
        self.tokenizer = data.world_tokenizer()
        self.gold = list((data.gold_rewards() or {}).values())
        batch = next(data.batches(self.tokenizer, "train", "prompts", prompts, limit=prompts))
        assert isinstance(batch, PromptBatch)
        self.batch = batch

    def single(self) -> Step:
        """PPO on the world's first reward."""
        return self.step(
            DPS(self.policy(), self.objective(1), Linear(), adam, m=1, seed=0, at=[1.0], grad_clip=1.0)
        )

    def gapo(self, m: int, probe: str | None) -> Step:
        """GAPO with p = 1."""
        return self.step(self.method(m, probe))

    def peer(self, m: int, at_once: int | None) -> Step:
        """TorchJD's step, which differentiates so many losses at once."""
        return self.torchjds(self.method(m, None), at_once)

    def torchjds(self, method: Alignment, at_once: int | None) -> Step:
        """The method's step with the policy's gradient by TorchJD: the Jacobian of all parameters and its MGDA."""
        parameters = method.policy.trainable_parameters()

        def backward(
            part: Any, preference: Tensor, weight: Tensor | None, shared_weight: Tensor | None
        ) -> tuple[Tensor, Tensor]:
            losses = method.objective.losses(method.policy, part, preference)
            torchjd.autojac.backward(losses, inputs=parameters, parallel_chunk_size=at_once)
            torchjd.autojac.jac_to_grad(parameters, MGDA())
            own = method.objective.own_loss(part)
            assert own is not None
            own.backward()
            # TorchJD has no scalar that it minimises: the losses' mean stands for it in the log.
            return losses.detach(), losses.detach().mean()

        method._backward = backward  # type: ignore[method-assign]
        return self.step(method)

    def method(self, m: int, probe: str | None) -> Alignment:
        return TrainedByGAPO(
            self.policy(), self.objective(m), GAPO(1.0), adam, m=m, seed=0, probe=probe, grad_clip=1.0
        )

    def policy(self) -> LoRA:
        model = build_model(
            "mistral",
            vocab_size=len(self.tokenizer),
            hidden_size=self.hidden,
            layers=self.layers,
            intermediate_size=2 * self.hidden,
            max_positions=24,
            pad_id=self.tokenizer.pad_token_id,
            bos_id=self.tokenizer.bos_token_id,
            eos_id=self.tokenizer.eos_token_id,
        )
        return LoRA(model, 8, seed=0)

    def objective(self, m: int) -> PPO:
        return PPO(
            RuleRewards({f"reward_{i}": self.reward(i) for i in range(m)}),
            Critic(self.hidden, m),
            adam,
            self.tokenizer,
            Sampling(16),
            PPOSettings(update_iters=self.updates),
        )

    def reward(self, i: int) -> Callable[..., np.ndarray]:
        """The world's rules, and after them differences between two."""
        first = self.gold[i % len(RULES)]
        if i < len(RULES):
            return first
        second = self.gold[(i + 1) % len(RULES)]
        return lambda prompts, responses: first(prompts, responses) - second(prompts, responses)

    def step(self, method: Alignment) -> Step:
        return training_step(method, self.batch)


def adam(parameters: Iterable[Parameter]) -> tuple[Optimizer, LRScheduler]:
    """So small a learning rate that each step samples what the first one did."""
    optimiser = torch.optim.AdamW(list(parameters), lr=1e-6)
    return optimiser, ConstantLR(optimiser, 1.0)


def rise(step: Step) -> float:
    """MiB by which memory rises in a step, at its peak; what earlier steps left unused is given back before."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with peak_memory() as taken:
        step()
    return taken["mib"]


def measure(bench: Bench, m: int, trials: int) -> list[dict[str, Any]]:
    """One row per way, each of which is timed in turn."""
    ways: dict[tuple[str, str], Step] = {(SINGLE, ""): bench.single()}
    ways |= {(OURS, probe): bench.gapo(m, probe) for probe in PROBES}
    ways |= {(name, "all"): bench.peer(m, at_once) for name, at_once in PEERS.items()}
    seconds = medians(ways, trials)
    memory = {way: rise(step) for way, step in ways.items()}
    one = SINGLE, ""
    return [
        {
            "objectives": m,
            "way": way[0],
            "probe": way[1],
            "seconds": seconds[way],
            "times_single": seconds[way] / seconds[one],
            "step_rise_mib": memory[way],
        }
        for way in ways
    ]


def main(
    objectives: list[int], sizes: list[tuple[int, int]], prompts: int, updates: int, trials: int, folder: Path
) -> pd.DataFrame:
    """One row per model size, number of objectives and way; the single objective's row is measured beside each."""
    torch.set_num_threads(1)
    # TorchJD's default differentiates through vmap, which has no rule for attention's backward pass.
    warnings.filterwarnings("ignore", message="There is a performance drop.*")
    rows = []
    for hidden, layers in sizes:
        bench = Bench(prompts, hidden, layers, updates)
        size = {"prompts": prompts, "hidden": hidden, "layers": layers, "updates": updates}
        rows += [{**size, **row, "trials": trials} for m in objectives for row in measure(bench, m, trials)]
    return report("gapo_step", rows, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objectives", type=int, nargs="+", default=[2, 3, 4, 8], help="numbers of them")
    parser.add_argument("--sizes", nargs="+", default=["64x2", "256x6"], help="models, as width x layers")
    parser.add_argument("--prompts", type=int, default=64, help="of a rollout")
    parser.add_argument("--updates", type=int, default=1, help="on each rollout")
    parser.add_argument("--trials", type=int, default=7, help="whose median is taken")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSV goes")
    arguments = parser.parse_args()
    main(
        arguments.objectives,
        [tuple(map(int, size.split("x"))) for size in arguments.sizes],  # type: ignore[misc]
        arguments.prompts,
        arguments.updates,
        arguments.trials,
        arguments.folder,
    )
