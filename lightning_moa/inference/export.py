"""A trained policy at one preference, as stock libraries load it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lightning_moa.errors import UserError
from lightning_moa.inference.loading import Loaded, Opened
from lightning_moa.inference.model_card import CARD, model_card
from lightning_moa.policies.base_folder import ADAPTER
from lightning_moa.policies.model import save_model
from lightning_moa.reporting.files import in_the_making
from lightning_moa.runs.loading import base_model


def export(
    loaded: Loaded,
    folder: str | Path,
    preference: Any = None,
    *,
    policy: str | None = None,
    merged: bool = False,
) -> Opened:
    """Write a folder with the policy, its tokenizer and a model card, whole or not at all.

    Args:
        loaded: from `load`.
        folder: new, or empty.
        preference, policy: as for `Loaded.generate`.
        merged: write the whole model, with the policy's update in its weights, instead of an adapter that stock peft
            loads onto the base.

    Returns:
        What was written, and the preference that it is at.

    Raises:
        UserError: a folder with something in it, or a policy that is no plain model or adapter.
    """
    target = Path(folder)
    # What no disk can have is not there; pathlib's own `exists` raises an OSError then.
    if os.path.exists(target) and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{folder}: there is something already; allowed is a new or an empty folder")
    opened = loaded.open(preference, policy)
    try:
        with in_the_making(target) as temporary:
            _write(loaded, opened, temporary, merged)
            loaded.tokenizer.save_pretrained(temporary)
            (temporary / CARD).write_text(model_card(loaded, opened, merged), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return opened


def base_of(loaded: Loaded) -> tuple[str, str | None]:
    """The base's hub id and revision, or its folder."""
    path, revision, _ = base_model(loaded.source.inputs["base"])
    local = Path(path).expanduser()
    return (str(local.resolve()), None) if local.is_dir() else (str(path), revision)


def _write(loaded: Loaded, opened: Opened, folder: Path, merged: bool) -> None:
    policy: Any = opened.policy
    name, what = type(policy).__name__, "merge" if merged else "export"
    if not hasattr(policy, what):
        other = " (--merged writes it as a whole model)" if not merged and hasattr(policy, "merge") else ""
        raise UserError(
            f"{name} has no {what}(preference): it cannot be written as "
            f"{'a plain model' if merged else 'an adapter'}{other}"
        )
    row = None if opened.preference is None else opened.preference.float()
    if merged:
        save_model(policy.merge(row), folder)
        return
    policy.export(row, folder)
    # Where the adapter belongs, as peft itself would have written it.
    path, revision = base_of(loaded)
    file = folder / ADAPTER
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": path, "revision": revision}
    file.write_text(json.dumps(config, indent=2), encoding="utf-8")
