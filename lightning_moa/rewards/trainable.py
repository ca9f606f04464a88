"""What of a reward model's network is trained. Light but for what it is given: nothing of Lightning."""

from __future__ import annotations

import warnings
from typing import Any


def trained_part(network: Any, settings: dict[str, Any]) -> Any:
    """The network with what is to be trained marked, wrapped by peft where that is a LoRA."""
    if settings["train"] == "all":
        return network.requires_grad_(True)
    network.requires_grad_(False)
    # What is trained is so in float32, whatever the frozen rest is.
    network.score.float().requires_grad_(True)
    if settings["train"] == "head":
        return network
    from peft import LoraConfig, get_peft_model

    rank = settings["rank"]
    lora = LoraConfig(
        task_type="SEQ_CLS",
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        modules_to_save=["score"],
    )
    with warnings.catch_warnings():
        # peft asks for a property by the name that transformers is going to drop.
        warnings.filterwarnings("ignore", r"`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(network, lora)


def plain(network: Any) -> Any:
    """A trained network as transformers has it, a LoRA in its weights."""
    return network.merge_and_unload() if hasattr(network, "merge_and_unload") else network
