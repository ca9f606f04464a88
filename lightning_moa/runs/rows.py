"""Tasks that score responses to train on: the offline rows, and those that a round of the online phase adds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lightning_moa.answers import load
from lightning_moa.batches import moved
from lightning_moa.data.about import ABOUT, read_about
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.encoding import EncodingRules, Rewrite, encode
from lightning_moa.data.scored import ROWS, ScoredRows, prompts_in_pairs
from lightning_moa.errors import UserError
from lightning_moa.policies import Policy, RewardPrompt, generate, load_policy, response_logps
from lightning_moa.policies.settings import RiCConfig
from lightning_moa.policies.vocabulary import ends_of
from lightning_moa.rewards import UnitMap, check_scores
from lightning_moa.rewards.selection import mors, select
from lightning_moa.rewards.sources import TRAINED
from lightning_moa.runs.loading import base_tokenizer, device_of, load_base, load_data, reward_source
from lightning_moa.runs.training import prepare
from lightning_moa.task_files import Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


def offline_rows(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """Responses of the training split, with their own scores or scored; the map to [0, 1] and z are fitted on them and
    then stay."""
    prepare(spec["hardware"])
    settings, data = spec["settings"], load_data(spec)
    frame, dropped, changed = _drawn(spec, data, base_tokenizer(inputs["base"]))
    scores = _offline_scores(spec, inputs, data, frame)
    frame = frame.drop(columns="row")
    progress(0.5)
    unit = UnitMap.fit(settings["unit_map"], scores, data.objectives)
    rows = _rows(data, frame.assign(round=0, ended=True), scores, unit)
    rows.write(out)
    base, tokenizer = load_base(inputs["base"], spec["hardware"])
    logliks = _weighted(base, rows, tokenizer, settings["power"], spec)
    about = {
        "unit_map": unit.to_json(),
        "low": rows.rewards.min(0).tolist(),
        "high": rows.rewards.max(0).tolist(),
        "reference_loglik": logliks.tolist(),
        "z": _choose_z(settings, logliks),
        "rows": len(rows.frame),
        "dropped": dict(dropped),
        "changed": dict(changed),
        "clipped": {},
    }
    _write_about(out, about)
    return {"z": about["z"]}


def _drawn(
    spec: Spec, data: PreferenceData, tokenizer: Any
) -> tuple[pd.DataFrame, Counter[str], Counter[str]]:
    """As many rows as are asked for, drawn at random from the training split: columns prompt, as it is shown, response,
    and row, its place in the split.

    Those that do not fit the lengths are left out, and others drawn in their place.

    Returns:
        The rows, and of those looked at, how many were left out and how many were changed, by reason.
    """
    wanted = spec["settings"]["rows"]
    prompts, responses = data.sft_rows("train")
    rng = np.random.default_rng([spec["seed"], 7])
    left, drawn = np.arange(len(prompts)), list[tuple[str, str, int]]()
    dropped, changed = Counter[str](), Counter[str]()
    while len(drawn) < wanted:
        missing = wanted - len(drawn)
        if len(left) < missing:
            raise UserError(
                f"likelihood.rows={wanted}: the training split has {len(prompts)} responses"
                + (f", of which do not fit: {dict(dropped)}" if dropped else "")
            )
        places = rng.choice(len(left), size=missing, replace=False)
        chosen, left = left[places], np.delete(left, places)
        found = encode(
            tokenizer,
            [prompts[i] for i in chosen],
            [(responses[i],) for i in chosen],
            EncodingRules.of(data.config),
        )
        kept = [int(chosen[i]) for i in found.index]
        drawn += zip(found.shown, (responses[i] for i in kept), kept, strict=True)
        dropped, changed = dropped + found.dropped, changed + found.changed
    return pd.DataFrame(drawn, columns=["prompt", "response", "row"]), dropped, changed


def _offline_scores(spec: Spec, inputs: Inputs, data: PreferenceData, frame: pd.DataFrame) -> np.ndarray:
    """(n, m) the rows' own scores, where they carry some and nothing else is named for an objective; else those of what
    scores responses."""
    known = data.sequence_rewards("train")
    own = [known is not None and spec["rewards"][name]["kind"] == TRAINED for name in data.objectives]
    if known is not None and all(own):
        return check_scores(known[frame["row"]], data.objectives)
    scores = _scores(reward_source(spec, inputs, data, spec["batch_size"]), frame)
    return scores if known is None else np.where(own, known[frame["row"]], scores)


def _weighted(policy: Policy, rows: ScoredRows, tokenizer: Any, power: float, spec: Spec) -> np.ndarray:
    """(m,) mean of r_j^power log p(y | x) over the rows, nats per response."""
    total, count = np.zeros(len(rows.objectives)), 0
    with torch.no_grad():
        for loaded in rows.batches(tokenizer, spec["batch_size"]):
            batch = moved(loaded, device_of(spec["hardware"]))
            logps = response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask)
            total += (batch.rewards.double().pow(power) * logps.double()[:, None]).sum(0).cpu().numpy()
            count += len(logps)
    return total / count


def _choose_z(settings: dict[str, Any], logliks: np.ndarray) -> float:
    """z as given, or estimated; a given one must leave something of the reference policy."""
    largest = float(np.abs(logliks).max())
    if settings["z"] is None:
        return float(settings["z_factor"]) * largest
    if settings["z"] <= np.abs(logliks).min():
        raise UserError(
            f"likelihood.z={settings['z']:g}: clips every objective of the reference policy, whose |L| are "
            f"{', '.join(f'{abs(value):.4g}' for value in logliks)}; allowed is more than {largest:.4g} to clip none"
        )
    return float(settings["z"])


def online_rows(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """The rows so far and those of a round: sampled from a method's policies, scored, filtered, drawn from."""
    prepare(spec["hardware"])
    settings, data = spec["online"], load_data(spec)
    about = read_about(inputs["rows"])
    unit = UnitMap.from_json(about["unit_map"])
    earlier = pd.read_parquet(inputs["rows"] / ROWS)
    sampled = _sample_round(spec, inputs, data, about, progress)
    scores = _scores(reward_source(spec, inputs, data, spec["batch_size"]), sampled)
    passed = int(mors(scores, settings["quantile"]).sum())
    kept = select(scores, settings["quantile"], settings["kept"], _number(spec["seed"], 8, spec["round"]))
    new = _rows(data, sampled.iloc[kept].assign(round=spec["round"]), scores[kept], unit)
    together = pd.concat([earlier, new.frame], ignore_index=True)
    ScoredRows(together, data.objectives, EncodingRules.of(data.config)).write(out)
    clipped = dict(zip(data.objectives, unit.clipped(scores[kept]).tolist(), strict=True))
    counts = {"generated": len(sampled), "passed": passed, "kept": len(kept)}
    name = f"round {spec['round']}"
    _write_about(
        out,
        about | {"rows": len(together), "clipped": about["clipped"] | {name: clipped}, name: counts},
    )
    progress(1.0)
    return counts


