"""What is allowed of the options of every data set together; light, as they are."""

from __future__ import annotations

from lightning_moa.data.configs import CHAT, DataConfig
from lightning_moa.data.templates import is_template
from lightning_moa.errors import UserError
from lightning_moa.fields import check


def check_config(config: DataConfig) -> None:
    """Raise a `UserError` for a value that is not allowed. Run before any row is read."""
    check(config, "data.")
    dotted = [name for name in config.labels if "." in name or not name.strip()]
    if dotted:
        raise UserError(
            f"data.labels: an objective cannot be called {dotted[0]!r}; allowed are names without a dot"
        )
    if not is_template(config.template):
        raise UserError(
            f"data.template={config.template!r}: it must hold {{prompt}} exactly once; or begin a conversation as in "
            f"'Q: {{prompt}} A: {{reply}} Q: {{prompt}} A:'; or be {CHAT}, the tokenizer's own"
        )
    if config.max_response_length >= config.max_length:
        raise UserError(
            f"data.max_response_length={config.max_response_length}: must be below data.max_length, "
            f"which is {config.max_length}, to leave room for the prompt"
        )
    if config.response_room is not None and config.response_room > config.max_response_length:
        raise UserError(
            f"data.response_room={config.response_room}: must be at most data.max_response_length, which is "
            f"{config.max_response_length}"
        )
