"""The passes of a run, made on the meta device by the code that makes them in training, and the memory they take.

All figures are bytes besides the weights, by straight lines in the number of layers (and of heads) from the real code
with two and with three of them: what each keeps and frees is the same as in the last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_moa.aggregation.gradients import gradients
from lightning_moa.answers import load
from lightning_moa.batches import PairBatch, SequenceBatch
from lightning_moa.errors import UserError
from lightning_moa.forecast.meta_run import MetaRun, own_sections
from lightning_moa.forecast.metering import Meter, blocks_of, marking
from lightning_moa.forecast.networks import (
    Scorer,
    base_shape,
    depth_of,
    network_of,
    policy_of,
    policy_shape,
    trainee_of,
)
from lightning_moa.objectives import Likelihood
from lightning_moa.objectives.costs import full_sequences, longest_prompt, tokens
from lightning_moa.objectives.squared_error import REWARD_LOSSES
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.policies import Policy, Probe, response_logps
from lightning_moa.policies.generation import evaluating
from lightning_moa.policies.noise import gumbel
from lightning_moa.rewards.score_head import ScoreHead
from lightning_moa.strategies.choices import strategy_of, trained_whole

Spec = dict[str, Any]
Figures = dict[str, float]

FEW = (2, 3)
"""Numbers of layers that are run."""


def by_layers(layers: int, run: Callable[[int], Figures]) -> Figures:
    """What `run` gives for so many layers, from what it gives for few."""
    if layers <= FEW[1]:
        return run(layers)
    first, second = (run(few) for few in FEW)
    return {name: first[name] + (layers - FEW[0]) * (second[name] - first[name]) for name in first}


def by_parts(spec: Spec, run: Callable[[Spec], Figures]) -> Figures:
    """What `run` gives for a spec with its number of like parts of the policy, from what it gives for few."""
    number = _parts_of(spec)
    if number is None or number <= FEW[1] + 1:
        return run(spec)
    first, second = (run(_with_parts(spec, few)) for few in FEW)
    return {name: first[name] + (number - FEW[0]) * (second[name] - first[name]) for name in first}


def _parts_of(spec: Spec) -> int | None:
    """How many like parts a policy has (`Policy.linear_in`); None where it has none."""
    place = load(spec["policy"], "policy").linear_in
    number = None if place is None else spec["sections"][place[0]][place[1]]
    return number if isinstance(number, int) else None


def _with_parts(spec: Spec, number: int) -> Spec:
    section, key = load(spec["policy"], "policy").linear_in
    return spec | {"sections": spec["sections"] | {section: spec["sections"][section] | {key: number}}}


def update(spec: Spec, rows: int) -> Figures:
    """A micro-batch of an `align` task's update.

    Args:
        spec: the task's.
        rows: of the micro-batch on one device: pairs, prompts or responses.

    Returns:
        forward: at most before the backward pass. backward: at most in it, less the gradients. kept: what an example
        that the objective makes itself keeps. made: at most while it is made, after sampling. own: numbers that the
        objective trains for itself.

    Raises:
        UserError: an objective that can't be tried without values.
    """
    own = policy_shape(spec) | {
        key: spec[key] for key in ("objective", "probe", "fresh_passes", "objectives")
    }
    kind = load(spec["objective"], "objective")
    own["sections"] = own["sections"] | own_sections(spec, kind)
    own["options"] = own["options"] | {"objective": spec["options"]["objective"]}
    own["settings"] = {key: value for key, value in spec["settings"].items() if key not in _NO_SHAPE}
    own |= {"at": None, "stage": 0}
    return dict(_remembered(json.dumps(own, sort_keys=True), rows))


_NO_SHAPE = {item.name for item in fields(OptimiserConfig)} - {"batch_size", "accumulate"}
"""Settings that change no tensor's shape."""


@lru_cache(maxsize=256)
def _remembered(text: str, rows: int) -> Figures:
    def whole(own: Spec) -> Figures:
        depth = depth_of(own)
        return by_layers(depth, lambda layers: _update(own, rows, layers)) | _made(own, rows, depth)

    return _in_two(by_parts(json.loads(text), whole))


def _made(spec: Spec, rows: int, layers: int) -> Figures:
    """The most that is alive while an objective makes its own example."""
    kind = load(spec["objective"], "objective")
    if kind.view != "prompts":
        return {}
    # A line for each part: one pass keeps the states of all layers and another none, so that which of the parts is the
    # largest hangs on how many layers there are.
    parts = by_layers(layers, lambda few: _made_in_parts(spec, rows, few, kind))
    return {"made": max(parts.values())}


