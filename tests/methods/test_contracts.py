"""What answers promise: each promise broken by a small wrong twin is told in one line, and ours keep them all."""

from __future__ import annotations

import pytest
import torch

from lightning_moa.aggregation import GAPO, MGDA, PGAPO, Hypervolume, Linear, Tchebycheff, UPGrad
from lightning_moa.answers import load
from lightning_moa.errors import UserError
from lightning_moa.methods import DPS, HaM, HeadwiseSCA, Panacea, RewardedSoups, RiC, SafeRLHF
from lightning_moa.methods.contracts import BrokenContract, check_steering, shaken
from lightning_moa.methods.dynamic_weights import DynamicWeights
from lightning_moa.methods.gapo import GAPO as TrainedByGAPO
from lightning_moa.methods.mgda import MGDA as TrainedByMGDA
from lightning_moa.methods.names import METHODS
from lightning_moa.methods.pgapo import PGAPO as TrainedByPGAPO
from lightning_moa.objectives import DPO, MODPO, RLOO, RewardWeightedLikelihood
from lightning_moa.objectives.dpo import dpo_losses, implicit_margins
from lightning_moa.objectives.likelihood import LikelihoodInContext
from lightning_moa.objectives.names import OBJECTIVES
from lightning_moa.policies import LoRA, PromptedLoRA, SVDLoRA, response_logps
from lightning_moa.policies.names import POLICIES
from tests.methods.fitting import adapter, labelled, sgd, state, train
from tests.methods.heads import Z, heads_of, scored
from tests.objectives.rollouts import ppo, prompts
from tests.objectives.test_grpo import objective as grpo
from tests.policies.models import tiny, tokens
from tests.policies.test_prompted import PIECES

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

HALF = [0.5, 0.5]


def dps(policy=None, objective=None, aggregator=None, **options):
    options = {"m": 2, "seed": 0, "at": HALF} | options
    return DPS(policy or adapter(0), objective or DPO(0.3), aggregator or Linear(), sgd(), **options)


def told(module, batches):
    """The one line that a training ends with, before anything has moved."""
    before = state(module.policy).clone()
    with pytest.raises(BrokenContract) as broken:
        train(module, batches)
    assert torch.equal(state(module.policy), before)
    assert isinstance(broken.value, UserError)
    line = str(broken.value)
    assert "\n" not in line
    return line


# Objectives


class PerRow(DPO):
    """A loss of each row."""

    def losses(self, policy, batch, preference):
        logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
        return dpo_losses(implicit_margins(logps, batch.ref_logps, self.beta), batch.labels)


class Summed(DPO):
    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).sum()


class Numbers(DPO):
    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).tolist()


class NotANumber(DPO):
    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference) * torch.tensor([1.0, float("nan")])


class Infinite(DPO):
    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference) / 0


class Detached(DPO):
    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).detach()


class Ungrouped(DPO):
    """The mean over all of a batch's preferences."""

    def losses(self, policy, batch, preference):
        return super().losses(policy, batch, preference).mean(0)


WRONG_OBJECTIVES = {
    PerRow: "PerRow.losses: shape (2,) is expected for 2 objectives, (6, 2) came",
    Summed: "Summed.losses: shape (2,) is expected for 2 objectives, () came",
    Numbers: "Numbers.losses: shape (2,) is expected for 2 objectives, list came",
    NotANumber: "NotANumber.losses: finite numbers are expected, [0.",
    Infinite: "Infinite.losses: finite numbers are expected, [inf, inf] came",
    Detached: "Detached.losses: they hang on no trained tensor of SVDLoRA, so nothing would be learned",
}


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize(("kind", "line"), WRONG_OBJECTIVES.items())
def test_losses_are_one_finite_number_with_a_gradient_for_each_objective(kind, line, accumulate):
    """Wherever the first update is made, it is looked at."""
    found = told(dps(objective=kind(0.3), accumulate=accumulate), [labelled(6)] * accumulate)
    assert found.startswith(line)


