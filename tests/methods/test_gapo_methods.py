"""Fits of GAPO, P-GAPO, MGDA and Safe RLHF: each update against its arithmetic, and what a watch sees of it."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import quadprog
import torch

from lightning_moa.aggregation import GAPO, MGDA, PGAPO, Linear, Multipliers
from lightning_moa.errors import UserError
from lightning_moa.methods.dps import DPS
from lightning_moa.methods.gapo import GAPO as TrainedByGAPO
from lightning_moa.methods.mgda import MGDA as TrainedByMGDA
from lightning_moa.methods.pgapo import PGAPO as TrainedByPGAPO
from lightning_moa.methods.safe_rlhf import SafeRLHF
from lightning_moa.methods.settings import LagrangianConfig
from lightning_moa.methods.watching import GradientWatch
from lightning_moa.policies import PROBES, LoRA, Probe
from tests.methods.fitting import adam, sgd, state, train
from tests.objectives.rollouts import centred, ppo, prompts
from tests.policies.models import shake, tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

LR = 0.05
AT = {2: [0.3, 0.7], 3: [0.2, 0.5, 0.3]}


def policy():
    return shake(LoRA(tiny(), 2, seed=0), std=0.3)


def objective(m, **options):
    return ppo(m, rules=centred(m), kl_coeff=0.1, **options)


def names(m):
    return list(centred(m))


def by_mgda(p):
    def direction(rows, preference):
        """An independent solver of the min-norm problem on g_i / ||g_i||^p; the weights of the g_i."""
        rescale = rows.norm(dim=1) ** -p
        h = (rows * rescale[:, None]).double().numpy()
        m = len(h)
        bounds = np.hstack([np.ones((m, 1)), np.eye(m)])
        alpha = quadprog.solve_qp(h @ h.T, np.zeros(m), bounds, np.eye(m + 1)[0], meq=1)[0]
        return torch.from_numpy(alpha).clamp(min=0) * rescale

    return direction


def by_pgapo(rows, preference):
    return torch.tensor(preference) / rows.norm(dim=1)


KINDS = {
    "mgda": (partial(TrainedByMGDA), MGDA(), by_mgda(0.0)),
    "gapo_p1": (TrainedByGAPO, GAPO(1.0), by_mgda(1.0)),
    "gapo_p2": (TrainedByGAPO, GAPO(2.0), by_mgda(2.0)),
    "pgapo": (TrainedByPGAPO, PGAPO(), by_pgapo),
}


def method(kind, m, trained, made=None, **options):
    module, aggregator, _ = KINDS[kind]
    options = {
        "optimiser": sgd(LR),
        "probe": "last_layer",
        "at": AT[m] if kind == "pgapo" else None,
    } | options
    return module(trained, made or objective(m), aggregator, m=m, seed=0, **options)


def gradients_of(trained, made, batch, step=0, probe="last_layer", rollout=None):
    """Each objective's gradient, (m, n), of the probed tensors and of all, on the rollout of this step."""
    probed = Probe(trained, probe)
    rollout = rollout or made.rollout(trained, batch, None, step)
    losses = made.losses(trained, rollout, None)
    found = []
    for tensors in (probed.tensors(), trained.trainable_parameters()):
        rows = [torch.autograd.grad(loss, tensors, retain_graph=True) for loss in losses]
        found.append(torch.stack([torch.cat([each.flatten() for each in row]) for row in rows]))
    return found


# One update


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("kind", list(KINDS))
def test_an_update_is_a_step_along_the_weighted_gradients(kind, m, probe):
    trained, batch = policy(), prompts(8)
    before = state(trained)
    probed, whole = gradients_of(trained, objective(m), batch, probe=probe)
    weights = KINDS[kind][2](probed, AT[m])
    train(method(kind, m, trained, probe=probe), [batch])
    step = -LR * (weights.float() @ whole)
    assert step.norm() > 1e-3
    torch.testing.assert_close(state(trained) - before, step, rtol=1e-3, atol=1e-5 * step.norm().item())


