"""A `Trainer` of one's own that is given what doesn't belong together, or what no checkpoint would hold."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn

import lightning_moa as moa
from lightning_moa.errors import UserError
from lightning_moa.policies.adapter import AdapterPolicy
from tests.methods.test_own_trainer import data_of, model_of, panacea_of, trainer_of

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")


def test_objectives_in_another_order_than_the_datas_are_refused(tmp_path):
    data = data_of()
    assert data.objectives == ("helpful", "harmless")
    for names in (["harmless", "helpful"], ["x", "y"]):
        with pytest.raises(
            UserError, match=r"the data's objectives are helpful, harmless, and objectives=\['"
        ):
            trainer_of(tmp_path).fit(panacea_of(data, objectives=names), data)
    with pytest.raises(UserError, match="objectives='ab': a list of names is expected"):
        panacea_of(data, objectives="ab")
    trainer_of(tmp_path, max_steps=1).fit(panacea_of(data, objectives=list(data.objectives)), data)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    trainer = trainer_of(folder, ModelCheckpoint(folder, "one"), max_epochs=1)
    trainer.fit(panacea_of(data_of()), data_of())
    return str(folder / "one.ckpt")


def test_a_checkpoint_of_another_policy_is_refused(checkpoint, tmp_path):
    data = data_of()
    objective = moa.DPO(beta=0.1)
    other = moa.LoRA(model_of(data), rank=2, seed=0)
    with pytest.raises(
        UserError, match=r"do not fit this LoRA: \d+ unexpected, such as policy\.model\..*gate"
    ):
        moa.DPS.load_from_checkpoint(checkpoint, policy=other, objective=objective, m=2, at=[0.5, 0.5])
    deeper = moa.build_model(
        tokenizer=data.tokenizer, hidden_size=16, layers=2, heads=2, intermediate_size=32
    )
    for model, what in (
        (deeper, "missing"),
        (model_of(data), r".*has shape \(4, 16\), this policy needs \(5, 16\)"),
    ):
        policy = moa.SVDLoRA(model, k=2 if model is deeper else 3, m=2, seed=0)
        method = moa.Panacea(policy, objective)
        with pytest.raises(UserError, match=f"do not fit this SVDLoRA: .*{what}"):
            trainer_of(tmp_path).validate(method, data, ckpt_path=checkpoint)
    names = ["harmless", "helpful"]
    with pytest.raises(
        UserError, match="of the objectives helpful, harmless, this Panacea of harmless, helpful"
    ):
        moa.Panacea.load_from_checkpoint(
            checkpoint, policy=moa.SVDLoRA(model_of(data), k=2, m=2), objective=objective, objectives=names
        )


def test_an_average_of_weights_goes_on(tmp_path):
    def fit(epochs, start=None):
        callbacks = [EMAWeightAveraging(decay=0.5), ModelCheckpoint(tmp_path, f"{epochs}-{{epoch}}")]
        module, data = panacea_of(data_of()), data_of()
        trainer_of(tmp_path, *callbacks, max_epochs=epochs).fit(
            module, data, ckpt_path=start, weights_only=True
        )
        return [each.detach().clone() for each in module.policy.trainable_parameters()]

    whole = fit(2)
    fit(1)
    resumed = fit(2, str(tmp_path / "1-epoch=0.ckpt"))
    for one, other in zip(whole, resumed, strict=True):
        torch.testing.assert_close(one, other)


class Counting(moa.SVDLoRA):
    """Counts its passes in training, and says more the more there were."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("passing", torch.zeros(()), persistent=False)

    def run(self, *args, **options):
        if self.training:
            self.seen += 1
        return super().run(*args, **options)


def test_a_policys_own_buffers_are_saved_and_go_on(tmp_path):
    def made():
        policy = Counting(model_of(data_of()), k=2, m=2, seed=0)
        return moa.Panacea(policy, moa.DPO(beta=0.1), lr=0.05)

    assert isinstance(made().policy, AdapterPolicy)
    module = made()
    kept = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    trainer_of(tmp_path, kept).fit(module, data_of())
    seen = float(module.policy.seen)
    assert seen > 0
    assert {"seen"} == {name for name, _ in module.policy.kept_buffers()}
    module.policy.save(tmp_path / "policy", objectives=["helpful", "harmless"])
    loaded = moa.load_policy(model_of(data_of()), tmp_path / "policy", kind=Counting)
    assert float(loaded.seen) == seen
    resumed = made()
    trainer_of(tmp_path).fit(resumed, data_of(), ckpt_path=str(tmp_path / "epoch=0.ckpt"), weights_only=True)
    assert float(resumed.policy.seen) == seen