def test_one_loss_for_several_objectives_is_told():
    objective = ppo(2, weigh="advantages")
    objective.count = lambda m: m
    line = told(dps(LoRA(tiny(), 2, seed=0), objective), [prompts(4)])
    assert line == "PPO.losses: shape (2,) is expected for 2 objectives, (1,) came"


def test_a_batch_of_several_preferences_has_a_row_for_each():
    method = Panacea(adapter(2), Ungrouped(0.3), Linear(), sgd(), m=2, seed=0, preferences_per_batch=3)
    assert told(method, [labelled(6)]) == (
        "Ungrouped.losses: shape (3, 2) is expected for 2 objectives, (2,) came"
    )


def test_several_heads_have_a_row_each():
    class OneRow(RewardWeightedLikelihood):
        def losses(self, policy, batch, preference=None):
            return super().losses(policy, batch, preference).mean(0)

    method = HaM(heads_of(3), OneRow(Z), Hypervolume(), sgd(), m=2, seed=0)
    assert told(method, [scored()]) == "OneRow.losses: shape (3, 2) is expected for 2 objectives, (2,) came"


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("kind", [PerRow, Detached, NotANumber])
def test_they_are_looked_at_before_their_gradients_are(kind, fresh):
    aggregator, options = GAPO(1.0), {"probe": "all", "fresh_passes": fresh}
    method = TrainedByGAPO(adapter(0), kind(0.3), aggregator, sgd(), m=2, seed=0, **options)
    assert told(method, [labelled(6)]).startswith(WRONG_OBJECTIVES[kind])


# Aggregations


def vector(losses, preference, parameters=()):
    return preference * losses


def number(losses, preference, parameters=()):
    return float((preference * losses).sum())


def not_finite(losses, preference, parameters=()):
    return (preference * losses).sum() * float("inf")


def detached(losses, preference, parameters=()):
    return (preference * losses).sum().detach()


class Named:
    """An aggregation with the name of what it does."""

    def __new__(cls, function):
        return type(function.__name__, (), {"__call__": lambda self, *given: function(*given)})()


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (vector, "vector: one scalar is expected of an aggregation, (2,) came"),
        (number, "number: one scalar is expected of an aggregation, float came"),
        (not_finite, "not_finite: a finite scalar is expected of an aggregation, inf came"),
        (detached, "detached: the scalar hangs on no loss (is it detached?), so nothing would be learned"),
    ],
)
def test_an_aggregation_gives_one_finite_scalar_that_hangs_on_the_losses(function, line):
    assert told(dps(aggregator=Named(function)), [labelled(4)]) == line


# Policies


class Spare(LoRA):
    """Trains a tensor that takes part in nothing."""

    def __init__(self, model):
        super().__init__(model, 2, seed=0)
        self.spare = torch.nn.Parameter(torch.ones(3))


class Deaf(SVDLoRA):
    """Says that two values steer it, and is steered by none."""

    def steered(self, preference, batch_size=None):
        return super().steered(torch.full((self.m,), 1 / self.m))


class HalfDeaf(SVDLoRA):
    """Listens in training alone, where dropout would hide it."""

    def steered(self, preference, batch_size=None):
        return super().steered(preference if self.training else torch.full((self.m,), 1 / self.m), batch_size)


def test_every_trained_tensor_takes_part():
    assert told(dps(Spare(tiny())), [labelled(4)]) == (
        "Spare: no gradient reaches spare; a trained tensor must take part in the logits"
    )


@pytest.mark.parametrize("kind", [Deaf, HalfDeaf])
def test_a_policy_that_says_that_it_is_steered_listens(kind):
    policy = kind(tiny(), 2, 2, seed=0)
    method = Panacea(policy, DPO(0.3), Linear(), sgd(), m=2, seed=0)
    assert told(method, [labelled(4)]) == (
        f"{kind.__name__} says that 2 preference values steer it, but its logits are the same at [1.0, 0.0] and "
        "[0.0, 1.0]"
    )


