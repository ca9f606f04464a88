"""How a preference enters the network: adapters that it steers, their log-probs, their samples.

A policy is a transformers causal language model with low-rank updates, W0 + B diag(gate(preference)) A.
`LoRA`'s gate is constant, `SVDLoRA`'s holds the preference among its singular values (Panacea),
`RewardedSoup`'s interpolates the updates of several trained policies. `Heads` are several policies on one
backbone (HaM). `RewardPrompt` needs no adapter: the preference is text in the prompt (RiC).
"""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.policies.adapter import AdapterPolicy as AdapterPolicy
    from lightning_moa.policies.base import Policy as Policy
    from lightning_moa.policies.files import read_sidecar as read_sidecar
    from lightning_moa.policies.generation import Responses as Responses
    from lightning_moa.policies.generation import generate as generate
    from lightning_moa.policies.head_logprobs import head_logps as head_logps
    from lightning_moa.policies.head_logprobs import head_token_logps as head_token_logps
    from lightning_moa.policies.heads import HeadPolicy as HeadPolicy
    from lightning_moa.policies.heads import Heads as Heads
    from lightning_moa.policies.in_prompt import RewardPrompt as RewardPrompt
    from lightning_moa.policies.loading import load_policy as load_policy
    from lightning_moa.policies.logprobs import response_logps as response_logps
    from lightning_moa.policies.logprobs import token_logps as token_logps
    from lightning_moa.policies.lora import LoRA as LoRA
    from lightning_moa.policies.mixed import MixedPolicies as MixedPolicies
    from lightning_moa.policies.model import build_model as build_model
    from lightning_moa.policies.model import load_model as load_model
    from lightning_moa.policies.model import save_model as save_model
    from lightning_moa.policies.pairs import pair_logps as pair_logps
    from lightning_moa.policies.probes import PROBES as PROBES
    from lightning_moa.policies.probes import Probe as Probe
    from lightning_moa.policies.prompted import PromptedLoRA as PromptedLoRA
    from lightning_moa.policies.soup import RewardedSoup as RewardedSoup
    from lightning_moa.policies.steered import SteeredPolicy as SteeredPolicy
    from lightning_moa.policies.steering import check_preference as check_preference
    from lightning_moa.policies.svd_lora import SVDLoRA as SVDLoRA

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AdapterPolicy": "adapter",
        "HeadPolicy": "heads",
        "Heads": "heads",
        "LoRA": "lora",
        "MixedPolicies": "mixed",
        "PROBES": "probes",
        "Policy": "base",
        "Probe": "probes",
        "PromptedLoRA": "prompted",
        "Responses": "generation",
        "RewardPrompt": "in_prompt",
        "RewardedSoup": "soup",
        "SVDLoRA": "svd_lora",
        "SteeredPolicy": "steered",
        "build_model": "model",
        "check_preference": "steering",
        "generate": "generation",
        "head_logps": "head_logprobs",
        "head_token_logps": "head_logprobs",
        "load_model": "model",
        "load_policy": "loading",
        "read_sidecar": "files",
        "pair_logps": "pairs",
        "response_logps": "logprobs",
        "save_model": "model",
        "token_logps": "logprobs",
    },
)
