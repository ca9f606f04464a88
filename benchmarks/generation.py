"""What it costs to sample responses from a pretrained model, beside transformers' own loop on the same prompts.

    python -m benchmarks.generation [--model smollm2|FOLDER] [--prompts 16] [--tokens 24] [--trials 5]

Ours: an SVD-LoRA of rank 8 + 2 (Panacea) at one preference for all prompts, or at another for each of them, with noise
that does not depend on the batch. transformers': `generate` of the model alone, the least that it can take, and with
peft's LoRA of rank 10 on the same layers. Nothing ends before its last token, so that all take as many steps. Prompts
are tokens at random. Prints a table and writes results/benchmarks/generation.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks.measuring import RESULTS, medians, report, weights_of
from lightning_moa.policies import SVDLoRA, generate, load_model

WIDTH = 66
"""Tokens of a prompt: the mean of HelpSteer2's in the model's chat template."""
LAYERS = "layers."
ALONE, PEFT, STEERED, EACH = (
    "transformers, model alone",
    "transformers, peft's LoRA",
    "ours, one preference",
    "ours, a preference a prompt",
)


def endless(folder: Path) -> Any:
    """The model, whose responses end nowhere."""
    model = load_model(folder)
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    model.generation_config.pad_token_id = model.config.pad_token_id or 0
    return model.eval()


def theirs(model: Any, ids: Tensor, tokens: int) -> Callable[[], Any]:
    mask = torch.ones_like(ids)
    options: dict[str, Any] = {"do_sample": True, "top_k": 0, "max_new_tokens": tokens}
    return lambda: model.generate(input_ids=ids, attention_mask=mask, **options)


def ours(model: Any, ids: Tensor, tokens: int, preference: Tensor) -> Callable[[], Any]:
    policy, mask = SVDLoRA(model, 8, 2, targets=LAYERS, scale_init=1.0, seed=0), torch.ones_like(ids)
    return lambda: generate(policy, ids, mask, max_new_tokens=tokens, preference=preference)


def adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    lora = LoraConfig(r=10, target_modules=[name for name in names if LAYERS in name], lora_dropout=0.0)
    return get_peft_model(model, lora)


def main(
    model: str, prompts: int, tokens: int, trials: int, folder: Path, width: int = WIDTH
) -> pd.DataFrame:
    """A row for each way: median seconds, and over those of transformers with the model alone and with a LoRA."""
    torch.set_num_threads(1)
    with weights_of(model) as weights:
        drawn = torch.Generator().manual_seed(0)
        asked = torch.randint(10, endless(weights).config.vocab_size, (prompts, width), generator=drawn)
        spread = torch.linspace(0, 1, prompts)
        ways = {
            ALONE: theirs(endless(weights), asked, tokens),
            PEFT: theirs(adapted(endless(weights)), asked, tokens),
            STEERED: ours(endless(weights), asked, tokens, torch.tensor([0.3, 0.7])),
            EACH: ours(endless(weights), asked, tokens, torch.stack([spread, 1 - spread], dim=1)),
        }
        seconds = medians(ways, trials)
    rows = [
        {
            "way": name,
            "prompts": prompts,
            "tokens": tokens,
            "seconds": seconds[name],
            "of_model_alone": seconds[name] / seconds[ALONE],
            "of_peft": seconds[name] / seconds[PEFT],
        }
        for name in ways
    ]
    return report("generation", rows, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--trials", type=int, default=5)
    given = parser.parse_args()
    main(given.model, given.prompts, given.tokens, given.trials, RESULTS)
