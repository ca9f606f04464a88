"""Measures of a policy on a grid of preferences: accuracies on held-out pairs, rewards of sampled responses; and
win rates of one policy's responses over another's.
"""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.evaluation.accuracy import implicit_accuracies as implicit_accuracies
    from lightning_moa.evaluation.accuracy import implicit_margins as implicit_margins
    from lightning_moa.evaluation.endpoint import EndpointConfig as EndpointConfig
    from lightning_moa.evaluation.endpoint import EndpointJudge as EndpointJudge
    from lightning_moa.evaluation.judge import Judge as Judge
    from lightning_moa.evaluation.judge import RewardJudge as RewardJudge
    from lightning_moa.evaluation.judge import WinRate as WinRate
    from lightning_moa.evaluation.judge import win_rate as win_rate
    from lightning_moa.evaluation.sampling import Decoding as Decoding
    from lightning_moa.evaluation.sampling import by_rules as by_rules
    from lightning_moa.evaluation.sampling import joined as joined
    from lightning_moa.evaluation.sampling import mean_rows as mean_rows
    from lightning_moa.evaluation.sampling import sample_grid as sample_grid
    from lightning_moa.evaluation.sampling import sample_rewritten as sample_rewritten
    from lightning_moa.evaluation.sampling import score as score

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Decoding": "sampling",
        "EndpointConfig": "endpoint",
        "EndpointJudge": "endpoint",
        "Judge": "judge",
        "RewardJudge": "judge",
        "WinRate": "judge",
        "by_rules": "sampling",
        "implicit_accuracies": "accuracy",
        "implicit_margins": "accuracy",
        "joined": "sampling",
        "mean_rows": "sampling",
        "sample_rewritten": "sampling",
        "sample_grid": "sampling",
        "score": "sampling",
        "win_rate": "judge",
    },
)
