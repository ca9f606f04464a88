"""A saved policy on its base model again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.answers import load
from lightning_moa.errors import UserError
from lightning_moa.policies.base import Policy
from lightning_moa.policies.files import (
    OURS,
    SIDECAR,
    check_base,
    fingerprint,
    kind_of,
    read_sidecar,
    read_tensors,
)
from lightning_moa.policies.vocabulary import agree_on

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_policy(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    kind: type[Policy] | None = None,
    base_id: str | None = None,
) -> Any:
    """Rebuild a saved policy on its base model, which is changed in place.

    Args:
        model: of the architecture that it was trained on.
        folder: where `Policy.save` wrote it.
        kind: its class. Needed for one from outside: what a folder names is never imported by its own word.
        base_id: the caller's name for the base weights.

    Raises:
        UserError: no policy there, a file that is torn, changed or of another kind, another base architecture
            or `base_id`, or tensors that do not fit what the sidecar describes. The model is left as it was.
    """
    folder = Path(folder)
    sidecar = read_sidecar(folder)
    chosen = _class_of(folder, sidecar["kind"], kind)
    check_base(folder, sidecar["base"], fingerprint(model) | {"id": base_id})
    state = read_tensors(folder, sidecar["sha256"])
    _agree(model, sidecar.get("agreed"), folder)
    try:
        policy = chosen.rebuild(model, sidecar["options"])
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"{folder / SIDECAR}: options do not describe a {sidecar['kind']}: {error}"
        ) from error
    try:
        policy.load_trained_state(state)
    except UserError as error:
        policy.unload()
        raise UserError(f"{folder}: {error}") from error
    return policy


def _agree(model: PreTrainedModel, told: Any, folder: Path) -> None:
    """Have the model agree with its tokenizer as the one did that the policy was trained on."""
    if told is None:
        return
    lists: list[Any] = [told.get(name) for name in ("silent", "ends")] if isinstance(told, dict) else [None]
    if not all(isinstance(each, list) and all(type(item) is int for item in each) for each in lists):
        raise UserError(f"{folder / SIDECAR}: 'agreed' is not as Policy.save wrote it")
    silent, ends = lists
    agree_on(model, silent, ends, str(folder))


def _class_of(folder: Path, name: str, kind: type[Policy] | None) -> type[Policy]:
    if kind is not None:
        if name != kind_of(kind):
            raise UserError(f"{folder / SIDECAR}: kind {name}: {kind_of(kind)} is expected")
        return kind
    found = load(name) if name.startswith(OURS) else None
    if not isinstance(found, type) or not issubclass(found, Policy):
        raise UserError(
            f"{folder / SIDECAR}: kind {name}: allowed are this package's policies, and a class of one's own where "
            "load_policy(kind=...) gives it"
        )
    return found
