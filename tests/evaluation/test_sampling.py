"""Samples on a grid of preferences: batched against one by one, their KL estimate, scores and means."""

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_moa.batches import PromptBatch
from lightning_moa.errors import UserError
from lightning_moa.evaluation import Decoding, mean_rows, sample_grid, score
from lightning_moa.policies import Policy, SVDLoRA
from lightning_moa.rewards import RuleRewards
from tests.policies.models import EOS, PAD, shake, tiny

GRID = torch.tensor([[1.0, 0.0], [0.4, 0.6], [0.0, 1.0]])
DECODING = Decoding(max_new_tokens=6, seed=3)


class Words:
    """Tokens as words, PAD and EOS left out."""

    def batch_decode(self, rows, skip_special_tokens):
        assert skip_special_tokens
        return [" ".join(f"t{int(i)}" for i in row if int(i) not in (PAD, EOS)) for row in rows]


@pytest.fixture(scope="module")
def policy():
    # Singular values small enough that different preferences sample different, but not degenerate, texts.
    return shake(SVDLoRA(tiny(), k=2, m=2, seed=0), std=0.4).eval()


def prompts(rows=slice(None)) -> PromptBatch:
    ids = torch.tensor([[PAD, 4, 5, 6], [7, 8, 9, 10], [PAD, PAD, 11, 12]])
    return PromptBatch(
        ids[rows], ids[rows] != PAD, ["one", "two", "three"][rows], torch.tensor([40, 7, 12])[rows]
    )


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.drop(columns="log_ratio"), right.drop(columns="log_ratio"))
    np.testing.assert_allclose(left["log_ratio"], right["log_ratio"], atol=1e-4)


def test_all_preferences_at_once_equal_one_by_one(policy):
    together = sample_grid(policy, [prompts()], GRID, DECODING, Words())
    assert len(together) == 9
    assert together["response"].nunique() > 3
    for i in range(3):
        alone = sample_grid(policy, [prompts()], GRID[i : i + 1], DECODING, Words())
        mine = together[together["preference"] == i].reset_index(drop=True)
        same(mine.assign(preference=0), alone)


def test_the_rows_do_not_depend_on_how_prompts_are_batched(policy):
    together = sample_grid(policy, [prompts()], GRID, DECODING, Words())
    apart = sample_grid(policy, [prompts(slice(0, 2)), prompts(slice(2, 3))], GRID, DECODING, Words())
    same(together, apart)


