"""Every shipped configuration, its models at their published widths: one step's shapes of every policy it trains.

Traced: the model (two of its blocks), its adapters or heads, the objective's losses on a batch of the configuration's
size on one device, and the backward pass into all that is trained. Not traced, for they need values: sampling (its
responses are made up here), the reward models, the aggregator, the optimiser, 8-bit kernels (such a base is bfloat16
here, the type that it computes in).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lightning_moa.batches import CriticRollout, PairBatch, PromptBatch, SequenceBatch
from lightning_moa.config import StudyConfig
from lightning_moa.figures.panels import settings_of
from lightning_moa.forecast.architectures import PUBLISHED, meta_model, published_config
from lightning_moa.forecast.plan import stand_in
from lightning_moa.objectives import MODPO, likelihood
from lightning_moa.objectives.costs import weightless
from lightning_moa.policies import Heads, Policy, Responses, build_model
from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.layers import resolve_targets
from lightning_moa.runs.context import Answers, Context
from lightning_moa.strategies.choices import processes_of
from lightning_moa.study.planning import plan_study
from tests.declared import EXPERIMENTS, SCRIPTS, read, study_of
from tests.shapes import Shapes
from tests.test_configs_shipped import FILES, name_of, refusal, scale_of

LEAVES = {
    ("layers.", "llama"): {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    ("layers.", "mistral"): {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    ("self_attn", "opt"): {"k_proj", "v_proj", "q_proj", "out_proj"},
}
"""(adapter.targets, family) to the linear layers of a block that are adapted."""
PRETRAINED = [path for path in FILES if path.stem in ("gpu", "paper")]
TRAINING = {study.folder for study in map(study_of, SCRIPTS) if study.methods}
"""The families' folders of configurations; what stands in none of them compares others' results."""
BLOCKS = 2
"""Blocks of a published model that a step is traced through: they are all alike. Widths, heads, vocabulary, rows and
lengths are the configuration's."""


@dataclass(frozen=True)
class Traced:
    """One kind of policy of a file: what sets its step's shapes apart from the others'."""

    policy: str
    objective: str
    weigh: str | None
    heads: int | None
    model: str


def studies(path: Path) -> Iterator[tuple[StudyConfig, Any]]:
    """What each script of a file's family makes of it, for each model that it has, and the script's methods."""
    for place in SCRIPTS:
        study = study_of(place)
        if study.folder != path.parent or not study.methods:
            continue
        config, methods = read(place, scale_of(path))
        if refusal(name_of(place), config) is not None:
            continue
        parts = study.parts_of(config, methods)
        for _, own, mine in parts:
            yield own, mine
        # Panels of another family's data are that family's.
        first, mine = next((own, mine) for _, own, mine in parts if own.data.name == config.data.name)
        if hasattr(config, "large") and first.objectives:
            yield settings_of(config, first.objectives, large=True), mine


def specs(path: Path) -> dict[Traced, dict[str, Any]]:
    """One training task's spec of each kind that the file's figures train."""
    found = {}
    for config, methods in studies(path):
        own = deepcopy(config)
        stand_in(("", own, methods))
        plan = plan_study(own, methods)
        for task in [task for tasks in plan.seeds[config.seeds[0]].policies.values() for task in tasks]:
            spec = task.spec
            policy, objective = (spec[kind].rpartition(":")[2] for kind in ("policy", "objective"))
            heads = spec["sections"]["heads"]["number"] if policy == "Heads" else None
            # Of SVD-LoRA: steered or not.
            own_policy = f"{policy} {spec['options']['policy']}"
            kind = Traced(own_policy, objective, spec["settings"].get("weigh"), heads, str(spec["model"]))
            found.setdefault(kind, spec)
    return found


def base_of(spec: dict[str, Any]) -> Policy:
    """The spec's reference policy, without values."""
    model = spec["model"]
    if model["path"] is not None:
        config = published_config(model["path"])
        config.num_hidden_layers = BLOCKS
        return Policy(meta_model(config, spec["hardware"]["precision"]))
    with torch.device("meta"):
        network = build_model(
            model["family"],
            vocab_size=spec["tokenizer"]["vocab_size"],
            hidden_size=model["hidden_size"],
            layers=model["layers"],
            heads=model["heads"],
            intermediate_size=model["intermediate_size"],
            max_positions=spec["data"]["max_length"],
            pad_id=0,
            bos_id=1,
            eos_id=2,
        )
    return Policy(network)


def rows_of(spec: dict[str, Any]) -> int:
    """Rows of a micro-batch on one device."""
    settings = spec["settings"]
    rows, rest = divmod(settings["batch_size"], settings["accumulate"] * processes_of(spec["hardware"]))
    assert not rest, "every device gets as many rows as the others"
    return rows


