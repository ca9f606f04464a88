"""Policies that are asked through the prompt: what they are sampled on, and what their KL is measured from."""

import numpy as np
import pytest
import torch

from lightning_moa.batches import PromptBatch
from lightning_moa.evaluation import Decoding, sample_grid, sample_rewritten
from lightning_moa.policies import Heads, Policy, generate, response_logps
from tests.evaluation.test_sampling import DECODING, Words, prompts, same
from tests.policies.models import EOS, PAD, shake, tiny

HALF = torch.tensor([[0.5, 0.5]])


@pytest.fixture(scope="module")
def policy():
    return shake(Heads(tiny(), heads=1, rank=2, seed=0), std=0.3).head(0).eval()


def asking(rows=slice(None)) -> PromptBatch:
    """The prompts of `prompts` with two tokens more at their end."""
    plain = prompts()
    more = torch.tensor([[20, 21], [20, 22], [23, 21]])
    ids = torch.cat([plain.input_ids, more], dim=1)
    return PromptBatch(ids[rows], ids[rows] != PAD, plain.prompts[rows], plain.index[rows])


def by_hand(policy, decoding):
    """Each prompt by itself: (tokens, log pi(y | asked) - log pi_ref(y | plain))."""
    reference, out = Policy(tiny()).requires_grad_(False), {}
    for row in range(3):
        one, plain = asking(slice(row, row + 1)), prompts(slice(row, row + 1))
        sampled = generate(
            policy,
            one.input_ids,
            one.attention_mask,
            max_new_tokens=decoding.max_new_tokens,
            temperature=1.0,
            top_p=1.0,
            seed=decoding.seed,
            row_keys=one.index,
        )
        answer = sampled.tokens[0][sampled.mask[0]]
        logps = []
        for side, model in ((one, policy), (plain, reference)):
            ids = torch.cat([side.input_ids[0][side.attention_mask[0]], answer])[None]
            response = torch.arange(ids.shape[1])[None] >= ids.shape[1] - len(answer)
            with torch.no_grad():
                logps.append(response_logps(model, ids, torch.ones_like(ids), response).item())
        text = " ".join(f"t{int(i)}" for i in answer if int(i) not in (PAD, EOS))
        out[int(one.index)] = (text, len(answer), logps[0] - logps[1])
    return out


def test_they_are_sampled_as_asked_and_measured_against_the_plain_prompt(policy):
    frame = sample_rewritten(policy, [(asking(), prompts())], HALF, DECODING, Words())
    expected = by_hand(policy, DECODING)
    assert frame["prompt_index"].tolist() == sorted(expected)
    for row in frame.to_dict("records"):
        text, count, ratio = expected[row["prompt_index"]]
        assert (row["response"], row["tokens"]) == (text, count)
        assert row["log_ratio"] == pytest.approx(ratio, abs=1e-4)
    assert frame["prompt"].tolist() == ["two", "three", "one"]
    assert frame["preference"].tolist() == [0, 0, 0]


def test_asked_with_the_plain_prompt_it_is_sample_grid(policy):
    asked = sample_rewritten(policy, [(prompts(), prompts())], HALF, DECODING, Words())
    same(asked, sample_grid(policy, [prompts()], HALF, DECODING, Words()))


def test_the_reference_asked_by_its_own_prompt_has_no_kl_and_by_another_some():
    reference = Heads(tiny(), heads=1, rank=2, seed=0).head(0).eval()
    plain = sample_rewritten(reference, [(prompts(), prompts())], HALF, DECODING, Words())
    np.testing.assert_allclose(plain["log_ratio"], 0, atol=1e-5)
    asked = sample_rewritten(reference, [(asking(), prompts())], HALF, DECODING, Words())
    assert (asked["log_ratio"].abs() > 1e-3).all()


def test_rows_do_not_depend_on_how_prompts_are_batched(policy):
    decoding = Decoding(max_new_tokens=6, seed=3)
    whole = sample_rewritten(policy, [(asking(), prompts())], HALF, decoding, Words())
    parts = [(asking(slice(0, 2)), prompts(slice(0, 2))), (asking(slice(2, 3)), prompts(slice(2, 3)))]
    same(whole, sample_rewritten(policy, parts, HALF, decoding, Words()))
