"""Answers that do not fit together are refused while a study is planned, by what they say of themselves."""

from __future__ import annotations

import pytest

from lightning_moa.answers import use
from lightning_moa.config import StudyConfig
from lightning_moa.deployments import Alone, EachHead, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product, dpo_heads, ham, sca
from lightning_moa.objectives import Objective
from lightning_moa.study.chosen import Chosen
from lightning_moa.study.fitting import check_fit

APART = use("rloo", weigh="surrogates")


class Halved:
    """An aggregation from outside that can't be made without a share."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, losses, preference, parameters=()):
        return self.share * losses.sum()


class Silent(Objective):
    """An objective from outside that says nothing of its losses."""

    sections = {"rloo": object}  # noqa: RUF012


def checked(policy, objective, aggregation):
    product = Product("dps", policy, objective, aggregation, TrainedOn.centre(), Alone())
    check_fit(Chosen.of(StudyConfig(), "mine", product))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (
            ("lora", "modpo", "mgda"),
            "aggregation=mgda needs a loss for each objective, and objective=modpo gives one",
        ),
        (("lora", "modpo", "tchebycheff"), "the preference has acted already$"),
        (("lora", "ppo", "gapo"), r"allowed is ppo\.weigh=surrogates$"),
        (("heads", "in_context", "hypervolume"), "needs a loss for each objective"),
        (("lora", "dpo", "hypervolume"), "is of several policies at once, policy=lora is one"),
        (("heads", "rloo", "linear"), r"objective=rloo trains one; allowed is heads\.number=1"),
        (("svd_lora", "in_context", "linear"), "policy=svd_lora would be steered by another one"),
        (("prompted", "in_context", "linear"), "policy=prompted would be steered by another one"),
        (("lora", APART, "epo"), "needs losses of at least 0, and those of objective=rloo are of any value"),
        (("lora", "likelihood", "epo"), "those of objective=likelihood are between -1 and 0"),
        (
            ("heads", "dpo", "hypervolume"),
            "needs losses of at most 0, and those of objective=dpo are of at least 0",
        ),
        (("lora", "dpo", "torchjd"), r"use\(torchjd, weighting=\.\.\.\) is needed"),
        (("lora", "dpo", Halved), r"use\(.*:Halved, share=\.\.\.\) is needed"),
    ],
)
def test_what_cannot_be_trained_is_refused(answers, why):
    with pytest.raises(UserError, match=f"^methods: mine: .*{why}"):
        checked(*answers)


@pytest.mark.parametrize(
    "answers",
    [
        ("lora", APART, "mgda"),
        ("lora", "ppo", "linear"),
        ("lora", "modpo", "linear"),
        ("lora", "dpo", "epo"),
        ("lora", APART, use("epo", ideal_point=[1.0, 1.0])),
        (use("heads", number=1), "rloo", "linear"),
        (use("svd_lora", steered=False), "in_context", "linear"),
        ("heads", "dpo", use("hypervolume", reference_point=[-1.0, -1.0])),
        ("lora", "dpo", use("torchjd", weighting="DualProj")),
        ("lora", "dpo", use(Halved, share=0.5)),
    ],
)
def test_what_can_be_is_not(answers):
    checked(*answers)


@pytest.mark.parametrize("product", [ham(), sca([[0.5, 0.5]]), dpo_heads(2)])
def test_methods_of_papers_are_let_through(product):
    check_fit(Chosen.of(StudyConfig(), "mine", product))


def test_what_is_not_said_refuses_nothing(monkeypatch):
    chosen = Chosen.of(
        StudyConfig(), "mine", Product("dps", "heads", "dpo", "epo", TrainedOn.centre(), EachHead())
    )
    assert (Silent.loss_range, Silent.of_several) == (None, None)
    monkeypatch.setitem(vars(chosen), "objective", Silent)
    check_fit(chosen)
