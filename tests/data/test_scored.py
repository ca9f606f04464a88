"""Scored rows: on disk and back, what is refused, rewards as tokens in front of the answer, prompts side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lightning_moa.data.configs import SyntheticConfig
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import ScoredRows, prompts_in_pairs
from lightning_moa.data.synthetic import Synthetic
from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.errors import UserError
from lightning_moa.policies import RewardPrompt
from tests.data.support import WORDS

OBJECTIVES = ("kind", "brief")
RULES = EncodingRules("{prompt}\n\nAssistant:", max_length=64, max_response_length=24)
GOALS = RewardPrompt(OBJECTIVES, [0.0, 0.0], [1.0, 1.0])


def frame(count=20, seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rewards = rng.random((count, 2))
    return pd.DataFrame(
        {
            "prompt": [f"question {i} about {WORDS[i % 12]}" for i in range(count)],
            "response": [" ".join(WORDS[j % 12] for j in range(i, i + 1 + i % 4)) for i in range(count)],
            "round": 0,
            "score_kind": rewards[:, 0] * 7 - 3,
            "score_brief": rewards[:, 1] * 5,
            "reward_kind": rewards[:, 0],
            "reward_brief": rewards[:, 1],
        }
    )


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([*frame()["prompt"], *frame()["response"], "\n\nAssistant:"], 300)


def text_of(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_rows_come_back_from_disk_bit_by_bit(tmp_path):
    rows = frame()
    rows.loc[3, "response"] = ""
    rows.loc[4, "response"] = 'a "quote",\r\n\ttab and — dash'
    made = ScoredRows(rows, OBJECTIVES, RULES)
    made.write(tmp_path)
    back = ScoredRows.read(tmp_path, OBJECTIVES, RULES)
    for name in rows:
        assert back.frame[name].tolist() == rows[name].tolist()
    np.testing.assert_array_equal(back.rewards, rows[["reward_kind", "reward_brief"]].to_numpy())


def test_rewards_are_read_in_the_order_of_the_objectives():
    rows = ScoredRows(frame(), OBJECTIVES[::-1], RULES)
    np.testing.assert_array_equal(rows.rewards, frame()[["reward_brief", "reward_kind"]].to_numpy())


@pytest.mark.parametrize("bad", [1.0001, -0.5, float("nan"), float("inf")])
def test_a_reward_off_the_unit_interval_is_named(bad):
    rows = frame()
    rows.loc[5, "reward_brief"] = bad
    with pytest.raises(UserError, match=rf"reward 'brief' of row 5 is {bad}: .*must lie in \[0, 1\]"):
        ScoredRows(rows, OBJECTIVES, RULES)


def test_no_rows_are_refused():
    with pytest.raises(UserError, match="scored rows: there are none"):
        ScoredRows(frame()[:0], OBJECTIVES, RULES)


def test_rows_that_all_are_too_long_are_refused_and_some_are_counted(tokenizer):
    rules = EncodingRules(max_length=64, max_response_length=8)
    rows = frame()
    rows.loc[2, "response"] = " ".join(WORDS * 3)
    some = ScoredRows(rows, OBJECTIVES, rules)
    assert some.dropped == {}, "not known yet"
    assert 2 not in some.encoded(tokenizer).index
    assert some.dropped["response too long"] == len(rows) - len(some.encoded(tokenizer))
    rows["response"] = " ".join(WORDS * 3)
    with pytest.raises(
        UserError, match=r"no scored row fits data.max_response_length=8 and data.max_length=64 tokens"
    ):
        ScoredRows(rows, OBJECTIVES, rules).encoded(tokenizer)


def test_batches_carry_each_rows_own_rewards(tokenizer):
    """One row is dropped, so that places among the texts and among the encoded rows differ."""
    rules = EncodingRules(max_length=64, max_response_length=24)
    rows = frame()
    rows.loc[2, "response"] = " ".join(WORDS * 4)
    made = ScoredRows(rows, OBJECTIVES, rules)
    seen = 0
    for batch in made.batches(tokenizer, 6):
        for ids, mask, response, rewards in zip(
            batch.input_ids, batch.attention_mask, batch.response_mask, batch.rewards, strict=True
        ):
            answer, asked = text_of(tokenizer, ids[response]), text_of(tokenizer, ids[mask & ~response])
            mine = rows[(rows["response"] == answer) & (rows["prompt"] == asked)].iloc[0]
            np.testing.assert_allclose(
                rewards, mine[["reward_kind", "reward_brief"]].astype(float), rtol=1e-6
            )
            seen += 1
    assert seen == 19
    assert sum(len(batch.input_ids) for batch in made.batches(tokenizer, 6, limit=8)) == 8


def test_a_loader_goes_through_all_rows_each_epoch(tokenizer):
    made = ScoredRows(frame(), OBJECTIVES, RULES)
    with pytest.raises(RuntimeError, match="say what the loader yields first"):
        made.train_dataloader()
    loader = made.use(tokenizer, "sequences", batch_size=5, steps=4, seed=3).train_dataloader()
    rewards = np.concatenate([batch.rewards.numpy() for batch in loader])
    np.testing.assert_allclose(np.sort(rewards[:, 0]), np.sort(frame()["reward_kind"]), rtol=1e-6)


def test_rewards_stand_in_front_of_the_answer_as_tokens(tokenizer):
    rows = ScoredRows(frame(), OBJECTIVES, RULES, GOALS.insert)
    encoded = rows.encoded(tokenizer)
    assert len(encoded) == 20
    for i in range(20):
        kind, brief = frame().loc[i, ["reward_kind", "reward_brief"]]
        wanted = f"{frame()['prompt'][i]} <r1> {kind:.1f} <r2> {brief:.1f}\n\nAssistant:"
        assert text_of(tokenizer, encoded.prompts[i]) == wanted
    assert rows.frame["prompt"].tolist() == frame()["prompt"].tolist(), "what reward models see"


def test_a_prompts_own_ending_stays_last(tokenizer):
    goals = RewardPrompt(OBJECTIVES, [0.0, 0.0], [1.0, 1.0], before="\n\nAssistant:")
    rows = frame()
    rows["prompt"] = "\n\nHuman: " + rows["prompt"] + "\n\nAssistant:"
    plain = EncodingRules(max_length=64, max_response_length=24)
    encoded = ScoredRows(rows, OBJECTIVES, plain, goals.insert).encoded(tokenizer)
    text = text_of(tokenizer, encoded.prompts[0])
    kind, brief = frame().loc[0, ["reward_kind", "reward_brief"]]
    assert text.endswith(f"about red <r1> {kind:.1f} <r2> {brief:.1f} \n\nAssistant:")


def test_long_prompts_lose_their_beginning_not_their_rewards(tokenizer):
    rows = frame()
    rows["prompt"] = [" ".join(WORDS * 6)] * 20
    encoded = ScoredRows(rows, OBJECTIVES, RULES, GOALS.insert).encoded(tokenizer)
    assert encoded.changed["prompt cut at its start"] == 20
    for i in range(20):
        kind, brief = frame().loc[i, ["reward_kind", "reward_brief"]]
        wanted = f"<r1> {kind:.1f} <r2> {brief:.1f}\n\nAssistant:"
        assert text_of(tokenizer, encoded.prompts[i]).endswith(wanted)


def test_rewards_are_words_of_a_worlds_tokenizer():
    data = Synthetic(SyntheticConfig(sft_rows=30, max_length=32), ["helpful", "harmless"])
    goals = RewardPrompt(data.objectives, [0.0, 0.0], [1.0, 1.0])
    prompts, responses = data.sft_rows("train")
    rewards = np.linspace(0, 1, 60).reshape(30, 2)
    rows = pd.DataFrame({"prompt": prompts, "response": responses})
    rows = rows.assign(reward_helpful=rewards[:, 0], reward_harmless=rewards[:, 1])
    bare, tokenizer = data.world_tokenizer(), data.world_tokenizer()
    with pytest.raises(UserError, match="can't spell '<r1>' of the rewards in a prompt"):
        goals.check(bare)
    tokenizer.add_tokens(goals.tokens())
    goals.check(tokenizer)
    made = ScoredRows(rows, data.objectives, EncodingRules.of(data.config), goals.insert)
    for i, ids in enumerate(made.encoded(tokenizer).prompts[row] for row in range(30)):
        words = tokenizer.convert_ids_to_tokens(ids.tolist())
        assert words[-5:] == ["<r1>", f"{rewards[i, 0]:.1f}", "<r2>", f"{rewards[i, 1]:.1f}", "<sep>"]
        assert "<unk>" not in words
    with pytest.raises(UserError, match="can't spell '<r1>'"):
        goals.check(data.world_tokenizer())


def pairs_of(tokenizer, prompts, rules=RULES, batch_size=4):
    def rewrite(place, prompt):
        return GOALS.insert(prompt, [0.2, 0.9])

    return list(prompts_in_pairs(tokenizer, rules, prompts, rewrite, batch_size))


def test_pairs_of_prompts_stand_side_by_side(tokenizer):
    prompts = frame(10)["prompt"].tolist()
    batches = pairs_of(tokenizer, prompts)
    assert [len(asked.prompts) for asked, _ in batches] == [4, 4, 2]
    place = 0
    for asked, plain in batches:
        assert asked.prompts == plain.prompts == prompts[place : place + len(asked.prompts)]
        assert asked.index.tolist() == plain.index.tolist() == list(range(place, place + len(plain.prompts)))
        for row, prompt in enumerate(plain.prompts):
            ids = [side.input_ids[row][side.attention_mask[row]] for side in (asked, plain)]
            assert text_of(tokenizer, ids[0]) == f"{prompt} <r1> 0.2 <r2> 0.9\n\nAssistant:"
            assert text_of(tokenizer, ids[1]) == f"{prompt}\n\nAssistant:"
            for side in (asked, plain):
                assert side.attention_mask[row, -1], "padded on the left"
        place += len(asked.prompts)


def test_a_long_prompt_is_cut_alike_whether_it_asks_or_not(tokenizer):
    whole = " ".join(WORDS * 6)
    [(asked, plain)] = pairs_of(tokenizer, [whole, "red"])
    shown, _ = asked.prompts
    assert asked.prompts == plain.prompts == [shown, "red"]
    assert shown != whole
    assert whole.endswith(shown)
    texts = [text_of(tokenizer, side.input_ids[0][side.attention_mask[0]]) for side in (asked, plain)]
    assert texts == [f"{shown} <r1> 0.2 <r2> 0.9\n\nAssistant:", f"{shown}\n\nAssistant:"]
    longest = asked.attention_mask[0].sum()
    assert RULES.max_length - RULES.max_response_length - 3 <= longest
    assert longest <= RULES.max_length - RULES.max_response_length
    assert asked.room[0] == RULES.max_length - longest


def test_prompts_without_a_token_are_left_out_of_both_sides():
    """Of a tokenizer without a BOS, an empty prompt has none; asked with its rewards it has some."""
    tokenizer = train_bpe([*frame()["prompt"], *frame()["response"]], 300)
    tokenizer.bos_token = None
    rules = EncodingRules(max_length=64, max_response_length=24)
    [(asked, plain)] = pairs_of(tokenizer, ["red", "", "blue"], rules)
    assert asked.prompts == plain.prompts == ["red", "blue"]
    assert asked.index.tolist() == plain.index.tolist() == [0, 2]
