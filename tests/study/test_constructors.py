"""Answers from outside whose constructors don't take what a training gives them are refused in planning."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import pytest

from lightning_moa.answers import Known, known, use
from lightning_moa.config import StudyConfig, parse
from lightning_moa.deployments import Steered
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.products import SAMPLED, Product
from lightning_moa.objectives import DPO, Objective
from lightning_moa.objectives.settings import DPOConfig
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import LoRA, Policy
from lightning_moa.study.chosen import chosen_methods, schema_of
from lightning_moa.study.planning import plan_study


@dataclass
class OwnConfig(OptimiserConfig):
    tau: float = option(1.0, "of its own")


class Base(Objective):
    sections: ClassVar = {"own": OwnConfig}

    def __init__(self, tau):
        super().__init__()

    def losses(self, policy, batch, preference): ...


class Kappa(Base):
    def __init__(self, tau, kappa):
        super().__init__(tau)


class OfItsOwn(Kappa):
    @classmethod
    def build(cls, run):
        return cls(1.0, 2.0)


class Stringed(Base):
    needs = "reference"


@dataclass
class FilmConfig:
    strength: float = 1.0


class Film(Policy):
    """Takes all of its section."""

    sections: ClassVar = {"film": FilmConfig}

    def __init__(self, model, strength, m=0):
        super().__init__(model)

    def run(self, *args, **options): ...


class Deaf(Film):
    def __init__(self, model):
        super().__init__(model, 1.0)


class Grown(LoRA):
    """A child of one with a `build` of its own."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)


class Mean:
    def __init__(self, power=1.0):
        self.power = power

    def __call__(self, losses, preference, parameters):
        return losses.mean()


class Powered(Mean):
    def __init__(self, power):
        super().__init__(power)


class Slow(DPS):
    def __init__(self, *args, pace, **options):
        super().__init__(*args, **options)


class Lonely(DPS):
    def __init__(self, policy, objective, aggregator, optimiser):
        super().__init__(policy, objective, aggregator, optimiser)


def chosen(**answers):
    given = {"method": "dps", "policy": "lora", "objective": "dpo", "aggregation": "linear", **answers}
    methods = {"one": Product(**given, trained_on=SAMPLED, deployment=Steered())}
    return chosen_methods(schema_of(methods, StudyConfig)(), methods)["one"]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("objective", Base),
        ("objective", use(Kappa, kappa=2.0)),
        ("objective", OfItsOwn),
        ("policy", Film),
        ("policy", Grown),
        ("aggregation", Mean),
        ("aggregation", use(Powered, power=2.0)),
        ("method", use(Slow, pace=1)),
    ],
)
def test_those_that_can_be_built_are_taken(kind, answer):
    chosen(**{kind: answer})


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("objective", Kappa, "missing a required argument: 'kappa'; it is given tau"),
        ("policy", Deaf, "got an unexpected keyword argument 'strength'; it is given model, strength"),
        ("aggregation", Powered, "missing a required argument: 'power'; it is given nothing"),
        ("method", Slow, "missing a required .*'pace'; it is given policy, objective, aggregator, optimiser"),
        ("method", Lonely, "got an unexpected keyword argument 'objectives'"),
    ],
)
def test_those_that_cannot_be_built_are_refused_by_name(kind, answer, told):
    with pytest.raises(UserError, match=rf"^one: {kind}=.*:{answer.__name__}: its constructor {told}"):
        chosen(**{kind: answer})


def test_what_an_objective_needs_is_a_tuple_of_names():
    with pytest.raises(
        UserError, match=r"^one: objective=.*:Stringed: `needs` is a tuple .* it is 'reference'"
    ):
        chosen(objective=Stringed)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (["own"], r"`sections` maps names of sections to dataclasses of their settings; it is \['own'\]"),
        ({"own": OwnConfig()}, "`sections` has own=OwnConfig"),
        ({"own": dict}, "`sections` has own=<class 'dict'>: a dataclass"),
        ({"o w n": OwnConfig}, "`sections` has 'o w n', which can't be the name"),
        ({3: OwnConfig}, "`sections` has 3, which can't be the name"),
    ],
)
def test_sections_are_names_and_dataclasses(monkeypatch, sections, told):
    monkeypatch.setattr("lightning_moa.answers.load", lambda name, where: SimpleNamespace(sections=sections))
    with pytest.raises(UserError, match=rf"^objective=my:Own: {told}"):
        known({}, "my:Own", "objective")
    sections = {"own": OwnConfig}
    assert known({}, "my:Own", "objective") == Known("my:Own", {"own": OwnConfig})


@dataclass
class RewardingConfig(DPOConfig):
    """Settings of one's own that are called as what scores responses."""

    reward: float = 1.0
    rewards: int = 1


class Rewarding(DPO):
    sections: ClassVar = {"mine": RewardingConfig}


def test_settings_of_ones_own_are_kept_whatever_they_are_called(tmp_path):
    methods = {"one": Product("dps", "lora", Rewarding, "linear", SAMPLED, Steered())}

    def settings(*words):
        config = parse(schema_of(methods), ["seeds=[0]", "data=synthetic", *words], None, methods)
        (task,) = plan_study(config, methods).seeds[0].policies["one"]
        return task.spec["settings"], task.key

    (told, key), (plain, other) = settings("mine.reward=5.0", "mine.rewards=9"), settings()
    assert (told["reward"], told["rewards"]) == (5.0, 9)
    assert (plain["reward"], plain["rewards"]) == (1.0, 1)
    assert key != other
