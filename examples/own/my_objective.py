"""An objective of one's own: IPO (Azar et al., 2023), a loss for each objective from one forward pass."""

from dataclasses import dataclass

from torch import Tensor

import lightning_moa as moa


@dataclass
class IPOConfig(moa.OptimiserConfig):
    """IPO on pairs, for every policy that learns by it."""

    tau: float = moa.option(0.1, "strength of the pull to the reference policy", above=0)


class IPO(moa.Objective):
    """(margin towards the better response - 1 / (2 tau))^2, for each objective's labels."""

    sections = {"ipo": IPOConfig}  # `ipo.tau=0.2` on the command line, `--help` and all
    view = "pairs"  # a batch is a PairBatch
    needs = ("reference",)  # its `ref_logps` are worked out first, once for all methods

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def losses(self, policy: moa.Policy, batch: moa.PairBatch, preference: Tensor | None) -> Tensor:
        """(m,) for one preference, (g, m) for g of them."""
        rows = moa.per_example(preference, len(batch.labels))
        both = rows if rows is None or rows.ndim == 1 else rows.repeat(2, 1)
        logps = moa.response_logps(policy, batch.input_ids, batch.attention_mask, batch.response_mask, both)
        margins = moa.implicit_margins(logps, batch.ref_logps, beta=1.0)
        values = (moa.better_sign(batch.labels) * margins[:, None] - 1 / (2 * self.tau)) ** 2
        return moa.labelled_mean(values, ~batch.labels.isnan(), preference)