def _sample_round(
    spec: Spec, inputs: Inputs, data: PreferenceData, about: dict[str, Any], progress: Progress
) -> pd.DataFrame:
    """Equal shares of the round's responses from every policy: columns prompt, response, ended, policy."""
    settings = spec["online"]
    prompts = data.prompt_list("train")
    folders = [path for role, path in sorted(inputs.items()) if role.startswith("policy")]
    base, tokenizer = load_base(inputs["base"], spec["hardware"])
    kind = load(spec["policy"], "policy")
    goals = None
    if spec["in_prompt"]:
        goals = RewardPrompt.of(RiCConfig(**spec["goals"]), data.objectives, about["low"], about["high"])
    frames: list[pd.DataFrame] = []
    for place, folder in enumerate(folders):
        trained = load_policy(base.model, folder / "policy", kind=kind)
        policies = trained.members()
        parts = len(folders) * len(policies)
        for name, policy in policies:
            shown = name if len(folders) == 1 else f"policy {place}, {name}"
            share = _share(settings["generated"], parts, len(frames))
            number = _number(spec["seed"], 9, spec["round"], len(frames))
            rng = np.random.default_rng(number)
            texts = [prompts[i] for i in rng.choice(len(prompts), size=share, replace=share > len(prompts))]
            asking = None if goals is None else _asking(goals, goals.draw_goals(len(texts), rng))
            sampling = _Sampling(spec, tokenizer, EncodingRules.of(data.config), number)
            frames.append(sampling.frame(policy, texts, asking).assign(policy=shown))
            progress(0.8 * len(frames) / parts)
        trained.unload()
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class _Sampling:
    spec: Spec
    tokenizer: Any
    rules: EncodingRules
    seed: int

    def frame(self, policy: Policy, prompts: Sequence[str], asking: Rewrite | None) -> pd.DataFrame:
        """A response to each prompt, rewritten where it asks for rewards: columns prompt, as it was shown, response,
        and ended, whether it came to its end."""
        online, device = self.spec["online"], device_of(self.spec["hardware"])
        policy.eval()
        out: list[dict[str, Any]] = []
        with torch.no_grad():
            for rewritten, _ in prompts_in_pairs(
                self.tokenizer, self.rules, prompts, asking, self.spec["batch_size"]
            ):
                batch = moved(rewritten, device)
                sampled = generate(
                    policy,
                    batch.input_ids,
                    batch.attention_mask,
                    max_new_tokens=self.spec["max_new_tokens"],
                    temperature=online["temperature"],
                    top_p=online["top_p"],
                    seed=self.seed,
                    row_keys=batch.index,
                    room=batch.room,
                )
                kept = [row[mask] for row, mask in zip(sampled.tokens.cpu(), sampled.mask.cpu(), strict=True)]
                texts = self.tokenizer.batch_decode(kept, skip_special_tokens=True)
                ended = sampled.ended(ends_of(policy.model)).tolist()
                found = zip(batch.prompts, texts, ended, strict=True)
                out += [{"prompt": p, "response": r, "ended": e} for p, r, e in found]
        return pd.DataFrame(out)


def _asking(goals: RewardPrompt, drawn: np.ndarray) -> Rewrite:
    """Prompts that ask for rewards, (prompts, objectives)."""
    return lambda i, prompt: goals.insert(prompt, drawn[i])


def _share(total: int, parts: int, i: int) -> int:
    """Size of the i-th of so many nearly equal parts, at least 1."""
    return max(1, total // parts + (i < total % parts))


def _scores(source: Any, frame: pd.DataFrame) -> np.ndarray:
    scores = source.scores(frame["prompt"].tolist(), frame["response"].tolist())
    return check_scores(scores, source.objectives)


def _rows(data: PreferenceData, frame: pd.DataFrame, scores: np.ndarray, unit: UnitMap) -> ScoredRows:
    rewards = unit(scores)
    columns = {f"score_{name}": scores[:, i] for i, name in enumerate(data.objectives)}
    columns |= {f"reward_{name}": rewards[:, i] for i, name in enumerate(data.objectives)}
    return ScoredRows(frame.assign(**columns), data.objectives, EncodingRules.of(data.config))


def _write_about(out: Path, about: dict[str, Any]) -> None:
    (out / ABOUT).write_text(json.dumps(about, indent=1))


def _number(*parts: int) -> int:
    """One seed of several numbers."""
    return int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint32)[0])
