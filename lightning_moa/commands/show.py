"""What commands print, and words that they share."""

from __future__ import annotations

import sys
from typing import Any

from lightning_moa.errors import UserError


def show(table: Any) -> None:
    """Print a rich table; text is written as it is."""
    if isinstance(table, str):
        sys.stdout.write(table)
        return
    from rich.console import Console

    # A pipe has no width to fit; wide enough that rows stay on one line there.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def numbers(text: str | None, option: str) -> list[float] | None:
    """Numbers with commas between; None of none.

    Raises:
        UserError: names the option.
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"{option} {text}; allowed are numbers with commas between, such as -1,0.5"
        ) from error
