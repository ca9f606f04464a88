"""Would it pay to train policies that differ in preference or seed alone side by side, over one frozen base?

    python -m benchmarks.side_by_side [--policies 1 2 4 8] [--sizes 64x2 256x4] [--trials 5]

Asked before anything of the kind is built: k LoRA policies of rank 8, each with an update of its own one
after the other, against one update over k times the rows, in which each adapted layer multiplies by batched matrices
(k, 8, width). RLOO's update samples 64 responses of at most 16 tokens, scores them, goes forward and back and steps;
DPO's does so with 32 pairs. What a Trainer adds to an update is left out of both. Both ways give each policy
the same gradient, which the tests hold them to. Seconds are of one core's work, so that what else runs on the machine
counts little. Prints two tables and writes results/benchmarks/side_by_side.csv and side_by_side_memory.csv: what k
policies at once take at 7B on one base and on k, as `moa plan` counts.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks.measuring import RESULTS, medians, report, synthetic
from lightning_moa.aggregation import Linear
from lightning_moa.batches import PairBatch, PromptBatch
from lightning_moa.deployments import Alone, TrainedOn
from lightning_moa.methods.products import Product
from lightning_moa.objectives import DPO, RLOO
from lightning_moa.objectives.dpo import dpo_losses, implicit_margins
from lightning_moa.objectives.settings import RLOOConfig
from lightning_moa.pareto import even_preferences
from lightning_moa.policies import LoRA, build_model, response_logps
from lightning_moa.policies.layers import FOLD_LIMIT
from lightning_moa.policies.steered import SteeredPolicy
from lightning_moa.rewards import RuleRewards

RANK = 8
PROMPTS, GROUP, PAIRS = 16, 4, 32
UPDATES = 150
"""Of a policy at scale=tiny: what policies a minute are counted by."""
LORA_DPO = Product("dps", "lora", "dpo", "linear", TrainedOn.centre(), Alone())
REPOSITORY = Path(__file__).resolve().parents[1]


class Batched(nn.Module):
    """A linear layer with k adapters; rows are policy-major, an equal share for each. As `AdaptedLinear` does, it adds
    a small layer's updates to its weight."""

    def __init__(self, layers: Sequence[Any], steering: Any) -> None:
        super().__init__()
        self.base, self.steering = layers[0].base, steering
        self.lora_A, self.lora_B = (
            nn.Parameter(torch.stack([getattr(each, name).detach() for each in layers]))
            for name in ("lora_A", "lora_B")
        )
        # All are LoRA's constant.
        self.scaling = float(layers[0].gate.value[0])
        self.held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.steering.enabled:
            return self.base(x)
        shares = x.reshape(len(self.lora_A), -1, x.shape[-1])
        weight = self.folded() if self.held is None else self.held
        if weight is None:
            inner = self.scaling * torch.bmm(shares, self.lora_A.transpose(1, 2))
            return self.base(x) + torch.bmm(inner, self.lora_B.transpose(1, 2)).view(*x.shape[:-1], -1)
        y = torch.bmm(shares, weight).view(*x.shape[:-1], -1)
        return y if self.base.bias is None else y + self.base.bias

    def folded(self) -> Tensor | None:
        """(k, in, out), where the layer is small."""
        if self.base.weight.numel() > FOLD_LIMIT:
            return None
        down, up = self.lora_A.transpose(1, 2), self.lora_B.transpose(1, 2)
        return torch.baddbmm(self.base.weight.T, down, up, alpha=self.scaling)


class SideBySide(SteeredPolicy):
    """k LoRA policies as one, on the first one's model: its rows are policy-major, an equal share for each.

    Args:
        policies: of one base, which are of no use afterwards.
    """

    def __init__(self, policies: Sequence[LoRA]) -> None:
        layers = {name: [each.layers[name] for each in policies] for name in policies[0].targets}
        super().__init__(policies[0].model)
        self.batched = {name: Batched(each, self.steering) for name, each in layers.items()}
        for name, layer in self.batched.items():
            self.model.set_submodule(name, layer)

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            for layer in self.batched.values():
                layer.held = layer.folded()
            yield
        finally:
            for layer in self.batched.values():
                layer.held = None