class Running:
    """Losses over their running means."""

    def __init__(self):
        self.mean = None

    def __call__(self, losses, preference, parameters=()):
        self.mean = losses.detach() if self.mean is None else 0.9 * self.mean + 0.1 * losses.detach()
        return (preference * losses / self.mean).sum()


class Kept(nn.Module):
    """The same as a module, whose buffer is kept."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(2))

    def forward(self, losses, preference, parameters=()):
        self.mean.lerp_(losses.detach(), 0.1)
        return (preference * losses / self.mean).sum()


@pytest.mark.parametrize(("aggregator", "told"), [(Running, True), (Kept, False), (moa.Linear, False)])
def test_what_an_aggregation_changes_and_no_checkpoint_holds_is_told(tmp_path, capsys, aggregator, told):
    data = data_of()
    policy = moa.SVDLoRA(model_of(data), k=2, m=2, seed=0)
    module = moa.Panacea(policy, moa.DPO(beta=0.1), aggregator())
    trainer_of(tmp_path, max_steps=2).fit(module, data)
    said = capsys.readouterr().err
    assert ("changes mean from one update to the next, and no checkpoint holds it" in said) == told


def test_a_tokenizer_of_other_words_than_the_models_is_refused(tmp_path):
    rows = tmp_path / "pairs.jsonl"
    rows.write_text(
        "\n".join(
            f'{{"prompt": "question {i % 7}", "response_0": "no {i}", "response_1": "well {i}", "a": {i % 2}, '
            f'"b": {(i + 1) % 2}}}'
            for i in range(40)
        )
    )

    def data(**options):
        return moa.TrainingData(rows, {"x": "a", "y": "b"}, batch_size=8, **{"vocab_size": 280} | options)

    own = data_of()
    moa.save_model(model_of(own), tmp_path / "base", own.tokenizer)

    def method():
        return moa.Panacea(moa.SVDLoRA(tmp_path / "base", k=2, m=2), moa.DPO(beta=0.1))

    with pytest.raises(
        UserError, match=r"the data's tokenizer has \d+ words, the model knows \d+: give TrainingData"
    ):
        trainer_of(tmp_path).fit(method(), data(vocab_size=2000))
    large = data()
    moa.save_model(model_of(large), tmp_path / "base", large.tokenizer)
    trainer_of(tmp_path, max_steps=1).fit(method(), data())
    with pytest.raises(UserError, match=r"base has one of its own, in which the same ids are other words"):
        trainer_of(tmp_path).fit(method(), data(vocab_size=265))
    trainer_of(tmp_path, max_steps=1).fit(method(), data(tokenizer=tmp_path / "base", vocab_size=265))


def test_answers_of_another_kind_are_refused_by_name():
    data = data_of()
    policy, objective = moa.SVDLoRA(model_of(data), k=2, m=2, seed=0), moa.DPO(beta=0.1)
    for arguments, options, message in (
        ((policy, objective, "linear"), {}, "aggregator='linear': something that can be called"),
        (
            (policy, objective, moa.Linear),
            {},
            r"aggregator=Linear: an aggregation is expected, Linear\(\.\.\.\)",
        ),
        ((objective, policy), {}, "policy=DPO: Policy is the kind"),
        ((policy, "dpo"), {}, "objective='dpo': Objective is the kind"),
        ((policy, objective), {"lr": -1}, "lr=-1: a number of at least 0"),
        ((policy, objective), {"lr": "1e-3"}, "lr='1e-3': a number of at least 0"),
    ):
        with pytest.raises(UserError, match=message):
            moa.Panacea(*arguments, **options)
    for options, message in (
        ({"batch_size": "8"}, "batch_size='8': allowed are whole numbers of at least 1"),
        ({"batch_size": True}, "batch_size=True"),
        ({"seed": -1}, "seed=-1: allowed are whole numbers of at least 0"),
        ({"objectives": "helpful"}, "objectives='helpful': a list of names"),
        ({"labels": ["helpful"]}, r"labels=\['helpful'\]: a mapping of objectives to columns"),
        ({"labels": {"helpful": ["x"]}}, "text to text"),
    ):
        with pytest.raises(UserError, match=message):
            moa.TrainingData("synthetic", **options)
