"""A `Trainer` of one's own: the data module, arguments and their defaults, validation, and Lightning's switches."""

from __future__ import annotations

import json
from itertools import chain

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.optim import SGD
from torch.optim.lr_scheduler import LinearLR
from transformers import AutoModelForSequenceClassification

import lightning_moa as moa
from lightning_moa.errors import UserError
from lightning_moa.methods.evaluated import MeanOfMeans

SMALL = {"pairs": 48, "eval_pairs": 20, "sft_rows": 40}


def data_of(**changes) -> moa.TrainingData:
    return moa.TrainingData("synthetic", **{"batch_size": 8, "options": SMALL, **changes})


def model_of(data: moa.TrainingData):
    return moa.build_model(tokenizer=data.tokenizer, hidden_size=16, layers=1, heads=2, intermediate_size=32)


def panacea_of(data: moa.TrainingData, **changes) -> moa.Panacea:
    policy = moa.SVDLoRA(model_of(data), k=2, m=len(data.objectives), seed=0)
    return moa.Panacea(policy, moa.DPO(beta=0.1), **{"lr": 0.05, **changes})


def trainer_of(folder, *callbacks: Callback, **changes) -> L.Trainer:
    settings = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": any(isinstance(each, ModelCheckpoint) for each in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": folder,
        "num_sanity_val_steps": 0,
    }
    return L.Trainer(callbacks=list(callbacks), **{**settings, **changes})


