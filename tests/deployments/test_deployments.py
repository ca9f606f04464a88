"""What each deployment refuses, and what it makes of tiny trained policies."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch

from lightning_moa.deployments import (
    Alone,
    Deployed,
    Deployment,
    EachHead,
    InPrompt,
    Load,
    Nearest,
    Soup,
    Steered,
    TrainedOn,
)
from lightning_moa.errors import UserError
from lightning_moa.policies import Heads, LoRA, Policy, SVDLoRA
from lightning_moa.policies.settings import RiCConfig
from tests.deployments.trained import GRID, goals, made, trained
from tests.policies.models import tiny, tokens

CORNERS = [[1.0, 0.0], [0.0, 1.0]]
HALF = torch.tensor([0.5, 0.5])
DEPLOYMENTS = {
    "steered": Steered(),
    "in the prompt": InPrompt([[0.3, 0.7]]),
    "soup": Soup(),
    "nearest": Nearest(),
    "alone": Alone(),
    "each head": EachHead(),
}
WAYS = {
    "sampled": TrainedOn.sampled(),
    "corners": TrainedOn.corners(),
    "corner": TrainedOn.corner(0),
    "centre": TrainedOn.centre(),
    "grid": TrainedOn.grid(),
    "interior": TrainedOn.interior(),
    "one given": TrainedOn.given([[0.3, 0.7]]),
    "two given": TrainedOn.given([[0.7, 0.3], [0, 1]]),
    "two given, the other way round": TrainedOn.given([[0.3, 0.7], [1, 0]]),
    "three given": TrainedOn.given([[0.3, 0.7], [1, 0], [0, 1]]),
}
ONE = {"sampled", "corner", "centre", "one given"}
ALLOWED = {
    "steered": ONE,
    "in the prompt": ONE,
    "soup": {"corners", "two given"},
    "nearest": set(WAYS) - {"sampled"},
    "alone": set(WAYS),
    "each head": set(WAYS),
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_which_policies_can_be_used_so(name, way):
    deployment = DEPLOYMENTS[name]
    if way in ALLOWED[name]:
        deployment.check(WAYS[way])
        return
    with pytest.raises(UserError, match=f"^{type(deployment).__name__} ") as refused:
        deployment.check(WAYS[way])
    assert "\n" not in str(refused.value)


def test_what_is_said_of_a_grid_of_policies_that_one_is_wanted_of():
    told = (
        "Steered uses one policy: TrainedOn.grid trains several; allowed are sampled, centre, corner, and given "
        "with one preference"
    )
    with pytest.raises(UserError) as refused:
        Steered().check(TrainedOn.grid())
    assert str(refused.value) == told


@pytest.mark.parametrize(
    "preferences", [[], [[]], [0.5, 0.5], [["a", "b"]], [[0.5, 0.6]], [[1.5, -0.5]], [[float("nan"), 1]]]
)
def test_what_cannot_be_asked_for_in_a_prompt_is_refused_when_it_is_written(preferences):
    with pytest.raises(UserError) as refused:
        InPrompt(preferences)
    assert "\n" not in str(refused.value)


def test_preferences_in_the_prompt_may_be_rounded_and_may_come_as_any_rows():
    rows = [[0.33, 0.33, 0.33], [1, 0, 0]]
    assert InPrompt(rows) == InPrompt(np.array(rows)) == InPrompt(tuple(map(tuple, rows)))
    # As a task's record holds it.
    assert InPrompt(**asdict(InPrompt(rows))) == InPrompt(rows)


@torch.no_grad()
def seen(policy: Policy, preference: torch.Tensor | None = HALF) -> torch.Tensor:
    return policy(*tokens(), preference)


def bare(run) -> None:
    """The base is as it was, whatever was deployed on it."""
    again = Policy(tiny())
    assert torch.equal(seen(run.base), seen(again))
    LoRA(run.base.model, 2).unload()


def test_a_steered_policy_is_asked_for_the_grid_at_its_snapshots_and_at_its_end(tmp_path):
    run = trained(tmp_path, SVDLoRA, [None], snapshots=[10, 2])
    found = []
    for deployed in Steered().policies(run):
        assert deployed.name == "steered"
        assert torch.equal(deployed.preferences, torch.tensor(GRID, dtype=torch.float64))
        assert deployed.rewrite is None
        moved = 0.3 if deployed.step is None else deployed.step / 10
        for row in GRID:
            preference = torch.tensor(row)
            assert torch.equal(seen(deployed.policy, preference), seen(made(SVDLoRA, 0, moved), preference))
        found.append(deployed.step)
    assert found == [2, 10, None]
    bare(run)


@pytest.mark.parametrize("at", [CORNERS, [[0.7, 0.3], [0.1, 0.9]]])
def test_a_soup_interpolates_the_updates_of_all(tmp_path, at):
    run = trained(tmp_path, LoRA, at)
    (deployed,) = Soup().policies(run)
    assert deployed.name == "soup"
    assert deployed.step is None
    assert torch.equal(deployed.preferences, torch.tensor(GRID, dtype=torch.float64))
    members = [made(LoRA, seed) for seed in (0, 1)]
    for member, corner in zip(members, torch.eye(2), strict=True):
        torch.testing.assert_close(seen(deployed.policy, corner), seen(member), atol=1e-4, rtol=1e-4)
    mixed = copy.deepcopy(tiny())
    merged = [dict(member.merge().named_parameters()) for member in members]
    with torch.no_grad():
        for name, parameter in mixed.named_parameters():
            parameter.copy_(0.25 * merged[0][name] + 0.75 * merged[1][name])
    quarter = torch.tensor([0.25, 0.75])
    torch.testing.assert_close(seen(deployed.policy, quarter), seen(Policy(mixed)), atol=1e-4, rtol=1e-4)


class Mine(LoRA):
    """A low-rank policy from outside."""

    def __init__(self, model, rank=2, **options):
        super().__init__(model, rank, **options)


def test_a_soup_may_be_of_policies_from_outside(tmp_path):
    run = trained(tmp_path, Mine, CORNERS)
    (deployed,) = Soup().policies(run)
    for seed, corner in enumerate(torch.eye(2)):
        torch.testing.assert_close(
            seen(deployed.policy, corner), seen(made(Mine, seed)), atol=1e-4, rtol=1e-4
        )


class Shift(Policy):
    """No low-rank update: a number on all logits of each token."""

    def __init__(self, model, seed=0):
        super().__init__(model.requires_grad_(False))
        self.shift = torch.nn.Parameter(torch.zeros(model.config.vocab_size))

    def options(self):
        return {}

    layers = {}  # noqa: RUF012 - so that it can be shaken as others are


def test_a_soup_of_what_has_no_low_rank_updates_is_refused(tmp_path):
    run = trained(tmp_path, Shift, CORNERS)
    with pytest.raises(UserError, match="a soup's members are low-rank updates; Shift is no AdapterPolicy"):
        list(Soup().policies(run))
    bare(run)


def test_each_policy_is_nearest_to_its_own_preference(tmp_path):
    at = [[1 - i / 10, i / 10] for i in range(11)]
    run = trained(tmp_path, LoRA, at)
    for place, deployed in enumerate(Nearest().policies(run)):
        assert deployed.name == f"{at[place][0]:g} {at[place][1]:g}"
        assert deployed.preferences.tolist() == [at[place]]
        assert torch.equal(seen(deployed.policy), seen(made(LoRA, place)))
    assert place == 10
    bare(run)


@pytest.mark.parametrize(("at", "names"), [([[0.5, 0.5]], ["alone"]), (CORNERS, ["alone 0", "alone 1"])])
def test_alone_a_policy_knows_no_preference(tmp_path, at, names):
    run = trained(tmp_path, LoRA, at)
    found = []
    for place, deployed in enumerate(Alone().policies(run)):
        assert deployed.preferences is None
        assert torch.equal(seen(deployed.policy), seen(made(LoRA, place)))
        found.append(deployed.name)
    assert found == names
    bare(run)


def test_each_head_of_one_policy_is_measured_by_itself(tmp_path):
    run = trained(tmp_path, Heads, [None])
    whole = made(Heads, 0)
    for k, deployed in enumerate(EachHead().policies(run)):
        assert (deployed.name, deployed.preferences) == (f"head {k}", None)
        assert torch.equal(seen(deployed.policy), seen(whole.head(k)))
    assert k == 2
    bare(run)


def test_the_heads_of_policies_for_a_preference_each_are_measured_under_it(tmp_path):
    run = trained(tmp_path, LoRA, CORNERS)
    found = [
        (
            deployed.name,
            deployed.preferences.tolist(),
            torch.equal(seen(deployed.policy), seen(made(LoRA, i))),
        )
        for i, deployed in enumerate(EachHead().policies(run))
    ]
    assert found == [("1 0", [[1, 0]], True), ("0 1", [[0, 1]], True)]
    bare(run)


def test_several_heads_of_policies_for_a_preference_each_have_names_of_their_own(tmp_path):
    run = trained(tmp_path, Heads, CORNERS)
    names = [deployed.name for deployed in EachHead().policies(run)]
    assert names == [f"{at} head {k}" for at in ("1 0", "0 1") for k in range(3)]
    bare(run)


def test_in_the_prompt_one_policy_is_asked_for_each_preference(tmp_path):
    rows = [[0.3, 0.7], [1.0, 0.0]]
    run = trained(tmp_path, LoRA, [None], sections={"ric": RiCConfig})
    names = []
    for row, deployed in zip(rows, InPrompt(rows).policies(run), strict=True):
        assert deployed.preferences.tolist() == [row]
        assert deployed.rewrite("how are you") == goals(row)
        assert torch.equal(seen(deployed.policy), seen(made(LoRA, 0)))
        names.append(deployed.name)
    assert names == ["0.3 0.7", "1 0"]
    assert goals(rows[0]) != goals(rows[1])
    bare(run)


def test_what_measuring_takes():
    assert Steered().load(11, 1, 1) == Load(grid=11, passes=11)
    assert Soup().load(11, 2, 1) == Load(grid=11, passes=11, held=2)
    assert Nearest().load(11, 7, 1) == Load(passes=7)
    assert Alone().load(11, 2, 1) == Load(passes=2)
    assert EachHead().load(11, 1, 5) == Load(passes=5)
    assert EachHead().load(11, 4, 1) == Load(passes=4)
    assert InPrompt([[0.3, 0.7], [1, 0]]).load(11, 1, 1) == Load(passes=2)


@dataclass(frozen=True)
class Every(Deployment):
    """One from outside: each policy twice."""

    times: int = 2

    def policies(self, trained):
        for place in range(len(trained.folders)):
            policy = trained.load(place)
            for time in range(self.times):
                yield Deployed(f"{place} {time}", policy)
            policy.unload()


def test_one_from_outside_needs_one_method(tmp_path):
    run = trained(tmp_path, LoRA, CORNERS)
    Every().check(TrainedOn.grid())
    assert [each.name for each in Every().policies(run)] == ["0 0", "0 1", "1 0", "1 1"]
    assert Every().load(11, 2, 1) == Load(passes=2)
    bare(run)


def test_one_without_it_says_what_is_missing():
    @dataclass(frozen=True)
    class Nothing(Deployment):
        pass

    with pytest.raises(
        NotImplementedError, match=r"Nothing: a deployment needs the method policies\(trained\)"
    ):
        Nothing().policies(None)
