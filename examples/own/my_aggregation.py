"""An aggregation of one's own: smooth Tchebycheff scalarisation (Lin et al., 2024)."""

from collections.abc import Sequence

from torch import Tensor


class SmoothTchebycheff:
    """mu log sum_i exp(lambda_i L_i / mu): as mu goes to 0, the largest weighted loss.

    Args:
        mu: above 0, in units of a loss.
    """

    def __init__(self, mu: float = 0.1) -> None:
        self.mu = mu

    def __call__(self, losses: Tensor, preference: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """One scalar to minimise, of losses (m,) or (g, m)."""
        return self.mu * (preference * losses / self.mu).logsumexp(-1).mean()
