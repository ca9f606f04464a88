"""Policies at one preference, as stock libraries load them."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
import yaml
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import lightning_moa as moa
from lightning_moa.errors import UserError
from lightning_moa.inference.export import base_of, export
from lightning_moa.inference.model_card import _rows_of, _silent, _what, words_of
from lightning_moa.policies import Heads, LoRA, Policy, RewardPrompt
from lightning_moa.policies.vocabulary import _silence
from lightning_moa.run_folders import owner
from tests.policies.models import tiny
from tests.reporting.frames import points_frame

PREFERENCE = {"helpful": 0.3, "harmless": 0.7}
WITH_HEAD = "all-linear-and-head"


def logits_of(loaded, opened):
    ids = torch.arange(3, 15).reshape(2, 6)
    mask = torch.ones_like(ids)
    row = None if opened.preference is None else opened.preference.float()
    with torch.no_grad():
        return ids, opened.policy(ids, mask, row)


@pytest.mark.parametrize("method", ["panacea_ls", "rewarded_soups"])
def test_stock_peft_loads_what_was_exported(study, tmp_path, method):
    loaded = moa.load(study, method)
    ids, ours = logits_of(loaded, export(loaded, tmp_path / "out", PREFERENCE))
    base, revision = base_of(loaded)
    told = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (told["base_model_name_or_path"], told["revision"]) == (base, revision)
    stock = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "out")
    by_itself = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(stock(ids).logits, ours, rtol=0, atol=1e-5)
        torch.testing.assert_close(by_itself(ids).logits, ours, rtol=0, atol=1e-5)
        away = (stock.get_base_model().get_input_embeddings(), stock.disable_adapter())
        with away[1]:
            assert (stock(ids).logits - ours).abs().max() > 1e-3
    words = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert words.get_vocab() == loaded.tokenizer.get_vocab()


@pytest.mark.parametrize(("method", "policy"), [("panacea_ls", None), ("ham", "head 1")])
def test_merged_is_a_plain_model(study, tmp_path, method, policy):
    loaded = moa.load(study, method)
    preference = None if policy else PREFERENCE
    # What a process left that was killed: it had the number of this one.
    (tmp_path / f".out.{owner().rpartition('_')[0]}_1").mkdir()
    ids, ours = logits_of(loaded, export(loaded, tmp_path / "out", preference, policy=policy, merged=True))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        torch.testing.assert_close(stock(ids).logits, ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [Policy, lambda model: LoRA(model, 2, targets=WITH_HEAD), Heads])
def test_the_card_counts_ids_without_text_whatever_the_output_head_is(kind):
    model = tiny()
    _silence(model, [1, 2, 5], "a model")
    opened = SimpleNamespace(policy=kind(model))
    assert _silent(opened) == 3


def test_the_card_says_what_it_is(study, tmp_path):
    loaded = moa.load(study, "panacea_ls")
    export(loaded, tmp_path / "near", PREFERENCE)
    export(loaded, tmp_path / "same", [0.5, 0.5])
    near, same = ((tmp_path / name / "README.md").read_text() for name in ("near", "same"))
    front = yaml.safe_load(near.split("---\n")[1])
    assert front["library_name"] == "peft"
    assert front["tags"] == ["multi-objective-alignment", "helpful", "harmless"]
    assert "at helpful 0.3, harmless 0.7" in near
    assert "This preference was not measured; the nearest one that was is helpful 0.5, harmless 0.5" in near
    assert "not measured" not in same
    rows = moa_points(study)
    at = rows[(rows["method"] == "panacea_ls") & (rows["lambda_helpful"] == 0.5)].iloc[0]
    for text in (near, same):
        assert f"| true reward of helpful | {at['gold_helpful']:.4g} |".replace("-", "-") in text
        assert "of no use for real text" in text
        assert "synthetic" in text
        assert "2 updates each, 1 trained policy" in text


def moa_points(study):
    from lightning_moa.reporting.schema import POINTS

    return POINTS.read(study / "points.csv")


def test_the_card_has_the_row_of_the_policy_that_was_opened():
    """Of several at one preference, as the members of a family; else that of the preference."""
    frame = points_frame({"m": 1.0}, seeds=(0,), step=0.5)
    several = pd.concat([frame.assign(policy=f"member {i}", gold_helpful=float(i)) for i in range(3)])
    study = SimpleNamespace(method="m", seed=0)

    def opened(name, preference):
        return SimpleNamespace(
            deployed=SimpleNamespace(name=name), preference=torch.tensor(preference, dtype=torch.float64)
        )

    rows, same = _rows_of(several, study, opened("member 2", [0.5, 0.5]))
    assert (rows["gold_helpful"].tolist(), same) == ([2.0], True)
    rows, same = _rows_of(several, study, opened("another", [0.4, 0.6]))
    assert (rows["lambda_helpful"].tolist(), same) == ([0.5], False)


def test_a_prompt_that_carries_the_preference_is_told(study, tmp_path):
    export(moa.load(study, "ric"), tmp_path / "out", [1, 0], merged=True)
    assert "has to be written as `PROMPT <r1> " in (tmp_path / "out" / "README.md").read_text().replace(
        "\\", ""
    )


def test_a_prompt_that_has_to_end_so_is_told_with_its_ending():
    before = "\n\nAssistant:"
    goals = RewardPrompt(["helpful", "harmless"], [0, 0], [1, 1], before=before)
    deployed = SimpleNamespace(name="1 0", rewrite=partial(goals.insert, rewards=[1, 0]), ending=before)
    opened = SimpleNamespace(deployed=deployed, preference=torch.tensor([1.0, 0.0]))
    model = {"path": None, "layers": 1, "hidden_size": 8, "family": "llama"}
    spec = {"model": model, "data": {"template": "{prompt}"}}
    told = _what(SimpleNamespace(objectives=goals.objectives, spec=spec), opened, True)
    assert r"has to be written as `PROMPT <r1> 1.0 <r2> 0.0 \n\nAssistant:`." in told


def test_what_cannot_be_written_is_said_and_leaves_nothing(study, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    loaded = moa.load(study, "ham")
    with pytest.raises(UserError, match="there is something already"):
        export(loaded, tmp_path / "full", policy="head 0")
    with pytest.raises(UserError, match=r"HeadPolicy has no export.*--merged writes it"):
        export(loaded, tmp_path / "out", policy="head 0")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize(
    ("source", "data", "words"),
    [
        ({"kind": "gold"}, "synthetic", "the world's own"),
        ({"kind": "trained"}, "pairs", "a model trained on the pairs"),
        (
            {"kind": "trained"},
            "answers",
            "the data's own scores, and for what was sampled a model trained on them",
        ),
        ({"kind": "function", "name": "mine:brevity"}, "answers", "mine:brevity"),
        ({"kind": "trained"}, "mine:Data", "a model trained on the pairs"),
    ],
)
def test_the_card_says_what_scored_responses(source, data, words):
    assert words_of(source, {"name": data}) == words
