"""Multi-objective decoding against exact optima: where it is one, and what it is where it is none."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from lightning_moa.deployments import MOD, Soup, TrainedOn
from lightning_moa.errors import UserError
from lightning_moa.policies import LoRA, Policy, generate
from lightning_moa.policies.mixed import MixedPolicies
from tests.deployments.trained import GRID, trained
from tests.policies.models import preferences, tiny, tokens

WORDS, BETA = 4, 0.5


class Corners(Policy):
    """Optima of single objectives for answers of `length` words: what they give for the next word, by brute force."""

    m = 3

    def __init__(self, length: int) -> None:
        super().__init__(tiny())
        draw = torch.Generator().manual_seed(length)
        self.length = length
        self.answers = list(product(range(WORDS), repeat=length))
        self.values = 2 * torch.randn(len(self.answers), 3, generator=draw, dtype=torch.float64)
        self.ref_logps = torch.randn(len(self.answers), generator=draw, dtype=torch.float64).log_softmax(0)

    def answer_logps(self, preference):
        """(answers,) of the exact optimum of the weighted reward."""
        return (self.ref_logps + self.values @ preference.double() / BETA).log_softmax(0)

    def next_logps(self, said, preference):
        """(words,) behind the words said."""
        logps, place = self.answer_logps(preference), len(said)
        sums = torch.stack(
            [
                torch.stack(
                    [
                        logps[i]
                        for i, answer in enumerate(self.answers)
                        if answer[: place + 1] == (*said, word)
                    ]
                ).logsumexp(0)
                for word in range(WORDS)
            ]
        )
        return sums.log_softmax(0)

    def forward(self, input_ids, attention_mask, preference=None, *, last=0):
        assert sorted(preference.tolist()) == [0.0, 0.0, 1.0], "it is asked at corners alone"
        rows = [self.next_logps(tuple(row.tolist()), preference) for row in input_ids[:, 1:]]
        return torch.stack(rows)[:, None]


def mixed_answers(corners, preference):
    """(answers,) log-probs of answers that are decoded word by word."""
    policy, found = MixedPolicies(corners), []
    for answer in corners.answers:
        total = torch.zeros((), dtype=torch.float64)
        for place, word in enumerate(answer):
            ids = torch.tensor([[9, *answer[:place]]])
            total += policy(ids, torch.ones_like(ids), preference, last=1)[0, -1].log_softmax(0)[word]
        found.append(total)
    return torch.stack(found)


@pytest.mark.parametrize("row", range(3))
def test_answers_of_one_word_are_the_exact_optimums(row):
    corners, preference = Corners(1), preferences(3, 3)[row].double()
    torch.testing.assert_close(mixed_answers(corners, preference), corners.answer_logps(preference))


def test_of_two_words_the_last_is_exact_and_the_first_mixes_the_corners_values():
    corners, preference = Corners(2), torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    found, exact = (
        logps.reshape(WORDS, WORDS)
        for logps in (mixed_answers(corners, preference), corners.answer_logps(preference))
    )
    torch.testing.assert_close(found.log_softmax(1), exact.log_softmax(1))
    of_corners = torch.stack([corners.next_logps((), corner) for corner in torch.eye(3)])
    torch.testing.assert_close(found.logsumexp(1), (preference @ of_corners).log_softmax(0))
    # By how much the first word is off is the approximation: sum_i lambda_i log V_i - log V is at least 0, by Hoelder.
    weights, references = corners.values / BETA, corners.ref_logps
    values = torch.stack(
        [
            (references + weights @ one).reshape(WORDS, WORDS).logsumexp(1)
            for one in (*torch.eye(3).double(), preference)
        ]
    )
    surplus = preference @ values[:3] - values[3]
    assert (surplus >= 0).all()
    assert surplus.max() - surplus.min() > 0.01
    torch.testing.assert_close((found.logsumexp(1) - exact.logsumexp(1)).diff(), surplus.diff())


def test_it_needs_a_policy_for_each_objective_and_a_preference():
    MOD().check(TrainedOn.corners())
    with pytest.raises(UserError, match="policy for each objective"):
        MOD().check(TrainedOn.grid())
    with pytest.raises(UserError, match="needs a preference"):
        MixedPolicies(Corners(1))(*tokens(2, 4))
    assert MOD().load(5, 3, 1).passes == 15


def test_trained_members_are_mixed_by_each_rows_preference_and_are_themselves_at_corners(tmp_path):
    made = trained(tmp_path, LoRA, [[1.0, 0.0], [0.0, 1.0]])
    ids, mask = tokens()
    with torch.no_grad():
        (soup,) = Soup().policies(made)
        each = [soup.policy(ids, mask, corner).log_softmax(-1) for corner in torch.eye(2)]
        soup.policy.unload()
        (deployed,) = MOD().policies(made)
        rows = preferences(len(ids), 2)
        found = deployed.policy(ids, mask, rows).log_softmax(-1)
        wanted = sum(weight[:, None, None] * one for weight, one in zip(rows.T, each, strict=True))
        torch.testing.assert_close(found, wanted.log_softmax(-1))
        torch.testing.assert_close(deployed.policy(ids, mask, torch.eye(2)[1]).log_softmax(-1), each[1])
    assert deployed.preferences.tolist() == GRID
    said = generate(deployed.policy, ids, mask, max_new_tokens=3, preference=rows)
    assert said.tokens.shape == (len(ids), 3)


def test_what_sixteen_bits_hold_is_mixed_in_thirty_two():
    class Given(Policy):
        """Logits of 16 bits, of whichever corner is asked for."""

        def __init__(self):
            super().__init__(tiny())
            self.m, self.logits = (
                2,
                torch.randn(2, 3, 4, 500, generator=torch.Generator().manual_seed(0)).bfloat16() * 3,
            )

        def forward(self, input_ids, attention_mask, preference=None, *, last=0):
            return self.logits[int(preference.argmax())]

    given, weights = Given(), torch.tensor([0.3, 0.7])
    found = MixedPolicies(given)(*tokens(3, 4), weights)
    exact = torch.einsum("i,i...->...", weights.double(), given.logits.double().log_softmax(-1))
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-6)
