"""Answers from outside under Lightning's Trainer, as the page on extending has it: watched, gone on with, loaded."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

import lightning_moa as moa
from lightning_moa.policies.files import TENSORS
from tests.conftest import REPOSITORY


def test_a_training_of_answers_from_outside(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "examples" / "own"))
    monkeypatch.chdir(tmp_path)
    mine = importlib.import_module("my_training")
    trainer = mine.main()
    told = trainer.callback_metrics
    assert {"val/loss/helpful", "loss/concise", "grid/reward/concise", "grid/hypervolume"} <= set(told)
    assert 0 <= float(told["finished"]) <= 1
    whole = Path("film/policy", TENSORS).read_bytes()

    # As if it had been killed in its second epoch.
    (first,) = Path("film").glob("epoch=0-*.ckpt")
    mine.main(ckpt_path=first, weights_only=True)
    assert Path("film/policy", TENSORS).read_bytes() == whole

    data = moa.TrainingData("my_data:MyData", tokenizer="film/base")
    policy = moa.load_policy(
        moa.load_model("film/base"), "film/policy", kind=importlib.import_module("my_policy").FiLM
    )
    batch = data.batches("eval", "prompts", limit=2)[0]
    with torch.no_grad():
        asked = [policy(batch.input_ids, batch.attention_mask, row) for row in torch.eye(2)]
    assert not torch.equal(*asked), "it is steered"
