"""What a training's answers are told."""

from __future__ import annotations

from types import SimpleNamespace

from lightning_moa.data.configs import AnswersConfig, SyntheticConfig
from lightning_moa.runs.context import Context


def test_scores_of_a_model_of_pairs_have_no_zero():
    sources = {"a": {"kind": "trained"}, "b": {"kind": "gold"}, "c": {"kind": "model"}}

    def zeros(config):
        data = SimpleNamespace(config=config, objectives=("a", "b", "c"))
        return Context({"rewards": sources}, {}, None, data, None, None).zeros

    assert zeros(SyntheticConfig()) == [False, True, True]
    # A model of scores has theirs.
    assert "pairs" not in AnswersConfig.views
    assert zeros(AnswersConfig()) == [True, True, True]
