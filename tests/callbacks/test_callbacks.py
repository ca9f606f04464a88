"""Callbacks under a `Trainer` of one's own: what they log, keep, show and stop."""

from __future__ import annotations

import importlib
import io
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import lightning_moa as moa
from lightning_moa.callbacks.log_responses import tell_text
from lightning_moa.errors import UserError
from tests.conftest import REPOSITORY
from tests.methods.test_own_trainer import SMALL, data_of, model_of, panacea_of, trainer_of


def fitted(tmp_path, *callbacks, **changes):
    data = data_of()
    method = panacea_of(data)
    trainer = trainer_of(
        tmp_path,
        *callbacks,
        **{"logger": CSVLogger(tmp_path, name="log", version=""), "limit_val_batches": 1, **changes},
    )
    trainer.fit(method, data)
    return method, data, pd.read_csv(tmp_path / "log" / "metrics.csv")


def test_a_grids_rewards_are_those_of_sampling_on_it(tmp_path):
    look = moa.GridRewards(
        grid_step=0.5, prompts=12, beta=0.5, path=tmp_path / "fronts.csv", max_new_tokens=6
    )
    seen = []

    class Monitor(EarlyStopping):
        def on_validation_end(self, trainer, pl_module):
            seen.append(float(trainer.callback_metrics["grid/hypervolume"]))

    # What monitors may stand first.
    method, data, log = fitted(tmp_path, Monitor("grid/hypervolume", mode="max"), look, max_epochs=2)
    front = pd.read_csv(tmp_path / "fronts.csv")
    assert len(front) == 2 * 3, "two looks at three preferences"
    assert front[["lambda_helpful", "lambda_harmless"]].head(3).to_numpy().tolist() == [
        [0, 1],
        [0.5, 0.5],
        [1, 0],
    ]
    told = log["grid/reward/helpful"].dropna()
    assert told.tolist() == pytest.approx(front.groupby("step")["reward_helpful"].mean().tolist())
    assert log["grid/best/harmless"].dropna().iloc[-1] == pytest.approx(
        front["reward_harmless"].tail(3).max()
    )
    points = front.tail(3)[["reward_helpful", "reward_harmless"]].to_numpy()
    assert seen[-1] == pytest.approx(moa.hypervolume(points, reference_point=look.reference_point))
    grid = moa.preference_grid(2, 0.5)
    best = data.source.exact_front(grid, 0.5).values
    reached = (grid * points).sum(1) - 0.5 * front["kl"].tail(3).to_numpy()
    assert log["grid/regret"].dropna().iloc[-1] == pytest.approx((best - reached).mean())
    again = look.sampled(method.trainer, method, method.policy, grid)
    assert again.groupby("preference")["reward_helpful"].mean().tolist() == pytest.approx(
        points[:, 0].tolist()
    )


def test_another_training_has_looks_of_its_own(tmp_path):
    look = moa.GridRewards(grid_step=1.0, prompts=4, max_new_tokens=4)
    given = moa.GridRewards(grid_step=1.0, prompts=3, max_new_tokens=4, reference_point=[-1, -2])
    points = []
    for seed in (0, 1):
        data = data_of(options={**SMALL, "world_seed": seed})
        trainer_of(tmp_path, look, given, max_epochs=1).fit(panacea_of(data, lr=0.5), data)
        assert len(look.fronts) == len(given.fronts) == 2
        assert look.data is data
        points.append(look.reference_point)
        pair = ([data.source.prompt_list("eval")[0]], ["locks cars"])
        assert look.rewards.scores(*pair)[0, 0] == data.source.gold_rewards()["helpful"](*pair)[0]
    assert points[0] != points[1]
    assert given.reference_point == [-1.0, -2.0]


def test_each_head_is_a_point_of_the_grid_and_rewards_may_be_given(tmp_path):
    data = data_of()
    policy = moa.Heads(model_of(data), heads=3, rank=2, jitter=0.5, seed=0)
    method = moa.HaM(policy, moa.RewardWeightedLikelihood(z_factor=2.0), objectives=data.objectives)
    short = {
        "short": lambda prompts, responses: -np.array([len(each.split()) for each in responses], dtype=float)
    }
    look = moa.GridRewards(short, every=2, prompts=6, max_new_tokens=4)
    heads = moa.WatchHeads(tmp_path / "heads.csv", every=2, rows=16)
    trainer_of(tmp_path, look, heads, max_steps=4, limit_val_batches=0).fit(method, data)
    front = pd.DataFrame(look.fronts)
    assert front["step"].tolist() == [2, 2, 2, 4, 4, 4]
    assert front["policy"].nunique() == 3
    assert (front["reward_short"] <= 0).all()
    watched = pd.read_csv(tmp_path / "heads.csv")
    assert watched["step"].unique().tolist() == [0, 2, 4]
    assert {"alive", "kl", "loglik_helpful"} <= set(watched.columns)


