"""Panacea, Tables 1 and 2: the hyper-parameters of Panacea with RLHF and with DPO, read from the configurations here.

    python experiments/panacea/tables.py [scale=smoke|tiny|gpu|paper] [results_dir=...]

Each row is the paper's name of a hyper-parameter and the value that a run at this scale has, with where it comes from:
a key of the configuration, or what the code fixes. At scale=paper, the default, these are the paper's own values, so
table and configuration can't drift apart. Writes table1.csv, table2.csv, tables.md and run.yaml to
results/panacea/tables/.
"""

from typing import Any

import pandas as pd
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.methods.products import PANACEA_LS_DPO, PANACEA_PPO
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.reporting.files import remove, write_atomically
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, print_place
from lightning_moa.study.script import script
from lightning_moa.study.study import Study

TITLES = {"table1": "Table 1: Panacea with RLHF", "table2": "Table 2: Panacea with DPO"}

Row = tuple[str, Any, str]
"""The paper's name, the value, where it comes from."""


def main(config: StudyConfig, console: Console) -> None:
    dpo, _ = Study(__file__, "dpo", {}, schema_of({"panacea": PANACEA_LS_DPO})).read(
        [f"scale={config.scale}"]
    )
    tables = {"table1": frame_of(rlhf_rows(config)), "table2": frame_of(dpo_rows(dpo))}
    artefact = Artefact.begin("panacea", "tables", config)
    folder = artefact.folder
    remove(folder / "run.yaml")
    for name, frame in tables.items():
        write_atomically(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "tables.md", markdown(tables))
    artefact.write_record("none: nothing was trained")
    print_place(console, "tables", folder / "tables.md")


def rlhf_rows(config: StudyConfig) -> list[Row]:
    """Table 1, in the paper's order."""
    ppo = config.ppo
    keys: dict[str, str] = {"clip_range_ratio": "clip_ratio", "clip_range_score": "clip_score"}
    keys |= {"clip_range_value": "clip_value", "ptx_coeff": "ptx"}
    own = [(name, getattr(ppo, key), f"ppo.{key}") for name, key in keys.items()]
    return [
        ("max_length", config.data.max_length, "data.max_length"),
        ("kl_coeff", ppo.kl_coeff, "ppo.kl_coeff"),
        *own,
        ("epochs", ppo.epochs if ppo.steps is None else None, "ppo.epochs, where ppo.steps is empty"),
        ("update_iters", ppo.update_iters, "ppo.update_iters"),
        ("per_device_prompt_batch_size", *per_device(config, ppo, "ppo")),
        ("per_device_train_batch_size", *per_device(config, ppo, "ppo")),
        *evaluation_rows(config),
        ("gradient_accumulation_steps", ppo.accumulate, "ppo.accumulate"),
        *optimiser_rows(ppo, "actor_", ""),
        ("actor_gradient_checkpointing", config.model.gradient_checkpointing, "model.gradient_checkpointing"),
        *optimiser_rows(ppo, "critic_", "critic_"),
        (
            "critic_gradient_checkpointing",
            config.model.gradient_checkpointing,
            "model.gradient_checkpointing: the critic reads the hidden states of the one base model that all share",
        ),
        ("normalize_reward", False, "by design: scores are used as they are, times ppo.reward_scale"),
        *shared_rows(config),
        ("temperature", ppo.temperature, "ppo.temperature"),
        ("top_p", ppo.top_p, "ppo.top_p"),
        ("num_return_sequences", 1, "by design: one response is sampled to each prompt"),
        ("repetition_penalty", 1.0, "by design: probabilities are not changed for repeated tokens"),
    ]


def dpo_rows(config: StudyConfig) -> list[Row]:
    """Table 2."""
    dpo = config.dpo
    return [
        ("max_length", config.data.max_length, "data.max_length"),
        ("scale_coeff", dpo.beta, "dpo.beta"),
        ("per_device_train_batch_size", *per_device(config, dpo, "dpo")),
        *evaluation_rows(config),
        ("gradient_accumulation_steps", dpo.accumulate, "dpo.accumulate"),
        ("gradient_checkpointing", config.model.gradient_checkpointing, "model.gradient_checkpointing"),
        *optimiser_rows(dpo, "", "", family="dpo"),
        ("epochs", dpo.epochs if dpo.steps is None else None, "dpo.epochs, where dpo.steps is empty"),
        *shared_rows(config),
    ]


def optimiser_rows(settings: OptimiserConfig, ours: str, key: str, family: str = "ppo") -> list[Row]:
    """Learning rate, weight decay, schedule and warm-up; `ours` begins the paper's names, `key` the fields'."""
    names = {"lr": "lr", "weight_decay": "weight_decay", "lr_scheduler_type": "schedule"}
    names["lr_warmup_ratio"] = "warmup_ratio"
    return [
        (ours + name, getattr(settings, key + field), f"{family}.{key}{field}")
        for name, field in names.items()
    ]


def evaluation_rows(config: StudyConfig) -> list[Row]:
    """The batch size of the measurements, which run on one device."""
    return [("per_device_eval_batch_size", config.evaluation.batch_size, "evaluation.batch_size")]


def shared_rows(config: StudyConfig) -> list[Row]:
    """What both tables say of the seed, the number formats and the adapter."""
    adapter, precision = config.adapter, config.hardware.precision
    return [
        ("seed", config.seeds[0] if len(config.seeds) == 1 else config.seeds, "seeds"),
        ("fp16", False, "hardware.precision has no fp16"),
        ("bf16", precision == "bf16", "hardware.precision"),
        ("tf32", config.hardware.tf32, "hardware.tf32"),
        ("lora_dim", adapter.rank, "adapter.rank"),
        ("lora_scaling", adapter.scaling * adapter.rank, "adapter.scaling x adapter.rank"),
        ("only_optimize_lora", True, "by design: a policy's base weights are frozen"),
        ("lora_module_name", adapter.targets, "adapter.targets"),
        ("pref_dim", len(objectives_of(config)), "the number of objectives"),
    ]


def per_device(config: StudyConfig, settings: OptimiserConfig, family: str) -> tuple[float, str]:
    """Rows of one micro-batch on one device, and where that comes from."""
    rows = settings.batch_size / settings.accumulate / config.hardware.devices
    return rows, f"{family}.batch_size / {family}.accumulate / hardware.devices"


def frame_of(rows: list[Row]) -> pd.DataFrame:
    """Columns `hyper_parameter`, `value` (as text: numbers, words and truths stand in one column) and `source`."""
    shown = [(name, text_of(value), source) for name, value, source in rows]
    return pd.DataFrame(shown, columns=["hyper_parameter", "value", "source"])


def text_of(value: Any) -> str:
    """The value as the paper would print it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def markdown(tables: dict[str, pd.DataFrame]) -> str:
    """All tables as one Markdown page."""
    pages = [
        f"## {TITLES[name]}\n\n{markdown_table(['hyper-parameter', 'value', 'source'], frame.to_numpy().tolist())}"
        for name, frame in tables.items()
    ]
    return "\n".join(pages)


STUDY = Study(__file__, "rlhf", {}, schema_of({"panacea": PANACEA_PPO}), scale="paper")

if __name__ == "__main__":
    script(STUDY, main)
