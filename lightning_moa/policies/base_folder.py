"""What can be said of a base model before it is loaded or built. Light: no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError

ADAPTER = "adapter_config.json"
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def check_folder(folder: Path, where: str) -> None:
    """Raise a `UserError` for a folder that no base can be: an adapter's, one with torn JSON, or one whose tokenizer
    has a token without a row in the embedding. What it doesn't hold, such as weights, is found when it is loaded.

    Args:
        folder: there.
        where: what named it, for errors.
    """
    for name in FILES:
        _json(folder / name)
    whole = any(folder.glob("*.safetensors.index.json")) or any(
        file.name != "adapter_model.safetensors" for file in folder.glob("*.safetensors")
    )
    if (folder / ADAPTER).is_file() and not (whole and (folder / "config.json").is_file()):
        base = _json(folder / ADAPTER).get("base_model_name_or_path") or "its base"
        raise UserError(
            f"{where}: this is the folder of an adapter of {base}: merge it first (peft: PeftModel.from_pretrained("
            "base, adapter).merge_and_unload().save_pretrained(folder), and save the tokenizer beside it)"
        )
    rows = _json(folder / "config.json").get("vocab_size")
    highest = _highest_id(_json(folder / "tokenizer.json"))
    if isinstance(rows, int) and highest is not None:
        check_sizes(highest, rows, where)


def check_there(path: str, where: str) -> None:
    """Raise a `UserError` for a place on this machine that is no folder. Other names are the hub's."""
    folder = Path(path).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or path.startswith(".")):
        raise UserError(f"{where}: no such folder")


def check_shape(family: str, hidden_size: int, heads: int) -> None:
    """Raise a `UserError` for sizes that no model can be built of."""
    for name, value in (("hidden_size", hidden_size), ("heads", heads)):
        if value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    if hidden_size % heads or (family != "opt" and (hidden_size // heads) % 2):
        raise UserError(
            f"hidden_size={hidden_size}, heads={heads}: the width must be an even multiple of the heads"
        )


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer of a folder has a chat template."""
    return (folder / "chat_template.jinja").is_file() or bool(
        _json(folder / "tokenizer_config.json").get("chat_template")
    )


def check_sizes(highest: int, rows: int, where: str) -> None:
    """Raise a `UserError` where the tokenizer's highest id has no row in an embedding of so many rows."""
    if highest >= rows:
        raise UserError(
            f"{where}: its tokenizer has ids up to {highest}, its embedding only {rows} rows (ids 0 to {rows - 1}): "
            "give it the tokenizer that it was trained with, or resize it first "
            f"(model.resize_token_embeddings({highest + 1}))"
        )


def _highest_id(tokenizer: dict[str, Any]) -> int | None:
    """Of a tokenizer.json; None where it says nothing."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or []
    words = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
    added = [token["id"] for token in tokenizer.get("added_tokens") or []]
    return max([*words, *added], default=None)


def _json(file: Path) -> dict[str, Any]:
    """An object; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not JSON ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: an object with named values is expected, got {type(found).__name__}")
    return found
