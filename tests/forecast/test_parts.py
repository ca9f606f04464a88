"""How many rows, and so updates, a training has."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from lightning_moa.data.configs import PairsConfig, SyntheticConfig
from lightning_moa.data.registry import build
from lightning_moa.errors import UserError
from lightning_moa.forecast.parts import training_rows, updates


def spec_of(config):
    return {"data": asdict(config), "data_class": "", "files": "", "objectives": ["good", "short"]}


def test_rows_of_a_local_file_are_counted(tmp_path):
    rows = [
        {"prompt": f"p{i // 2}", "response_0": f"a {i}", "response_1": f"b {i}", "g": i % 2, "s": 1 - i % 2}
        for i in range(40)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = PairsConfig(path=str(path), labels={"good": "g", "short": "s"}, eval_fraction=0.25)
    data = build(config, ["good", "short"])
    counted = {view: training_rows(spec_of(config), view, None) for view in ("pairs", "sequences", "prompts")}
    assert counted["pairs"] == len(data.table("train"))
    assert 0 < counted["pairs"] < 40
    assert counted["sequences"] == 2 * counted["pairs"]
    assert counted["prompts"] == len(data.prompt_list("train")) < counted["pairs"]
    assert training_rows(spec_of(config), "pairs", 7) == 7


def test_rows_that_nobody_knows_are_asked_for(tmp_path):
    config = PairsConfig(path=str(tmp_path / "none.jsonl"), labels={"good": "g", "short": "s"})
    spec = spec_of(config)
    assert training_rows(spec, "pairs", None) is None
    settings = {"steps": None, "epochs": 2.0, "batch_size": 8}
    with pytest.raises(
        UserError, match=r"data=pairs: how many rows it has is not known offline; rows=<number>"
    ):
        updates(settings, spec, None)
    assert updates({**settings, "steps": 5}, spec, None) == 5
    assert updates(settings, spec, 16) == 4
    assert training_rows(spec_of(SyntheticConfig(pairs=30)), "pairs", None) == 30
