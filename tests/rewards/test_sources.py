"""What a study's `rewards` may say, what is said of the rest, and the one `Rewards` that comes of it."""

from __future__ import annotations

import json
import re
import sys
import types

import numpy as np
import pytest

from lightning_moa.errors import UserError
from lightning_moa.rewards import HubRewards, TrainedRewards
from lightning_moa.rewards.sources import Source, build_sources, digest_of, parse_sources

from .models import PROMPTS, RESPONSES, distilbert_folder, gpt2_folder, llama_folder, trained_folder

BEAVER, GPT2 = "PKU-Alignment/beaver-7b-v1.0-reward", "Ray2333/gpt2-large-harmless-reward_model"
OBJECTIVES = ("helpful", "harmless")
FORM = {"template": "Q: {prompt} A: {response}", "index": 0, "sign": 1}


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = types.ModuleType("my_rewards")
    made.length = lambda prompts, responses: [len(response) for response in responses]
    monkeypatch.setitem(sys.modules, "my_rewards", made)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"gpt2": gpt2_folder(root / "gpt2", labels=2), "beaver": llama_folder(root / "beaver")}


def parsed(given, default="trained", has_gold=False):
    return parse_sources("ppo.rewards", given, default, OBJECTIVES, has_gold)


def built(sources, **more):
    more = {"gold": None, "trained_folder": None, "batch_size": 4, **more}
    return build_sources(sources, OBJECTIVES, **more)


def test_each_objective_has_a_source_in_order():
    given = {"harmless": "my_rewards:length", "helpful": None}
    assert list(parsed(given).items()) == [
        ("helpful", Source("trained")),
        ("harmless", Source("function", "my_rewards:length")),
    ]
    assert parsed({}, "gold", has_gold=True) == {name: Source("gold") for name in OBJECTIVES}
    assert parsed({"helpful": BEAVER})["helpful"] == parsed({"helpful": {"model": BEAVER}})["helpful"]


def test_a_source_is_the_same_after_a_record(folders):
    for given in (
        "gold",
        "trained",
        "my_rewards:length",
        GPT2,
        {"model": BEAVER, "path": str(folders["beaver"]), "max_length": 12},
        {"model": str(folders["gpt2"]), "pair": True, "index": 1, "sign": -1},
        {"model": "a/b", "revision": "0" * 40, **FORM},
    ):
        source = parsed({"helpful": given}, has_gold=True)["helpful"]
        saved = json.loads(json.dumps(source.to_json()))
        assert Source.from_json(saved) == source


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gold", "the world's own"),
        ("trained", "a model trained on the pairs"),
        ("my_rewards:length", "my_rewards:length"),
        (GPT2, GPT2),
    ],
)
def test_a_record_says_in_words_what_scored(given, said):
    assert parsed({"helpful": given}, has_gold=True)["helpful"].describe() == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"humor": GPT2}, f"ppo.rewards.humor={GPT2}: the study's objectives are helpful, harmless"),
        ({"helpful": "gold"}, "ppo.rewards.helpful=gold: the data has no gold rewards; allowed are trained,"),
        ({"helpful": "no_rewards:f"}, "ppo.rewards.helpful=no_rewards:f: no such module"),
        (
            {"helpful": "my_rewards:lengths"},
            "ppo.rewards.helpful=my_rewards:lengths: the module my_rewards has no",
        ),
        (
            {"helpful": "PKU-Alignment/beaver-7b-v1-reward"},
            f"no such model (did you mean {BEAVER}?); allowed are",
        ),
        ({"helpful": 3}, "ppo.rewards.helpful=3: allowed are gold, trained, 'module:name'"),
        ({"helpful": {"path": "."}}, "ppo.rewards.helpful.model: which model that is must be said"),
        (
            {"helpful": {"model": BEAVER, "path": "/no/where"}},
            "helpful.path=/no/where: there is no such folder",
        ),
        ({"helpful": {"model": "/no/where", **FORM}}, "helpful.model=/no/where: there is no such folder"),
        (
            {"helpful": {"model": "a b", **FORM}},
            "helpful.model=a b: neither a name on the hub nor a local folder",
        ),
        ({"helpful": {"model": BEAVER, "sgn": 1}}, "helpful.sgn: there is no such key (did you mean sign?)"),
        ({"helpful": {"model": BEAVER, "sign": 1}}, "helpful.sign: the table knows how"),
        (
            {"helpful": {"model": "a/b"}},
            "helpful.template: needed, since the table has no a/b: the input's text",
        ),
        (
            {"helpful": {"model": "a/b", "pair": True}},
            "helpful.index: needed, since the table has no a/b: which",
        ),
        (
            {"helpful": {"model": "a/b", **FORM, "pair": True}},
            "helpful.pair: with ppo.rewards.helpful.template",
        ),
        ({"helpful": {"model": "a/b", "pair": True, "index": 0}}, "helpful.sign: needed, since"),
        ({"helpful": {"model": "a/b", **FORM, "sign": 2}}, "helpful.sign=2: allowed are 1, -1"),
        ({"helpful": {"model": "a/b", **FORM, "sign": True}}, "helpful.sign=True: allowed are 1, -1"),
        (
            {"helpful": {"model": "a/b", **FORM, "index": -1}},
            "helpful.index=-1: must be a whole number of at",
        ),
        (
            {"helpful": {"model": "a/b", **FORM, "revision": "main"}},
            "revision=main: must be a hub commit, 40 hex",
        ),
        ({"helpful": {"model": "a/b", **FORM, "template": "{prompt}"}}, "must hold {response} exactly once"),
        (
            {"helpful": {"model": "a/b", **FORM, "template": {"Q": 1}}},
            "helpful.template={'Q': 1}: must be a text",
        ),
        (
            {"helpful": {"model": BEAVER, "max_length": 0}},
            "helpful.max_length=0: must be a whole number of at",
        ),
    ],
)
def test_what_cannot_score_is_refused_by_its_key(given, said):
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        parsed(given)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("ppo.rewards.")


