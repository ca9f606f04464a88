"""The cases of the benchmark of large models: which method on which model, and how; and what `moa plan` says of each.

A case's settings are the paper's own (`experiments/*/config/*/paper.yaml`), on one device, with as many rows as the
paper has on each of its devices. Light: torch is loaded where something is foretold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.config import StudyConfig, parse
from lightning_moa.errors import UserError
from lightning_moa.figures.panels import PanelsConfig, settings_of
from lightning_moa.methods.products import GAPO_P1_PPO, PANACEA_LS_DPO, PANACEA_PPO, Product, ham
from lightning_moa.methods.sections import all_sections, answers_of
from lightning_moa.rewards.sources import GOLD, Source
from lightning_moa.strategies.choices import check_hardware, processes_of
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.planning import plan_study
from lightning_moa.study.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
NAME = "measured"

SIZES = ("7b", "tiny")


@dataclass(frozen=True)
class Method:
    """A method as its paper sets it up."""

    folder: str
    """Of its configurations, in `experiments`."""
    product: Product
    model: str
    """The paper's, by its name in MODELS."""
    objectives: tuple[str, ...] = ("helpful", "harmless")
    options: type[StudyConfig] = StudyConfig
    """The script's own."""

    @property
    def section(self) -> str:
        """Of its objective's settings."""
        return next(iter(answers_of(self.product)["objective"].sections))


MODELS = {
    "llama": "PKU-Alignment/alpaca-7b-reproduced",
    "mistral": "HuggingFaceH4/mistral-7b-sft-beta",
    "opt": "facebook/opt-6.7b",
}
"""LLaMA-7B, Mistral-7B and OPT-6.7B: the published models whose architectures are built, with random weights."""
METHODS = {
    "panacea_dpo": Method("panacea/config/dpo", PANACEA_LS_DPO, "llama"),
    "gapo": Method("gapo/config/ppo", GAPO_P1_PPO, "mistral"),
    "ham": Method("ham/config/assistant", ham(), "opt", options=PanelsConfig),
    "panacea_ppo": Method("panacea/config/rlhf", PANACEA_PPO, "llama"),
}

TINY = ("data.max_length=32", "data.max_response_length=16", "data.response_room=16", "adapter.rank=4")
"""What the smallest size has instead of the paper's; its models have two narrow layers."""
TINY_ROWS = 4
TINY_SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "word_embed_proj_dim": 64,
    "intermediate_size": 128,
    "ffn_dim": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "sliding_window": 64,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Case:
    """One measurement."""

    size: str
    method: str
    model: str
    precision: str
    strategy: str
    accelerator: str
    rows: int
    """Of an update: pairs, prompts or responses."""
    steps: int
    """Updates that count."""
    warm_up: int
    """Updates before them."""
    seconds: float
    """After so many no further update begins."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells its row of the results from others."""
        names = ("size", "method", "model", "precision", "strategy", "rows")
        return {name: getattr(self, name) for name in names}


def cases_of(
    *,
    size: str,
    accelerator: str,
    methods: Iterable[str],
    models: Iterable[str],
    precisions: Iterable[str],
    strategies: Iterable[str],
    rows: int | None,
    steps: int,
    warm_up: int,
    seconds: float,
) -> list[Case]:
    """All that go together, the most telling first: every method on one device at the first precision, then at the
    others, then under the other strategies.

    Args:
        models: names of MODELS for all methods; empty: the one of each method's paper.
        rows: of an update; None: what the paper has on each device.
    """
    chosen, order = list(models), []
    for place, precision in enumerate(precisions):
        for strategy in strategies:
            for method in methods:
                for model in chosen or [METHODS[method].model]:
                    own = rows or rows_of(method, size)
                    case = Case(
                        size, method, model, precision, strategy, accelerator, own, steps, warm_up, seconds
                    )
                    if _allowed(case):
                        order.append((strategy != "single", place, case))
    # The sort is stable: within a precision, strategies and methods stay as they were given.
    return [case for *_, case in sorted(order, key=lambda one: one[:2])]


def _allowed(case: Case) -> bool:
    """False where a study refuses the combination."""
    try:
        check_hardware(_hardware(case) | {"optimiser": "adamw"})
    except UserError:
        return False
    return True


