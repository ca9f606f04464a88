"""Two batches' updates of each gradient-based method, on one process or on two; as a script it is the two.

A process's share of the batch is its contiguous part of the joint one, as the loaders deal it out.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from lightning_moa.aggregation import GAPO, MGDA, PGAPO, Linear
from lightning_moa.batches import PromptBatch
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.gapo import GAPO as TrainedByGAPO
from lightning_moa.methods.mgda import MGDA as TrainedByMGDA
from lightning_moa.methods.pgapo import PGAPO as TrainedByPGAPO
from lightning_moa.methods.safe_rlhf import SafeRLHF
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.policies import PROBES, LoRA
from tests.methods.fitting import sgd, state
from tests.objectives.rollouts import centred, ppo, prompts
from tests.policies.models import shake, tiny

M = 3
ROWS = 8
SAFE = "safe_rlhf"
AGAIN = "gapo/last_layer/again"
"""Two batches an update, two updates on each."""
CASES = [*(f"{kind}/{probe}" for kind in ("gapo", "mgda", "pgapo") for probe in PROBES), AGAIN, SAFE]


def build(case: str) -> Alignment:
    """The method, on the tiny policy that all cases start from, in double precision."""
    policy = shake(LoRA(tiny(), 2, seed=0), std=0.3)
    kind, probe, *_ = [*case.split("/"), ""]
    times = 2 if case == AGAIN else 1
    weigh = "advantages" if kind == SAFE else "surrogates"
    objective = ppo(M, rules=centred(M), kl_coeff=0.1, weigh=weigh, update_iters=times)
    shared: dict[str, Any] = {"m": M, "seed": 0, "accumulate": times}
    if kind == SAFE:
        return SafeRLHF(policy, objective, Linear(), sgd(0.05), lagrangian={"lr": 0.5}, **shared)
    shared |= {"probe": probe, "watch": GradientWatch(policy, objective.rewards.objectives, 1)}
    if kind == "gapo":
        return TrainedByGAPO(policy, objective, GAPO(1.0), sgd(0.05), **shared)
    if kind == "mgda":
        return TrainedByMGDA(policy, objective, MGDA(), sgd(0.05), **shared)
    return TrainedByPGAPO(policy, objective, PGAPO(), sgd(0.05), at=[0.2, 0.5, 0.3], **shared)


def share(batch: PromptBatch, rank: int, processes: int) -> PromptBatch:
    """The rows of one process."""
    each = len(batch.prompts) // processes
    rows = slice(rank * each, (rank + 1) * each)
    return PromptBatch(
        batch.input_ids[rows], batch.attention_mask[rows], batch.prompts[rows], batch.index[rows]
    )


class Shares(L.LightningDataModule):
    """Hands each process its rows."""

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        batches = [share(prompts(ROWS, seed=s), trainer.global_rank, trainer.world_size) for s in (1, 2)]
        return DataLoader(batches, batch_size=None, shuffle=False)  # type: ignore[arg-type]


def fit(case: str, processes: int) -> dict[str, Any]:
    """The policy and the critic after the updates, and what the method and its watch noted on the way."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    method = build(case).double()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    method.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        trainer.fit(method, datamodule=Shares())
    return {"watched": watched(method), **values(method)}


def values(method: Alignment) -> dict[str, Any]:
    """What a method is made of, as vectors."""
    return {
        "policy": state(method.policy),
        "critic": torch.cat([each.detach().flatten() for each in method.objective.parameters()]),
        "logs": torch.tensor([float(value) for value in method.logs().values()], dtype=torch.float64),
    }


def watched(method: Alignment) -> torch.Tensor:
    """(looks * probes * m, numbers in a row)."""
    rows = [] if method.watch is None else method.watch.rows
    numbers = [[value for value in row.values() if not isinstance(value, str)] for row in rows]
    return torch.tensor(numbers, dtype=torch.float64)


def main(folder: Path) -> None:
    """What each process finds, to `<case>.<rank>.pt`."""
    torch.set_num_threads(1)
    for case in CASES:
        found = fit(case, 2)
        torch.save(found, folder / f"{case.replace('/', '-')}.{torch.distributed.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
