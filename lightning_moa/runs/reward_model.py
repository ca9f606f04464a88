"""The reward model that is trained on a study's pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from lightning_moa.batches import PairBatch, moved
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.order import stable_hash
from lightning_moa.errors import UserError
from lightning_moa.methods.reward_model import RewardModel
from lightning_moa.policies import save_model
from lightning_moa.policies.model import load_config, torch_dtype
from lightning_moa.processes import full_size, gathered, rank
from lightning_moa.rewards.trainable import plain, trained_part
from lightning_moa.rewards.trained import SIDECAR, TrainedRewards
from lightning_moa.runs.loading import base_model, base_tokenizer, device_of, load_base, load_data
from lightning_moa.runs.schedules import number_of_steps, optimiser_factory
from lightning_moa.runs.training import fit, micro_batches, prepare, resume_of
from lightning_moa.strategies.choices import trained_whole
from lightning_moa.strategies.quantisation import base_dtype
from lightning_moa.task_files import ACCURACIES, Progress

Spec = dict[str, Any]
Inputs = dict[str, Path]


JUDGE = 2**31
"""What is added to the seed of a judge's training."""


def classifier(folder: Path, hardware: dict[str, Any], outputs: int) -> tuple[Any, PreTrainedTokenizerFast]:
    """A classifier on the body of the model that a `base` task left, and its tokenizer.

    Weights that are to be trained are in the type that they are trained in (`trained_whole`), which a quantised one
    can't be, and in the machine's own memory: Lightning moves them. Each process holds them once.
    """
    precision = trained_whole(hardware)["precision"]
    path, revision, _ = base_model(folder)
    tokenizer, config = base_tokenizer(folder), load_config(path, revision=revision)
    _pad_apart(tokenizer)
    config.num_labels, config.pad_token_id = outputs, tokenizer.pad_token_id
    network = AutoModelForSequenceClassification.from_config(config, dtype=torch_dtype(base_dtype(precision)))
    body = network.base_model_prefix
    # The body that it came with goes before the trained one is read.
    setattr(network, body, None)
    policy, _ = load_base(folder, {**hardware, "precision": precision, "accelerator": "cpu"})
    setattr(network, body, policy.model.base_model)
    network.base_model.config = config
    return network, tokenizer


def _pad_apart(tokenizer: PreTrainedTokenizerFast) -> None:
    """Pad with another token than EOS, where there is one: a classifier reads its score off the last token that is no
    padding, which is to be the response's end."""
    others = [token for token in tokenizer.all_special_tokens if token != tokenizer.eos_token]
    if tokenizer.pad_token == tokenizer.eos_token and others:
        tokenizer.pad_token = others[0]