@lru_cache
def rows_of(method: str, size: str) -> int:
    """Rows of a micro-batch on each of the paper's devices."""
    if size == "tiny":
        return TINY_ROWS
    config = _parsed(method, size, [])
    settings = getattr(config, METHODS[method].section)
    devices = processes_of(vars(config.hardware))
    return max(1, int(settings.batch_size) // int(settings.accumulate) // devices)


def _hardware(case: Case) -> dict[str, Any]:
    return {
        "accelerator": case.accelerator,
        "devices": 1,
        "nodes": 1,
        "strategy": case.strategy,
        "precision": case.precision,
        "checkpoint_every": 0,
    }


def config_of(case: Case) -> StudyConfig:
    """The paper's configuration on one device."""
    section = METHODS[case.method].section
    words = [
        f"{section}.batch_size={case.rows}",
        f"{section}.accumulate=1",
        f"{section}.steps={case.warm_up + case.steps}",
        # So little is learned that each step has the work of the first.
        f"{section}.lr=1e-9",
        *(f"hardware.{key}={value}" for key, value in _hardware(case).items()),
    ]
    return _parsed(case.method, case.size, words)


def _parsed(method: str, size: str, words: list[str]) -> StudyConfig:
    chosen = METHODS[method]
    section = chosen.section
    own = list(TINY) if size == "tiny" else []
    if section == "ppo":
        # Random policies are far from anything; and PTX's file stands for rows that are made here.
        own += ["ppo.max_kl=1e9", f"ppo.ptx_path={__file__}"]
        own += ["ppo.max_new_tokens=16"] if size == "tiny" else []
    folder = EXPERIMENTS / chosen.folder
    schema = schema_of({NAME: chosen.product}, chosen.options)
    config = parse(schema, ["scale=paper", "seeds=[0]", *own, *words], folder, [NAME], all_sections())
    if isinstance(config, PanelsConfig):
        return settings_of(config, chosen.objectives, large=True)
    return config


def task_of(case: Case, weights: Path) -> Task:
    """The training task that a study would have, but for three things: its model is the one in `weights`, PTX's
    responses are the data's own, and a rule takes the place of the reward models."""
    product = METHODS[case.method].product
    (task,) = plan_study(config_of(case), {NAME: product}).seeds[0].policies[NAME]
    settings = dict(task.spec["settings"])
    if "ptx_path" in settings:
        settings["ptx_path"] = None
    spec = {
        **task.spec,
        "settings": settings,
        "rewards": {name: Source(GOLD).to_json() for name in task.spec["rewards"]},
        "data": {**task.spec["data"], "template": "{prompt}"},
        "model": {**task.spec["model"], "path": str(weights), "revision": None},
    }
    return Task(task.name, task.function, spec)


def architecture(model: str, size: str) -> PreTrainedConfig:
    """The published configuration, or one of the same family with small sizes; no token ends a response, so that all
    are sampled to their full length."""
    from lightning_moa.forecast.architectures import published_config

    config = published_config(MODELS[model])
    if size == "tiny":
        for name, value in TINY_SIZES.items():
            if getattr(config, name, None) is not None:
                setattr(config, name, value)
    config.eos_token_id = None
    return config


def planned(case: Case, weights: Path, gpu: str | None) -> dict[str, Any]:
    """What `moa plan` says of a case.

    Args:
        case: of `cases_of`.
        weights: folder of its model, of which the configuration alone is read.
        gpu: one that `moa plan` knows; None for any other device.

    Returns:
        GiB at the peak without the process's own, and when that is; GiB of the base model; tokens and operations of an
        update, recomputing and sampling among them; seconds of it at the GPU's full speed, what decoding reads of
        memory included.
    """
    from lightning_moa.forecast.flops import gpu_named
    from lightning_moa.forecast.memory import GIB, peak, total
    from lightning_moa.forecast.rows import forecast

    found = forecast(task_of(case, weights))
    phase, kinds = peak(found.phases)
    hours = math.nan if gpu is None else found.work.hours(gpu_named(gpu), 1, 1.0)
    return {
        "tokens_per_step": found.tokens / found.steps,
        "tflop_per_step": found.work.flops / found.steps / 1e12,
        "full_speed_s": hours * 3600 / found.steps,
        "plan_weights_gib": found.phases["loading"]["weights"] / GIB,
        "plan_gib": (total(kinds) - kinds["process"]) / GIB,
        "plan_phase": phase,
    }