# When, and at what cost


class Grown(DPO):
    """Right at first, and then of another shape, which linear scalarisation does not mind."""

    calls = 0

    def losses(self, policy, batch, preference):
        self.calls += 1
        found = super().losses(policy, batch, preference)
        return found if self.calls == 1 else found[None].expand(3, 2)


def test_their_shape_is_asked_of_every_update():
    objective = Grown(0.3)
    with pytest.raises(BrokenContract, match=r"Grown\.losses: shape \(2,\) is expected .*, \(3, 2\) came"):
        train(dps(objective=objective), [labelled(4)] * 3)
    assert objective.calls == 2


@pytest.mark.parametrize("steered", [False, True])
def test_looking_costs_two_short_passes_of_one_training_and_changes_nothing(steered):
    policy, twin = adapter(2 if steered else 0), adapter(2 if steered else 0)
    passes = []
    policy.model.register_forward_pre_hook(
        lambda module, args, given: passes.append(len(given["input_ids"])), with_kwargs=True
    )
    looked, unlooked = dps(policy), dps(twin)
    unlooked._checked = True
    torch.manual_seed(0)
    train(looked, [labelled(4)] * 3)
    drawn = torch.rand(1)
    assert passes == [1, 1, 8, 8, 8] if steered else passes == [8, 8, 8]
    torch.manual_seed(0)
    train(unlooked, [labelled(4)] * 3)
    assert torch.equal(state(policy), state(twin))
    assert torch.equal(drawn, torch.rand(1))


class SilentOnPadding(SVDLoRA):
    """What it says behind a row's last token is always the same."""

    def forward(self, input_ids, attention_mask, preference=None, *, last=0):
        logits = super().forward(input_ids, attention_mask, preference)
        return logits.masked_fill(attention_mask[..., None] == 0, 0.0)[:, -last:]


def test_that_a_policy_is_steered_is_asked_of_its_last_token():
    ids, mask = (torch.nn.functional.pad(each, (0, 4)) for each in tokens(2, 5))
    check_steering(SilentOnPadding(tiny(), k=2, m=2, seed=0), ids, mask)


def test_shaken_tensors_have_their_own_values_again():
    policy = adapter(2)
    before = state(policy)
    modes = [module.training for module in policy.train().modules()]
    with torch.no_grad(), shaken(policy):
        inside = state(policy)
    assert torch.equal(state(policy), before)
    assert ((inside - before).abs() > 0).float().mean() > 0.99
    with pytest.raises(ZeroDivisionError), torch.no_grad(), shaken(policy):
        1 / 0  # noqa: B018
    assert torch.equal(state(policy), before)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check_steering(policy, *tokens())
    assert torch.equal(state(policy), before)
    assert [module.training for module in policy.modules()] == modes
    assert torch.equal(torch.rand(1), expected)


# Ours


def lora():
    return LoRA(tiny(), 2, seed=0)


def with_rewards():
    batch = labelled(4)
    batch.rewards = torch.arange(16.0).reshape(8, 2).sin()
    return batch


