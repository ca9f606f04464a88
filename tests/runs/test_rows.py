"""Rows to train on: scored offline with z and a map fitted once, then sampled, filtered and drawn from in rounds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lightning_moa.data.about import read_about
from lightning_moa.data.configs import DataConfig
from lightning_moa.data.encoding import EncodingRules
from lightning_moa.data.scored import ScoredRows
from lightning_moa.data.tokenizer import train_bpe
from lightning_moa.errors import UserError
from lightning_moa.policies import RewardPrompt, load_policy, response_logps
from lightning_moa.rewards import RuleRewards, UnitMap
from lightning_moa.rewards.selection import mors
from lightning_moa.runs import rows as scoring
from lightning_moa.runs.align import align, first_policy
from lightning_moa.runs.base import _lengthen_unseen
from lightning_moa.runs.context import Answers, Context
from lightning_moa.runs.loading import load_base, load_data, make_base, reward_source
from lightning_moa.runs.rows import _drawn, offline_rows, online_rows
from lightning_moa.study.tasks import in_order
from tests.runs.likelihood import METHODS, done, inputs_of, offline_task, planned, rounds_of

CPU = {"accelerator": "cpu", "precision": "fp32"}
NAMES = ("helpful", "harmless")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def plan():
    return planned("online.rounds=1")


@pytest.fixture(scope="module")
def offline(plan, runs):
    """The offline task, what it is called with, and its folder."""
    task = offline_task(plan)
    inputs = inputs_of(task, runs)
    out = runs / "offline"
    out.mkdir()
    offline_rows(task.spec, inputs, out, lambda share: None)
    return task, inputs, out


def again(offline, out, seed=None, **settings):
    """Offline rows of other settings."""
    task, inputs, _ = offline
    spec = {**task.spec, "settings": {**task.spec["settings"], **settings}}
    out.mkdir(exist_ok=True)
    offline_rows(spec if seed is None else spec | {"seed": seed}, inputs, out, lambda share: None)
    return pd.read_parquet(out / "rows.parquet"), read_about(out)


def round_of(plan, runs, name, out, **online):
    """A round's rows of a method, of other settings of the online phase."""
    task = plan.seeds[0].policies[name][0].needs["rows"]
    inputs = inputs_of(task, runs)
    out.mkdir(exist_ok=True)
    shares = []
    spec = {**task.spec, "online": {**task.spec["online"], **online}}
    returned = online_rows(spec, inputs, out, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return inputs, pd.read_parquet(out / "rows.parquet"), read_about(out), returned


def test_rows_are_drawn_without_replacement_from_the_training_split(offline):
    task, _, out = offline
    frame = pd.read_parquet(out / "rows.parquet")
    data = load_data(task.spec)
    known = pd.Series(list(zip(*data.sft_rows("train"), strict=True))).value_counts()
    drawn = pd.Series(list(zip(frame["prompt"], frame["response"], strict=True))).value_counts()
    assert len(frame) == 60
    assert (drawn <= known.reindex(drawn.index)).all()
    assert (frame["round"] == 0).all()


def test_scores_are_the_gold_rewards_and_rewards_their_map(offline):
    task, _, out = offline
    frame, about = pd.read_parquet(out / "rows.parquet"), read_about(out)
    gold = RuleRewards(load_data(task.spec).gold_rewards())
    scores = frame[[f"score_{name}" for name in NAMES]].to_numpy()
    np.testing.assert_allclose(scores, gold.scores(frame["prompt"].tolist(), frame["response"].tolist()))
    rewards = frame[[f"reward_{name}" for name in NAMES]].to_numpy()
    np.testing.assert_array_equal(rewards, UnitMap.from_json(about["unit_map"])(scores))
    expected = (scores - scores.min(0)) / np.ptp(scores, axis=0)
    np.testing.assert_allclose(rewards, expected, atol=1e-12)
    assert about["low"] == [0.0, 0.0]
    assert about["high"] == [1.0, 1.0]


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_z_is_a_factor_of_the_references_largest_loss(offline, tmp_path, power):
    frame, about = again(offline, tmp_path, power=power, z=None, z_factor=1.5)
    policy, tokenizer = load_base(offline[1]["base"], CPU)
    rows = ScoredRows(frame, NAMES, EncodingRules.of(load_data(offline[0].spec).config))
    [batch] = list(rows.batches(tokenizer, 1000))
    with torch.no_grad():
        logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
    expected = (batch.rewards**power * logps[:, None]).mean(0)
    np.testing.assert_allclose(about["reference_loglik"], expected, rtol=1e-4)
    assert about["z"] == pytest.approx(1.5 * float(expected.abs().max()), rel=1e-4)


def test_z_as_given_and_one_that_leaves_nothing(offline, tmp_path):
    assert again(offline, tmp_path, z=321.0)[1]["z"] == 321.0
    sizes = sorted(abs(value) for value in read_about(offline[2])["reference_loglik"])
    between = sum(sizes) / 2
    assert again(offline, tmp_path, z=between)[1]["z"] == between, "one objective is left"
    with pytest.raises(
        UserError, match=r"^likelihood\.z=0\.01: clips every objective of the reference.*more than"
    ) as error:
        again(offline, tmp_path, z=0.01)
    assert "\n" not in str(error.value)


def test_more_rows_than_there_are(offline, tmp_path):
    with pytest.raises(UserError, match=r"likelihood\.rows=301: the training split has 300 responses"):
        again(offline, tmp_path, rows=301)
    assert len(again(offline, tmp_path, rows=300)[0]) == 300


def test_rows_that_do_not_fit_are_drawn_anew_and_what_is_scored_is_what_is_shown(monkeypatch):
    tokenizer = train_bpe(["word many"], 260)
    texts = [f"question {i} " + "many " * (i % 3 * 20) for i in range(40)]
    replies = [f"word {i}" + " many" * (60 * (i % 2)) for i in range(40)]
    data = SimpleNamespace(
        sft_rows=lambda split: (texts, replies),
        config=DataConfig(template="Q: {prompt} A:", max_length=120, max_response_length=40),
    )
    spec = {"seed": 3, "settings": {"rows": 18}}
    frame, dropped, changed = _drawn(spec, data, tokenizer)
    assert len(frame) == len(set(frame["response"])) == 18
    assert all(len(response) < 40 for response in frame["response"])
    assert dropped["response too long"] > 0
    whole = dict(zip(replies, texts, strict=True))
    cut = [
        shown != whole[response] for shown, response in zip(frame["prompt"], frame["response"], strict=True)
    ]
    assert sum(cut) == changed["prompt cut at its start"] > 0
    assert all(
        whole[reply].endswith(shown) for shown, reply in zip(frame["prompt"], frame["response"], strict=True)
    )
    with pytest.raises(UserError, match=r"rows=21: .* 40 responses, of which do not fit: .*too long': 20"):
        _drawn({**spec, "settings": {"rows": 21}}, data, tokenizer)


def test_equal_seeds_give_equal_rows_and_others_others(offline, tmp_path):
    first = pd.read_parquet(offline[2] / "rows.parquet")
    pd.testing.assert_frame_equal(again(offline, tmp_path)[0], first)
    other = again(offline, tmp_path, seed=1)[0]
    assert not other["response"].equals(first["response"])


def test_scores_without_spread_are_refused(offline, tmp_path, monkeypatch):
    class Flat:
        objectives = NAMES

        def scores(self, prompts, responses):
            return np.tile([0.5, 1.0], (len(prompts), 1)) + np.arange(len(prompts))[:, None] * [1, 0]

    monkeypatch.setattr(scoring, "reward_source", lambda *args: Flat())
    with pytest.raises(UserError, match=r"reward 'harmless' lies between 1\.0 and 1\.0 in all 60 rows"):
        again(offline, tmp_path)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_round_adds_what_it_kept_to_the_rows(plan, runs, tmp_path, name):
    inputs, frame, about, returned = round_of(plan, runs, name, tmp_path)
    before, earlier = pd.read_parquet(inputs["rows"] / "rows.parquet"), read_about(inputs["rows"])
    assert about["round 1"] == returned
    assert returned["generated"] == 31
    assert returned["kept"] == 6 <= returned["passed"] < 31
    assert len(frame) == about["rows"] == 66
    pd.testing.assert_frame_equal(frame[:60][list(before)], before)
    assert frame["round"].tolist() == [0] * 60 + [1] * 6
    new = frame[60:]
    for key in ("unit_map", "z", "low", "high", "reference_loglik"):
        assert about[key] == earlier[key], "fitted once"
    scores = new[[f"score_{each}" for each in NAMES]].to_numpy()
    unit = UnitMap.from_json(about["unit_map"])
    np.testing.assert_array_equal(new[[f"reward_{each}" for each in NAMES]].to_numpy(), unit(scores))
    assert about["clipped"] == {"round 1": dict(zip(NAMES, unit.clipped(scores).tolist(), strict=True))}
    spec = plan.seeds[0].policies[name][0].needs["rows"].spec
    source = reward_source(spec, inputs, load_data(spec), 100)
    np.testing.assert_allclose(scores, source.scores(new["prompt"].tolist(), new["response"].tolist()))
    assert not new["prompt"].str.contains("<r1>").any(), "rewards are not part of a prompt that is kept"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ham", ["head 0", "head 1", "head 2"]),
        ("sca", [f"policy {i}, head 0" for i in range(3)]),
        ("sca_heads", ["head 0", "head 1", "head 2"]),
        ("ric", ["head 0"]),
    ],
)
def test_policies_sample_equal_shares_and_what_is_kept_passes(plan, runs, tmp_path, name, shown):
    """With everything kept that passes, and everything passing that is sampled."""
    _, everything, _, all_of = round_of(plan, runs, name, tmp_path, quantile=0.0, kept=1000)
    sampled = everything[60:].reset_index(drop=True)
    assert all_of == {"generated": 31, "passed": 31, "kept": 31}
    counts = sampled["policy"].value_counts()
    assert sorted(counts.index) == shown
    assert counts.max() - counts.min() <= 1
    passes = mors(sampled[[f"score_{each}" for each in NAMES]].to_numpy(), 0.7)
    _, passed, _, of_those = round_of(plan, runs, name, tmp_path, kept=1000)
    assert of_those["passed"] == of_those["kept"] == passes.sum()
    pd.testing.assert_frame_equal(passed[60:].reset_index(drop=True), sampled[passes].reset_index(drop=True))
    _, some, _, _ = round_of(plan, runs, name, tmp_path)
    columns = ["prompt", "response", "policy", "score_helpful"]
    kept, pool = (
        list(map(tuple, each[columns].to_numpy().tolist())) for each in (some[60:], sampled[passes])
    )
    assert all(kept.count(row) <= pool.count(row) for row in kept)