def lengths_of(spec: dict[str, Any]) -> tuple[int, int]:
    """The most tokens that a prompt and its response may have."""
    response = spec["settings"].get("max_new_tokens", spec["data"]["max_response_length"])
    assert response < spec["data"]["max_length"], "a prompt needs room"
    return spec["data"]["max_length"] - response, response


def sequences(rows: int, lengths: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Token tensors of `rows` rows whose last one is shorter, padded on the right."""
    prompt, response = lengths
    mask = torch.zeros(rows, prompt + response, dtype=torch.bool)
    mask[:, prompt:] = True
    attention = torch.ones_like(mask)
    if response > 1:
        attention[-1, -1] = mask[-1, -1] = False
    ids = torch.arange(mask.numel()).reshape(mask.shape) % 50 + 3
    return {"input_ids": ids, "attention_mask": attention, "response_mask": mask}


def batch_of(spec: dict[str, Any]) -> PairBatch | SequenceBatch | PromptBatch:
    rows, lengths, m = rows_of(spec), lengths_of(spec), len(spec["objectives"])
    view = Answers.of(spec).objective.view
    if view == "pairs":
        labels = (torch.arange(rows * m) % 2).reshape(rows, m).float()
        return PairBatch(
            **sequences(2 * rows, lengths),
            labels=labels,
            index=torch.arange(rows),
            ref_logps=torch.zeros(2 * rows),
            rewards=torch.zeros(2 * rows, m),
        )
    if view == "sequences":
        return SequenceBatch(**sequences(rows, lengths), rewards=torch.full((rows, m), 0.5))
    ids = torch.full((rows, lengths[0]), 5)
    return PromptBatch(ids, torch.ones_like(ids, dtype=torch.bool), ["a prompt"] * rows, torch.arange(rows))


def preference_of(spec: dict[str, Any]) -> torch.Tensor:
    """(m,), or (g, m) where the configuration draws several for a batch."""
    m, groups = len(spec["objectives"]), spec["settings"].get("preferences_per_batch", 1)
    even = torch.full((m,), 1 / m)
    return even if groups == 1 or spec["at"] is not None else even.expand(groups, m).clone()


class NoRewards:
    """Stands for the reward models: only their objectives count here."""

    def __init__(self, objectives: list[str]) -> None:
        self.objectives = tuple(objectives)

    def scores(self, prompts: list[str], responses: list[str]) -> np.ndarray:
        return np.zeros((len(responses), len(self.objectives)))


class Silent:
    """A tokenizer that reads everything, letter by letter, and says nothing."""

    unk_token_id = None

    def __call__(self, texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[ord(letter) % 50 for letter in text] for text in texts]}

    def batch_decode(self, tokens: Any, **options: Any) -> list[str]:
        return [""] * len(tokens)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs values or files: sampled responses, reward models, PTX's rows, and the offline rows' z."""

    def sampled(
        policy: Any, batch: PromptBatch, preference: Any, sampling: Any, *rest: Any, **more: Any
    ) -> Responses:
        mask = torch.ones(len(batch.input_ids), sampling.max_new_tokens, dtype=torch.bool)
        return Responses(mask.long() * 7, mask)

    def ptx(run: Context) -> Any:
        return lambda step, device: SequenceBatch(**sequences(rows_of(run.spec), lengths_of(run.spec)))

    for objective in ("ppo", "grpo"):
        monkeypatch.setattr(f"lightning_moa.objectives.{objective}.sample_responses", sampled)
    monkeypatch.setattr("lightning_moa.objectives.ppo.given_responses", ptx)
    monkeypatch.setattr(Context, "rewards", lambda run, size: NoRewards(run.spec["objectives"]))
    monkeypatch.setattr(likelihood, "read_about", lambda folder: {"z": 100.0})
    monkeypatch.setattr("lightning_moa.objectives.ppo.any_of", lambda flag, device: flag)
    # Preferences stay real: which of a batch's rows share one is read from their values.
    monkeypatch.setattr(AdapterPolicy, "_device", torch.device("cpu"))
    known = torch.is_autocast_enabled
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind="cpu": kind != "meta" and known(kind))


def run_of(spec: dict[str, Any], base: Policy) -> Context:
    """What the real policy and the real objective are built from, as a run builds them."""
    tokenizer = Silent()
    data: Any = SimpleNamespace(objectives=tuple(spec["objectives"]))
    return Context(spec, {"rows": Path()}, Answers.of(spec), data, tokenizer, base, 100)


