"""Given responses to train a likelihood on beside another objective: rows of the data set, or a file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_moa.batches import SequenceBatch
from lightning_moa.data.base import PreferenceData
from lightning_moa.data.batching import StepLoader, sequence_batch
from lightning_moa.data.encoding import Encoded, EncodingRules, encode
from lightning_moa.data.files import place, read_file, require_columns, texts
from lightning_moa.data.rows import reason_to_drop
from lightning_moa.errors import UserError, warn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def demonstrations(
    data: PreferenceData,
    tokenizer: PreTrainedTokenizerFast,
    path: str | None,
    *,
    batch_size: int,
    steps: int,
    seed: int,
) -> StepLoader:
    """A loader whose batch t of `batch_size` rows is a function of (seed, t) alone.

    Args:
        data: its `sft_rows("train")` are taken where there is no path; its template and lengths hold for both.
        tokenizer: the policy's.
        path: a file with the columns prompt and response (jsonl, json, csv, parquet), or None.
        batch_size: rows of a batch.
        steps: number of batches that will be asked for.
        seed: of the order.

    Raises:
        UserError: the file is missing or broken, lacks a column or a text, or no row of it fits the lengths.
    """
    if path is None:
        encoded = data.encoded(tokenizer, "train", "sequences")
    else:
        encoded = _from_file(Path(path).expanduser(), tokenizer, EncodingRules.of(data.config))
        if encoded.dropped:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(encoded.dropped.items()))
            warn(f"{path}: {encoded.dropped.total()} of its rows are left out ({why})")

    def make(rows: np.ndarray) -> SequenceBatch:
        return sequence_batch(encoded, rows, int(tokenizer.pad_token_id), None)

    return StepLoader(make, len(encoded), batch_size=batch_size, steps=steps, seed=seed)


def _from_file(path: Path, tokenizer: PreTrainedTokenizerFast, rules: EncodingRules) -> Encoded:
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path}: there is no such file of prompts and responses")
    frame = pd.concat([read_file(path)], keys=[path.name])
    require_columns(frame, ["prompt", "response"])
    prompts, responses = texts(frame, "prompt"), texts(frame, "response")
    complete: list[tuple[str, str]] = []
    for position, (prompt, reply) in enumerate(zip(prompts, responses, strict=True)):
        reason = reason_to_drop(prompt, (reply,))
        if prompt is None or reply is None or reason is not None:
            raise UserError(f"{path}, row {place(frame, position)[1]}: {reason}")
        complete.append((prompt, reply))
    encoded = encode(tokenizer, [row[0] for row in complete], [(row[1],) for row in complete], rules)
    if not len(encoded):
        raise UserError(f"{path}: no row fits data.max_length={rules.max_length} ({dict(encoded.dropped)})")
    return encoded
