"""The passes of a run, made on the meta device by the code that makes them in training, and the memory they take.

All figures are bytes besides the weights, by straight lines in the number of layers (and of heads) from the real code
with two and with three of them: what each keeps and frees is the same as in the last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from lightning_moa.aggregation.gradients import gradients
from lightning_moa.batches import PairBatch, Rollout, SequenceBatch
from lightning_moa.forecast.metering import Meter, blocks_of, marking
from lightning_moa.forecast.networks import Scorer, classifier_of, depth_of, network_of, policy_of, shape_of
from lightning_moa.objectives import DPO, PPO, BradleyTerry, Likelihood, PPOSettings, RewardWeightedLikelihood
from lightning_moa.objectives.rollout import Sampling, reference_pass, response_token_logps
from lightning_moa.policies import AdapterPolicy, Heads, Policy, Probe, response_logps
from lightning_moa.policies.critic import Critic
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


def by_heads(spec: Spec, run: Callable[[Spec], Figures]) -> Figures:
    """What `run` gives for a spec with its number of heads, from what it gives for few: all are alike."""
    if spec["policy"] != "heads" or spec["heads"]["number"] <= FEW[1] + 1:
        return run(spec)
    first, second = (run(spec | {"heads": spec["heads"] | {"number": few}}) for few in FEW)
    more = spec["heads"]["number"] - FEW[0]
    return {name: first[name] + more * (second[name] - first[name]) for name in first}


class _NoRewards:
    """Stands in for a run's reward models."""

    def __init__(self, objectives: list[str]) -> None:
        self.objectives = tuple(objectives)


def update(spec: Spec, rows: int) -> Figures:
    """A micro-batch of an `align` task's update.

    Args:
        spec: the task's.
        rows: of the micro-batch on one device: pairs, prompts or responses.

    Returns:
        forward: at most before the backward pass. backward: at most in it, less the gradients. held: what a rollout
        keeps. rollout: at most while one is made, after sampling.
    """
    own = _shape(spec) | {key: spec[key] for key in ("objective", "probe", "fresh_passes")}
    own["settings"] = {key: value for key, value in spec["settings"].items() if key not in _NO_SHAPE}
    return dict(_remembered(json.dumps(own, sort_keys=True), rows))


_NO_SHAPE = (
    *("lr", "weight_decay", "beta1", "beta2", "schedule", "warmup_ratio", "grad_clip", "batch_size", "steps"),
    *("epochs", "reward", "hub_rewards", "hub_paths", "rows", "unit_map", "z", "z_factor"),
    *("reward_scale", "objective_scale"),
)
"""Settings that change no tensor's shape, the number of rows being given apart."""


@lru_cache(maxsize=256)
def _remembered(text: str, rows: int) -> Figures:
    few = by_heads(
        json.loads(text), lambda own: by_layers(depth_of(own), lambda layers: _update(own, rows, layers))
    )
    return _in_two(few)


def _update(spec: Spec, rows: int, layers: int) -> Figures:
    # A probe of activations leaves its hook in the policy.
    policy = policy_of(spec, layers, shared=spec["probe"] != "activations")
    probe = None if spec["probe"] is None else Probe(policy, spec["probe"])
    m, settings = len(spec["objectives"]), spec["settings"]
    preference = torch.full((m,), 1 / m)
    apart = _apart(spec["hardware"], settings)
    found = {"rollout": 0.0, "held": 0.0}
    with Meter() as meter:
        if spec["objective"] == "ppo":
            objective, part = _rollout(spec, policy, rows, preference)
            found = {"rollout": float(meter.peak()), "held": float(meter.live)}
        else:
            objective, part = _given(spec, rows)

        def run() -> Tensor:
            losses = objective.losses(policy, part, preference)
            if probe is not None:
                for i in range(m) if spec["fresh_passes"] else ():
                    fresh = objective.losses(policy, part, preference)
                    gradients(fresh[i : i + 1], probe.tensors(), keep=False)
                if not spec["fresh_passes"]:
                    gradients(losses, probe.tensors())
            total = losses.sum()
            for more in (objective.shared_loss(policy, part, preference), objective.own_loss(part)):
                total = total if more is None else total + more
            return total

        figures = _there_and_back(meter, policy, run, apart)
    return found | {name: size - found["held"] for name, size in figures.items()}


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


