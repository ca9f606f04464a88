"""What a step of DPO costs on a pretrained model, for two objectives, beside TRL's for one on the same tokens.

    python -m benchmarks.dpo_step [--model smollm2|FOLDER] [--pairs 4] [--trials 5]

A step is the losses and their gradient. Ours: SVD-LoRA of rank 8 + 2 (Panacea), each pair's prompt in a row of either
response (`rows`), and seen once by both (`model.share_prompts`); the reference's log-probs are worked out once before,
as in a study, or in the step (`reference too`); `bf32` is with `hardware.bf32`, and `base in bf16` with
`hardware.precision=bf16` as well, which is no comparison at equal terms: TRL's is its `DPOTrainer` in float32, with a
LoRA of rank 10 on the same layers, which runs the reference in each step. Prompts and responses are tokens at random,
of lengths as HelpSteer2's have them where they are cut at 160. Prints a table and writes
results/benchmarks/dpo_step.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.measuring import RESULTS, medians, peak_memory, report, weights_of
from lightning_moa.aggregation import Linear
from lightning_moa.batches import PairBatch
from lightning_moa.objectives import DPO
from lightning_moa.policies import SVDLoRA, load_model, pair_logps
from lightning_moa.policies.pairs import share_prompts

PROMPT, RESPONSE = (20, 140), (40, 160)
"""Shortest and longest, in tokens."""
LAYERS = "layers."


def pairs_of(pairs: int, vocabulary: int, lengths: tuple[tuple[int, int], tuple[int, int]], seed: int = 0):
    """Token ids of prompts, and of both responses to each."""
    draws = random.Random(seed)

    def text(span: tuple[int, int]) -> list[int]:
        return [draws.randrange(10, vocabulary) for _ in range(draws.randint(*span))]

    prompt, response = lengths
    return [(text(prompt), text(response), text(response)) for _ in range(pairs)]


def ours(texts: list[tuple[list[int], list[int], list[int]]], pad: int) -> PairBatch:
    """As a data module makes them, padded on the right; two objectives that disagree on every other pair."""
    rows = [prompt + each[side] for side in (0, 1) for prompt, *each in texts]
    starts = torch.tensor([len(prompt) for prompt, *_ in texts] * 2)
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    labels = torch.tensor([[float(i % 2), 1.0] for i in range(len(texts))])
    response = mask & (torch.arange(width) >= starts[:, None])
    return PairBatch(ids, mask, response, labels, torch.arange(len(texts)))


class Ours:
    """Panacea's step on a model."""

    def __init__(
        self,
        folder: Path,
        batch: PairBatch,
        *,
        shared: bool,
        reference: bool,
        bf32: bool = False,
        dtype: str = "float32",
    ) -> None:
        self.policy = SVDLoRA(load_model(folder, dtype=dtype), 8, 2, targets=LAYERS, seed=0)
        if shared:
            share_prompts(self.policy)
        self.batch, self.reference, self.objective = replace(batch), reference, DPO(0.1)
        self.products = "medium" if bf32 else "highest"
        self.batch.ref_logps = self._reference()

    def _reference(self) -> Tensor:
        with torch.no_grad(), self.policy.reference():
            return pair_logps(self.policy, self.batch)

    def __call__(self) -> None:
        torch.set_float32_matmul_precision(self.products)
        if self.reference:
            self.batch.ref_logps = self._reference()
        preference = torch.tensor([0.5, 0.5])
        losses = self.objective.losses(self.policy, self.batch, preference)
        Linear()(losses, preference).backward()
        self.policy.zero_grad()
        torch.set_float32_matmul_precision("highest")


class TRLs:
    """The step of TRL's trainer."""

    def __init__(
        self, folder: Path, texts: list[tuple[list[int], list[int], list[int]]], where: Path
    ) -> None:
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoTokenizer
        from trl import DPOConfig, DPOTrainer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = load_model(folder)
        names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        lora = LoraConfig(r=10, target_modules=[name for name in names if LAYERS in name], lora_dropout=0.0)
        self.trainer = DPOTrainer(
            model,
            args=DPOConfig(
                str(where),
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                max_length=None,
                per_device_train_batch_size=len(texts),
                report_to=[],
            ),
            train_dataset=Dataset.from_list(
                [{"prompt": "a b", "chosen": " c", "rejected": " d"}] * len(texts)
            ),
            processing_class=tokenizer,
            peft_config=lora,
        )
        keys = ("prompt_ids", "chosen_ids", "rejected_ids")
        self.batch = self.trainer.data_collator([dict(zip(keys, text, strict=True)) for text in texts])

    def __call__(self) -> None:
        self.trainer.compute_loss(self.trainer.model, self.batch).backward()
        self.trainer.model.zero_grad()


def main(
    model: str,
    pairs: int,
    trials: int,
    folder: Path,
    lengths: tuple[tuple[int, int], tuple[int, int]] = (PROMPT, RESPONSE),
) -> pd.DataFrame:
    """A row for each way: median seconds, peak memory above what the process held before, both over TRL's."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, weights_of(model) as weights:
        config = load_model(weights).config
        texts = pairs_of(pairs, config.vocab_size, lengths)
        batch = ours(texts, config.pad_token_id or 0)

        def way(**options: Any) -> Ours:
            return Ours(weights, batch, **options)

        steps: dict[str, Callable[[], Any]] = {
            "TRL, one objective": TRLs(weights, texts, Path(place) / "trl"),
            "rows, reference too": way(shared=False, reference=True),
            "shared prompts, reference too": way(shared=True, reference=True),
            "shared prompts": way(shared=True, reference=False),
            "shared prompts, bf32": way(shared=True, reference=False, bf32=True),
            "shared prompts, base in bf16": way(shared=True, reference=False, bf32=True, dtype="bfloat16"),
        }
        seconds = medians(steps, trials)
        peaks = {}
        for name, step in steps.items():
            # What earlier steps have freed is given back, or it would hide what this one takes.
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            with peak_memory() as taken:
                step()
            peaks[name] = taken["mib"]
    first = next(iter(steps))
    rows = [
        {
            "way": name,
            "pairs": pairs,
            "tokens": sum(len(part) for text in texts for part in (text[0], *text)),
            "seconds": seconds[name],
            "of_trl": seconds[name] / seconds[first],
            "peak_mib": peaks[name],
            "peak_of_trl": peaks[name] / peaks[first],
        }
        for name in steps
    ]
    return report("dpo_step", rows, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=5)
    given = parser.parse_args()
    main(given.model, given.pairs, given.trials, RESULTS)
