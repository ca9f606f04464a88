"""Trainings by a plain `Trainer` that are gone on with from a checkpoint; as a script it is one of two processes."""

from __future__ import annotations

import io
import json
import logging
import random
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from rich.console import Console

import lightning_moa as moa
from lightning_moa.config import parse
from lightning_moa.deployments import Alone, Steered, TrainedOn
from lightning_moa.methods.base import Alignment
from lightning_moa.methods.checkpointing import own_state
from lightning_moa.methods.products import (
    DPS_DPO,
    GAPO_P1_PPO,
    MGDA_PPO,
    PANACEA_LS_DPO,
    PANACEA_PPO,
    PGAPO_PPO,
    REWARDED_SOUPS_DPO,
    SAFE_RLHF_PPO,
    Product,
    ham,
    ric,
    sca_heads,
)
from lightning_moa.methods.sections import all_sections
from lightning_moa.runs.align import assembled
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.execute import execute
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

PREFERENCES = ((0.0, 1.0), (1.0, 0.0))
OUTSIDE = Product(
    "panacea",
    "my_policy:FiLM",
    "my_objective:IPO",
    "my_aggregation:SmoothTchebycheff",
    TrainedOn.sampled(),
    Steered(),
)
METHODS = {
    "panacea_dpo": PANACEA_LS_DPO,
    "rewarded_soups_dpo": REWARDED_SOUPS_DPO,
    "dps_dpo": DPS_DPO,
    "panacea_ppo": PANACEA_PPO,
    "gapo": GAPO_P1_PPO,
    "mgda": MGDA_PPO,
    "pgapo": PGAPO_PPO,
    "safe_rlhf": SAFE_RLHF_PPO,
    "dynamic_weights": Product(
        "dynamic_weights", "lora", moa.use("grpo", weigh="surrogates"), "linear", TrainedOn.centre(), Alone()
    ),
    "ham": ham(3),
    "sca_heads": sca_heads(PREFERENCES),
    "ric": ric(PREFERENCES),
    "outside": OUTSIDE,
}
"""Every LightningModule, each with the objective that it has most to remember of, and one from outside."""
ONLINE = ("ham", "ric")
"""Trained once more, on rows of an online round."""
WORDS = (
    *("scale=smoke", "seeds=[0]", "code_in_key=false", "data.pairs=40", "data.eval_pairs=24"),
    *("data.sft_rows=300", "sft.steps=4", "evaluation.trained_rewards=false", "exact_beta=0.5"),
    *("adapter.dropout=0.1", "dpo.steps=5", "dpo.batch_size=8", "dpo.accumulate=2", "dpo.schedule=constant"),
    *("dpo.warmup_ratio=0", "ipo.steps=5", "ipo.batch_size=8", "ipo.accumulate=2"),
    *("ppo.steps=4", "ppo.batch_size=8", "ppo.accumulate=2", "ppo.update_iters=2", "ppo.max_new_tokens=4"),
    *("ppo.schedule=constant", "ppo.warmup_ratio=0", "ppo.critic_lr=0.05", "lagrangian.delay=0"),
    *("grpo.steps=4", "grpo.batch_size=4", "grpo.group=2", "grpo.accumulate=2", "grpo.update_iters=2"),
    *("grpo.max_new_tokens=4", "grpo.schedule=constant", "grpo.warmup_ratio=0", "grpo.reward=gold"),
    *("likelihood.steps=6", "likelihood.rows=60", "likelihood.batch_size=8", "likelihood.schedule=constant"),
    *("likelihood.warmup_ratio=0", "likelihood.accumulate=2", "heads.warm_up=3", "online.rounds=1"),
    *("online.generated=24", "online.kept=6", "online.steps=6", "online.lr=0.01"),
    *(f"methods.{name}.settings.adapter.targets=all-linear" for name in ("ham", "sca_heads", "ric")),
)
WATCHED = "by TrainingData, watched"

Ready = dict[str, tuple[dict[str, Any], dict[str, Path]]]


def prepared(runs: Path) -> Ready:
    """Each training's spec, and the folders of what it needs, which are made below `runs`."""
    folder = REPOSITORY / "experiments/panacea/config/dpo"
    config: Any = parse(schema_of(METHODS), WORDS, folder, METHODS, all_sections())
    tasks = {}
    for name, policies in plan_study(config, METHODS).seeds[0].policies.items():
        first = policies[0].needs.get("start")
        tasks[name] = first or policies[0]
        if name in ONLINE:
            tasks[f"{name}_online"] = policies[0]
    needed = [need for task in tasks.values() for need in task.needs.values()]
    execute(needed, runs, workers=1, fresh=False, console=Console(file=io.StringIO()))
    return {
        name: (dict(task.spec), {role: runs / need.key for role, need in task.needs.items()})
        for name, task in tasks.items()
    }


