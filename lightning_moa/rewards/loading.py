"""Files of a reward model: found on the hub or in a folder, read from safetensors, no foreign code run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_moa.errors import UserError
from lightning_moa.rewards.table import SCORE_HEAD, HubModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
VOCABULARY = ("tokenizer.json", "tokenizer.model", "spm.model", "vocab.json", "vocab.txt")
FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spm.model",
)
"""What is fetched from the hub; code and pickles are not among it."""

OLD_BUFFERS = (r"\.attn\.(masked_)?bias$", r"\.position_ids$")
"""Names in classifiers' old checkpoints that hold no weights: causal masks and counted positions."""

COMMIT = re.compile(r"[0-9a-f]{40}")


def find_folder(entry: HubModel, path: str | Path | None, revision: str | None) -> tuple[Path, str | None]:
    """The folder with a model's files, and the hub commit that they are of (None for a local folder).

    Raises `UserError` where the folder is missing, the hub can't be reached, or there are no safetensors.
    """
    if path is not None:
        folder, commit = Path(path).expanduser(), None
        if not folder.is_dir():
            raise UserError(f"reward model {entry.id}: the folder {folder} is missing")
    else:
        folder = _download(entry, revision or entry.revision)
        commit = folder.name if COMMIT.fullmatch(folder.name) else None
    for names in (("config.json",), WEIGHTS):
        if not any((folder / name).is_file() for name in names):
            raise UserError(f"reward model {entry.id}: there is no {' or '.join(names)} in {folder}")
    return folder, commit


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a folder; it pads with EOS where it has no padding token.

    Raises `UserError` where there is none, or it has neither of the two tokens.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # Without any of these files transformers makes a tokenizer with an empty vocabulary, and says nothing.
    if not any((folder / name).is_file() for name in VOCABULARY):
        raise UserError(f"{folder}: there is no tokenizer ({', '.join(VOCABULARY)})")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, use_fast=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: its tokenizer could not be loaded ({_first_line(error)})") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UserError(f"{folder}: its tokenizer has no fast implementation ({type(tokenizer).__name__})")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"{folder}: its tokenizer has neither a padding nor an EOS token")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_network(entry: HubModel, folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """The network of a folder with all of its weights.

    Raises `UserError` for weights that are missing, of another shape, or not the network's (except what
    holds no weights: `OLD_BUFFERS`, `score_head.EXTRA_WEIGHTS`), and for a model of another kind.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    loader: Any = AutoModelForSequenceClassification
    extra: Sequence[str] = OLD_BUFFERS
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if entry.kind == SCORE_HEAD:
            from lightning_moa.rewards.score_head import EXTRA_WEIGHTS, ScoreHead

            loader, extra = ScoreHead, EXTRA_WEIGHTS
            _check_score_head(entry, config, folder)
        network, found = loader.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            # An adapter that lies beside the weights is not loaded unasked.
            adapter_kwargs={"subfolder": "no-adapter-is-asked-for"},
        )
    except UserError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"reward model {entry.id} in {folder}: {_first_line(error)}") from error
    unknown = [key for key in found["unexpected_keys"] if not any(re.search(name, key) for name in extra)]
    for what, keys in (("has no", found["missing_keys"]), ("has an unknown", unknown)):
        if keys:
            raise UserError(
                f"reward model {entry.id} in {folder} {what} weight {', '.join(sorted(keys)[:3])}"
            )
    return network


def _check_score_head(entry: HubModel, config: Any, folder: Path) -> None:
    """Raise a `UserError` for what `ScoreHead` is not; set `config.bias` where it says nothing of it."""
    size = getattr(config, "score_dim", 1)
    if config.model_type != "llama" or size != 1:
        raise UserError(
            f"reward model {entry.id}: a llama with a head of one score is expected, "
            f"got {config.model_type} with {size}"
        )
    if not hasattr(config, "bias"):
        config.bias = "score_head.bias" in _weight_names(folder)


def _weight_names(folder: Path) -> set[str]:
    """The names of all weights in a folder's safetensors."""
    single, index = (folder / name for name in WEIGHTS)
    if not single.is_file():
        return set(json.loads(index.read_text())["weight_map"])
    from safetensors import safe_open

    with safe_open(single, framework="pt") as file:
        return set(file.keys())


def _download(entry: HubModel, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(entry.id, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        raise UserError(
            f"reward model {entry.id} at {revision or 'main'} could not be had from the hub "
            f"({_first_line(error)}); path=<local folder> loads it without a network"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
