"""Answers from outside get a forecast by the defaults; ours are known by what they say, and not by their names."""

from __future__ import annotations

import pytest

from lightning_moa.answers import use
from lightning_moa.config import parse
from lightning_moa.deployments import Alone, Nearest, Steered, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.forecast import passes
from lightning_moa.forecast.networks import policy_of, scorers_of
from lightning_moa.forecast.plan import _rows, options_of, stand_in
from lightning_moa.forecast.rows import forecast, is_known, kind_of, rows_of
from lightning_moa.methods.products import DPS_PPO, PANACEA_PPO, Product
from lightning_moa.policies import build_model, save_model
from lightning_moa.policies.critic import Critic
from lightning_moa.rewards.sources import Source
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import in_order
from tests.forecast import outside

SAMPLED = TrainedOn.sampled()
SETTINGS = ("steps=5", "batch_size=8", "accumulate=2")


def product(objective="dpo", policy="svd_lora", trained_on=SAMPLED, deployment=None, method="panacea"):
    return Product(method, policy, objective, "linear", trained_on, deployment or Steered())


def config_of(tmp_path, made, *words):
    (tmp_path / "tiny.yaml").write_text("seeds: [0]")
    return parse(schema_of({"own": made}), list(words), tmp_path)


def tasks_of(tmp_path, made, *words):
    """Kind of run to a task of it."""
    tasks = in_order(plan_study(config_of(tmp_path, made, *words), {"own": made}).targets())
    return {kind_of(task): task for task in tasks}


def of(tmp_path, objective, section="squared", *words):
    own = [f"{section}.{each}" for each in SETTINGS]
    return forecast(tasks_of(tmp_path, product(objective), *own, *words)["own"])


def test_an_objective_on_pairs_is_one_like_ours(tmp_path):
    """All that sets it apart from DPO is a parameter of its own of three numbers."""
    found, known = of(tmp_path, outside.Squared), of(tmp_path, "dpo", "dpo")
    assert set(found.phases) == {"forward", "backward", "step", "loading"}
    assert (found.steps, found.tokens, found.work) == (known.steps, known.tokens, known.work)
    assert found.tokens == 5 * 2 * 8 * 24
    assert found.trained == known.trained + 3
    for name in found.phases:
        assert found.phases[name]["adapter"] == known.phases[name]["adapter"] + 3 * 4
        moments = 0 if name == "loading" else 2 * 3 * 4
        assert found.phases[name]["optimiser"] == known.phases[name]["optimiser"] + moments
        assert found.phases[name]["weights"] == known.phases[name]["weights"]
        assert found.phases[name]["reward_models"] == 0
    for name in ("forward", "backward"):
        assert found.phases[name]["rollout"] == 0
        assert found.phases[name]["activations"] == pytest.approx(known.phases[name]["activations"], rel=0.01)


def test_activations_are_a_straight_line_in_the_rows(tmp_path):
    task = tasks_of(tmp_path, product(outside.Squared), *(f"squared.{each}" for each in SETTINGS))["own"]
    first, second, third = (forecast(task, factor).phases["forward"]["activations"] for factor in (1, 2, 3))
    assert third - second == pytest.approx(second - first, rel=0.01)
    assert second > 1.5 * first


def test_gradients_that_an_aggregation_asks_for_are_counted(tmp_path):
    plain = of(tmp_path, outside.Squared)
    asked = Product("mgda", "lora", outside.Squared, "mgda", TrainedOn.centre(), Alone())
    own = [f"squared.{each}" for each in SETTINGS]
    found = forecast(tasks_of(tmp_path, asked, *own)["own"])
    bare = Product("dps", "lora", outside.Squared, "linear", TrainedOn.centre(), Alone())
    assert found.work.flops > forecast(tasks_of(tmp_path, bare, *own)["own"]).work.flops
    assert found.steps == plain.steps


def test_what_an_objective_makes_itself_needs_an_example(tmp_path):
    with pytest.raises(UserError, match=r"view=prompts: .* example\(run, rows\)"):
        of(tmp_path, outside.Online)
    found = of(tmp_path, outside.OnlineShown)
    # Four rows on one device, and two micro-batches an update.
    kept = 4 * 8 * 4
    assert found.phases["forward"]["rollout"] == found.phases["backward"]["rollout"] == 2 * kept
    assert found.phases["sampling"]["rollout"] == kept
    assert found.phases["sampling"]["activations"] > 0
    assert found.phases["sampling"]["weights"] == found.phases["forward"]["weights"] > 0
    assert found.tokens == 5 * 8 * 24


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (outside.FromRows, "FromRows: it is built from what 'rows' has left"),
        (outside.Broken, r"Broken: its update can't be tried .* \(RuntimeError: no numbers here\)$"),
    ],
)
def test_what_cant_be_tried_without_values_is_said_in_one_line(objective, said, tmp_path):
    with pytest.raises(UserError, match=said) as caught:
        of(tmp_path, objective)
    assert "\n" not in str(caught.value)