@pytest.mark.parametrize(
    ("probe", "watched", "times"), [("all", False, 2), ("all", True, 5), ("last_layer", False, 1)]
)
def test_a_pass_is_gone_back_through_as_often_as_is_needed(probe, watched, times):
    """For each objective where all tensors are probed. A watch wants the weights, and looks for itself."""
    trained, made = policy(), objective(2)
    first, passed = trained.model.model.layers[0], []

    def watch(module, inputs, output):
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad:
            hidden.register_hook(passed.append)

    first.register_forward_hook(watch)
    look = GradientWatch(trained, names(2), 1) if watched else None
    train(method("gapo_p1", 2, trained, made, probe=probe, watch=look), [prompts(4)])
    assert len(passed) == times


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_probe_is_a_different_algorithm_where_its_gradients_differ(kind):
    ends = []
    for probe in PROBES:
        trained = policy()
        train(method(kind, 3, trained, probe=probe), [prompts(8)])
        ends.append(state(trained))
    assert not torch.allclose(ends[0], ends[1], rtol=1e-3)
    assert not torch.allclose(ends[1], ends[2], rtol=1e-3)


def test_two_rollouts_make_one_update_of_their_mean():
    """Each is aggregated by its own weights, and the gradients are averaged."""
    trained, batches = policy(), [prompts(8), prompts(8, seed=2)]
    before = state(trained)
    step = 0
    for i, batch in enumerate(batches):
        probed, whole = gradients_of(trained, objective(3), batch, step=i)
        step -= LR * (KINDS["gapo_p1"][2](probed, None).float() @ whole) / 2
    train(method("gapo_p1", 3, trained, accumulate=2), batches)
    torch.testing.assert_close(state(trained) - before, step, rtol=1e-3, atol=1e-5 * step.norm().item())


def test_a_second_update_on_a_rollout_solves_for_its_own_weights():
    trained, same, batch = policy(), policy(), prompts(8)
    made = objective(3)
    rollout = made.rollout(same, batch, None, 0)
    seen = []
    for lr in (LR, 0.9 * LR):
        probed, whole = gradients_of(same, made, batch, rollout=rollout)
        seen.append(KINDS["gapo_p1"][2](probed, None).float())
        step = lr * (seen[-1] @ whole)
        with torch.no_grad():
            for parameter, part in zip(
                same.trainable_parameters(),
                step.split([each.numel() for each in same.trainable_parameters()]),
                strict=True,
            ):
                parameter -= part.view_as(parameter)
    assert not torch.allclose(seen[0], seen[1], rtol=1e-3)
    train(method("gapo_p1", 3, trained, objective(3, update_iters=2)), [batch])
    torch.testing.assert_close(state(trained), state(same), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_fit_moves_adapter_and_critic_and_leaves_the_base(kind):
    trained, made = LoRA(tiny(), 2, seed=0), objective(3, update_iters=2)
    base = {name: value.clone() for name, value in tiny().state_dict().items()}
    critic, before = made.critic.outer.weight.clone(), state(trained)
    train(method(kind, 3, trained, made, optimiser=adam(1e-2), grad_clip=1.0), [prompts(8)] * 3)
    assert torch.isfinite(state(trained)).all()
    assert not torch.equal(state(trained), before)
    assert not torch.equal(made.critic.outer.weight, critic)
    after = trained.unload().state_dict()
    assert all(torch.equal(after[name], base[name]) for name in base)


def test_what_is_logged_are_the_weights_and_norms_of_the_last_update():
    trained, batch = policy(), prompts(8)
    probed, _ = gradients_of(trained, objective(2), batch)
    module = train(method("gapo_p1", 2, trained), [batch])
    logs = module.logs()
    assert [logs["gradient_norm_0"], logs["gradient_norm_1"]] == pytest.approx(
        probed.norm(dim=1).tolist(), rel=1e-4
    )
    assert logs["weight_0"] * logs["gradient_norm_0"] == pytest.approx(0.5)


def test_pgapo_needs_its_preference():
    with pytest.raises(UserError, match="PGAPO: a policy needs the preference"):
        method("pgapo", 2, policy(), at=None).preference(0)


def test_losses_that_are_not_apart_are_refused():
    with pytest.raises(UserError, match="1 loss for 2 objectives"):
        train(method("gapo_p1", 2, policy(), objective(2, weigh="advantages")), [prompts(4)])


# Safe RLHF


def safe(m, trained, weigh="advantages", made=None, lagrangian=None, **options):
    return SafeRLHF(
        trained,
        made or objective(m, weigh=weigh),
        Linear(),
        options.pop("optimiser", sgd(LR)),
        m=m,
        seed=0,
        lagrangian={"lr": 0.5} if lagrangian is None else lagrangian,
        **options,
    )


@pytest.mark.parametrize("m", [2, 3])
@pytest.mark.parametrize("weigh", ["advantages", "surrogates"])
def test_the_multiplier_moves_before_the_update_and_weighs_it(m, weigh):
    """The advantage is (A_1 + sum_i lambda_i A_i) / (1 + sum_i lambda_i), lambda of this rollout's scores."""
    trained, batch = policy(), prompts(8)
    before = state(trained)
    rollout = objective(m).rollout(trained, batch, None, 0)
    multipliers = [math.exp(-0.5 * mean) for mean in rollout.scores[:, 1:].mean(0).tolist()]
    assert all(abs(value - 1) > 0.01 for value in multipliers)
    advantages = rollout.advantages[..., 0] + sum(
        value * rollout.advantages[..., i] for i, value in enumerate(multipliers, 1)
    )
    alone = objective(1)
    single = alone.rollout(trained, batch, None, 0)
    single.advantages = (advantages / (1 + sum(multipliers)))[..., None]
    _, whole = gradients_of(trained, alone, batch, rollout=single)
    module = train(safe(m, trained, weigh), [batch])
    torch.testing.assert_close(state(trained) - before, -LR * whole[0], rtol=1e-3, atol=1e-6)
    assert module.multipliers.values().tolist() == pytest.approx(multipliers, rel=1e-5)
    logs = module.logs()
    assert [float(logs[f"multiplier_{i}"]) for i in range(1, m)] == pytest.approx(multipliers, rel=1e-5)


def test_all_updates_of_a_rollout_have_one_multiplier_and_each_rollout_moves_it_once():
    module = safe(2, policy(), made=objective(2, weigh="advantages", update_iters=3))
    train(module, [prompts(8), prompts(8, seed=2)])
    assert int(module.multipliers.updates) == 2
    assert int(module.multipliers.seen) == 16


def test_rollouts_of_one_update_move_the_multiplier_one_after_the_other():
    trained, batches = policy(), [prompts(8), prompts(8, seed=2)]
    before, made = state(trained), objective(2, weigh="advantages")
    multipliers, step = Multipliers(1, lr=0.5), 0
    for i, batch in enumerate(batches):
        rollout = made.rollout(trained, batch, torch.tensor([0.5, 0.5]), i)
        multipliers.update(rollout.scores[:, 1:])
        rollout.preference = multipliers.weights().float()
        _, whole = gradients_of(trained, made, batch, rollout=rollout)
        step -= LR * whole[0] / 2
    train(safe(2, trained, accumulate=2), batches)
    torch.testing.assert_close(state(trained) - before, step, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "zeros", "expected"),
    [
        ("auto", [False, False, True], [True, False]),
        ("zero", [False, False, False], [False, False]),
        ("start", [True, True, True], [True, True]),
    ],
)
def test_thresholds_are_counted_from_the_start_where_scores_have_no_zero(asked, zeros, expected):
    """The first objective has no threshold."""
    settings = LagrangianConfig(counted_from=asked, episodes=7)
    run = SimpleNamespace(zeros=zeros, options={}, section={"lagrangian": settings}.__getitem__)
    module = safe(3, policy(), **SafeRLHF.arguments(run))
    assert module.multipliers.from_start == expected
    assert len(module.multipliers.window) == 7