def test_responses_go_to_the_terminal_a_file_and_loggers_that_take_texts(tmp_path, capsys):
    fitted(tmp_path, moa.LogResponses(prompts=2, path=tmp_path / "said.csv", max_new_tokens=4), max_epochs=2)
    said = pd.read_csv(tmp_path / "said.csv")
    assert len(said) == 2 * 2 * 3, "looks, prompts, preferences"
    assert set(said["under"]) == {"1 0", "0 1", "0.5 0.5"}
    assert said["step"].nunique() == 2
    assert "update" in capsys.readouterr().out

    class Texts:
        def __init__(self) -> None:
            self.got: list[tuple] = []
            self.experiment = self

        def add_text(self, *given) -> None:
            self.got.append(given)

    board = Texts()
    tell_text(board, said.head(1).assign(response="a|b"), 7)
    ((tag, text, step),) = board.got
    assert (tag, step) == ("responses", 7)
    assert "a\\|b" in text


def test_what_was_looked_at_is_kept_once_by_a_fit_that_goes_on(tmp_path):
    """A start that is killed has written more than its last checkpoint knows of."""

    def fit(*callbacks, ckpt_path=None):
        data = data_of()
        looks = [
            moa.GridRewards(
                grid_step=1.0, every=2, prompts=4, path=tmp_path / "fronts.csv", max_new_tokens=4
            ),
            moa.LogResponses(prompts=2, path=tmp_path / "said.csv", show=False, max_new_tokens=4),
        ]
        trainer = trainer_of(tmp_path, *looks, *callbacks, max_epochs=1, val_check_interval=2)
        trainer.fit(panacea_of(data), data, ckpt_path=ckpt_path, weights_only=True)
        return [(tmp_path / name).read_bytes() for name in ("fronts.csv", "said.csv")]

    whole = fit()
    assert fit(ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)) == whole, (
        "it begins anew"
    )
    assert fit(ckpt_path=tmp_path / "step=3.ckpt") == whole


def test_a_study_that_goes_on_keeps_the_looks_before_it(tmp_path):
    """Its own checkpoints come without Lightning's path, and after this callback has begun."""
    said = tmp_path / "said.csv"

    def fit(*callbacks, **options):
        data = data_of()
        look = moa.LogResponses(prompts=2, path=said, every=1, show=False, max_new_tokens=4)
        trainer = trainer_of(tmp_path, look, *[each(look) for each in callbacks], **options)
        trainer.fit(panacea_of(data), data)
        return look.state_dict(), said.read_bytes()

    class TakesUp(Callback):
        state: ClassVar = {}

        def __init__(self, look):
            self.look = look

        def on_train_start(self, trainer, pl_module):
            self.look.load_state_dict(self.state)

    state, first = fit(max_steps=1)
    with said.open("ab") as file:
        file.write(b"of a start that was killed\n")
    TakesUp.state = state
    _, both = fit(TakesUp, max_steps=2)
    assert both.startswith(first)
    assert len(pd.read_csv(said)) == 3 * len(pd.read_csv(io.BytesIO(first)))
    assert fit(max_steps=1)[1] == first, "another fit begins anew"


def test_stops_on_kl_and_says_when_none_is_logged(tmp_path):
    data = data_of()
    policy = moa.LoRA(model_of(data), rank=2, seed=0)
    rewards = moa.RuleRewards(data.source.gold_rewards())
    objective = moa.PPO.of(policy, rewards, data.tokenizer, max_new_tokens=4, kl_coeff=0.0)
    method = moa.GAPO(policy, objective, objectives=data.objectives, lr=0.5)
    trainer = trainer_of(tmp_path, moa.StopOnKL(0.05), max_epochs=-1, max_steps=30, limit_val_batches=0)
    trainer.fit(method, data)
    assert trainer.global_step < 30
    assert float(trainer.callback_metrics["kl_k1"]) > 0.05
    with pytest.raises(UserError, match="kl_k1 was never logged; logged are loss"):
        fitted(tmp_path, moa.StopOnKL(1.0), max_steps=1)
    with pytest.raises(UserError, match="above 0"):
        moa.StopOnKL(0)


def test_one_of_ones_own_as_the_page_on_extending_has_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples" / "own"))
    own = importlib.import_module("my_callback")
    _, _, log = fitted(tmp_path, own.Finished(prompts=8, max_new_tokens=4), max_epochs=1)
    assert log["finished"].dropna().between(0, 1).all()
    assert len(log["finished"].dropna()) == 1