def test_rows_are_sorted_by_preference_and_prompt(policy):
    frame = sample_grid(policy, [prompts()], GRID, DECODING, Words())
    assert frame["preference"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert frame["prompt_index"].tolist() == [7, 12, 40] * 3
    assert frame["prompt"].tolist() == ["two", "three", "one"] * 3


def logps_of(policy, row, temperature=1.0, top_p=1.0):
    """log q(y|x) of a response to the second prompt, token by token: q keeps the likeliest tokens that reach top_p."""
    words = [int(word[1:]) for word in row["response"].split()]
    if row["tokens"] > len(words):
        words.append(EOS)
    assert row["tokens"] == len(words)
    ids, found = [7, 8, 9, 10], 0.0
    for word in words:
        given = torch.tensor([ids])
        with torch.no_grad():
            logits = policy(given, torch.ones_like(given), row["weights"])[0, -1].double()
        ids.append(word)
        if temperature == 0:
            assert word == int(logits.argmax())
            continue
        order = (logits / temperature).softmax(-1).sort(descending=True)
        kept = order.values.cumsum(-1) - order.values < top_p
        assert word in order.indices[kept]
        mine = order.values[order.indices == word]
        found += float(torch.log(mine / order.values[kept].sum()))
    return found


@pytest.mark.parametrize("decoding", [{}, {"temperature": 0.0}, {"temperature": 0.7}, {"top_p": 0.8}])
def test_lengths_and_log_ratios_are_those_of_what_is_sampled(policy, decoding):
    asked = Decoding(max_new_tokens=5, seed=1, **decoding)
    frame = sample_grid(policy, [prompts(slice(1, 2))], GRID, asked, Words())
    reference = Policy(tiny()).requires_grad_(False)
    for row, preference in zip(frame.to_dict("records"), GRID, strict=True):
        own = logps_of(policy, row | {"weights": preference}, **decoding)
        assert row["log_ratio"] == pytest.approx(own - logps_of(reference, row | {"weights": None}), abs=1e-4)


def test_with_a_nucleus_the_mean_log_ratio_is_the_kl_of_what_is_sampled(policy):
    """Responses of one token, whose distributions can be written down."""
    rows, top_p = 4000, 0.6
    batch = PromptBatch(
        torch.tensor([[7, 8, 9, 10]]).repeat(rows, 1),
        torch.ones(rows, 4, dtype=torch.bool),
        [""] * rows,
        torch.arange(rows),
    )
    asked = Decoding(max_new_tokens=1, top_p=top_p, seed=2)
    found = sample_grid(policy, [batch], GRID[:1], asked, Words())["log_ratio"]
    with torch.no_grad():
        given = batch.input_ids[:1], batch.attention_mask[:1]
        p = policy(*given, GRID[0])[0, -1].double().softmax(-1)
        base = Policy(tiny())(*given)[0, -1].double().log_softmax(-1)
    order = p.sort(descending=True)
    kept = order.indices[order.values.cumsum(-1) - order.values < top_p]
    q = p[kept] / p[kept].sum()
    exact = float((q * (q.log() - base[kept])).sum())
    assert 1 < len(kept) < len(p)
    assert found.mean() == pytest.approx(exact, abs=4 * found.std() / rows**0.5)


def test_the_reference_is_at_no_distance_from_itself():
    reference = Policy(tiny()).requires_grad_(False)
    frame = sample_grid(reference, [prompts()], GRID[:1], DECODING, Words())
    assert frame["log_ratio"].abs().max() == 0


FRAME = pd.DataFrame(
    {
        "preference": [0, 0, 1, 1],
        "prompt_index": [0, 1, 0, 1],
        "prompt": ["p", "q", "p", "q"],
        "response": ["a", "bb", "ccc", ""],
        "tokens": [2, 3, 4, 1],
        "log_ratio": [0.5, 1.5, 2.0, 4.0],
    }
)


def lengths(scale):
    return lambda prompts, responses: scale * np.array([len(text) for text in responses])


def test_scores_become_a_column_per_source_and_objective():
    trained = RuleRewards({"long": lengths(1), "brief": lengths(-1)})
    scored = score(FRAME, {"reward": trained, "gold": RuleRewards({"long": lengths(2)})})
    added = ["reward_long", "reward_brief", "gold_long"]
    assert list(scored.columns) == [*FRAME.columns, *added]
    assert scored["reward_brief"].tolist() == [-1, -2, -3, 0]
    assert scored["gold_long"].tolist() == [2, 4, 6, 0]


def test_a_reward_that_is_not_a_number_names_its_objective():
    broken = RuleRewards({"fine": lengths(1), "harmless": lambda p, r: np.array([0, 0, np.nan, 0])})
    with pytest.raises(UserError, match="reward 'harmless' gave nan for response 2"):
        score(FRAME, {"reward": broken})


def test_mean_rows_by_hand():
    scored = score(FRAME, {"reward": RuleRewards({"long": lengths(1), "brief": lengths(-1)})})
    rows = mean_rows(scored, torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64), ["long", "brief"])
    expected = {
        "lambda_long": [0.25, 1.0],
        "lambda_brief": [0.75, 0.0],
        "reward_long": [1.5, 1.5],
        "reward_brief": [-1.5, -1.5],
        "kl": [1.0, 3.0],
        "n": [2, 2],
    }
    pd.testing.assert_frame_equal(rows, pd.DataFrame(expected))


def test_a_policy_without_preference_has_empty_lambdas():
    scored = score(FRAME, {"reward": RuleRewards({"long": lengths(1)})})
    rows = mean_rows(scored, None, ["long"])
    assert rows["lambda_long"].isna().all()
    assert rows["n"].tolist() == [2, 2]
