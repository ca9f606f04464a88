"""Win rates of recorded responses: by hand, by any judge, and who is asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lightning_moa.errors import UserError
from lightning_moa.evaluation import EndpointJudge
from lightning_moa.fields import check
from lightning_moa.figures.judging import (
    JudgeConfig,
    RecordedRewards,
    chosen_judges,
    recordable,
    win_rates,
)
from lightning_moa.study.collect import Collected

OBJECTIVES = ("kind", "short")


def responses(method, kind, short, seed=0, step=9):
    """One response a prompt, named after its scores so that a text has one score."""
    return pd.DataFrame(
        {
            "prompt_index": range(len(kind)),
            "sample": 0,
            "prompt": [f"question {i}" for i in range(len(kind))],
            "response": [f"answer {a} {b}" for a, b in zip(kind, short, strict=True)],
            "reward_kind": np.asarray(kind, dtype=float),
            "reward_short": np.asarray(short, dtype=float),
            "method": method,
            "seed": seed,
            "step": step,
        }
    )


def collected(*frames):
    empty = pd.DataFrame()
    whole = pd.concat(frames, ignore_index=True)
    return Collected(OBJECTIVES, empty, empty, whole, empty, empty, None, [], {}, {})


STUDY = collected(
    responses("ours", [3, 3, 0, 1], [0, 0, 0, 0]),
    responses("theirs", [1, 2, 2, 1], [0, 1, 1, 1]).iloc[::-1],
    responses("ours", [5, 5, 5, 5], [5, 5, 5, 5], seed=1),
    responses("theirs", [1, 1, 1, 1], [6, 6, 6, 4], seed=1),
    # An earlier snapshot must not count.
    responses("ours", [9, 9, 9, 9], [9, 9, 9, 9], step=3),
)


def rates(frame):
    return frame.set_index(["objective", "seed"])["rate"].to_dict()


def test_recorded_scores_decide_pair_by_pair():
    found = win_rates(STUDY, "ours", ["theirs"])
    assert rates(found) == {
        ("kind", 0): (1 + 1 + 0 + 0.5) / 4,
        ("kind", 1): 1.0,
        ("short", 0): 0.5 / 4,
        ("short", 1): 0.25,
    }
    assert set(found["n"]) == set(found["prompts"]) == {4}
    assert found["position_bias"].tolist() == [0, 0, 0, 0]


def test_turned_round_the_other_wins():
    ours, theirs = (win_rates(STUDY, *names) for names in (("ours", ["theirs"]), ("theirs", ["ours"])))
    assert {key: 1 - rate for key, rate in rates(ours).items()} == rates(theirs)


def test_only_the_first_prompts_are_judged():
    found = win_rates(STUDY, "ours", ["theirs"], prompts=2)
    assert rates(found)["kind", 0] == 1.0
    assert set(found["n"]) == {2}


def test_of_several_responses_to_a_prompt_the_first_is_judged():
    """Its interval is over prompts, which two responses of one do not make more of."""
    more = [responses(name, [9, 9, 9, 9], [9, 9, 9, 9]).assign(sample=1) for name in ("ours", "theirs")]
    study = collected(STUDY.responses, *more)
    pd.testing.assert_frame_equal(win_rates(study, "ours", ["theirs"]), win_rates(STUDY, "ours", ["theirs"]))


def test_any_judge_may_stand_in_and_sees_the_texts():
    seen = []

    def longest(prompts, first, second):
        seen.extend(prompts)
        return np.array([float(len(a) > len(b)) for a, b in zip(first, second, strict=True)])

    study = collected(responses("ours", [10, 1], [0, 0]), responses("theirs", [2, 2], [0, 0]))
    found = win_rates(study, "ours", ["theirs"], {"kind": longest, "short": longest})
    # Of equal length, the second place wins in both orders: a tie.
    assert found["rate"].tolist() == [0.75, 0.75]
    assert set(seen) == {"question 0", "question 1"}


def test_each_seed_has_the_scores_of_its_own_reward_model():
    """The same texts, which one seed's model scores one way and another's the other way round."""
    frames = [responses("ours", [3, 3], [0, 0]), responses("theirs", [1, 1], [0, 0])]
    turned = [frame.assign(seed=1, reward_kind=-frame["reward_kind"]) for frame in frames]
    found = rates(win_rates(collected(*frames, *turned), "ours", ["theirs"]))
    assert (found["kind", 0], found["kind", 1]) == (1.0, 0.0)


def test_recorded_rewards_are_looked_up():
    rewards = RecordedRewards(STUDY.responses, ("short", "kind"), "reward")
    found = rewards.scores(["question 1", "question 0"], ["answer 2 1", "answer 3 0"])
    assert found.tolist() == [[1, 2], [0, 3]]


def test_without_an_address_the_rewards_judge():
    assert chosen_judges(JudgeConfig(), OBJECTIVES) is None
    assert chosen_judges(JudgeConfig(kind="reward", url="http://localhost:1", model="m"), OBJECTIVES) is None


def test_an_address_is_enough_to_ask_a_model_by_each_objectives_criterion():
    judges = chosen_judges(JudgeConfig(url="http://localhost:1", model="m"), ("helpful", "concise"))
    assert all(isinstance(judge, EndpointJudge) for judge in judges.values())
    assert "fewer words" in judges["concise"].criterion
    assert "asked for" in judges["helpful"].criterion


@pytest.mark.parametrize(
    ("given", "objectives", "message"),
    [
        ({"kind": "endpoint"}, ("helpful",), r"judge\.url: judge\.kind=endpoint needs"),
        ({"url": "http://localhost:1"}, ("helpful",), r"judge\.model: judge\.kind=endpoint needs"),
        ({"url": "http://localhost:1", "model": "m"}, ("kind",), r"judge\.criteria\.kind: a text is needed"),
        ({"url": "localhost", "model": "m"}, ("helpful",), r"judge's url: allowed are addresses"),
    ],
)
def test_what_an_endpoint_lacks_is_said(given, objectives, message):
    with pytest.raises(UserError, match=message):
        chosen_judges(JudgeConfig(**given), objectives)


def test_a_record_keeps_no_query():
    assert recordable(JudgeConfig(url="http://a/v1?key=secret")).url == "http://a/v1"
    assert recordable(JudgeConfig()) == JudgeConfig()


class Shorter:
    """A judge of one's own: the shorter response is better, whatever the objective."""

    def __init__(self, objective):
        self.objective = objective

    def __call__(self, prompts, first, second):
        return [0.5 + 0.5 * np.sign(len(b) - len(a)) for a, b in zip(first, second, strict=True)]