def standard(scores: np.ndarray | None, objectives: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each objective's scores, (m,) each: what an output is multiplied by, and moved by,
    to be a score. 0 and 1 where there are none.

    Raises:
        UserError: an objective has one score throughout, so nothing can be learnt of it.
    """
    m = len(objectives)
    if scores is None:
        return np.zeros(m), np.ones(m)
    scale = scores.std(axis=0)
    for name, value, first in zip(objectives, scale, scores[0], strict=True):
        if not value > 0:
            raise UserError(
                f"objective {name!r}: all training rows have the score {first:g}, so it ranks nothing"
            )
    return scores.mean(axis=0), scale


def reward_model(spec: Spec, inputs: Inputs, out: Path, progress: Progress) -> dict[str, Any]:
    """A reward model with one output per objective, started from the reference policy's body: Bradley-Terry on pairs,
    or fitted to the scores of single responses.

    `spec["half"]` is None for all training rows, or 0 or 1 for those of one half of the prompts. `spec["close_cut"]`: a
    response that is cut ends all the same (see `EncodingRules`), in training and when it is scored.
    """
    prepare(spec["hardware"])
    seed = spec["seed"] + (JUDGE if spec["half"] else 0)
    torch.manual_seed(seed)
    data = load_data(spec)
    objectives, settings = data.objectives, spec["reward_model"]
    network, tokenizer = classifier(inputs["base"], spec["hardware"], len(objectives))
    network = trained_part(network, settings)
    if spec["model"]["gradient_checkpointing"]:
        network.config.use_cache = False
        network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    view = spec["learns"]
    chosen = None if spec["half"] is None else half_of(data, tokenizer, view, spec["half"])
    there = len(data.encoded(tokenizer, "train", view)) if chosen is None else len(chosen)
    steps = number_of_steps(settings, there)
    rows, batches = micro_batches(settings, steps)
    scores = data.sequence_rewards("train") if view == "sequences" else None
    shift, scale = standard(scores, objectives)
    standardised = None if scores is None else (scores - shift) / scale
    use = {"batch_size": rows, "steps": batches, "seed": seed, "rewards": standardised, "chosen": chosen}
    data.use(tokenizer, view, **use)
    module = RewardModel(
        network,
        optimiser_factory(settings, steps),
        settings["regularisation"],
        objectives=data.objectives,
        view=view,
    )
    before = fit(
        module,
        data,
        spec["hardware"],
        out,
        batches=batches,
        progress=lambda share: progress(0.9 * share),
        grad_clip=settings["grad_clip"],
        accumulate=settings["accumulate"],
        resume=resume_of(spec, out, settings, data, whole=True),
    )
    trained = sum(full_size(p) for p in network.parameters() if p.requires_grad)
    with gathered(network.parameters()):
        network = plain(network)
        if rank() == 0:
            save_model(network, out / "model")
    (out / "model").mkdir(exist_ok=True)
    tokenizer.save_pretrained(out / "model")
    about = {
        "objectives": list(objectives),
        "template": spec["data"]["template"],
        "max_length": spec["data"]["max_length"],
        "max_response_length": spec["data"]["max_response_length"] if data.close_cut else None,
        "shift": shift.tolist(),
        "scale": scale.tolist(),
    }
    (out / "model" / SIDECAR).write_text(json.dumps(about))
    if rank() == 0:
        device = device_of(spec["hardware"])
        # Where ZeRO-3 shares its weights out, one process alone can't go through it.
        shared = any(hasattr(each, "ds_id") for each in network.parameters())
        whole = TrainedRewards(out / "model").network if shared else network
        found = accuracies(whole.eval().to(device), data, tokenizer, view, settings["held_out"], rows)
        (out / ACCURACIES).write_text(json.dumps(found))
    return {"trained_parameters": trained, "steps": steps, "seconds_before": before}


def half_of(data: PreferenceData, tokenizer: PreTrainedTokenizerFast, view: str, half: int) -> np.ndarray:
    """Places among the encoded training rows whose prompts fall into a half; which one hangs on the prompt alone.

    Raises:
        UserError: there are none.
    """
    prompts = data.table("train").prompts if view == "pairs" else data.sft_rows("train")[0]
    halves = [stable_hash("half", prompts[row]) % 2 for row in data.encoded(tokenizer, "train", view).index]
    places = np.flatnonzero(np.array(halves) == half)
    if not len(places):
        raise UserError(
            f"evaluation.judge: one half of the training prompts is empty ({len(set(prompts))} prompts in all); more "
            "of them, or judge=none, are needed"
        )
    return places


@torch.no_grad()
def accuracies(
    network: Any, data: PreferenceData, tokenizer: Any, view: str, limit: int, pairs: int
) -> dict[str, Any]:
    """objective -> how many held-out pairs have a better response (`pairs`), and of how many of them the model gives it
    the higher score (`right`).

    Args:
        network: the trained classifier.
        data: with labels; or with scores of single responses, of which each two that follow each other are a pair.
        tokenizer: of the network.
        view: which of both, pairs or sequences.
        limit: pairs, at most; rows of a set stand in an order in which the first stand for all.
        pairs: scored at a time.
    """
    right = np.zeros(len(data.objectives), dtype=int)
    known = np.zeros(len(data.objectives), dtype=int)
    each = 1 if view == "pairs" else 2
    for loaded in data.batches(tokenizer, "eval", view, each * pairs, limit=each * limit):
        batch = moved(loaded, network.device)
        scores = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        first, second, better = _sides(batch, scores.double().cpu())
        there = ~better.isnan()
        # A tie tells neither, and so does a score that is no number.
        right += (torch.where(better > 0.5, second > first, first > second) & there).sum(0).numpy()
        known += there.sum(0).numpy()
    counts = zip(data.objectives, right.tolist(), known.tolist(), strict=True)
    return {name: {"right": r, "pairs": n} for name, r, n in counts}


def _sides(batch: Any, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of both responses of each pair, and the index of the better one, NaN where there is none, (n, m) each."""
    if isinstance(batch, PairBatch):
        first, second = scores.chunk(2)
        return first, second, batch.labels.cpu()
    end = len(scores) // 2 * 2
    given = batch.rewards.cpu()
    gaps = given[1:end:2] - given[0:end:2]
    return scores[0:end:2], scores[1:end:2], torch.where(gaps == 0, torch.nan, (gaps > 0).float())
