"""A `Trainer` of one's own goes on from a checkpoint to the bytes of an undisturbed training, for every method."""

from __future__ import annotations

import io
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from lightning_moa.config import parse
from lightning_moa.errors import UserError
from lightning_moa.methods.checkpointing import KEY, own_state
from lightning_moa.methods.products import GAPO_P1_PPO, PANACEA_LS_DPO, PANACEA_PPO, SAFE_RLHF_PPO, ham
from lightning_moa.methods.sections import all_sections
from lightning_moa.runs.align import assembled
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.execute import execute
from lightning_moa.study.planning import plan_study
from tests.conftest import REPOSITORY

METHODS = {
    "panacea_dpo": PANACEA_LS_DPO,
    "panacea_ppo": PANACEA_PPO,
    "gapo": GAPO_P1_PPO,
    "safe_rlhf": SAFE_RLHF_PPO,
    "ham": ham(3),
}
WORDS = (
    *(
        "scale=smoke",
        "seeds=[0]",
        "code_in_key=false",
        "data.pairs=40",
        "data.eval_pairs=24",
        "data.sft_rows=300",
    ),
    *("sft.steps=4", "evaluation.trained_rewards=false", "exact_beta=0.5", "adapter.dropout=0.1"),
    *("dpo.steps=5", "dpo.batch_size=8", "dpo.accumulate=2", "dpo.schedule=constant", "dpo.warmup_ratio=0"),
    *("ppo.steps=4", "ppo.batch_size=8", "ppo.accumulate=2", "ppo.update_iters=2", "ppo.max_new_tokens=4"),
    *("ppo.schedule=constant", "ppo.warmup_ratio=0", "ppo.critic_lr=0.05", "lagrangian.delay=0"),
    *("likelihood.steps=6", "likelihood.rows=60", "likelihood.batch_size=8", "likelihood.schedule=constant"),
    *("likelihood.warmup_ratio=0", "likelihood.accumulate=2", "heads.warm_up=3", "online.rounds=0"),
    "methods.ham.settings.adapter.targets=all-linear",
)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """Each method's spec, and the folders of what its training needs."""
    runs = tmp_path_factory.mktemp("runs")
    config = parse(
        schema_of(METHODS), WORDS, REPOSITORY / "experiments/panacea/config/dpo", METHODS, all_sections()
    )
    tasks = {name: policies[0] for name, policies in plan_study(config, METHODS).seeds[0].policies.items()}
    needed = [need for task in tasks.values() for need in task.needs.values()]
    execute(needed, runs, workers=1, fresh=False, console=Console(file=io.StringIO()))
    return {
        name: (dict(task.spec), {role: runs / need.key for role, need in task.needs.items()})
        for name, task in tasks.items()
    }


class SaveAt(Callback):
    """Writes a checkpoint behind a batch."""

    def __init__(self, batch: int, path: Path) -> None:
        self.batch, self.path = batch, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if batch_idx == self.batch:
            trainer.save_checkpoint(self.path)


def plain_trainer(*callbacks: Callback) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


def trained(ready, name: str, *callbacks: Callback, ckpt_path: Path | None = None):
    """The method behind a whole training by a plain Trainer, from its beginning or from a checkpoint."""
    method, source = assembled(*ready[name])[1:3]
    method.train()
    plain_trainer(*callbacks).fit(method, datamodule=source, ckpt_path=ckpt_path, weights_only=True)
    return method


def content(method) -> dict:
    return {**method.policy.trained_state(), **flat(own_state(method))}


def flat(value, where: str = "own") -> dict:
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in flat(each, f"{where}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, each in enumerate(value) for k, v in flat(each, f"{where}.{i}").items()}
    return {where: value}


def same(first: dict, second: dict) -> list[str]:
    """Names of what differs."""
    assert first.keys() == second.keys()
    return [
        name
        for name, value in first.items()
        if not (
            torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        )
    ]


@pytest.mark.parametrize(
    ("name", "batch"),
    # Behind an update, and in the middle of one.
    [(name, batch) for name in METHODS for batch in (3, 4)],
)
def test_a_training_goes_on_from_a_checkpoint_as_if_nothing_had_been(ready, tmp_path, name, batch):
    path = tmp_path / "middle.ckpt"
    whole = content(trained(ready, name, SaveAt(batch, path)))
    again = content(trained(ready, name, ckpt_path=path))
    assert same(whole, again) == []


def test_what_a_checkpoint_leaves_out_would_show(ready, tmp_path):
    """The test can fail: without the critic, the counter or the waiting batch the end is another one."""
    for name, lost in (("panacea_ppo", "objective"), ("ham", "aggregator"), ("panacea_dpo", "held")):
        path = tmp_path / f"{name}.ckpt"
        whole = content(trained(ready, name, SaveAt(2, path)))
        saved = torch.load(path, weights_only=True)
        fresh = torch.load(first_checkpoint(ready, name, tmp_path), weights_only=True)
        if lost == "held":
            saved[KEY]["processes"][0]["held"] = []
        else:
            saved[KEY][lost] = fresh[KEY][lost]
        torch.save(saved, path)
        assert same(whole, content(trained(ready, name, ckpt_path=path))) != []


def first_checkpoint(ready, name: str, folder: Path) -> Path:
    """One of a training that has not begun."""

    class AtStart(Callback):
        def on_train_start(self, trainer, pl_module) -> None:
            trainer.save_checkpoint(folder / "start.ckpt")
            trainer.should_stop = True

    trained(ready, name, AtStart())
    return folder / "start.ckpt"


def test_a_checkpoint_holds_what_is_trained_and_not_the_base(ready, tmp_path):
    path = tmp_path / "some.ckpt"
    method = trained(ready, "panacea_ppo", SaveAt(3, path))
    saved = torch.load(path, weights_only=True)
    names = {name for name, value in method.named_parameters() if value.requires_grad}
    assert set(saved["state_dict"]) == names
    assert all(name.startswith("critic.") for name in saved[KEY]["objective"])
    assert len(saved[KEY]["objective"]) > 0


def test_load_from_checkpoint_gives_the_trained_policy(ready, tmp_path):
    path = tmp_path / "last.ckpt"
    method = trained(ready, "panacea_dpo", SaveAt(9, path))
    run, other, *_ = assembled(*ready["panacea_dpo"])
    loaded = type(method).load_from_checkpoint(
        path,
        weights_only=True,
        policy=run.policy,
        objective=other.objective,
        aggregator=other.aggregator,
        optimiser=other.make_optimiser,
        m=2,
        seed=0,
    )
    assert same(method.policy.trained_state(), loaded.policy.trained_state()) == []


def test_one_that_was_loaded_and_is_trained_anew_begins_at_its_beginning(ready, tmp_path):
    path = tmp_path / "some.ckpt"
    whole = content(trained(ready, "panacea_ppo", SaveAt(3, path)))
    anew, source = assembled(*ready["panacea_ppo"])[1:3]
    start = {name: value.clone() for name, value in anew.policy.trained_state().items()}
    critic = {name: value.clone() for name, value in anew.objective.state_dict().items()}
    anew.on_load_checkpoint(torch.load(path, weights_only=True))
    anew.policy.load_trained_state(start)
    anew.objective.load_state_dict(critic)
    plain_trainer().fit(anew.train(), datamodule=source)
    assert same(whole, content(anew)) == [], "as from the start: nothing of the checkpoint is left"


def test_another_modules_checkpoint_is_refused_by_name(ready):
    method = assembled(*ready["ham"]).method
    with pytest.raises(UserError, match="holds no 'alignment': it is not one of HaM's"):
        method.on_load_checkpoint({"state_dict": {}})
