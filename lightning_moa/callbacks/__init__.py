"""Callbacks that any `Trainer` of a method takes: what its policies say and are worth while they are trained."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.callbacks.grid_rewards import GridRewards as GridRewards
    from lightning_moa.callbacks.log_responses import LogResponses as LogResponses
    from lightning_moa.callbacks.looks import Look as Look
    from lightning_moa.callbacks.looks import log_numbers as log_numbers
    from lightning_moa.callbacks.stop_on_kl import StopOnKL as StopOnKL
    from lightning_moa.callbacks.watch_gradients import WatchGradients as WatchGradients
    from lightning_moa.callbacks.watch_heads import WatchHeads as WatchHeads

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "GridRewards": "grid_rewards",
        "LogResponses": "log_responses",
        "Look": "looks",
        "StopOnKL": "stop_on_kl",
        "WatchGradients": "watch_gradients",
        "WatchHeads": "watch_heads",
        "log_numbers": "looks",
    },
)
