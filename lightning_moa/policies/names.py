"""This room's answers by their short names. Light: no torch."""

from __future__ import annotations

from lightning_moa.answers import Known
from lightning_moa.policies.settings import AdapterConfig, HeadsConfig, RiCConfig

POLICIES = {
    "svd_lora": Known("lightning_moa.policies.svd_lora:SVDLoRA", {"adapter": AdapterConfig}),
    "lora": Known("lightning_moa.policies.lora:LoRA", {"adapter": AdapterConfig}),
    "prompted": Known(
        "lightning_moa.policies.prompted:PromptedLoRA", {"adapter": AdapterConfig, "ric": RiCConfig}
    ),
    "heads": Known("lightning_moa.policies.heads:Heads", {"adapter": AdapterConfig, "heads": HeadsConfig}),
}
"""How a preference enters the network: what can be trained."""