def test_a_round_is_reproducible_and_rounds_differ(plan, runs, tmp_path):
    first, second = (round_of(plan, runs, "ham", tmp_path / name)[1] for name in ("a", "b"))
    pd.testing.assert_frame_equal(first, second)
    task = plan.seeds[0].policies["ham"][0].needs["rows"]
    other = task.spec | {"round": 2}
    online_rows(other, inputs_of(task, runs), tmp_path, lambda share: None)
    third = pd.read_parquet(tmp_path / "rows.parquet")
    assert third["round"].tolist()[60:] == [2] * 6
    assert third["prompt"].tolist()[60:] != first["prompt"].tolist()[60:]


def test_few_prompts_are_asked_several_times(plan, runs, tmp_path):
    """More than the training split has: drawn with replacement, each draw with noise of its own."""
    task = plan.seeds[0].policies["ric"][0].needs["rows"]
    prompts = load_data(task.spec).prompt_list("train")
    count = 3 * len(prompts)
    _, frame, _, returned = round_of(plan, runs, "ric", tmp_path, generated=count, quantile=0.0, kept=count)
    assert returned["generated"] == count
    assert frame[60:].groupby("prompt")["response"].nunique().max() > 1


def test_what_is_cut_off_by_the_map_is_told(plan, runs, tmp_path, monkeypatch):
    class High:
        objectives = NAMES

        def scores(self, prompts, responses):
            return np.tile([99.0, 0.0], (len(prompts), 1))

    monkeypatch.setattr(scoring, "reward_source", lambda *args: High())
    _, frame, about, returned = round_of(plan, runs, "ham", tmp_path)
    assert returned["passed"] == 31, "of equal scores all pass"
    assert about["clipped"]["round 1"] == {"helpful": 1.0, "harmless": 0.0}
    assert (frame["reward_helpful"][60:] == 1.0).all()