def _made_in_parts(spec: Spec, rows: int, layers: int, kind: Any) -> Figures:
    """The peaks before the layers, in them and after them, pass by pass."""
    policy, peaks = policy_of(spec, layers), list[int]()
    run = MetaRun.of(spec | {"seed": 0}, policy).about("objective")
    blocks = blocks_of(policy)
    with Meter() as meter:

        def mark(*_: Any) -> None:
            peaks.append(meter.peak())

        handles = [blocks[0].register_forward_pre_hook(mark), blocks[-1].register_forward_hook(mark)]
        try:
            made = kind.example(run, rows)
        finally:
            for handle in handles:
                handle.remove()
        mark()
    del made
    return {str(place): float(peak) for place, peak in enumerate(peaks)}


def _update(spec: Spec, rows: int, layers: int) -> Figures:
    # A probe of activations leaves its hook in the policy.
    policy = policy_of(spec, layers, shared=spec["probe"] != "activations")
    kind = load(spec["objective"], "objective")
    try:
        return _tried(spec, rows, policy, kind)
    except UserError:
        raise
    except Exception as error:
        told = next(iter(str(error).splitlines()), "")
        raise UserError(
            f"objective={spec['objective']}: its update can't be tried on tensors without values "
            f"({type(error).__name__}: {told})"
        ) from error


def _tried(spec: Spec, rows: int, policy: Policy, kind: Any) -> Figures:
    probe = None if spec["probe"] is None else Probe(policy, spec["probe"])
    m = len(spec["objectives"])
    preference = torch.full((m,), 1 / m)
    run = MetaRun.of(spec | {"seed": 0}, policy).about("objective")
    found = {"made": 0.0, "kept": 0.0}
    with Meter() as meter:
        objective, part = kind.example(run, rows)
        if kind.view == "prompts":
            # Made by the objective itself, for all micro-batches of an update before the first is trained on.
            found = {"made": float(meter.peak()), "kept": float(meter.live)}

        def losses() -> Tensor:
            losses = objective.losses(policy, part, preference)
            if probe is not None:
                for i in range(m) if spec["fresh_passes"] else ():
                    fresh = objective.losses(policy, part, preference)
                    gradients(fresh.reshape(-1, m).mean(0)[i : i + 1], probe.tensors(), keep=False)
                if not spec["fresh_passes"]:
                    # Of several policies at once, of their mean.
                    gradients(losses.reshape(-1, m).mean(0), probe.tensors())
            total = losses.sum()
            beside = (
                objective.shared_loss(policy, part, preference),
                objective.own_loss(part),
                policy.penalty(),
            )
            for more in beside:
                total = total if more is None else total + more
            return total

        apart = _apart(spec["hardware"], spec["settings"])
        figures = _there_and_back(meter, policy, losses, apart)
    found["own"] = float(_own_numbers(objective, policy))
    return found | {name: size - found["kept"] for name, size in figures.items()}


def _own_numbers(objective: nn.Module, policy: Policy) -> int:
    """Of what an objective trains besides the policy, such as a critic."""
    known = {id(each) for each in policy.parameters()}
    return sum(p.numel() for p in objective.parameters() if p.requires_grad and id(p) not in known)


