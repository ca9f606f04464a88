"""Rewards by a reward model that was trained here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lightning_moa.data.batching import sequence_batch
from lightning_moa.data.encoding import NO_ROOM, Encoded, EncodingRules, encode, template_length
from lightning_moa.data.tokenizer import load_tokenizer
from lightning_moa.errors import UserError
from lightning_moa.rewards.base import check_scores
from lightning_moa.task_files import read_mapping

SIDECAR = "rewards.json"


class TrainedRewards:
    """A sequence classifier with one output per objective, read from the folder that its training wrote.

    Args:
        folder: holds the model, its tokenizer and `rewards.json` (objectives, template, longest input and response,
            and what takes an output to a score).
        batch_size: texts scored at a time; a score doesn't depend on it.
        device: where the model is put.

    Raises:
        UserError: the folder is not such a one.
    """

    def __init__(self, folder: Path, batch_size: int = 256, device: str = "cpu") -> None:
        from transformers import AutoModelForSequenceClassification

        if not (folder / SIDECAR).is_file():
            raise UserError(f"{folder}: no reward model (there is no {SIDECAR})")
        about = read_mapping(folder / SIDECAR)
        self.objectives: tuple[str, ...] = tuple(about["objectives"])
        longest: int = about["max_length"]
        self.shift, self.scale = (
            np.array(about.get(key, other)) for key, other in (("shift", 0.0), ("scale", 1.0))
        )
        self.tokenizer = load_tokenizer(str(folder), None)
        # A score is wanted for every response, so a long one is cut rather than dropped, to what its template leaves.
        rules = EncodingRules(about["template"], longest, longest - 1, "cut")
        left = max(1, longest - template_length(self.tokenizer, rules))
        # None, and in older files nothing: it was trained on cut responses without an end.
        trained_on: int | None = about.get("max_response_length")
        most = left if trained_on is None else min(left, trained_on)
        self.rules = replace(rules, max_response_length=most, close_cut=trained_on is not None)
        self.network = (
            AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True).to(device).eval()
        )
        # Its outputs are read out in float32, whatever its body was saved in: in bfloat16 scores between 4 and 8 are
        # multiples of 1/32, and policies differ by less.
        head = self.network.score.float()
        head.register_forward_pre_hook(lambda _, inputs: tuple(each.float() for each in inputs))
        self.batch_size = batch_size
        self.device = device

    @torch.no_grad()
    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """(n, m) float64, higher is better."""
        out = np.empty((len(prompts), len(self.objectives)))
        rows, rules = list(range(len(prompts))), self.rules
        while rows:
            asked, replies = [prompts[row] for row in rows], [(responses[row],) for row in rows]
            encoded = encode(self.tokenizer, asked, replies, rules)
            out[np.array(rows)[encoded.index]] = self._outputs(encoded)
            rows = np.delete(rows, encoded.index).tolist()
            if rows and (set(encoded.dropped) != {NO_ROOM} or rules.max_response_length == 1):
                raise UserError(
                    f"a reward model cannot score a prompt without text ({dict(encoded.dropped)})"
                )
            # The end of a prompt may take more tokens than one letter does: a longer response leaves them.
            rules = replace(rules, max_response_length=max(1, rules.max_response_length - 1))
        return check_scores(out * self.scale + self.shift, self.objectives)

    def _outputs(self, encoded: Encoded) -> np.ndarray:
        """(k, m) the network's own."""
        pad = int(self.tokenizer.pad_token_id)
        out = np.empty((len(encoded), len(self.objectives)))
        for start in range(0, len(encoded), self.batch_size):
            rows = np.arange(start, min(start + self.batch_size, len(encoded)))
            batch = sequence_batch(encoded, rows, pad, None)
            inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            logits = self.network(**{name: tensor.to(self.device) for name, tensor in inputs.items()}).logits
            out[rows] = logits.double().cpu().numpy()
        return out
