"""Whether the extra is there. Light: no torch."""

from __future__ import annotations

from importlib.util import find_spec

from lightning_moa.errors import UserError

NEEDED = ("starlette", "uvicorn", "jinja2", "plotly")
"""Packages of the extra `demo`."""


def check_installed() -> None:
    """Raises `UserError` where a package of the extra is missing."""
    for package in NEEDED:
        if find_spec(package) is None:
            raise UserError(
                f"moa demo: needs {package}, which is not installed; pip install lightning_moa[demo] brings it"
            )