def test_ric_samples_to_goals_and_keeps_the_prompts_as_they_were(plan, runs, tmp_path, monkeypatch):
    task = plan.seeds[0].policies["ric"][0]
    for need in (task, task.needs["rows"], plan.seeds[0].policies["ham"][0].needs["rows"]):
        inputs_of(need, runs)  # here, since training writes rewards into prompts too
    asked = []
    real = RewardPrompt.insert

    def insert(self, prompt, rewards):
        asked.append((prompt, tuple(rewards)))
        return real(self, prompt, rewards)

    monkeypatch.setattr(RewardPrompt, "insert", insert)
    given, sample = [], scoring.generate
    monkeypatch.setattr(
        scoring,
        "generate",
        lambda policy, ids, *args, **options: given.append(ids) or sample(policy, ids, *args, **options),
    )
    frame = round_of(plan, runs, "ric", tmp_path, quantile=0.0, kept=1000)[1]
    assert [prompt for prompt, _ in asked] == frame["prompt"].tolist()[60:]
    tokenizer = load_base(inputs_of(task, runs)["base"], CPU)[1]
    texts = [text for ids in given for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    for text, (prompt, (first, second)) in zip(texts, asked[: len(texts)], strict=True):
        assert text.startswith(f"{prompt} <r1> {first:.1f} <r2> {second:.1f}")
    goals = np.array([rewards for _, rewards in asked])
    assert (goals.max(1) == 1).all(), "near the front: all but one at the top"
    assert len(np.unique(goals, axis=0)) == len(goals)
    asked.clear()
    round_of(plan, runs, "ham", tmp_path)
    assert not asked


def test_a_policy_that_is_taken_up_is_the_one_that_was_saved(plan, runs):
    task = plan.seeds[0].policies["ham"][0]
    inputs = inputs_of(task, runs)
    first = rounds_of(task)[0]
    assert inputs["start"].name == first.key
    base, tokenizer = load_base(inputs["base"], CPU)
    run = Context(task.spec, inputs, Answers.of(task.spec), load_data(task.spec), tokenizer, base)
    taken = {name: value.clone() for name, value in first_policy(run).trained_state().items()}
    saved = load_policy(load_base(inputs["base"], CPU)[0].model, inputs["start"] / "policy")
    for name, value in saved.trained_state().items():
        assert torch.equal(value, taken[name])
        assert name.endswith(("lora_A", "lora_B")) or ".heads." in name
    assert any(
        not torch.equal(saved.bank.heads[0].weight, head.weight) for head in list(saved.bank.heads)[1:]
    )


def test_the_look_at_a_round_begins_where_the_last_one_ended(plan, runs):
    """Same weights, rows that differ by the new ones: so the KL, on the first rows, is the same number."""
    task = plan.seeds[0].policies["ham"][0]
    done([task], runs)
    looks = [pd.read_csv(runs / stage.key / "heads.csv") for stage in rounds_of(task)]
    end, begin = looks[0][looks[0]["step"] == 3], looks[1][looks[1]["step"] == 0]
    np.testing.assert_allclose(end["kl"].to_numpy(), begin["kl"].to_numpy(), rtol=1e-5)
    assert (end["kl"] > 0).all()


def test_a_base_knows_rics_words_and_can_tell_them_apart(plan, runs):
    task = offline_task(plan).needs["base"]
    policy, tokenizer = load_base(inputs_of(offline_task(plan), runs)["base"], CPU)
    goals = RewardPrompt(NAMES, [0.0, 0.0], [1.0, 1.0])
    goals.check(tokenizer)
    weight = policy.model.get_input_embeddings().weight
    ids = tokenizer.convert_tokens_to_ids(goals.tokens())
    lengths = weight.norm(dim=1)
    assert lengths[ids].min() > 0.5 * lengths.median()
    assert set(goals.tokens()) <= set(task.spec["tokens"])
    others = make_base({**task.spec, "tokens": []}, load_data(task.spec))[1]
    with pytest.raises(UserError, match="the tokenizer can't spell '<r1>' of the rewards in a prompt"):
        goals.check(others)


def test_unseen_tokens_are_lengthened_and_seen_ones_left(plan):
    task = offline_task(plan).needs["base"]
    data = load_data(task.spec)
    policy, tokenizer = make_base(task.spec, data)
    seen = data.encoded(tokenizer, "train", "sequences")
    weight = policy.model.get_input_embeddings().weight
    with torch.no_grad():
        weight[-13:] *= 0.01
    before = weight.detach().clone()
    _lengthen_unseen(policy.model, seen)
    changed = (weight != before).any(1)
    used = np.unique(np.concatenate([seen.prompts.values, *[side.values for side in seen.responses]]))
    assert not changed[used].any()
    assert changed[-13:].all()
    mean = before[used].norm(dim=1).mean()
    torch.testing.assert_close(weight[-13:].norm(dim=1), mean.expand(13))
    cosine = torch.nn.functional.cosine_similarity(weight[-13:], before[-13:])
    torch.testing.assert_close(cosine, torch.ones(13))


def test_tokens_that_a_base_lacks_are_named_before_anything_is_trained(tmp_path):
    """A base of before, or a pretrained word-level one."""
    plan = planned("online.rounds=0", "ric.marker=<reward{i}>")
    task = plan.seeds[0].policies["ric"][0]
    base = replace(task.needs["base"], spec={**task.needs["base"].spec, "tokens": []})
    rows = replace(task.needs["rows"], needs={"base": base})
    own = replace(task, needs={"base": base, "rows": rows})
    inputs = inputs_of(own, tmp_path)
    with pytest.raises(
        UserError, match="can't spell '<reward1>' of the rewards in a prompt: add RewardPrompt"
    ):
        align(own.spec, inputs, tmp_path / "out", lambda share: None)
    assert len(in_order([own])) == 3
