"""Trained policies, loaded and asked: the responses are those that the study measured."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch

import lightning_moa as moa
from lightning_moa.answers import path_of
from lightning_moa.deployments import Deployed
from lightning_moa.errors import UserError
from lightning_moa.inference.found import chosen
from lightning_moa.inference.loading import Loaded
from lightning_moa.inference.sources import allow, deployment_of, of_study

PREFERENCE = {"helpful": 0.5, "harmless": 0.5}


def measured(study, method, policy):
    """(prompts, responses) of the policy at even weights, or of all that it was asked."""
    found = chosen(study, method)
    frame = pd.read_csv(found.runs / found.measurement / "responses.csv", keep_default_na=False)
    mine = frame[(frame["policy"] == policy) & (frame["lambda_helpful"].isin([0.5, "0.5", ""]))]
    assert mine["prompt_index"].tolist() == list(range(8))
    return mine["prompt"].tolist(), mine["response"].tolist()


@pytest.mark.parametrize(
    ("method", "policy", "asked"),
    [
        ("panacea_ls", "steered", {"preference": PREFERENCE}),
        ("rewarded_soups", "soup", {"preference": [0.5, 0.5]}),
        ("dps", "0.5 0.5", {"preference": torch.tensor([0.5, 0.5])}),
        ("ric", "0.5 0.5", {"preference": PREFERENCE}),
        ("ham", "head 1", {"policy": "head 1"}),
    ],
)
def test_it_answers_what_the_study_measured(study, method, policy, asked):
    prompts, responses = measured(study, method, policy)
    loaded = moa.load(study, method)
    before = {name: value.clone() for name, value in loaded.base.model.named_parameters()}
    assert loaded.generate(prompts, **asked, batch_size=5) == responses
    # Something else in between, and the same again.
    if method != "ham":
        loaded.generate(prompts[0], [1, 0])
    else:
        loaded.generate(prompts[0], policy="head 0")
    assert loaded.generate(prompts, **asked) == responses
    assert loaded.generate(prompts[0], **asked, max_new_tokens=2) != responses[:1]
    loaded.close()
    after = dict(loaded.base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_preference_that_lies_nearest_serves(study):
    loaded = moa.load(study, "dps")
    opened = loaded.open([0.7, 0.3])
    assert opened.deployed.name == "0.5 0.5"
    assert opened.distance == pytest.approx(0.2 * 2**0.5)
    assert loaded.open([0.8, 0.2]).deployed.name == "1 0"
    assert loaded.open(policy="0 1").deployed.name == "0 1"


def test_a_policy_by_its_own_folder(study):
    prompts, responses = measured(study, "panacea_ls", "steered")
    (folder,) = chosen(study, "panacea_ls").folders
    assert moa.load(folder).generate(prompts, PREFERENCE) == responses
    (heads,) = chosen(study, "ham").folders
    assert moa.load(heads).open(policy="head 0").deployed.name == "head 0"


def test_a_policy_that_was_kept_before_the_last_step_is_not_taken_for_the_last(study, tmp_path):
    (folder,) = chosen(study, "panacea_ls").folders
    shutil.copytree(folder.parent, tmp_path / folder.parent.name)
    kept = tmp_path / folder.parent.name / "step-1"
    shutil.copytree(folder, kept)
    with pytest.raises(UserError, match="allowed is the folder `policy` of a run"):
        moa.load(kept)


def test_steered_policies_for_a_preference_each_are_chosen_anew_for_each_preference(study, monkeypatch):
    """Of several, the one that is open may take any preference, and is still not the one that was trained for it."""
    loaded = moa.load(study, "panacea_ls")
    ends = [[1.0, 0.0], [0.0, 1.0]]

    def for_each(asked):
        loaded.close()
        policy = moa.load(study, "panacea_ls").open([0.5, 0.5]).policy
        for name, at in zip(("a", "b"), ends, strict=True):
            yield Deployed(name, policy, torch.tensor([at], dtype=torch.float64))

    monkeypatch.setattr(loaded, "_deployed", for_each)
    assert [loaded.open(at).deployed.name for at in (*ends, ends[0])] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("method", "asked", "said"),
    [
        ("panacea_ls", {}, "a preference is needed"),
        ("panacea_ls", {"preference": {"helpful": 1.0}}, "'harmless' has no weight"),
        ("ham", {}, "several policies: head 0, head 1; choose one by its name"),
        ("ham", {"preference": [0.5, 0.5]}, "none of which knows a preference"),
        ("ham", {"policy": "head 2"}, "none of that name; there are head 0, head 1"),
        ("dps", {}, "by its name .* or by a preference"),
    ],
)
def test_what_cannot_be_chosen_is_said(study, method, asked, said):
    with pytest.raises(UserError, match=said):
        moa.load(study, method).open(**asked)


def test_what_does_not_fit_is_said(study):
    loaded = moa.load(study, "panacea_ls")
    with pytest.raises(UserError, match=r"^max_new_tokens=100000: must be below \d+, the most tokens"):
        loaded.generate("x", PREFERENCE, max_new_tokens=100_000)
    with pytest.raises(UserError, match="decoding knows max_new_tokens"):
        loaded.generate("x", PREFERENCE, tempratur=1.0)
    with pytest.raises(UserError, match="batch_size=0: must be at least 1"):
        loaded.generate("x", PREFERENCE, batch_size=0)
    with pytest.raises(UserError, match="prompt 2: holds half a character"):
        loaded.generate(["x", "a \udcff"], PREFERENCE)
    with pytest.raises(UserError, match="temperature=-1"):
        loaded.generate("x", PREFERENCE, temperature=-1.0)
    with pytest.raises(UserError, match="allowed are cpu, cuda"):
        moa.load(study, "panacea_ls", device="tpu")


def test_a_class_from_outside_is_imported_only_by_the_users_word():
    name = path_of(Mine)
    with pytest.raises(UserError, match=f"--own {name}"):
        allow(name, [])
    allow(name, [Mine])


def test_a_prompt_leaves_the_room_that_it_left_when_it_was_measured(study):
    source = of_study(chosen(study, "panacea_ls"))
    data = {**source.spec["data"], "response_room": 4}
    short = Loaded(replace(source, spec={**source.spec, "data": data}), [], None)
    most = short.decoding["max_new_tokens"]
    assert most > 4
    assert [short._rules(n).room for n in (2, most, most + 1)] == [4, 4, most + 1]
    # All that fits is kept of it, and the response gets what is left.
    prompt = " ".join(["boats"] * data["max_length"])
    (response,) = short.generate([prompt], PREFERENCE)
    assert len(short.tokenizer(response, add_special_tokens=False)["input_ids"]) <= 4
    other = Loaded(
        replace(source, spec={**source.spec, "prompts": {**data, "template": "Q: {prompt} A:"}}), [], None
    )
    assert other._rules(most).template == "Q: {prompt} A:"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lightning_moa.reporting.files:write_atomically", "a Deployment is expected there"),
        ("lightning_moa.policies.svd_lora:SVDLoRA", "a Deployment is expected there"),
        ("lightning_moa.deployments:Steered", "its options do not fit"),
    ],
)
def test_nothing_but_a_deployment_is_called_by_a_folders_word(study, tmp_path, name, said):
    found = chosen(study, "panacea_ls")
    source = of_study(found)
    options = {"path": str(tmp_path / "written"), "content": "any text"}
    other = replace(source, deployment={"class": name, "options": options})
    with pytest.raises(UserError, match=f"{name}: {said}"):
        deployment_of(other, [])
    with pytest.raises(UserError, match="write_atomically: a Policy is expected there"):
        Loaded(replace(source, spec={**source.spec, "policy": OTHER}), [], None)
    assert not list(tmp_path.iterdir())


OTHER = "lightning_moa.reporting.files:write_atomically"


class Mine:
    """One of a user's own."""