def _apart(hardware: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether gradients do not pile up in a backward pass: they are there from an earlier micro-batch, and these are
    added to them; or DeepSpeed takes them away as they come."""
    return settings["accumulate"] > 1 or strategy_of(hardware).startswith("deepspeed")


def _there_and_back(meter: Meter, network: nn.Module, run: Callable[[], Tensor], apart: bool) -> Figures:
    """The most bytes before the backward pass (forward), until it arrives at the first layer (early) and after (late);
    the weights' gradients are left out of the latter two. apart: as of `_apart`.
    """
    trained = [each for each in network.parameters() if each.requires_grad]
    if apart:
        for each in trained:
            # Outside of the meter's sight: they are there before it begins.
            with torch.utils._python_dispatch._disable_current_modes():
                each.grad = torch.empty_like(each)
    peaks: list[int] = []
    with marking(blocks_of(network)[0], lambda: peaks.append(meter.peak())):
        total = run()
        forward = max([*peaks, meter.peak()])
        peaks.clear()
        torch.autograd.backward(total)
    late = meter.peak()
    own = 0 if apart else sum(each.numel() * each.element_size() for each in trained)
    for each in trained:
        each.grad = None
    return {"forward": float(forward), "early": float(max([*peaks, 0]) - own), "late": float(late - own)}


def _in_two(figures: Figures) -> Figures:
    """Forward and backward, the latter at its largest, wherever that is for the model's own number of layers."""
    early, late = figures.pop("early"), figures.pop("late")
    return figures | {"backward": max(early, late, 0.0)}


def prompt_length(spec: Spec) -> int:
    """Tokens of the longest prompt that is sampled from."""
    return longest_prompt(spec["data"])


def sampling(spec: Spec, policy: Mapping[str, Any], rows: int, prompt: int, top_p: float) -> float:
    """The most that sampling takes besides its cache of keys and values: the prompts' pass, or choosing a token.

    Args:
        spec: the task's.
        policy: the spec of the policy that is sampled; empty: the base model itself.
        rows, prompt: of the batch.
        top_p: below 1 the nucleus is sorted out.
    """
    return _sampling(_alone(spec, policy), rows, prompt, top_p < 1)


@lru_cache(maxsize=256)
def _sampling(text: str, rows: int, prompt: int, nucleus: bool) -> float:
    network = _network(text)
    ids, mask, _ = tokens(rows, prompt, 1)
    with torch.no_grad(), Meter() as meter:
        with evaluating(network):
            logits = network(ids, mask, _uniform(network), last=1)
        first = meter.peak()
        scores = logits[:, -1].to(torch.float32, copy=True)
        if nucleus:
            scores.sort(), scores.softmax(-1).cumsum(-1)
        scores + gumbel(0, torch.empty(rows, dtype=torch.int64, device="meta"), 0, scores.shape[1])
        return float(max(first, meter.peak()))


def no_gradient(spec: Spec, policy: Mapping[str, Any], rows: int, time: int, response: int) -> float:
    """The most that log-probs of responses take, without gradient; arguments as of `sampling`."""
    return _no_gradient(_alone(spec, policy), rows, time, response)


@lru_cache(maxsize=256)
def _no_gradient(text: str, rows: int, time: int, response: int) -> float:
    network = _network(text)
    ids, mask, _ = tokens(rows, time, response)
    marked = torch.zeros_like(mask)
    marked[:, -response:] = True
    with torch.no_grad(), Meter() as meter:
        with evaluating(network):
            response_logps(network, ids, mask, marked, _uniform(network))
        return float(meter.peak())


def _alone(spec: Spec, policy: Mapping[str, Any]) -> str:
    """The shape of one policy, with a single one of its like parts; of the base model where there is none."""
    if not policy:
        return json.dumps(base_shape(spec), sort_keys=True)
    own = policy_shape(policy)
    return json.dumps(own if _parts_of(own) is None else _with_parts(own, 1), sort_keys=True)


def _network(text: str) -> Policy:
    """The policy of a shape, or the base model where it has none, with few layers."""
    spec = json.loads(text)
    if "policy" not in spec:
        return Policy(network_of(spec, FEW[0]))
    (_, member), *_ = policy_of(spec, FEW[0]).members()
    return member


def _uniform(policy: Policy) -> Tensor | None:
    return torch.full((policy.m,), 1 / policy.m) if policy.m else None


@lru_cache(maxsize=256)
def scoring(scorer: Scorer, rows: int) -> float:
    """The most that a reward model's pass over so many texts takes. Such a pass fills a cache of keys and values where
    transformers does so unasked."""
    ids, mask, _ = tokens(rows, scorer.longest, 1)

    def run(layers: int) -> Figures:
        network = scorer.build(layers).eval()
        given = {"use_cache": False} if isinstance(network, ScoreHead) else {}
        with torch.no_grad(), Meter() as meter:
            network.base_model(input_ids=ids, attention_mask=mask, **given)
            return {"pass": float(meter.peak())}

    return by_layers(scorer.layers, run)["pass"]


def reward_training(spec: Spec, rows: int) -> Figures:
    """A micro-batch of so many rows of a `reward_model` task's, pairs or single responses: forward,
    backward, as of `update`."""
    return _in_two(by_layers(depth_of(spec), lambda layers: _reward_training(spec, rows, layers)))


def _reward_training(spec: Spec, rows: int, layers: int) -> Figures:
    network, settings = trainee_of(spec, layers).train(), spec["reward_model"]
    view, numbers = spec["learns"], torch.zeros(rows, len(spec["objectives"]))
    ids, mask, response = tokens(rows * (2 if view == "pairs" else 1), spec["data"]["max_length"], 1)
    batch: PairBatch | SequenceBatch = (
        PairBatch(ids, mask, response, numbers, torch.arange(rows))
        if view == "pairs"
        else SequenceBatch(ids, mask, response, numbers)
    )
    objective: Any = REWARD_LOSSES[view](settings["regularisation"])
    with Meter() as meter:
        return _there_and_back(
            meter,
            network,
            lambda: objective.losses(network, batch).sum(),
            _apart(trained_whole(spec["hardware"]), settings),
        )


def fine_tuning(spec: Spec, rows: int) -> Figures:
    """A micro-batch of a `base` task's, which trains a model from scratch: forward, backward, as of `update`."""
    return _in_two(by_layers(depth_of(spec), lambda layers: _fine_tuning(spec, rows, layers)))


def _fine_tuning(spec: Spec, rows: int, layers: int) -> Figures:
    policy = Policy(network_of(spec, layers))
    batch = full_sequences(rows, SimpleNamespace(**spec["data"]))
    apart = _apart(trained_whole(spec["hardware"]), spec["sft"])
    with Meter() as meter:
        return _there_and_back(meter, policy, lambda: Likelihood().losses(policy, batch).sum(), apart)
