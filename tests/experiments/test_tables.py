"""Panacea's Tables 1 and 2, generated from the configurations, against what the paper prints."""

from __future__ import annotations

import importlib.util
import io

import pandas as pd
import pytest
from rich.console import Console

from lightning_moa.errors import UserError
from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "experiments" / "panacea" / "tables.py"

BOTH = {
    "max_length": 512,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 16,
    "seed": 42,
    "fp16": "false",
    "bf16": "true",
    "tf32": "true",
    "lora_dim": 8,
    "lora_scaling": 512,
    "only_optimize_lora": "true",
    "lora_module_name": "layers.",
    "pref_dim": 2,
}
TABLE_1 = BOTH | {
    "kl_coeff": 0.02,
    "clip_range_ratio": 0.2,
    "clip_range_score": 50.0,
    "clip_range_value": 5.0,
    "ptx_coeff": 16.0,
    "epochs": 2,
    "update_iters": 1,
    "per_device_prompt_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "actor_lr": 0.002,
    "actor_weight_decay": 0.01,
    "actor_lr_scheduler_type": "cosine",
    "actor_lr_warmup_ratio": 0.03,
    "actor_gradient_checkpointing": "true",
    "critic_lr": 0.001,
    "critic_weight_decay": 0.0,
    "critic_lr_scheduler_type": "constant",
    "critic_lr_warmup_ratio": 0.03,
    "critic_gradient_checkpointing": "true",
    "normalize_reward": "false",
    "temperature": 1.0,
    "top_p": 1.0,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
}
TABLE_2 = BOTH | {
    "scale_coeff": 0.1,
    "weight_decay": 0.05,
    "gradient_accumulation_steps": 1,
    "gradient_checkpointing": "true",
    "lr_scheduler_type": "cosine",
    "lr_warmup_ratio": 0.03,
    "epochs": 1,
    "lr": 0.0002,
}


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def generate(tables, root, *words):
    """Folder that a start leaves."""
    words = [f"results_dir={root}", *words]
    config = tables.STUDY.read(words)[0]
    tables.main(config, Console(file=io.StringIO()))
    return root / "panacea" / "tables" / config.scale


def read(path):
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert frame["hyper_parameter"].is_unique
    assert (frame["source"] != "").all()
    return dict(zip(frame["hyper_parameter"], frame["value"], strict=True))


def number_or_text(value):
    try:
        return float(value)
    except ValueError:
        return value


@pytest.mark.parametrize(("name", "printed"), [("table1", TABLE_1), ("table2", TABLE_2)])
def test_every_value_is_the_papers(tables, tmp_path, name, printed):
    found = read(generate(tables, tmp_path, "scale=paper") / f"{name}.csv")
    assert {key: number_or_text(value) for key, value in found.items()} == printed


def test_the_number_of_rows_is_the_papers():
    assert (len(TABLE_1), len(TABLE_2)) == (36, 20)


def test_a_changed_setting_is_seen(tables, tmp_path):
    words = ["ppo.lr=0.5", "hardware.devices=4", "ppo.steps=3", "adapter.rank=4", "hardware.precision=fp32"]
    found = read(generate(tables, tmp_path, "scale=paper", *words) / "table1.csv")
    changed = {name: value for name, value in found.items() if number_or_text(value) != TABLE_1[name]}
    assert changed == {
        "actor_lr": "0.5",
        "epochs": "-",
        "per_device_prompt_batch_size": "32",
        "per_device_train_batch_size": "32",
        "lora_dim": "4",
        "lora_scaling": "256",
        "bf16": "false",
    }


def test_the_page_holds_both_tables(tables, tmp_path):
    folder = generate(tables, tmp_path, "scale=tiny")
    page = (folder / "tables.md").read_text()
    assert page.count("\n| ") == len(TABLE_1) + len(TABLE_2) + 4
    assert {path.name for path in folder.iterdir()} == {
        *("table1.csv", "table2.csv", "tables.md", "run.yaml")
    }
    assert page == (generate(tables, tmp_path, "scale=tiny") / "tables.md").read_text()


def test_tables_of_other_settings_are_kept(tables, tmp_path):
    folder = generate(tables, tmp_path, "scale=smoke")
    before = (folder / "table1.csv").read_text()
    with pytest.raises(
        UserError, match=r"another configuration \(adapter\.rank was .*, now 3\); replace=true"
    ):
        generate(tables, tmp_path, "scale=smoke", "adapter.rank=3")
    assert (folder / "table1.csv").read_text() == before
    generate(tables, tmp_path, "scale=smoke", "adapter.rank=3", "replace=true")
    assert (folder / "table1.csv").read_text() != before
