"""What a method says of its answers by `use`: settings are checked as the study's are, and all else is an argument."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_moa.aggregation import Linear
from lightning_moa.answers import use
from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.deployments import Alone, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.methods import DPS
from lightning_moa.methods.products import Product
from lightning_moa.policies import Heads, LoRA, SVDLoRA
from lightning_moa.policies.settings import AdapterConfig
from lightning_moa.study.chosen import arguments_of, chosen_methods, schema_of
from tests.policies.test_names import run

NAMES = {"method": "dps", "policy": "lora", "objective": "dpo", "aggregation": "linear"}


def chosen(**answers):
    """A study of one method, and how it is resolved."""
    product = Product(**NAMES | answers, trained_on=TrainedOn.centre(), deployment=Alone())
    config = schema_of({"one": product})(data=SyntheticConfig())
    if hasattr(config, "ppo"):
        config.ppo.reward_scale = {"helpful": 3.0}
    return chosen_methods(config, {"one": product})["one"]


MISTAKES = {
    "policy": [
        (use("lora", dropuot=0.1), "use(lora, dropuot=...): neither a setting of that policy nor an argument of LoRA "
         "(did you mean dropout?)"),
        (use("lora", steered=False), "use(lora, steered=...): neither a setting"),
        (use("lora", rank=-1), "adapter.rank=-1: must be at least 1"),
        (use("lora", rank="a"), "adapter: Value 'a'"),
        (use("lora", number=3), "use(lora, number=...): neither a setting"),
        (use("heads", number=0), "heads.number=0: must be at least 1"),
    ],
    "objective": [
        (use("dpo", betta=0.1), "use(dpo, betta=...): neither a setting of that objective nor an argument of DPO "
         "(did you mean beta?)"),
        (use("dpo", beta=0.0), "dpo.beta=0.0: must be above 0"),
        (use("ppo", weigh="x"), "ppo.weigh=x: allowed are surrogates"),
        (use("ppo", power=2.0), "use(ppo, power=...): neither a setting"),
    ],
    "aggregation": [(use("linear", p=2.0), "use(linear, p=...): neither a setting of that aggregation")],
    "method": [
        (use("dps", tempo=2), "use(dps, tempo=...): neither a setting of that method nor an argument of DPS"),
        # It is the objective's section that says it.
        (use("dps", grad_clip=2.0), "use(dps, grad_clip=...): neither a setting"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "answer", "told"), [(kind, *each) for kind, mistakes in MISTAKES.items() for each in mistakes]
)
def test_what_nobody_takes_is_refused_before_anything_runs(kind, answer, told):
    with pytest.raises(UserError) as refused:
        chosen(**{kind: answer})
    assert str(refused.value).startswith(f"one: {told}")
    assert "\n" not in str(refused.value)


def test_settings_replace_the_studys_and_the_rest_is_an_argument():
    found = chosen(
        policy=use("svd_lora", rank=3, init_std=0.1, steered=False),
        objective=use("ppo", weigh="surrogates", reward_scale={"harmless": 5}),
        aggregation=use("gapo", p=1.0),
    )
    assert found.values["adapter"].rank == 3
    assert found.values["ppo"].weigh == "surrogates"
    assert found.values["ppo"].reward_scale == {"harmless": 5.0}, "replaced, not added to"
    assert found.options == {
        "method": {},
        "policy": {"init_std": 0.1, "steered": False},
        "objective": {},
        "aggregation": {"p": 1.0},
    }


class Grown(LoRA):
    """From outside: an argument more, and the rest handed on."""

    def __init__(self, model, *args, more=0, **kwargs):
        super().__init__(model, *args, **kwargs)
        self.more = more


class Built(LoRA):
    """From outside: its own `build` takes what it likes."""

    @classmethod
    def build(cls, run):
        return cls(run.model, run.options["ranks"][0])


class Slowly(DPS):
    """From outside: a method with an argument of its own."""

    def __init__(self, *args, pace=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.pace = pace


def test_those_from_outside_are_asked_for_their_own_and_their_parents_arguments():
    assert chosen(policy=use(Grown, more=1, scaling=2.0)).options["policy"] == {"more": 1}
    assert chosen(policy=use(Built, ranks=[3])).options["policy"] == {"ranks": [3]}
    assert chosen(method=use(Slowly, pace=3)).options["method"] == {"pace": 3}
    for kind, answer, told in (
        (
            "policy",
            use(Grown, mroe=1),
            r"use\(.*:Grown, mroe=\.\.\.\): neither a setting .* \(did you mean more\?\)",
        ),
        ("method", use(Slowly, place=3), r"use\(.*:Slowly, place=\.\.\.\): neither a setting"),
    ):
        with pytest.raises(UserError, match=told):
            chosen(**{kind: answer})


def test_arguments_are_those_of_parents_where_they_are_handed_on():
    assert arguments_of(LoRA) == {"model", "rank", "scaling", "targets", "dropout", "seed"}
    assert arguments_of(Grown) == arguments_of(LoRA) | {"more"}
    assert arguments_of(Slowly) == arguments_of(DPS) | {"pace"}
    assert arguments_of(DPS) >= {"policy", "grad_clip", "probe"}
    assert arguments_of(Linear) == set()


def test_arguments_reach_the_policy():
    plain = AdapterConfig(rank=3, targets="all-linear")
    made = SVDLoRA.build(run(options={"init_std": 0.5, "scale_init": 0.2}))
    assert (made.options()["init_std"], made.options()["scale_init"]) == (0.5, 0.2)
    assert LoRA.build(run(options={"seed": None, "dropout": 0.3})).options()["dropout"] == 0.3
    assert Heads.build(run(options={"head_rank": 2}, adapter=plain)).options()["head_rank"] == 2


def test_options_are_what_a_record_can_hold():
    found = chosen(aggregation=use("gapo", p=np.float32(2)))
    assert found.options["aggregation"] == {"p": 2.0}
    for wrong in (float("inf"), {1}, object()):
        with pytest.raises(UserError, match=r"^one: use\(.*gapo.*, p=\.\.\.\): .* can't be written as JSON"):
            chosen(aggregation=use("gapo", p=wrong))
