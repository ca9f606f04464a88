"""Measures of a policy on a grid of preferences: accuracies on held-out pairs, rewards of sampled responses; and
win rates of one policy's responses over another's.

What needs torch is imported when it is first asked for, so that judges work on texts alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_moa.evaluation.endpoint import EndpointConfig, EndpointJudge
from lightning_moa.evaluation.judge import Judge, RewardJudge, WinRate, win_rate

if TYPE_CHECKING:
    from lightning_moa.evaluation.accuracy import implicit_accuracies
    from lightning_moa.evaluation.sampling import (
        Decoding,
        joined,
        mean_rows,
        sample_asked,
        sample_grid,
        score,
    )

__all__ = [
    "Decoding",
    "EndpointConfig",
    "EndpointJudge",
    "Judge",
    "RewardJudge",
    "WinRate",
    "implicit_accuracies",
    "joined",
    "mean_rows",
    "sample_asked",
    "sample_grid",
    "score",
    "win_rate",
]

_LATER = {
    "Decoding": "sampling",
    "implicit_accuracies": "accuracy",
    "joined": "sampling",
    "mean_rows": "sampling",
    "sample_asked": "sampling",
    "sample_grid": "sampling",
    "score": "sampling",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