class Picky(Shorter):
    def __init__(self, objective):
        raise LookupError(f"nothing is known\nof {objective}")


class Mute:
    def __init__(self, objective):
        pass


class OneByOne(Mute):
    def __call__(self, prompt):
        return 0.5


def test_a_judge_of_ones_own_is_built_for_each_objective():
    judges = chosen_judges(JudgeConfig(kind=f"{__name__}:Shorter"), OBJECTIVES)
    assert [judge.objective for judge in judges.values()] == list(OBJECTIVES)
    told = STUDY.responses.assign(
        response=lambda rows: rows["response"] + rows["method"].map({"ours": "", "theirs": " and more"})
    )
    found = win_rates(replace(STUDY, responses=told), "ours", ["theirs"], judges)
    assert found["rate"].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no_judges:Mine", "no such module"),
        (f"{__name__}:Short", r"has no Short \(did you mean Shorter\?\)"),
        (f"{__name__}:OBJECTIVES", "a class is needed, this is of type tuple"),
        (f"{__name__}:Picky", r"Picky\('kind'\) failed \(LookupError: nothing is known of kind\)"),
        (f"{__name__}:Mute", r"its objects must be functions: __call__\(self, prompts, first, second\)"),
        (f"{__name__}:OneByOne", r"its objects must be functions: __call__\(self, prompts, first, second\)"),
    ],
)
def test_what_is_no_judge_is_refused_before_anything_is_judged(kind, said):
    with pytest.raises(UserError, match=said) as caught:
        chosen_judges(JudgeConfig(kind=kind), OBJECTIVES)
    assert str(caught.value).startswith(f"judge.kind={kind}: ")
    assert "\n" not in str(caught.value)


def test_a_kind_is_one_of_ours_or_has_the_form_of_ones_own():
    check(JudgeConfig(kind="my_judges:Mine"))
    with pytest.raises(UserError, match="kind=mine: allowed are auto, reward, endpoint, and one of your own"):
        check(JudgeConfig(kind="mine"))
