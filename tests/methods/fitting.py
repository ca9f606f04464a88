"""Fits of small policies for the tests of this room."""

from __future__ import annotations

import lightning as L
import torch
from torch.utils.data import DataLoader

from lightning_moa.batches import PairBatch
from lightning_moa.policies import Policy, SVDLoRA
from tests.objectives.batches import pairs
from tests.policies.models import tiny


def adapter(m: int, k: int = 2, **options: float) -> SVDLoRA:
    return SVDLoRA(tiny(), k=k, m=m, seed=0, **options)


def sgd(lr: float = 0.1, steps: int = 100):
    """A factory of plain gradient descent whose learning rate falls by a tenth after each update."""

    def build(parameters):
        optimiser = torch.optim.SGD(list(parameters), lr=lr)
        return optimiser, torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.9)

    return build


def adam(lr: float):
    def build(parameters):
        optimiser = torch.optim.AdamW(list(parameters), lr=lr, weight_decay=0.0)
        return optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)

    return build


def labelled(count: int, seed: int = 0) -> PairBatch:
    """Pairs with two labels each and log-probs of the model that `adapter` starts from."""
    labels = torch.randint(0, 2, (count, 2), generator=torch.Generator().manual_seed(seed)).float().tolist()
    return pairs(labels, seed, Policy(tiny()))


def train(module: L.LightningModule, batches: list) -> L.LightningModule:
    """Train on the batches once, in order."""
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    module.train()
    trainer.fit(module, DataLoader(batches, batch_size=None, shuffle=False))
    return module


def state(policy: SVDLoRA) -> torch.Tensor:
    """All trained values as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in policy.trainable_parameters()])
