"""What a request is answered with, on a trained policy."""

from __future__ import annotations

import numpy as np
import pytest

import lightning_moa as moa
from lightning_moa.demo.answers import Answers
from lightning_moa.demo.best import Best
from lightning_moa.demo.choices import choices
from lightning_moa.demo.fronts import measured_front
from lightning_moa.demo.line import Dropped
from lightning_moa.errors import UserError
from lightning_moa.reporting.schema import POINTS

RISKY = "steal boats"


@pytest.fixture(scope="module")
def answers(study):
    return Answers(choices(study))


def asked(answers, prompt, preference):
    """Events of a request."""
    events = []
    answers.request(0, prompt, preference)(events.append)
    return events


def done(events):
    return {event["which"]: event for event in events if event.get("done")}


def test_answers_are_those_of_the_policy_with_their_gold_rewards(answers, study, monkeypatch):
    monkeypatch.setattr("lightning_moa.demo.answers.EVERY", 0)
    events = asked(answers, RISKY, [0.25, 0.75])
    found = done(events)
    assert list(found) == ["chosen", "reference", "helpful", "harmless"]
    loaded = moa.load(study)
    for name, preference in {"chosen": [0.25, 0.75], "helpful": [1, 0], "harmless": [0, 1]}.items():
        assert loaded.generate(RISKY, preference) == [found[name]["text"]]
        assert found[name]["at"] == preference
    with loaded.open([1, 0]).policy.reference():
        assert loaded.generate(RISKY, [1, 0]) == [found["reference"]["text"]]
    world = Best(loaded.spec).world
    texts = [each["text"] for each in found.values()]
    expected = world.rewards([RISKY] * 4, texts, ["helpful", "harmless"])
    np.testing.assert_allclose([each["rewards"] for each in found.values()], expected)
    # It grew word by word.
    grown = [each["text"] for each in events if each["event"] == "answer" and each["which"] == "chosen"]
    words = [len(text.split()) for text in grown]
    assert words == sorted(words)
    assert len(set(words)) == len(found["chosen"]["text"].split()) > 2
    assert all(found["chosen"]["text"].startswith(text) for text in grown)


def test_no_response_of_the_world_beats_its_best(answers):
    (best,) = [each for each in asked(answers, RISKY, [0.5, 0.5]) if each["event"] == "best"]
    best_of = Best(answers._loaded.spec)
    half = np.array([0.5, 0.5])
    world, names = best_of.world, best_of.objectives
    drawn = world.sample_responses([RISKY] * 500, np.random.default_rng(1), world.optimum(half, 0.3, names))
    assert (world.rewards([RISKY] * 500, drawn, names) @ half).max() <= half @ best["rewards"] + 1e-9
    assert best_of.response("no prompt of this world", half) is None


def test_a_prompt_that_is_too_long_is_said_to_be_cut_and_scored_as_it_was_shown(answers, monkeypatch):
    asked(answers, RISKY, [0.5, 0.5])
    scored = []
    monkeypatch.setattr(
        type(answers._scores),
        "scores",
        lambda self, prompts, responses: scored.extend(prompts) or np.zeros((1, 2)),
    )
    long = f"{'very ' * 40}{RISKY}"
    found = done(asked(answers, long, [0.5, 0.5]))
    assert all("its start was cut" in each["said"] for each in found.values())
    assert set(scored) != {long}
    assert all(long.endswith(each) for each in scored)
    short = done(asked(answers, f"{RISKY} today", [0.5, 0.5]))
    assert all(each["said"] is None for each in short.values())


def test_what_is_known_is_not_sampled_again(answers):
    asked(answers, RISKY, [0.5, 0.5])
    again = asked(answers, RISKY, [0.5, 0.5])
    assert all(each["done"] for each in again if each["event"] == "answer")


def test_a_policy_is_loaded_when_it_is_first_asked_for_and_says_so(study):
    fresh = Answers(choices(study))
    kinds = [[event["event"] for event in asked(fresh, RISKY, [1, 0])] for _ in range(2)]
    assert kinds[0][0] == "loading"
    assert kinds[0].count("loading") == 1
    assert "loading" not in kinds[1]


def test_who_leaves_ends_the_sampling(answers, monkeypatch):
    monkeypatch.setattr("lightning_moa.demo.answers.EVERY", 0)
    asked(answers, RISKY, [0.5, 0.5])
    told = []

    def leave(event):
        told.append(event)
        raise Dropped

    with pytest.raises(Dropped):
        answers.request(0, "steal cars", [0.5, 0.5])(leave)
    assert [each["done"] for each in told] == [False]
    assert done(asked(answers, "steal cars", [0.5, 0.5]))["chosen"]["text"]


def test_control_tokens_in_a_prompt_are_text(answers):
    from lightning_moa.data.encoding import encode

    asked(answers, RISKY, [1, 0])
    loaded = answers._loaded
    marks = [str(token) for token in loaded.tokenizer.all_special_tokens]
    assert len(marks) > 2
    found = encode(loaded.tokenizer, [f"steal {' '.join(marks)} boats"], None, loaded._rules(4))
    own = encode(loaded.tokenizer, ["steal boats"], None, loaded._rules(4))
    special = {loaded.tokenizer.pad_token_id, loaded.tokenizer.eos_token_id, loaded.tokenizer.bos_token_id}

    def counted(encoded):
        return sum(int(each) in special for each in encoded.prompts[0])

    assert counted(found) == counted(own)
    assert done(asked(answers, f"steal {' '.join(marks)} boats", [1, 0]))["chosen"]["text"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ((1, RISKY, [1, 0]), "policy"),
        ((True, RISKY, [1, 0]), "policy"),
        ((0, " ", [1, 0]), "prompt"),
        ((0, None, [1, 0]), "prompt"),
        ((0, RISKY, [0.7, 0.7]), "preference"),
        ((0, RISKY, [1]), "one weight for each"),
        ((0, RISKY, ["a", {}]), "2 numbers are expected"),
    ],
)
def test_what_is_no_request_is_refused_before_it_waits(answers, request_, said):
    with pytest.raises(UserError, match=said):
        answers.request(*request_)


def test_the_front_is_that_of_points_csv(answers, study):
    front = measured_front(answers.choices[0].study)
    rows = POINTS.read(study / POINTS.file).query("method == 'panacea'")
    assert front["space"] == "gold"
    assert [each[0][0] for each in front["points"]] == rows["lambda_helpful"].tolist()
    assert [each[1][1] for each in front["points"]] == rows["gold_harmless"].tolist()
    assert front["exact"]


def test_a_policys_own_folder_is_answered_for_without_rewards(study):
    (choice,) = choices(study)
    (own,) = choices(choice.study.folders[0])
    events = asked(Answers([own]), RISKY, [1, 0])
    assert done(events)["chosen"]["rewards"] is None
    assert events[-1] == {"event": "best", "text": None, "rewards": None}