def test_a_task_of_ones_own_counts_the_base_alone_and_is_named(tmp_path):
    made = product(outside.Planned)
    config = config_of(tmp_path, made, "squared.steps=5")
    (row,) = (row for row in rows_of(plan_study(config, {"own": made})) if row.name == "own rows")
    assert not is_known(row.task)
    assert set(row.forecast.phases) == {"loading"}
    assert row.largest_batch(1e12) is None
    asked = options_of({})
    _, notes = _rows(("", config, {"own": made}), asked, 1, set())
    assert notes == ["own rows: what it does is not known; counted are the base model's weights alone"]


def test_a_policy_is_counted_as_it_is_built(tmp_path):
    made = product(policy=outside.Shift)
    task = tasks_of(tmp_path, made, "dpo.steps=5", "shift.parts=3")["own"]
    policy = policy_of(task.spec)
    assert type(policy) is outside.Shift
    vocabulary, m = policy.model.config.vocab_size, len(task.spec["objectives"])
    assert forecast(task).trained == 3 * m * vocabulary
    assert all(each.is_meta for each in policy.parameters())


@pytest.mark.parametrize("parts", [3, 12])
def test_a_straight_line_in_its_parts_is_what_all_of_them_take(parts, tmp_path, monkeypatch):
    def task(policy):
        return tasks_of(tmp_path, product(policy=policy), "dpo.steps=5", f"shift.parts={parts}")["own"]

    tried = []
    real = passes._update
    monkeypatch.setattr(
        passes,
        "_update",
        lambda spec, *rest: tried.append(spec["sections"]["shift"]["parts"]) or real(spec, *rest),
    )
    short = passes.update(task(outside.LinearShift).spec, 4)
    assert set(tried) == ({3} if parts == 3 else set(passes.FEW))
    tried.clear()
    whole = passes.update(task(outside.Shift).spec, 4)
    assert set(tried) == {parts}
    assert short == pytest.approx(whole, rel=1e-6)


def test_a_deployment_measures_each_policy_once_with_one_in_memory(tmp_path):
    def measured(deployment):
        made = product(method="dps", trained_on=TrainedOn.grid(), deployment=deployment)
        return forecast(tasks_of(tmp_path, made, "dpo.steps=5")["measure own"])

    ours, own, unpaired = (measured(each) for each in (Nearest(), outside.Each(), outside.EachUnpaired()))
    assert own == ours
    assert "accuracy" in own.phases
    assert "accuracy" not in unpaired.phases
    assert 0 < unpaired.work.flops < own.work.flops


def test_parameters_of_an_objectives_own_are_trained_ones(tmp_path):
    task = tasks_of(tmp_path, PANACEA_PPO, "ppo.steps=5")["own"]
    policy, m = policy_of(task.spec), len(task.spec["objectives"])
    assert task.spec["settings"]["weigh"] == "advantages", "so that each objective has a value"
    critic = Critic(policy.model.config.hidden_size, m, m)
    own = sum(each.numel() for each in policy.trainable_parameters())
    assert forecast(task).trained == own + sum(each.numel() for each in critic.parameters())


def test_what_a_method_says_itself_can_stand_in_for_a_file(tmp_path):
    """PTX by the method's own option, of a text whose own responses are no demonstrations."""
    made = Product("dps", "lora", use("ppo", ptx=4.0), "linear", TrainedOn.centre(), Alone())
    line = '{"prompt": "p%d", "response_0": "b", "response_1": "c", "x": 0, "y": 1}\n'
    (tmp_path / "pairs.jsonl").write_text("".join(line % i for i in range(30)))
    text = ["data=pairs", f"data.path={tmp_path}/pairs.jsonl", "data.labels.x=x", "data.labels.y=y"]
    config = config_of(tmp_path, made, *text)
    with pytest.raises(UserError, match=r"ppo\.ptx_path=<jsonl"):
        plan_study(config, {"own": made})
    notes = stand_in(("", config, {"own": made, "other": DPS_PPO}))
    assert notes == ["ppo.ptx=4: counted as if ppo.ptx_path were given; the runs themselves need it"]
    plan_study(config, {"own": made})
    world = config_of(tmp_path, made)
    assert stand_in(("", world, {"own": made})) == []
    assert world.ppo.ptx_path is None


def test_gold_and_functions_take_nothing_and_a_folder_is_read(tmp_path):
    task = tasks_of(tmp_path, PANACEA_PPO, "ppo.steps=5")["own"]
    save_model(
        build_model("llama", vocab_size=32, hidden_size=16, layers=2, heads=2, intermediate_size=32), tmp_path
    )
    names = task.spec["objectives"]

    def scorers(*sources):
        given = {name: source.to_json() for name, source in zip(names, sources, strict=True)}
        return scorers_of({**task.spec, "rewards": given})

    assert scorers(Source("gold"), Source("function", "a:b")) == []
    assert len(scorers(Source("trained"), Source("trained"))) == 1
    local = Source("model", "own", path=str(tmp_path), max_length=5, template="{response}", index=0, sign=1)
    first, second = scorers(local, Source("trained"))
    assert (first.layers, first.longest) == (2, 5)
    assert second.longest == task.spec["data"]["max_length"] > 5