class Bench:
    """k policies in both ways, their batches, and the two objectives. Policies differ in preference and seed."""

    def __init__(self, k: int, hidden: int, layers: int) -> None:
        data = synthetic(PROMPTS)
        self.tokenizer = data.world_tokenizer()
        self.preferences = torch.from_numpy(even_preferences(k, 2)).float()
        base = build_model(
            vocab_size=len(self.tokenizer),
            hidden_size=hidden,
            layers=layers,
            intermediate_size=2 * hidden,
            max_positions=24,
            pad_id=self.tokenizer.pad_token_id,
            bos_id=self.tokenizer.bos_token_id,
            eos_id=self.tokenizer.eos_token_id,
        )
        self.alone = [started(copy.deepcopy(base), seed) for seed in range(k)]
        self.together = SideBySide([started(copy.deepcopy(base), seed) for seed in range(k)])
        self.optimisers = [adam(policy) for policy in self.alone]
        self.optimiser = adam(self.together)
        self.rloo = RLOO(
            RuleRewards(data.gold_rewards()), self.tokenizer, RLOOConfig(group=GROUP, kl_coeff=0.3)
        )
        self.dpo = DPO(beta=0.3)
        (prompts,) = (next(data.batches(self.tokenizer, "eval", "prompts", PROMPTS, limit=PROMPTS)),)
        assert isinstance(prompts, PromptBatch)
        self.prompts = prompts
        self.pairs = [pairs_of(len(self.tokenizer), seed) for seed in range(k)]

    def repeated(self) -> PromptBatch:
        """The prompts once for each policy."""
        k = len(self.alone)
        tensors = {
            name: torch.cat([value] * k)
            for name, value in vars(self.prompts).items()
            if isinstance(value, Tensor)
        }
        return replace(self.prompts, prompts=list(self.prompts.prompts) * k, **tensors)

    def ways(self, objective: str) -> dict[str, Callable[[], None]]:
        """An update of all policies, one after the other and side by side."""
        if objective == "rloo":
            whole = self.repeated()

            def one(i: int) -> None:
                rollout = self.rloo.rollout(self.alone[i], self.prompts, self.preferences[i], 0)
                self.rloo_total(self.alone[i], rollout, self.preferences[i]).backward()

            def all_of_them() -> None:
                rollout = self.rloo.rollout(self.together, whole, self.preferences, 0)
                self.rloo_total(self.together, rollout, self.preferences).backward()

        else:
            stacked = stack_pairs(self.pairs)

            def one(i: int) -> None:
                losses = self.dpo.losses(self.alone[i], self.pairs[i], self.preferences[i])
                Linear()(losses, self.preferences[i]).backward()

            def all_of_them() -> None:
                self.dpo_total(stacked).backward()

        def alone() -> None:
            for i, optimiser in enumerate(self.optimisers):
                one(i)
                optimiser.step()
                optimiser.zero_grad()

        def together() -> None:
            all_of_them()
            self.optimiser.step()
            self.optimiser.zero_grad()

        return {"alone": alone, "side by side": together}

    def rloo_total(self, policy: Any, rollout: Any, preference: Tensor) -> Tensor:
        """The losses' sum over policies: each has the gradient of its own loss."""
        return self.rloo.losses(policy, rollout, preference).sum()

    def dpo_total(self, stacked: PairBatch) -> Tensor:
        """The same of pairs whose rows are policy-major: of each policy the first responses, then the second."""
        k = len(self.alone)
        masks = (stacked.attention_mask, stacked.response_mask)
        logps = response_logps(self.together, stacked.input_ids, *masks).view(k, -1)
        assert stacked.ref_logps is not None
        margins = implicit_margins(logps, stacked.ref_logps.view(k, -1), self.dpo.beta)
        losses = dpo_losses(margins, stacked.labels.view(k, PAIRS, -1)).mean(1)
        return (self.preferences * losses).sum()


