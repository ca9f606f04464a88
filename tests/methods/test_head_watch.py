"""The look at the heads: alive against taking a head away, KL by hand, and nothing that it changes."""

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_moa.aggregation.volume import Hypervolume
from lightning_moa.errors import UserError
from lightning_moa.methods.ham import HaM
from lightning_moa.methods.head_watch import HeadWatch
from lightning_moa.objectives import RewardWeightedLikelihood
from lightning_moa.pareto import hypervolume
from lightning_moa.policies import Heads
from tests.methods.fitting import sgd
from tests.methods.heads import Z, heads_of, scored
from tests.policies.models import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*LeafSpec.*")

NAMES = ["kind", "brief"]
DEVICE = torch.device("cpu")


def watch(policy, path, batches=None, every=2, z=Z, names=NAMES, **options):
    objective = RewardWeightedLikelihood(z, options.pop("power", 1.0), options.pop("directions", None))
    return HeadWatch(policy, objective, names, batches or [scored()], every, path / "heads.csv", **options)


def look(policy, path, **options):
    watcher = watch(policy, path, **options)
    watcher._look(0, DEVICE)
    return pd.DataFrame(watcher.rows)


def whole(policy, batches):
    """(K, m) weighted log-likelihoods over the rows of all batches."""
    rows = sum(len(batch.input_ids) for batch in batches)
    with torch.no_grad():
        parts = [
            -RewardWeightedLikelihood().losses(policy, batch) * len(batch.input_ids) for batch in batches
        ]
    return (sum(parts) / rows).double().numpy()


def fit(policy, batches, callbacks=(), accumulate=1):
    import lightning as L
    from torch.utils.data import DataLoader

    torch.manual_seed(3)
    module = HaM(
        policy,
        RewardWeightedLikelihood(Z),
        Hypervolume(),
        sgd(),
        m=2,
        seed=0,
        accumulate=accumulate,
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    module.train()
    trainer.fit(module, DataLoader(batches, batch_size=None, shuffle=False))
    return {name: value.clone() for name, value in policy.trained_state().items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("heads", [2, 5])
def test_a_head_is_alive_if_the_volume_is_smaller_without_it(heads, seed, tmp_path):
    policy = heads_of(heads, seed=seed)
    batches = [scored(8, seed=seed), scored(3, seed=seed + 1)]
    values = np.maximum((whole(policy, batches) + Z) / Z, 0)
    reference = np.zeros(2)
    volume = hypervolume(values, reference)
    needed = [volume - hypervolume(np.delete(values, k, axis=0), reference) > 1e-12 for k in range(heads)]
    assert look(policy, tmp_path, batches=batches)["alive"].tolist() == needed


def test_of_equal_heads_one_is_alive_and_none_is_far_from_the_reference(tmp_path):
    frame = look(Heads(tiny(), heads=3, rank=2, seed=0), tmp_path)
    assert frame["alive"].tolist() == [True, False, False]
    assert frame["kl"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_likelihoods_are_those_of_all_rows(power, tmp_path):
    policy, batches = heads_of(3), [scored(8), scored(3, seed=9)]
    frame = look(policy, tmp_path, batches=batches, power=power)
    for batch in batches:
        batch.rewards = batch.rewards**power
    expected = whole(policy, batches)
    np.testing.assert_allclose(frame[[f"loglik_{name}" for name in NAMES]], expected, rtol=1e-5)


def test_a_batch_that_z_would_cut_off_counts_for_what_it_is(tmp_path):
    """z lies between the two batches' own values: the mean over both is what decides."""
    policy, good, bad = heads_of(2), scored(), scored(seed=4)
    good.rewards = good.rewards * 0.05
    low, high = (np.abs(whole(policy, [batch])) for batch in (good, bad))
    z = float((low + high).max() / 2 * 1.02)
    assert low.max() < z < high.min()
    frame = look(policy, tmp_path, batches=[good, bad], z=z)
    expected = whole(policy, [good, bad])
    np.testing.assert_allclose(frame[[f"loglik_{name}" for name in NAMES]], expected, rtol=1e-5)
    assert frame["alive"].any()


def test_a_head_that_z_cuts_off_is_not_alive(tmp_path):
    policy = heads_of(2)
    values = np.abs(whole(policy, [scored()]))
    assert not look(policy, tmp_path, z=float(values.min() * 0.9))["alive"].any()


def test_kl_is_the_expectation_over_each_heads_own_distribution(tmp_path):
    policy, batch = heads_of(2), scored()
    frame = look(policy, tmp_path, batches=[batch])
    base = tiny()
    for k in range(2):
        with torch.no_grad():
            own = policy.head(k)(batch.input_ids, batch.attention_mask).log_softmax(-1)
            given = base(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        values = []
        for row, column in batch.response_mask.nonzero().tolist():
            p, q = own[row, column - 1], given[row, column - 1].log_softmax(-1)
            values.append(sum(float(a.exp() * (a - b)) for a, b in zip(p, q, strict=True)))
        assert frame["kl"][k] == pytest.approx(np.mean(values), rel=1e-4)
        assert frame["kl"][k] > 0.01


def test_directions_have_columns_of_their_own(tmp_path):
    directions = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    policy, batch = heads_of(2), scored()
    frame = look(
        policy, tmp_path, batches=[batch], power=2.0, directions=directions, names=["1 0", "half", "0 1"]
    )
    with torch.no_grad():
        expected = -RewardWeightedLikelihood(None, 2.0, directions).losses(policy, batch)
    np.testing.assert_allclose(frame.filter(like="loglik_"), expected.numpy(), rtol=1e-5)


def test_the_file_has_a_row_for_each_head_and_look(tmp_path):
    policy = heads_of(3)
    fit(policy, [scored()] * 5, [watch(policy, tmp_path, every=2)])
    frame = pd.read_csv(tmp_path / "heads.csv")
    assert list(frame) == ["step", "head", "alive", "kl", "loglik_kind", "loglik_brief"]
    assert frame["step"].tolist() == [0] * 3 + [2] * 3 + [4] * 3 + [5] * 3
    assert frame["head"].tolist() == [0, 1, 2] * 4
    assert (frame.filter(like="loglik_") < 0).all(axis=None)
    assert frame.groupby("step")["alive"].any().all()


def test_steps_are_updates_where_batches_are_accumulated(tmp_path):
    policy = heads_of(2)
    fit(policy, [scored()] * 8, [watch(policy, tmp_path, every=2, accumulate=2)], accumulate=2)
    assert pd.read_csv(tmp_path / "heads.csv")["step"].unique().tolist() == [0, 2, 4]


def test_looking_changes_nothing(tmp_path):
    """Bit by bit, with dropout, whose draws a look must not use up."""
    batches = [scored(seed=seed) for seed in range(4)]
    plain, watched = heads_of(3, dropout=0.3), heads_of(3, dropout=0.3)
    expected = fit(plain, batches)
    got = fit(watched, batches, [watch(watched, tmp_path, every=1)])
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert not torch.equal(
        *(state["lm_head.heads.0.weight"] for state in (expected, heads_of(3).trained_state()))
    )


def test_without_z_nothing_is_said_to_be_alive(tmp_path):
    with pytest.raises(UserError, match="HeadWatch: an objective with z is needed"):
        watch(heads_of(2), tmp_path, z=None)
