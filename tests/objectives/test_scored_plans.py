"""What objectives of scored responses plan (HaM, SCA, RiC): rows once, rounds in a chain, and what is refused before it
runs."""

from __future__ import annotations

import pytest

from lightning_moa.errors import UserError
from lightning_moa.methods.products import FIVE, TEN, ham, ric, sca, sca_heads, scalarisations
from lightning_moa.pareto import check_preference
from lightning_moa.runs.context import Answers, Context, build_aggregator
from lightning_moa.runs.loading import load_data
from lightning_moa.study.tasks import in_order
from tests.runs.likelihood import METHODS, offline_task, planned, rounds_of


def names(plan):
    return [task.function.rpartition(":")[2] for task in in_order(plan.targets())]


def built_from(task):
    """The run that a training's answers are built from, before it has a policy; nothing of it is loaded but classes."""
    return Context(task.spec, {}, Answers.of(task.spec), load_data(task.spec), None, None)


def volume_of(task):
    """The aggregator that a training is given."""
    return build_aggregator(built_from(task))


def heads_of(task):
    """How many heads its policy is built with."""
    return built_from(task).section("heads").number


def test_all_methods_start_from_the_same_rows():
    plan = planned("online.rounds=2")
    seed = plan.seeds[0]
    first = {rounds_of(task)[0].needs["rows"].key for tasks in seed.policies.values() for task in tasks}
    assert first == {offline_task(plan).key}
    for name in METHODS:
        assert seed.evaluations[name].needs["rows"].key == offline_task(plan).key
    assert names(plan).count("offline_rows") == 1
    assert names(plan).count("online_rows") == 2 * len(METHODS)
    assert names(plan).count("align") == 3 * (1 + 3 + 1 + 1)


def test_without_rounds_nothing_is_sampled_to_train_on():
    plan = planned("online.rounds=0")
    assert "online_rows" not in names(plan)
    assert all("start" not in task.needs for task in plan.seeds[0].policies["sca"])


def test_offline_policies_are_the_first_stage_of_online_ones():
    """So a figure of both phases trains the first one once."""
    alone, rounds = planned("online.rounds=0"), planned("online.rounds=2")
    for name in METHODS:
        for a, b in zip(alone.seeds[0].policies[name], rounds.seeds[0].policies[name], strict=True):
            assert a.key == rounds_of(b)[0].key


def test_a_round_samples_from_all_policies_of_the_method_and_adds_to_its_rows():
    seed = planned("online.rounds=2").seeds[0]
    for name, count in {"ham": 1, "sca": 3, "sca_heads": 1, "ric": 1}.items():
        last = seed.policies[name]
        second = last[0].needs["rows"]
        assert {task.needs["rows"].key for task in last} == {second.key}
        sampled = [task.key for role, task in second.needs.items() if role.startswith("policy")]
        assert sampled == [task.needs["start"].key for task in last]
        assert len(sampled) == count
        assert second.spec["round"] == 2
        assert second.needs["rows"].spec["round"] == 1
        assert second.spec["in_prompt"] == (name == "ric")


def test_rounds_have_steps_of_their_own_and_no_warm_up():
    words = ("online.rounds=1", "online.steps=9", "online.lr=0.25", "methods.ham.steps=7", "heads.warm_up=2")
    offline, online = rounds_of(planned(*words).seeds[0].policies["ham"][0])
    assert [stage.spec["settings"]["steps"] for stage in (offline, online)] == [7, 9]
    assert online.spec["settings"]["lr"] == 0.25
    assert [volume_of(stage).warm_up for stage in (offline, online)] == [2, 0]
    assert heads_of(offline) == heads_of(online) == 3


def test_a_warm_up_is_counted_in_updates():
    task = (
        planned("online.rounds=0", "likelihood.accumulate=4", "heads.warm_up=2").seeds[0].policies["ham"][0]
    )
    assert volume_of(task).warm_up == 8, "the aggregator counts batches"