class Seen(Callback):
    """The rows and the preferences that a training went through."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.preferences: list[list[float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.rows.append(batch.index.tolist())
        self.preferences.append(pl_module.preference(len(self.rows) - 1).tolist())


def test_two_epochs_go_through_all_rows_in_two_orders_with_a_log_by_name(tmp_path):
    data, seen = data_of(), Seen()
    method = panacea_of(data)
    asked = []
    draw = method.preference
    method.preference = lambda step: asked.append(step) or draw(step)
    trainer_of(
        tmp_path,
        seen,
        LearningRateMonitor("step"),
        logger=CSVLogger(tmp_path, name="log", version=""),
        val_check_interval=3,
    ).fit(method, data)
    batches = len(seen.rows) // 2
    first, second = (list(chain(*part)) for part in (seen.rows[:batches], seen.rows[batches:]))
    assert first != second
    assert len(set(first)) == len(first), "no row twice in an epoch"
    assert sorted(set(asked)) == list(range(2 * batches)), "each update has a preference of its own"
    log = pd.read_csv(tmp_path / "log" / "metrics.csv")
    told = {"loss", "loss/helpful", "loss/harmless", "val/loss", "val/loss/helpful", "val/accuracy/harmless"}
    assert told | {"val/own_accuracy/helpful", "lr-AdamW"} <= set(log.columns)
    assert log["val/loss"].notna().sum() == 2 * (batches // 3)
    assert log["val/accuracy/helpful"].dropna().between(0, 1).all()


def test_overfitting_goes_through_the_same_batches_in_each_epoch(tmp_path):
    for asked in (2, 0.34):
        data, seen = data_of(), Seen()
        trainer_of(tmp_path, seen, overfit_batches=asked, max_epochs=3).fit(panacea_of(data), data)
        assert len(seen.rows) == 6
        assert seen.rows[0] != seen.rows[1]
        assert seen.rows[:2] == seen.rows[2:4] == seen.rows[4:]


def test_reference_log_probs_are_those_of_the_base_and_validation_is_right(tmp_path):
    """Before the first update a policy is its reference: each DPO loss is log 2, and no pair is ranked."""
    data = data_of()
    (told,) = trainer_of(tmp_path).validate(panacea_of(data), data, verbose=False)
    for name in data.objectives:
        assert told[f"val/loss/{name}"] == pytest.approx(np.log(2), rel=1e-5)
    method = panacea_of(data)
    trainer = trainer_of(tmp_path)
    trainer.fit(method, data)
    (told,) = trainer.test(method, data, verbose=False)
    pairs = data.batches("eval", "pairs")
    counts = sum((~batch.labels.isnan()).sum(0) for batch in pairs)
    losses = 0
    method.eval()
    with torch.no_grad():
        for batch in pairs:
            of_batch = method.objective.losses(method.policy, batch, torch.full((2,), 0.5))
            losses = losses + of_batch * (~batch.labels.isnan()).sum(0)
    for i, name in enumerate(data.objectives):
        assert told[f"test/loss/{name}"] == pytest.approx(float(losses[i] / counts[i]), rel=1e-4)
    own, _ = moa.implicit_accuracies(method.policy, pairs, torch.eye(2))
    assert told["test/own_accuracy/helpful"] == pytest.approx(own[0, 0], abs=1e-6)


@pytest.mark.parametrize("stop", [2, 9])
def test_goes_on_from_a_checkpoint_of_either_epoch_to_the_same_bytes(tmp_path, stop):
    def trained(*callbacks, ckpt_path=None):
        data = data_of()
        method = panacea_of(data)
        trainer_of(tmp_path, *callbacks, limit_val_batches=0).fit(
            method, data, ckpt_path=ckpt_path, weights_only=True
        )
        return method.policy.trained_state()

    whole = trained(ModelCheckpoint(tmp_path, "at-{step}", every_n_train_steps=stop, save_top_k=-1))
    again = trained(ckpt_path=tmp_path / f"at-step={stop}.ckpt")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def sft_of(data: moa.TrainingData) -> moa.SFT:
    return moa.SFT(moa.Policy(model_of(data)), lr=0.01)


def reward_model_of(data: moa.TrainingData) -> moa.RewardModel:
    config = model_of(data).config
    config.num_labels = len(data.objectives)
    torch.manual_seed(0)
    return moa.RewardModel(AutoModelForSequenceClassification.from_config(config), lr=0.01)


@pytest.mark.parametrize("build", [sft_of, reward_model_of])
def test_trainings_of_all_weights_take_the_trainers_switches_and_go_on_too(tmp_path, build):
    def trained(*callbacks, ckpt_path=None, **switches):
        data = data_of()
        module = build(data)
        trainer_of(tmp_path, *callbacks, limit_val_batches=0, **switches).fit(
            module, data, ckpt_path=ckpt_path, weights_only=True
        )
        return module.state_dict()

    def same(first, second):
        return all(torch.equal(value, second[name]) for name, value in first.items())

    switches = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5}
    saved = ModelCheckpoint(tmp_path, "at-{step}", every_n_train_steps=1, save_top_k=-1)
    whole = trained(saved, **switches)
    assert same(whole, trained(ckpt_path=tmp_path / "at-step=4.ckpt", **switches))
    assert not same(whole, trained(**{**switches, "accumulate_grad_batches": 1}))
    assert not same(whole, trained(**{**switches, "gradient_clip_val": None}))


def test_a_checkpoint_is_loaded_by_its_class(tmp_path):
    data = data_of()
    method = panacea_of(data)
    saved = ModelCheckpoint(tmp_path, "last")
    trainer_of(tmp_path, saved, max_steps=3, limit_val_batches=0).fit(method, data)
    fresh = panacea_of(data)
    loaded = moa.Panacea.load_from_checkpoint(
        tmp_path / "last.ckpt", weights_only=True, policy=fresh.policy, objective=fresh.objective
    )
    for name, value in method.policy.trained_state().items():
        assert torch.equal(value, loaded.policy.trained_state()[name])


def test_the_held_out_loss_is_the_mean_of_the_objectives_losses_where_labels_are_missing():
    metric = MeanOfMeans()
    metric.update(torch.tensor([1.0, 5.0]), torch.tensor([3, 1]))
    metric.update(torch.tensor([2.0, 0.0]), torch.tensor([1, 0]))
    metric.update(torch.tensor([3.0, 7.0]), torch.tensor([2, 1]))
    assert float(metric.compute()) == pytest.approx(((3 + 2 + 6) / 6 + (5 + 7) / 2) / 2)
    metric.reset()
    metric.update(torch.tensor([4.0]), torch.tensor([8]))
    metric.update(torch.tensor([1.0]), torch.tensor([4]))
    assert float(metric.compute()) == pytest.approx(3)


def test_early_stopping_and_the_least_number_of_epochs_are_kept_to(tmp_path):
    def epochs(**changes):
        data = data_of()
        stop = EarlyStopping("val/loss", patience=0, min_delta=100.0)
        trainer = trainer_of(tmp_path, stop, max_epochs=6, limit_train_batches=2, **changes)
        trainer.fit(panacea_of(data), data)
        return trainer.global_step

    assert epochs() == 4
    assert epochs(min_epochs=4) == 8


@pytest.mark.parametrize(
    ("switch", "instead"),
    [
        ({"accumulate_grad_batches": 2}, "accumulate=2"),
        ({"gradient_clip_val": 0.5}, "grad_clip=0.5"),
        ({"gradient_clip_algorithm": "value"}, "grad_clip is the largest norm"),
        ({"precision": "bf16-true"}, "dtype"),
        ({"precision": "bf16-mixed"}, "dtype"),
    ],
)
def test_what_a_trainer_cannot_do_is_refused_with_what_to_use(tmp_path, switch, instead):
    data = data_of()
    with pytest.raises(UserError, match=instead):
        trainer_of(tmp_path, **switch).fit(panacea_of(data), data)


def test_optimisers_with_and_without_a_schedule(tmp_path):
    rates = []

    class Rate(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def scheduled(parameters):
        optimiser = SGD(parameters, lr=1.0)
        return optimiser, LinearLR(optimiser, 0.5, total_iters=4)

    for build in (lambda parameters: SGD(parameters, lr=1.0), scheduled):
        data = data_of()
        method = panacea_of(data, optimiser=build, accumulate=2)
        trainer_of(tmp_path, Rate(), max_steps=4, limit_val_batches=0).fit(method, data)
    assert rates[:8] == [1.0] * 8
    assert rates[8:] == [0.5, 0.625, 0.625, 0.75, 0.75, 0.875, 0.875, 1.0]
    with pytest.raises(UserError, match="an optimiser, or an optimiser and its schedule"):
        trainer_of(tmp_path).fit(panacea_of(data, optimiser=list), data)


def test_a_training_says_which_batches_made_no_update(tmp_path, capsys):
    data = data_of()
    once = {"max_epochs": 1, "limit_val_batches": 0, "limit_train_batches": 5}
    trainer_of(tmp_path, **once).fit(panacea_of(data, accumulate=5), data)
    assert "accumulate" not in capsys.readouterr().err
    trainer_of(tmp_path, **once).fit(panacea_of(data, accumulate=3), data)
    assert "warning: accumulate=3: the last 2 batches were too few for an update" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"accumulate=6: there were 5 batches, and no update was made"):
        trainer_of(tmp_path, **once).fit(panacea_of(data, accumulate=6), data)


def test_gapo_samples_scores_and_is_validated(tmp_path):
    data = data_of()
    policy = moa.LoRA(model_of(data), rank=2, seed=0)
    objective = moa.PPO.of(
        policy, moa.RuleRewards(data.source.gold_rewards()), data.tokenizer, max_new_tokens=4
    )
    method = moa.GAPO(policy, objective, objectives=data.objectives, lr=0.01)
    trainer = trainer_of(tmp_path, logger=CSVLogger(tmp_path, name="log", version=""), max_steps=3)
    trainer.fit(method, data)
    (told,) = trainer.validate(method, data, verbose=False)
    assert {"val/score/helpful", "val/kl", "val/length", "val/loss/harmless"} <= set(told)
    assert told["val/kl"] >= -0.5
    columns = set(pd.read_csv(tmp_path / "log" / "metrics.csv").columns)
    assert {"loss/helpful", "score/harmless", "kl_k1", "critic_loss", "weight_0"} <= columns


def test_ham_finds_its_z_and_its_rewards(tmp_path):
    data = data_of()
    policy = moa.Heads(model_of(data), heads=3, rank=2, jitter=0.01, seed=0)
    method = moa.HaM(policy, moa.RewardWeightedLikelihood(z_factor=2.0), objectives=data.objectives)
    trainer = trainer_of(tmp_path, max_epochs=1)
    trainer.fit(method, data)
    rewards = data.rewards("train")
    assert rewards.shape == (40, 2)
    assert (rewards.min(0) == 0).all()
    assert (rewards.max(0) == 1).all()
    assert method.objective.z > 0
    assert -1 <= float(trainer.callback_metrics["val/loss"]) <= 0


def test_labels_are_the_rewards_of_pairs_that_have_no_others(tmp_path):
    rows = [
        {
            "prompt": f"p {i}",
            "response_0": f"yes {i}",
            "response_1": f"no {i}",
            "good": None if i == 5 else i % 2,
        }
        for i in range(20)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = moa.TrainingData(path, {"helpful": "good", "other": "-good"}, vocab_size=300)
    prompts, responses = data.source.sft_rows("train")
    rewards = data.rewards("train")
    for prompt, response, reward in zip(prompts, responses, rewards, strict=True):
        i = int(prompt.split()[1])
        better = response.startswith("no") == bool(i % 2)
        expected = [0.5, 0.5] if i == 5 else [float(better), float(not better)]
        assert reward.tolist() == expected


def test_mistakes_are_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        moa.TrainingData("nothing.jsonl")
    with pytest.raises(UserError, match="has the options"):
        moa.TrainingData("synthetic", options={"pears": 3})
    for options, message in (
        (
            {"max_length": "long"},
            r"options=\{'max_length': 'long'\}: Value 'long' of type 'str' could not be",
        ),
        ({"labels": 3}, r"options=\{'labels': 3\}: Cannot assign int"),
        ({"pairs": 0}, "options: pairs=0: must be at least 1"),
        ({"template": 5}, "data.template='5': it must hold"),
    ):
        with pytest.raises(UserError, match=message):
            moa.TrainingData("synthetic", options=options)
    data = data_of()
    policy = moa.LoRA(model_of(data), rank=2)
    with pytest.raises(UserError, match=r"give objectives="):
        moa.GAPO(policy, moa.DPO(beta=0.1))
    with pytest.raises(UserError, match="3 objectives, the data 2"):
        trainer_of(tmp_path).fit(moa.GAPO(policy, moa.DPO(beta=0.1), m=3), data)
    with pytest.raises(UserError, match="tokenizer=, or vocab_size="):
        moa.build_model()


def test_a_model_by_its_folder_brings_its_tokenizer_into_agreement(tmp_path):
    data = data_of()
    moa.save_model(model_of(data), tmp_path)
    data.tokenizer.save_pretrained(tmp_path)
    again = data_of(tokenizer=str(tmp_path))
    assert len(again.tokenizer) == len(data.tokenizer)
    policy = moa.LoRA(str(tmp_path), rank=2)
    assert policy.model.config.vocab_size == len(data.tokenizer)
