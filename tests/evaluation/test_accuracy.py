"""Implicit-reward accuracies against counts by hand, and batched over preferences against one by one."""

import numpy as np
import pytest
import torch

from lightning_moa.evaluation import implicit_accuracies, implicit_margins
from lightning_moa.policies import Policy, SVDLoRA, response_logps
from tests.objectives.batches import NAN, pairs, share
from tests.policies.models import preferences, shake, tiny

LABELS = [[0.0, 1.0], [1.0, NAN], [0.0, 0.0], [1.0, 0.0], [NAN, 1.0]]


@pytest.fixture(scope="module")
def policy():
    return shake(SVDLoRA(tiny(), k=2, m=2, seed=0)).eval()


@pytest.fixture(scope="module")
def batch():
    return pairs(LABELS, reference=Policy(tiny()).requires_grad_(False))


def test_accuracies_by_hand(policy, batch):
    grid = preferences(3, 2)
    values, counts = implicit_accuracies(policy, [batch], grid)
    assert values.shape == (3, 2)
    assert counts.tolist() == [4, 4]
    for row, preference in enumerate(grid):
        with torch.no_grad():
            logps = response_logps(
                policy, batch.input_ids, batch.attention_mask, batch.response_mask, preference
            )
        ratio = (logps - batch.ref_logps).tolist()
        for i in range(2):
            hits = known = 0
            for pair, labels in enumerate(LABELS):
                if np.isnan(labels[i]):
                    continue
                better, other = (pair + 5, pair) if labels[i] == 1.0 else (pair, pair + 5)
                known += 1
                hits += ratio[better] > ratio[other]
            assert values[row, i] == hits / known


def test_all_preferences_at_once_equal_one_by_one(policy, batch):
    grid = torch.tensor([[1.0, 0.0], [0.7, 0.3], [0.4, 0.6], [0.0, 1.0]])
    together, counts = implicit_accuracies(policy, [batch], grid)
    apart = [implicit_accuracies(policy, [batch], row[None])[0][0] for row in grid]
    np.testing.assert_array_equal(together, np.stack(apart))
    split, same = implicit_accuracies(policy, [share(batch, slice(0, 2)), share(batch, slice(2, 5))], grid)
    np.testing.assert_array_equal(split, together)
    assert same.tolist() == counts.tolist()


def test_pairs_keep_their_places_whatever_batches_and_processes_they_come_from(policy, batch):
    """A bootstrap over pairs draws the same ones for every policy, so they must stand in one order everywhere."""
    grid = preferences(3, 2)
    whole = implicit_margins(policy, [batch], grid)
    parts = [share(batch, slice(*bounds)) for bounds in ((2, 3), (0, 2), (3, 5))]
    mixed = implicit_margins(policy, parts, grid)
    np.testing.assert_allclose(mixed.values, whole.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mixed.labels, whole.labels)


def test_the_reference_itself_only_ties_and_ties_are_no_success(batch):
    reference = Policy(tiny()).requires_grad_(False)
    values, _ = implicit_accuracies(reference, [batch], torch.tensor([[0.5, 0.5]]))
    assert values.tolist() == [[0.0, 0.0]]


def test_an_objective_without_labels_has_no_accuracy(policy):
    unlabelled = pairs([[0.0, NAN], [1.0, NAN]], reference=Policy(tiny()).requires_grad_(False))
    values, counts = implicit_accuracies(policy, [unlabelled], torch.tensor([[0.5, 0.5]]))
    assert np.isnan(values[0, 1])
    assert counts.tolist() == [2, 0]


def test_reversed_labels_have_the_opposite_accuracy(policy, batch):
    flipped = share(batch, slice(None))
    flipped.labels = 1 - batch.labels
    grid = preferences(2, 2)
    np.testing.assert_allclose(
        implicit_accuracies(policy, [batch], grid)[0] + implicit_accuracies(policy, [flipped], grid)[0], 1.0
    )


def test_pairs_and_reference_log_probs_are_needed(policy):
    with pytest.raises(ValueError, match="no pairs"):
        implicit_accuracies(policy, [], torch.tensor([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="ref_logps"):
        implicit_accuracies(policy, [pairs(LABELS)], torch.tensor([[0.5, 0.5]]))