class SaveAt(Callback):
    """Writes `<batch>.ckpt` behind some of a training's batches, and ends it with the last of them."""

    def __init__(self, batches: Sequence[int], folder: Path) -> None:
        self.batches, self.folder = batches, folder

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx in self.batches:
            trainer.save_checkpoint(self.folder / f"{batch_idx}.ckpt")
        trainer.should_stop = batch_idx >= max(self.batches)


class Count(Callback):
    """The batches of a start."""

    def __init__(self) -> None:
        self.trained: list[int] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.trained.append(batch_idx)


def plain_trainer(*callbacks: Callback, devices: int = 1, **options: Any) -> L.Trainer:
    """As a user would write it, but silent."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"max_epochs": 1, **options},
    )


def trained(
    ready: Ready, name: str, *callbacks: Callback, ckpt_path: Path | None = None, devices: int = 1
) -> Alignment:
    """The method behind a training by a plain Trainer, from its beginning or from a checkpoint."""
    method, source = assembled(*ready[name])[1:3]
    method.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        plain_trainer(*callbacks, devices=devices).fit(
            method, datamodule=source, ckpt_path=ckpt_path, weights_only=True
        )
    return method


def places(name: str, batches: int) -> tuple[int, int]:
    """Of a training's batches, two an update, one that ends an update and one that doesn't: anywhere, and the same each
    time."""
    drawn = random.Random(name)
    return 2 * drawn.randrange(batches // 2 - 1) + 1, 2 * drawn.randrange(1, batches // 2)


def content(method: Alignment) -> dict[str, Any]:
    """All that a training has left, by name."""
    return {**method.policy.trained_state(), **flat(own_state(method))}


def flat(value: Any, where: str = "own") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in flat(each, f"{where}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, each in enumerate(value) for k, v in flat(each, f"{where}.{i}").items()}
    return {where: value}


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of what is not the same, to the byte."""
    assert first.keys() == second.keys()
    return [
        name
        for name, value in first.items()
        if not (
            torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        )
    ]


def watched(folder: Path, *callbacks: Callback, ckpt_path: Path | None = None) -> dict[str, Any]:
    """What two epochs leave of a training on `TrainingData` that is validated, sampled from and might be stopped."""
    small = {"pairs": 48, "eval_pairs": 20, "sft_rows": 40}
    data = moa.TrainingData("synthetic", batch_size=8, options=small)
    model = moa.build_model(tokenizer=data.tokenizer, hidden_size=16, layers=1, heads=2, intermediate_size=32)
    method = moa.Panacea(moa.SVDLoRA(model, k=2, m=2, seed=0), moa.DPO(beta=0.1), lr=0.05, accumulate=2)
    grid = moa.GridRewards(grid_step=1.0, prompts=5, path=folder / "fronts.csv", max_new_tokens=4)
    stop = EarlyStopping("grid/hypervolume", patience=50, mode="max")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore")
        trainer = plain_trainer(stop, grid, *callbacks, devices=2, max_epochs=2, val_check_interval=2)
        trainer.fit(method, data, ckpt_path=ckpt_path, weights_only=True)
    waited = {"waited": stop.wait_count, "fronts": (folder / "fronts.csv").read_text()}
    return content(method) | waited | {name: float(value) for name, value in trainer.callback_metrics.items()}


def main(folder: Path) -> None:
    """Each method on two processes, undisturbed and gone on with: what differs, to `differing.<rank>.json`."""
    torch.set_num_threads(1)
    given = json.loads((folder / "ready.json").read_text())
    ready = {
        name: (spec, {role: Path(path) for role, path in inputs.items()})
        for name, (spec, inputs) in given.items()
    }
    found = {}
    for i, name in enumerate(ready):
        count, again = Count(), Count()
        whole = trained(ready, name, count, devices=2)
        place = places(name, len(count.trained))[i % 2]
        trained(ready, name, SaveAt([place], folder), devices=2)
        resumed = trained(ready, name, again, ckpt_path=folder / f"{place}.ckpt", devices=2)
        found[name] = {
            "differing": differing(content(whole), content(resumed)),
            "went on": again.trained == list(range(place + 1, len(count.trained))),
        }
    whole, again = watched(folder), Count()
    watched(folder, SaveAt([4], folder))
    resumed = watched(folder, again, ckpt_path=folder / "4.ckpt")
    went_on = again.trained == [5, *range(6)]
    found[WATCHED] = {"differing": differing(whole, resumed), "went on": went_on}
    (folder / f"differing.{torch.distributed.get_rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