THREE = [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
AT = {"m": 2, "seed": 0, "at": HALF}
ANY = {"m": 2, "seed": 0}
OURS = {
    "panacea": lambda: (Panacea(adapter(2), DPO(0.3), Linear(), sgd(), **ANY), labelled(4)),
    "panacea by tchebycheff, three preferences a batch": lambda: (
        Panacea(adapter(2), DPO(0.3), Tchebycheff(), sgd(), preferences_per_batch=3, **ANY),
        labelled(6),
    ),
    "panacea by ppo": lambda: (
        Panacea(adapter(2), ppo(2, weigh="linear_reward", critic_m=2), Linear(), sgd(), **ANY),
        prompts(4),
    ),
    "rewarded_soups": lambda: (
        RewardedSoups(adapter(0), DPO(0.3), Linear(), sgd(), m=2, seed=0, at=[1, 0]),
        labelled(4),
    ),
    "dps": lambda: (dps(), labelled(4)),
    "dps of one head": lambda: (
        DPS(heads_of(1), RewardWeightedLikelihood(Z), Linear(), sgd(), **AT),
        scored(),
    ),
    "dps, scalarised first": lambda: (
        DPS(heads_of(1), RewardWeightedLikelihood(Z, directions=[HALF]), Linear(), sgd(), **AT),
        scored(),
    ),
    "dps by advantages": lambda: (DPS(lora(), ppo(2, weigh="advantages"), Linear(), sgd(), **AT), prompts(4)),
    "gapo": lambda: (TrainedByGAPO(lora(), ppo(2), GAPO(1.0), sgd(), probe="all", **ANY), prompts(4)),
    "mgda": lambda: (TrainedByMGDA(lora(), ppo(2), MGDA(), sgd(), probe="last_layer", **ANY), prompts(4)),
    "pgapo": lambda: (TrainedByPGAPO(lora(), ppo(2), PGAPO(), sgd(), probe="activations", **AT), prompts(4)),
    "safe_rlhf": lambda: (
        SafeRLHF(lora(), ppo(2, weigh="advantages"), Linear(), sgd(), lagrangian={}, **ANY),
        prompts(4),
    ),
    "dynamic_weights": lambda: (DynamicWeights(lora(), grpo(), Linear(), sgd(), **ANY), prompts(4)),
    "ham": lambda: (HaM(heads_of(3), RewardWeightedLikelihood(Z), Hypervolume(), sgd(), **ANY), scored()),
    "ham, scalarised first": lambda: (
        HaM(heads_of(3), RewardWeightedLikelihood(Z, directions=THREE), Hypervolume(), sgd(), **ANY),
        scored(),
    ),
    "ham of low rank": lambda: (
        HaM(heads_of(2, head_rank=2), RewardWeightedLikelihood(Z), Hypervolume(warm_up=1), sgd(), **ANY),
        scored(),
    ),
    "sca": lambda: (
        HeadwiseSCA(heads_of(3), RewardWeightedLikelihood(Z), Linear(), sgd(), head_preferences=THREE, **ANY),
        scored(),
    ),
    "grpo, each objective apart": lambda: (
        TrainedByGAPO(lora(), grpo(weigh="surrogates"), UPGrad(), sgd(), probe="all", **ANY),
        prompts(4),
    ),
    "rloo, the preference in the prompt": lambda: (
        Panacea(PromptedLoRA(tiny(), 2, pieces=PIECES, seed=0), grpo(RLOO), Linear(), sgd(), **ANY),
        prompts(4),
    ),
    "modpo": lambda: (DPS(lora(), MODPO(0.3), Linear(), sgd(), **AT), with_rewards()),
    "ric": lambda: (RiC(heads_of(1), LikelihoodInContext(), Linear(), sgd(), **ANY), scored()),
}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", OURS)
def test_ours_keep_their_promises(name, accumulate):
    module, batch = OURS[name]()
    module.accumulate = accumulate
    before = state(module.policy)
    looks = []
    losses = module._losses

    def seen(*given):
        looks.append(not module._checked)
        return losses(*given)

    module._losses = seen
    train(module, [batch] * (2 * accumulate))
    # The first pass, and one for each gradient with fresh passes, is looked at; the second update isn't.
    assert looks[0]
    assert not looks[-1]
    assert not torch.equal(state(module.policy), before)


def test_all_of_ours_are_among_them():
    modules = [make()[0] for make in OURS.values()]
    assert {type(each) for each in modules} == {load(known.path) for known in METHODS.values()}
    assert {type(each.objective) for each in modules} == {load(known.path) for known in OBJECTIVES.values()}
    assert {type(each.policy) for each in modules} == {load(known.path) for known in POLICIES.values()}