def test_heads_are_as_many_as_the_product_says_or_else_the_study():
    methods = {"ham": ham(), "four": ham(4), "sca": sca(FIVE), "sca_heads": sca_heads(FIVE), "ric": ric(FIVE)}
    seed = planned("heads.number=7", methods=methods).seeds[0]
    numbers = {name: {heads_of(task) for task in tasks} for name, tasks in seed.policies.items()}
    assert numbers == {"ham": {7}, "four": {4}, "sca": {1}, "sca_heads": {5}, "ric": {1}}
    assert [len(seed.policies[name]) for name in methods] == [1, 1, 5, 1, 1]
    assert [task.spec["at"] for task in seed.policies["sca"]] == [list(row) for row in FIVE]
    asked = seed.evaluations["ric"].spec["deployment"]["options"]
    assert list(asked.values()) == [FIVE]


def test_the_hypervolume_is_computed_as_the_study_says():
    words = ("online.rounds=0", "heads.volume=random", "heads.scalarisations=50")
    volume = volume_of(planned(*words).seeds[0].policies["ham"][0])
    assert (volume.method, volume.directions, volume.seed) == ("random", 50, 0)
    # The smoke study's is the paper's, with no update scalarised.
    assert (volume.warm_up, volume.fronts) == (0, "first")
    ours = volume_of(planned("heads.fronts=all").seeds[0].policies["ham"][0])
    assert (ours.method, ours.fronts) == ("exact", "all")
    plan = planned("online.rounds=1", "heads.volume=random", "seeds=[0,1]")
    stages = [
        each
        for seed in plan.seeds.values()
        for (last,) in [seed.policies["ham"]]
        for each in (last, last.needs["start"])
    ]
    assert len({volume_of(each).seed for each in stages}) == 4, "directions of its own for each"


def test_what_determines_the_rows_is_in_their_key_and_nothing_else():
    key = offline_task(planned()).key
    for word in ("likelihood.rows=50", "likelihood.power=2", "likelihood.z=90", "likelihood.unit_map=rank"):
        assert offline_task(planned(word)).key != key, word
    for word in ("likelihood.lr=0.1", "likelihood.steps=2", "online.kept=3", "heads.warm_up=0"):
        assert offline_task(planned(word)).key == key, word


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["heads.number=0"], "heads.number=0: must be at least 1"),
        (["heads.rank=0"], "heads.rank=0: must be at least 1"),
        (["heads.directions=0"], "heads.directions=0: must be at least 1"),
        (["heads.volume=guess"], "heads.volume=guess: allowed are exact, inclusion_exclusion, random"),
        (["clusters=0"], "clusters=0: must be at least 1"),
        (["likelihood.rows=1"], "likelihood.rows=1: must be at least 2"),
        (["likelihood.z=0"], "likelihood.z=0.0: must be above 0"),
        (["likelihood.z_factor=1"], "likelihood.z_factor=1.0: must be above 1"),
        (["online.rounds=-1"], "online.rounds=-1: must be at least 0"),
        (["online.quantile=1"], "online.quantile=1.0: must be below 1"),
        (
            ["likelihood.weigh=scalarise_first"],
            "likelihood.weigh=scalarise_first: sca_heads, whose heads each have a preference, needs per_objective",
        ),
        (
            ["likelihood.rewards.wise=gold"],
            "likelihood.rewards.wise=gold: the study's objectives are helpful, harmless",
        ),
        (["likelihood.reward=hub"], "likelihood.reward=hub: allowed are auto, gold, trained"),
    ],
)
def test_what_cannot_be_run_is_refused_when_it_is_planned(words, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        planned(*words)


@pytest.mark.parametrize("heads", [0, -2])
def test_ham_needs_a_head(heads):
    with pytest.raises(UserError, match=rf"ham\({heads}\): K must be at least 1"):
        ham(heads)


def test_the_reference_policy_is_measured_once_for_studies_of_other_rows():
    keys = {
        planned(word).seeds[0].evaluations["sft"].key for word in ("likelihood.rows=60", "likelihood.rows=50")
    }
    assert len(keys) == 1


@pytest.mark.parametrize("m", [1, 2, 3, 4, 6])
def test_scalarisations_lie_on_the_simplex_and_have_its_corners(m):
    rows = scalarisations(m)
    for row in rows:
        check_preference(row, m)
    assert len(set(rows)) == len(rows)
    assert sum(max(row) == 1 for row in rows) == m
    assert {1: ((1.0,),), 2: FIVE, 3: TEN}.get(m, rows) == rows