def test_tensorboard_gets_numbers_and_responses(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    looks = [
        moa.GridRewards(grid_step=1.0, every=2, prompts=4, max_new_tokens=4),
        moa.LogResponses(prompts=2, every=2, show=False, max_new_tokens=4),
    ]
    data = data_of()
    board = TensorBoardLogger(tmp_path, name="log", version="")
    trainer_of(tmp_path, *looks, logger=board, max_steps=4, val_check_interval=2).fit(panacea_of(data), data)
    events = reading.EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    found = events.Tags()
    assert {"loss/helpful", "val/accuracy/harmless", "grid/hypervolume"} <= set(found["scalars"])
    assert [each.step for each in events.Scalars("grid/hypervolume")] == [2, 4]
    (text,) = [tag for tag in found["tensors"] if tag.startswith("responses")]
    assert b"reward_helpful" in events.Tensors(text)[0].tensor_proto.string_val[0]


def test_only_what_scores_needs_rewards(tmp_path, monkeypatch):
    """A data set whose rewards nobody knows."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples" / "own"))
    own = importlib.import_module("my_callback")
    data = moa.TrainingData("my_data:MyData", batch_size=8, options={"questions": 30})
    small = {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1}
    said = moa.LogResponses(prompts=2, path=tmp_path / "said.csv", show=False, max_new_tokens=4)
    trainer = trainer_of(tmp_path, own.Finished(prompts=8, max_new_tokens=4), said, **small)
    trainer.fit(panacea_of(data), data)
    assert "finished" in trainer.callback_metrics
    assert list(pd.read_csv(tmp_path / "said.csv")) == ["prompt", "policy", "under", "response", "step"]
    # As in a study, which validates nothing while it trains.
    unseen = trainer_of(
        tmp_path, own.Finished(prompts=8, max_new_tokens=4), **{**small, "limit_val_batches": 0}
    )
    unseen.fit(panacea_of(data), data)
    assert "finished" in unseen.callback_metrics
    with pytest.raises(UserError, match="GridRewards: the data knows no rewards"):
        trainer_of(tmp_path, moa.GridRewards(), **small).fit(panacea_of(data), data)


def test_gradients_are_watched(tmp_path):
    fitted(tmp_path, moa.WatchGradients(tmp_path / "gradients.csv", every=2), max_steps=4)
    seen = pd.read_csv(tmp_path / "gradients.csv")
    assert seen["step"].unique().tolist() == [0, 2]
    assert set(seen["objective"]) == {"helpful", "harmless"}


def test_what_is_missing_is_told(tmp_path):
    data = data_of()
    method = panacea_of(data)
    with pytest.raises(UserError, match="Trainer's data module, a TrainingData"):
        trainer_of(tmp_path, moa.GridRewards()).fit(method, data.batches("train", "pairs"))
    with pytest.raises(UserError, match="has no heads"):
        trainer_of(tmp_path, moa.WatchHeads(tmp_path / "heads.csv")).fit(method, data)
    with pytest.raises(UserError, match="every=0"):
        moa.LogResponses(every=0)
    for options, said in (
        ({"prompts": 0}, "prompts=0"),
        ({"top_p": 2.0}, "top_p=2"),
        ({"max_new_tokens": 0}, "max_new"),
    ):
        with pytest.raises(UserError, match=said):
            moa.GridRewards(**options)
    # Before the first update, not at the first look.
    for look, said in (
        (moa.GridRewards(grid_step=0.3, every=5), "0.3"),
        (moa.GridRewards(reference_point=[0.0], every=5), r"reference_point=\[0.0\]: 2 numbers are needed"),
        (moa.LogResponses(preferences=[[1.0, 0.0, 0.0]], every=5), "preference"),
        (moa.LogResponses(preferences=np.array([[0.9, 0.3]]), every=5), "preference"),
    ):
        trainer = trainer_of(tmp_path, look)
        with pytest.raises(UserError, match=said):
            trainer.fit(panacea_of(data), data)
        assert trainer.global_step == 0
    for given, said in (
        (None, "returned nothing"),
        (1.0, "a sequence of"),
        ([1.0], "returned 1 numbers for"),
    ):
        look = moa.GridRewards({"c": lambda prompts, responses, given=given: given}, prompts=2)
        with pytest.raises(UserError, match=rf"reward 'c' {said}|reward 'c'.*{said}"):
            trainer_of(tmp_path, look).fit(panacea_of(data), data)