def test_a_delayed_multiplier_stays_at_its_start():
    module = train(safe(2, policy(), lagrangian={"delay": 5, "initial": 2.0}), [prompts(8)] * 3)
    assert module.multipliers.values().tolist() == pytest.approx([2.0])
    assert module.preference(3).tolist() == pytest.approx([1 / 3, 2 / 3])


def test_the_multipliers_are_in_the_modules_checkpoint():
    module = train(safe(2, policy()), [prompts(8)])
    other = safe(2, policy())
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.multipliers.log_multipliers, module.multipliers.log_multipliers)
    assert int(other.multipliers.seen) == 8


# A watch


@pytest.mark.parametrize("kind", ["gapo_p1", "pgapo", "linear"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_watch_changes_nothing(kind, accumulate):
    ends = []
    for every in (None, 2):
        trained, made = policy(), objective(2, update_iters=2)
        watch = None if every is None else GradientWatch(trained, names(2), every)
        options = {"watch": watch, "accumulate": accumulate, "optimiser": adam(1e-2)}
        if kind == "linear":
            module = DPS(trained, made, Linear(), m=2, seed=0, at=AT[2], **options)
        else:
            module = method(kind, 2, trained, made, **options)
        train(module, [prompts(8, seed=i) for i in range(4)])
        ends.append((state(trained), made.critic.outer.weight.detach().clone()))
        if watch is not None:
            assert {row["step"] for row in watch.rows} == set(range(0, 8 // accumulate, 2))
    for plain, watched in zip(*ends, strict=True):
        assert torch.equal(plain, watched)


def test_a_watch_records_every_probes_inner_products_the_weights_and_what_the_step_gained(tmp_path):
    trained, batch = policy(), prompts(8)
    before = state(trained)
    by_probe = {probe: gradients_of(trained, objective(3), batch, probe=probe) for probe in PROBES}
    watch = GradientWatch(trained, names(3), 5)
    train(method("gapo_p2", 3, trained, optimiser=adam(1e-3), probe="activations", watch=watch), [batch] * 3)
    watch.write(tmp_path / "gradients.csv")
    seen = pd.read_csv(tmp_path / "gradients.csv")
    assert list(seen) == [
        "step",
        "probe",
        "objective",
        "weight",
        *(f"dot_{n}" for n in names(3)),
        "gain",
        "moved",
    ]
    assert set(seen["step"]) == {0}
    assert list(seen["probe"]) == [probe for probe in PROBES for _ in range(3)]
    # The step that was taken first, of a twin that makes one update.
    twin = policy()
    train(method("gapo_p2", 3, twin, optimiser=adam(1e-3), probe="activations"), [batch])
    moved = (state(twin) - before).double()
    weights = by_mgda(2.0)(by_probe["activations"][0], None)
    for probe, (probed, whole) in by_probe.items():
        rows = seen[seen["probe"] == probe]
        assert rows["objective"].tolist() == names(3)
        found = rows[[f"dot_{name}" for name in names(3)]].to_numpy()
        np.testing.assert_allclose(found, (probed @ probed.T).numpy(), rtol=1e-3, atol=1e-3 * found.max())
        np.testing.assert_allclose(rows["weight"], weights, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(rows["gain"], (-(whole.double() @ moved)).numpy(), rtol=1e-3)
        np.testing.assert_allclose(rows["moved"], moved.norm().item(), rtol=1e-4)


def test_the_gain_is_what_the_objective_gains_in_a_small_step():
    """Finite differences: the loss after a small step against the loss before."""
    trained, made, batch = policy(), objective(2), prompts(8)
    rollout = made.rollout(trained, batch, None, 0)
    before = made.losses(trained, rollout, None)
    watch = GradientWatch(trained, names(2), 1)
    train(method("mgda", 2, trained, optimiser=sgd(1e-2), probe="all", watch=watch), [batch])
    after = made.losses(trained, rollout, None)
    gains = [row["gain"] for row in watch.rows if row["probe"] == "all"]
    assert (before - after).tolist() == pytest.approx(gains, rel=0.05)
    # MGDA on all parameters: progress is equal, lr ||d||^2, where both have weight.
    assert gains[0] == pytest.approx(gains[1], rel=1e-3)
    dots = np.array([[row["dot_long"], row["dot_even"]] for row in watch.rows if row["probe"] == "all"])
    weights = np.array([row["weight"] for row in watch.rows if row["probe"] == "all"])
    assert gains[0] == pytest.approx(1e-2 * weights @ dots @ weights, rel=1e-3)


def test_one_loss_for_all_objectives_leaves_nothing_to_watch(tmp_path):
    trained = policy()
    watch = GradientWatch(trained, names(2), 1)
    train(safe(2, trained, watch=watch), [prompts(8)] * 2)
    assert watch.rows == []
    watch.write(tmp_path / "gradients.csv")
    assert list(pd.read_csv(tmp_path / "gradients.csv"))[:4] == ["step", "probe", "objective", "weight"]


def test_losses_of_several_preferences_are_watched_as_their_mean():
    """Losses (g, m): an objective's gradient is that of its mean over the groups, its weight what multiplies that."""
    trained, made, batch = policy(), objective(2), prompts(8)
    rollout = made.rollout(trained, batch, None, 0)
    groups = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    watch = GradientWatch(trained, names(2), 1)
    losses = made.losses(trained, rollout, groups)
    assert losses.shape == (2, 2)
    watch.look(losses, Linear()(losses, groups))
    watch.after_step(watch.before_step())
    _, whole = gradients_of(trained, made, batch, rollout=rollout)
    rows = [row for row in watch.rows if row["probe"] == "all"]
    assert [row["weight"] for row in rows] == pytest.approx([0.6, 0.4])
    dots = [[row["dot_long"], row["dot_even"]] for row in rows]
    np.testing.assert_allclose(dots, (whole @ whole.T).numpy(), rtol=1e-3)
    assert [row["moved"] for row in rows] == [0.0, 0.0]