def _given(spec: Spec, rows: int) -> tuple[Any, Any]:
    """An objective on rows that are there, and a full batch of them."""
    data, settings, m = spec["data"], spec["settings"], len(spec["objectives"])
    if spec["objective"] == "dpo":
        ids, mask, response = _tokens(2 * rows, data["max_length"], data["max_response_length"])
        labels = torch.zeros(rows, m)
        batch = PairBatch(ids, mask, response, labels, torch.arange(rows), torch.zeros(2 * rows))
        return DPO(settings["beta"], settings["likelihood"]), batch
    given = _responses(spec, rows)
    given.rewards = torch.full((rows, m), 0.5)
    if spec["objective"] == "in_context":
        return Likelihood(), given
    return RewardWeightedLikelihood(1e9, settings["power"]), given


def _responses(spec: Spec, rows: int) -> SequenceBatch:
    data = spec["data"]
    return SequenceBatch(*_tokens(rows, data["max_length"], data["max_response_length"]))


def _tokens(rows: int, time: int, response: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and response mask (rows, time): no padding, the longest responses; one prompt is a single
    token, so that logits of every place are formed, as in a batch of mixed lengths."""
    marked = torch.zeros(rows, time, dtype=torch.bool)
    marked[:, -min(response, time - 1) :] = True
    marked[0, 1:] = True
    return torch.zeros(rows, time, dtype=torch.long), torch.ones(rows, time, dtype=torch.bool), marked


def prompt_length(spec: Spec) -> int:
    """Tokens of the longest prompt that is sampled from."""
    return int(spec["data"]["max_length"] - spec["data"]["max_response_length"])


def _rollout(spec: Spec, policy: AdapterPolicy, rows: int, preference: Tensor) -> tuple[PPO, Rollout]:
    """PPO, and a rollout as `PPO.rollout` makes it of responses that are sampled already."""
    settings, m = spec["settings"], len(spec["objectives"])
    scalarised = settings["weigh"].endswith("_reward")
    k = 1 if scalarised else m
    with torch.device("meta"):
        critic = Critic(policy.model.config.hidden_size, k, policy.m)
    fields = {name: settings[name] for name in PPOSettings.__dataclass_fields__}
    objective = PPO(
        _NoRewards(spec["objectives"]),  # type: ignore[arg-type]
        critic,
        lambda parameters: None,  # type: ignore[arg-type,return-value]
        None,
        Sampling(settings["max_new_tokens"], settings["temperature"], settings["top_p"]),
        PPOSettings(**fields),
        ideal_point=[0.0] * m if settings["weigh"] == "tchebycheff_reward" else None,
        given=lambda step, device: _responses(spec, rows),
    )
    new = settings["max_new_tokens"]
    ids, mask, _ = _tokens(rows, prompt_length(spec) + new, new)
    present = torch.ones(rows, new, dtype=torch.bool)
    with torch.no_grad():
        with evaluating(policy):
            logps = response_token_logps(policy, ids, mask, present, preference)
        ref_logps, hidden = reference_pass(policy, ids, mask, present)
        values = critic(hidden, preference)
        advantages = torch.empty_like(values)
    rollout = Rollout(
        input_ids=ids,
        attention_mask=mask,
        mask=present,
        logps=logps,
        ref_logps=ref_logps,
        hidden=hidden,
        scores=torch.zeros(rows, m),
        values=values,
        advantages=advantages,
        returns=torch.empty_like(values),
        preference=preference,
        given=_responses(spec, rows) if settings["ptx"] else None,
    )
    return objective, rollout


def sampling(spec: Spec, policy: Mapping[str, Any], rows: int, prompt: int, top_p: float) -> float:
    """The most that sampling takes besides its cache of keys and values: the prompts' pass, or choosing a token.

    Args:
        spec: the task's.
        policy: the spec of the policy that is sampled; empty: the base model itself.
        rows, prompt: of the batch.
        top_p: below 1 the nucleus is sorted out.
    """
    return _sampling(json.dumps(_alone(policy or spec), sort_keys=True), rows, prompt, top_p < 1)


@lru_cache(maxsize=256)
def _sampling(text: str, rows: int, prompt: int, nucleus: bool) -> float:
    network = _network(text)
    ids, mask, _ = _tokens(rows, prompt, 1)
    with torch.no_grad(), Meter() as meter:
        with _one_head(network), evaluating(network):
            logits = network(ids, mask, _uniform(network), last=1)
        first = meter.peak()
        scores = logits[:, -1].to(torch.float32, copy=True)
        if nucleus:
            scores.sort(), scores.softmax(-1).cumsum(-1)
        scores + gumbel(0, torch.empty(rows, dtype=torch.int64, device="meta"), 0, scores.shape[1])
        return float(max(first, meter.peak()))


def no_gradient(spec: Spec, policy: Mapping[str, Any], rows: int, time: int, response: int) -> float:
    """The most that log-probs of responses take, without gradient; arguments as of `sampling`."""
    return _no_gradient(json.dumps(_alone(policy or spec), sort_keys=True), rows, time, response)


@lru_cache(maxsize=256)
def _no_gradient(text: str, rows: int, time: int, response: int) -> float:
    network = _network(text)
    ids, mask, _ = _tokens(rows, time, response)
    marked = torch.zeros_like(mask)
    marked[:, -response:] = True
    with torch.no_grad(), Meter() as meter:
        with _one_head(network), evaluating(network):
            response_logps(network, ids, mask, marked, _uniform(network))
        return float(meter.peak())


def _shape(spec: Mapping[str, Any]) -> Spec:
    """`shape_of`, but for whether a factor on the preference is trained: a number a layer."""
    own = shape_of(spec)
    return own | ({"adapter": own["adapter"] | {"fixed_scale": None}} if "adapter" in own else {})


def _alone(spec: Mapping[str, Any]) -> Spec:
    """`_shape` of one policy: with the one head that answers."""
    own = _shape(spec)
    return own | ({"heads": own["heads"] | {"number": 1}} if "heads" in own else {})


def _network(text: str) -> Policy:
    """The policy of a shape, or the base model where it has none, with few layers."""
    spec = json.loads(text)
    return policy_of(spec, FEW[0]) if "policy" in spec else Policy(network_of(spec, FEW[0]))


def _uniform(policy: Policy) -> Tensor | None:
    return torch.full((policy.m,), 1 / policy.m) if policy.m else None


def _one_head(policy: Policy) -> Any:
    from contextlib import nullcontext

    return policy.choice.using(0) if isinstance(policy, Heads) else nullcontext()


@lru_cache(maxsize=256)
def scoring(scorer: Scorer, rows: int) -> float:
    """The most that a reward model's pass over so many texts takes. Such a pass fills a cache of keys and values where
    transformers does so unasked."""
    ids, mask, _ = _tokens(rows, scorer.longest, 1)

    def run(layers: int) -> Figures:
        network = scorer.build(layers).eval()
        given = {"use_cache": False} if isinstance(network, ScoreHead) else {}
        with torch.no_grad(), Meter() as meter:
            network.base_model(input_ids=ids, attention_mask=mask, **given)
            return {"pass": float(meter.peak())}

    return by_layers(scorer.layers, run)["pass"]


def reward_training(spec: Spec, rows: int) -> Figures:
    """A micro-batch of so many pairs of a `reward_model` task's: forward, backward, as of `update`."""
    return _in_two(by_layers(depth_of(spec), lambda layers: _reward_training(spec, rows, layers)))


def _reward_training(spec: Spec, rows: int, layers: int) -> Figures:
    network, settings = classifier_of(spec, layers).train(), spec["reward_model"]
    ids, mask, response = _tokens(2 * rows, spec["data"]["max_length"], 1)
    labels = torch.zeros(rows, len(spec["objectives"]))
    batch = PairBatch(ids, mask, response, labels, torch.arange(rows))
    objective = BradleyTerry(settings["regularisation"])
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
    policy, batch = Policy(network_of(spec, layers)), _responses(spec, rows)
    apart = _apart(trained_whole(spec["hardware"]), spec["sft"])
    with Meter() as meter:
        return _there_and_back(meter, policy, lambda: Likelihood().losses(policy, batch).sum(), apart)