def started(model: Any, seed: int) -> LoRA:
    """A LoRA policy some way off its reference, so that gradients reach both factors."""
    policy = LoRA(model, RANK, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in policy.layers.values():
            layer.lora_B.copy_(0.05 * torch.randn(layer.lora_B.shape, generator=generator))
    return policy


def adam(policy: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(policy.trainable_parameters(), lr=1e-5)


def pairs_of(vocabulary: int, seed: int) -> PairBatch:
    """32 pairs of 8 tokens of prompt and 16 of response, about as long as the world's."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (2 * PAIRS, 24), generator=generator)
    ids[PAIRS:, :8] = ids[:PAIRS, :8]
    response = (torch.arange(24) >= 8).expand(2 * PAIRS, -1)
    labels = torch.randint(2, (PAIRS, 2), generator=generator).float()
    ref_logps = -40 + torch.randn(2 * PAIRS, generator=generator)
    return PairBatch(
        ids, torch.ones_like(ids), response, labels=labels, index=torch.arange(PAIRS), ref_logps=ref_logps
    )


def stack_pairs(pairs: Sequence[PairBatch]) -> PairBatch:
    """All policies' pairs, one policy after the other."""
    fields = {name: torch.cat([getattr(each, name) for each in pairs]) for name in vars(pairs[0])
              if getattr(pairs[0], name) is not None}  # fmt: skip
    return PairBatch(**fields)


def main(policies: list[int], sizes: list[tuple[int, int]], trials: int, folder: Path) -> pd.DataFrame:
    """One row for each objective, model and number of policies: median seconds of a core in both ways, their ratio."""
    torch.set_num_threads(1)
    rows = []
    for hidden, layers in sizes:
        for k in policies:
            bench = Bench(k, hidden, layers)
            for objective in ("rloo", "dpo"):
                seconds = medians(bench.ways(objective), trials, time.process_time)
                rows.append(
                    {
                        "objective": objective,
                        "hidden": hidden,
                        "layers": layers,
                        "policies": k,
                        "alone_s": seconds["alone"],
                        "side_by_side_s": seconds["side by side"],
                        "times_faster": seconds["alone"] / seconds["side by side"],
                        "alone_per_minute": 60 * k / (UPDATES * seconds["alone"]),
                        "side_by_side_per_minute": 60 * k / (UPDATES * seconds["side by side"]),
                        "trials": trials,
                    }
                )
    return report("side_by_side", rows, folder)


def memory(policies: list[int], folder: Path) -> pd.DataFrame:
    """What k policies at once take at 7B, by the plan of DPO with LoRA of rank 8 at scale=gpu, GiB at its peak: on one
    base, where weights and process are there once and all else k times; and on a base each."""
    from lightning_moa.forecast.plan import plan_of

    words = ["scale=gpu", "methods=[benchmarks.side_by_side:LORA_DPO]"]
    plan = plan_of(REPOSITORY / "experiments" / "panacea" / "figure5.py", words)
    (row,) = (each for each in plan.rows if each.run.startswith("lora_dpo"))
    gib = {kind: size / 2**30 for kind, size in row.memory.items()}
    shared = sum(gib.get(kind, 0.0) for kind in ("weights", "process"))
    own = sum(gib.values()) - shared
    rows = [
        {
            "policies": k,
            "rows_each": row.rows,
            "base_gib": gib["weights"],
            "own_gib": own,
            "one_base_gib": shared + k * own,
            "a_base_each_gib": k * (shared + own),
            "phase": row.phase,
        }
        for k in policies
    ]
    return report("side_by_side_memory", rows, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, nargs="+", default=[1, 2, 4, 8], help="k")
    parser.add_argument("--sizes", nargs="+", default=["64x2", "256x4"], help="models, as width x layers")
    parser.add_argument("--trials", type=int, default=5, help="whose median is taken")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where the CSVs go")
    arguments = parser.parse_args()
    models = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    main(arguments.policies, models, arguments.trials, arguments.folder)  # type: ignore[arg-type]
    memory(arguments.policies, arguments.folder)