def policy_of(run: Context) -> Policy:
    policy = run.answers.policy.build(run.about("policy"))
    if run.spec["model"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy


def check_rollout(part: CriticRollout, spec: dict[str, Any], width: int) -> None:
    (prompt, time), rows, m = lengths_of(spec), rows_of(spec), len(spec["objectives"])
    k = 1 if spec["settings"]["weigh"].endswith("_reward") else m
    shapes = {name: tuple(getattr(part, name).shape) for name in ("logps", "ref_logps", "mask")}
    assert set(shapes.values()) == {(rows, time)}
    assert part.input_ids.shape == (rows, prompt + time)
    assert part.hidden.shape == (rows, time, width)
    assert part.scores.shape == (rows, m)
    for name in ("values", "advantages", "returns"):
        assert getattr(part, name).shape == (rows, time, k), name


def losses_shape(run: Context, preference: torch.Tensor) -> tuple[int, ...]:
    m, settings, objective = run.m, run.spec["settings"], run.answers.objective
    if objective is likelihood.LikelihoodInContext:
        return (1,)
    if run.answers.policy is Heads and objective.of_several:
        each = (
            m
            if "rows" not in settings or settings["weigh"] == "per_objective"
            else len(likelihood.directions_of(run))
        )
        return (run.spec["sections"]["heads"]["number"], each)
    apart = settings.get("weigh", "surrogates") in ("surrogates", "per_objective") and objective is not MODPO
    assert apart == objective.apart(run.settings) or settings["weigh"] == "scalarise_first"
    own = m if apart else 1
    return (*preference.shape[:-1], own)


@pytest.mark.parametrize("path", [path for path in FILES if path.parent in TRAINING], ids=name_of)
def test_one_step_of_every_kind_of_policy(path: Path, stand_ins: None) -> None:
    kinds = specs(path)
    assert kinds
    for kind, spec in kinds.items():
        base = base_of(spec)
        width = base.model.config.hidden_size
        base.requires_grad_(False)
        with Shapes():
            run = run_of(spec, base)
            policy = policy_of(run)
            run = replace(run, policy=policy)
            policy.train()
            objective = weightless(run.answers.objective.build(run.about("objective")))
            preference = preference_of(spec)
            part = next(iter(objective.parts(policy, batch_of(spec), preference, 0)))
            if isinstance(part, CriticRollout):
                check_rollout(part, spec, width)
            losses = objective.losses(policy, part, preference)
            assert tuple(losses.shape) == losses_shape(run, preference), kind
            total = losses.sum()
            for more in (objective.shared_loss(policy, part, preference), objective.own_loss(part)):
                total = total if more is None else total + more
            total.backward()
        trained = dict(policy.named_parameters()) | dict(objective.named_parameters())
        trained = {name: value for name, value in trained.items() if value.requires_grad}
        assert trained
        for name, parameter in trained.items():
            assert parameter.dtype == torch.float32, f"{kind}: {name} is trained in float32 over any base"
            assert parameter.grad is not None, f"{kind}: no gradient reaches {name}"
            assert parameter.grad.shape == parameter.shape
        assert isinstance(policy, run.answers.policy)


@pytest.mark.parametrize("path", PRETRAINED, ids=name_of)
def test_adapters_are_where_the_file_says(path: Path) -> None:
    """Its targets are layers of each of its models, the ones that its comment or the paper's file names."""
    written = yaml.safe_load(path.read_text())
    targets = written["adapter"]["targets"]
    said = (path.parent / "paper.yaml").read_text()
    for model in [written[key] for key in ("model", "large") if key in written]:
        config = published_config(model["path"])
        network = meta_model(config)
        names = resolve_targets(network, targets)
        leaves = LEAVES[targets, config.model_type]
        assert {name.rpartition(".")[2] for name in names} == leaves
        assert len(names) == config.num_hidden_layers * len(leaves), "each in every block"
    named = re.search(r"#.*?((?:\w+, )+\w+(?: and \w+)?)_proj", said)
    assert named is not None
    assert set(re.split(r", | and ", named[1])) == {leaf.removesuffix("_proj") for leaf in leaves}


@pytest.mark.parametrize("path", PRETRAINED, ids=name_of)
def test_every_model_that_a_file_names_has_a_known_shape(path: Path) -> None:
    """So that a plan and this test can be made without the hub."""
    written = yaml.safe_load(path.read_text())
    models = [written[key]["path"] for key in ("model", "large") if key in written]
    rewards = [
        source["model"]
        for key in ("ppo", "likelihood")
        for source in written.get(key, {}).get("rewards", {}).values()
    ]
    assert {*models, *rewards} <= set(PUBLISHED)


def test_all_files_are_among_those_that_are_traced() -> None:
    assert len(FILES) == len(list(EXPERIMENTS.rglob("*.yaml")))
