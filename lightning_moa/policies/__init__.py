"""How a preference enters the network: adapters that it steers, their log-probs, their samples.

A policy is a transformers causal language model with low-rank updates, W0 + B diag(gate(preference)) A.
`LoRA`'s gate is constant, `SVDLoRA`'s holds the preference among its singular values (Panacea),
`RewardedSoup`'s interpolates the updates of several trained policies. `Heads` are several policies on one
backbone (HaM). `RewardPrompt` needs no adapter: the preference is text in the prompt (RiC).
"""

from lightning_moa.policies.adapter import AdapterPolicy
from lightning_moa.policies.base import Policy
from lightning_moa.policies.generate import Responses, generate
from lightning_moa.policies.head_logprobs import head_logps, head_token_logps
from lightning_moa.policies.heads import HeadPolicy, Heads
from lightning_moa.policies.in_prompt import RewardPrompt
from lightning_moa.policies.files import read_sidecar
from lightning_moa.policies.loading import load_policy
from lightning_moa.policies.logprobs import response_logps, token_logps
from lightning_moa.policies.lora import LoRA
from lightning_moa.policies.model import build_model, load_model, save_model
from lightning_moa.policies.probes import PROBES, Probe
from lightning_moa.policies.soup import RewardedSoup
from lightning_moa.policies.svd_lora import SVDLoRA

__all__ = [
    "PROBES",
    "AdapterPolicy",
    "HeadPolicy",
    "Heads",
    "LoRA",
    "Policy",
    "Probe",
    "Responses",
    "RewardPrompt",
    "RewardedSoup",
    "SVDLoRA",
    "build_model",
    "generate",
    "head_logps",
    "head_token_logps",
    "load_model",
    "load_policy",
    "read_sidecar",
    "response_logps",
    "save_model",
    "token_logps",
]
