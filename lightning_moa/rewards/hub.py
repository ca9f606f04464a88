"""Rewards by a published model: an entry of the table, loaded from the hub or from a local folder."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lightning_moa.errors import UserError
from lightning_moa.rewards.base import check_scores
from lightning_moa.rewards.loading import find_folder, load_network, load_tokenizer
from lightning_moa.rewards.table import SCORE_HEAD, HubModel, hub_model
from lightning_moa.rewards.tokens import InputEncoder, Token

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class HubRewards:
    """Scores of one objective: a model's raw output, never rounded, with a cost's sign turned.

    The longest input is what both the tokenizer and the model's positions allow. `cut` counts the prompts and
    the responses that were shortened to it (see `InputEncoder.encode`); a cut response is also warned of.

    Args:
        model: an id of the table, or an entry of one's own.
        objective: its name; None: the entry's.
        path: a local folder with the same files, instead of the hub.
        revision: the hub revision; None: the entry's.
        batch_size: inputs scored at a time; in float32 a score doesn't depend on it.
        device: where the model is put.
        dtype: of the weights; float32, bfloat16 or float16.

    Raises:
        UserError: the model isn't known, can't be found or reached, has no safetensors, weights that are
            missing or unknown, or no single output of the entry's name.
    """

    def __init__(
        self,
        model: str | HubModel,
        *,
        objective: str | None = None,
        path: str | Path | None = None,
        revision: str | None = None,
        batch_size: int = 16,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        if dtype not in DTYPES:
            raise UserError(f"dtype={dtype!r}: allowed are {', '.join(DTYPES)}")
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: must be at least 1")
        self.entry = hub_model(model) if isinstance(model, str) else model
        self.objectives: tuple[str, ...] = (objective or self.entry.objective,)
        folder, self.revision = find_folder(self.entry, path, revision)
        tokenizer = load_tokenizer(folder)
        network: Any = load_network(self.entry, folder, DTYPES[dtype])
        if tokenizer.pad_token_id >= network.config.vocab_size:
            raise UserError(
                f"reward model {self.entry.id}: the padding token {tokenizer.pad_token_id} of its tokenizer is "
                f"outside its vocabulary of {network.config.vocab_size}"
            )
        # A network that nobody has told of a padding token looks at an input's last token, and that may be EOS.
        self.padded_freely = (
            network.config.pad_token_id is None and tokenizer.pad_token_id == tokenizer.eos_token_id
        )
        network.config.pad_token_id = tokenizer.pad_token_id
        self.column = output_column(self.entry, network.config)
        self.cut: Counter[str] = Counter()
        longest = min(tokenizer.model_max_length, positions_of(self.entry, network))
        self.encoder = InputEncoder(tokenizer, self.entry.form, longest, self.cut)
        self.pad_id: int = tokenizer.pad_token_id
        # A GPT-2 given token types would add them as if they were tokens; only models with types get them.
        self.token_types = getattr(network.config, "type_vocab_size", 0) > 1
        self.network: Any = network.to(device).eval()
        self.path = None if path is None else str(path)
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype

    @torch.no_grad()
    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """(n, 1) float64, higher is better."""
        responses_cut = self.cut["responses cut at their end"]
        inputs = [self.encoder.encode(*texts) for texts in zip(prompts, responses, strict=True)]
        responses_cut = self.cut["responses cut at their end"] - responses_cut
        if responses_cut:
            warnings.warn(
                f"{self.entry.id}: {responses_cut} of {len(inputs)} responses are longer than its "
                f"{self.encoder.longest} tokens and were cut at their end",
                stacklevel=2,
            )
        out = np.empty((len(inputs), 1))
        # Inputs of about the same length go together, so that little is spent on padding.
        order = sorted(range(len(inputs)), key=lambda row: len(inputs[row]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            out[rows, 0] = self._outputs([inputs[row] for row in rows]).double().cpu().numpy()
        return check_scores(self.entry.sign * out, self.objectives)

    @property
    def about(self) -> dict[str, object]:
        """What a record of a run should say of this source."""
        return {
            "model": self.entry.id,
            "path": self.path,
            "revision": self.revision,
            "objective": self.objectives[0],
            "input": self.entry.form.layout,
            "output": self.entry.output if self.entry.index is None else self.entry.index,
            "sign": self.entry.sign,
            "longest": self.encoder.longest,
            "dtype": self.dtype,
        }

    def _outputs(self, inputs: Sequence[Sequence[Token]]) -> Tensor:
        """(batch,) raw outputs."""
        pad = self.pad_id
        if self.padded_freely:
            # Padding is what follows the last token that is another one: none of these inputs may end in it.
            ends = {tokens[-1].id for tokens in inputs}
            pad = next(each for each in range(len(ends) + 1) if each not in ends)
            self.network.config.pad_token_id = pad
        batch = pad_right(inputs, pad, self.token_types)
        outputs = self.network(**{name: tensor.to(self.device) for name, tensor in batch.items()})
        logits = outputs if isinstance(outputs, Tensor) else outputs.logits
        return logits[:, self.column]


def pad_right(inputs: Sequence[Sequence[Token]], pad_id: int, token_types: bool = False) -> dict[str, Tensor]:
    """input_ids and attention_mask (and token_type_ids), each (batch, time), padded on the right."""
    time = max(len(tokens) for tokens in inputs)

    def filled(rows: list[list[int]], filling: int) -> Tensor:
        return torch.tensor([row + [filling] * (time - len(row)) for row in rows])

    batch = {
        "input_ids": filled([[token.id for token in tokens] for tokens in inputs], pad_id),
        "attention_mask": filled([[1] * len(tokens) for tokens in inputs], 0),
    }
    if token_types:
        batch["token_type_ids"] = filled([[token.type_id for token in tokens] for tokens in inputs], 0)
    return batch


def positions_of(entry: HubModel, network: torch.nn.Module) -> int:
    """Longest input in tokens: what the entry says, at most what the model's positions allow.

    Raises:
        UserError: more than the model's positions.
    """
    # Relative positions, as T5 has them, have no end.
    allowed = getattr(network.config, "max_position_embeddings", None)
    if allowed is not None:
        # Those of RoBERTa and its kin begin behind the padding's own.
        tables = [each for name, each in network.named_modules() if name.endswith(".position_embeddings")]
        padding = [getattr(each, "padding_idx", None) for each in tables]
        allowed -= max((place + 1 for place in padding if place is not None), default=0)
    if entry.max_length is None:
        return sys.maxsize if allowed is None else int(allowed)
    if allowed is not None and entry.max_length > allowed:
        raise UserError(
            f"reward model {entry.id}: max_length={entry.max_length} is more than its {allowed} positions"
        )
    return entry.max_length


def output_column(entry: HubModel, config: PreTrainedConfig) -> int:
    """Which output is the score: `entry.index`, else the one named `entry.output`, else the only one.

    Names are compared without regard to case and to what is no letter or digit.

    Raises:
        UserError: lists the model's labels where not exactly one of them is meant.
    """
    if entry.kind == SCORE_HEAD:
        return 0
    labels = {int(i): str(label) for i, label in (config.id2label or {}).items()}
    if entry.index is not None:
        if entry.index not in labels:
            listed = ", ".join(f"{i}: {label}" for i, label in sorted(labels.items()))
            raise UserError(
                f"reward model {entry.id}: index={entry.index}: its outputs are {listed or 'none'}"
            )
        return entry.index
    if entry.output is None:
        columns = list(range(len(labels)))
    else:
        columns = [i for i, label in labels.items() if _plain(label) == _plain(entry.output)]
    if len(columns) != 1:
        wanted = "a single output" if entry.output is None else f"one label {entry.output!r}"
        listed = ", ".join(f"{i}: {label}" for i, label in sorted(labels.items()))
        raise UserError(f"reward model {entry.id}: {wanted} is expected, its labels are {listed or 'none'}")
    return columns[0]


def _plain(label: str) -> str:
    return "".join(character for character in label.casefold() if character.isalnum())