def test_other_files_in_a_models_folder_are_another_digest(tmp_path):
    (tmp_path / "config.json").write_text("one")
    sources = parsed({"helpful": {"model": BEAVER, "path": str(tmp_path)}, "harmless": "my_rewards:length"})
    first = digest_of(sources)
    (tmp_path / "config.json").write_text("two")
    assert set(first) == {"helpful"}
    assert digest_of(sources) != first
    same = parsed({"helpful": {"model": str(tmp_path), **FORM}})
    assert digest_of(same) == digest_of(sources), "a model named by its folder counts by its files too"


def test_sources_of_all_kinds_are_one(folders, tmp_path):
    trained = trained_folder(tmp_path)
    names = ("b", "helpful", "true", "long")
    given = {
        "helpful": {"model": BEAVER, "path": str(folders["beaver"])},
        "true": "gold",
        "long": "my_rewards:length",
    }
    gold = {"true": lambda prompts, responses: np.arange(len(responses)) / 2}
    sources = parse_sources("ppo.rewards", given, "trained", names, True)
    rewards = build_sources(sources, names, gold=gold, trained_folder=trained, batch_size=4)
    prompts, responses = [*PROMPTS[:2], PROMPTS[3]], [*RESPONSES[:2], RESPONSES[3]]
    found = rewards.scores(prompts, responses)
    assert rewards.objectives == names
    np.testing.assert_allclose(found[:, 0], TrainedRewards(trained).scores(prompts, responses)[:, 1])
    hub = HubRewards(BEAVER, path=folders["beaver"], batch_size=4).scores(prompts, responses)
    np.testing.assert_allclose(found[:, 1], hub[:, 0], rtol=1e-5)
    np.testing.assert_array_equal(found[:, 2], [0, 0.5, 1])
    np.testing.assert_array_equal(found[:, 3], [len(text) for text in responses])


def test_a_model_that_the_table_lacks_is_fed_and_read_as_said(folders):
    """The same network by another output, another sign and the same text: related as said."""
    given = {"model": str(folders["gpt2"]), "template": "\n\nHuman: {prompt} \n\nAssistant:{response}"}
    one = {"helpful": {**given, "index": 1, "sign": 1}, "harmless": {**given, "index": 1, "sign": -1}}
    other = {
        "helpful": {**given, "index": 0, "sign": 1},
        "harmless": {**given, "pair": True, "index": 0, "sign": 1},
    }
    del other["harmless"]["template"]
    scores = built(parsed(one)).scores(PROMPTS, RESPONSES)
    np.testing.assert_array_equal(scores[:, 0], -scores[:, 1])
    others = built(parsed(other)).scores(PROMPTS, RESPONSES)
    assert np.all(np.abs(scores[:, 0] - others[:, 0]) > 1e-6), "another output"
    assert np.any(np.abs(others[:, 0] - others[:, 1]) > 1e-6), "another input"


def test_the_template_is_the_input_token_by_token(folders):
    source = parsed({"helpful": {"model": str(folders["gpt2"]), **FORM}})["helpful"]
    rewards = HubRewards(source.entry("helpful"), path=source.path)
    tokens = rewards.encoder.encode("why", "because")
    text = rewards.encoder.tokenizer.decode([token.id for token in tokens])
    assert text == "Q: why A: because"


def test_the_longest_input_may_be_said(folders):
    whole = {"model": str(folders["gpt2"]), **FORM}
    sources = parsed({"helpful": {**whole, "max_length": 10}, "harmless": {**whole, "max_length": 97}})
    assert HubRewards(sources["helpful"].entry("helpful"), path=sources["helpful"].path).encoder.longest == 10
    with pytest.raises(UserError, match="max_length=97 is more than its 96 positions"):
        HubRewards(sources["harmless"].entry("harmless"), path=sources["harmless"].path)
    table = Source("model", GPT2, max_length=7).entry("x")
    assert (table.max_length, table.id, table.form.name) == (7, GPT2, "dialogue, response")


def test_an_output_that_is_not_there_is_named(tmp_path):
    folder = distilbert_folder(tmp_path)
    source = parsed({"helpful": {"model": str(folder), **FORM, "index": 2}})["helpful"]
    with pytest.raises(UserError, match="index=2: its outputs are 0: NO_HUMOR, 1: HUMOR"):
        HubRewards(source.entry("helpful"), path=source.path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source("gold"), "'helpful': the data has no gold reward of it"),
        (Source("trained"), "'helpful': no reward model was trained for it"),
    ],
)
def test_a_source_without_what_it_needs_is_named(source, said):
    with pytest.raises(UserError, match=said):
        built(dict.fromkeys(OBJECTIVES, source), gold={} if source.kind == "trained" else None)
    with pytest.raises(UserError, match="'harmless': there is no source of its rewards"):
        built({"helpful": source})
