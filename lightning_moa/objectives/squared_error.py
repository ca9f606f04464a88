"""The squared error of a reward model that is fitted to scores, and which loss a reward model has on which rows."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_moa.batches import SequenceBatch
from lightning_moa.errors import UserError
from lightning_moa.objectives.bradley_terry import BradleyTerry
from lightning_moa.processes import joint_mean


class SquaredError:
    """Loss of a reward model with one output per objective, on responses that carry a score for each.

    Args:
        regularisation: weight of the mean squared output, as `BradleyTerry` has it.
    """

    def __init__(self, regularisation: float = 0.0) -> None:
        self.regularisation = regularisation

    def losses(self, network: nn.Module, batch: SequenceBatch) -> Tensor:
        """(m,), to minimise. `network` is a transformers sequence classifier with m outputs.

        Raises:
            UserError: the batch has no scores.
        """
        if batch.rewards is None:
            raise UserError("a reward model is fitted to a score of each response; the data has none")
        scores = network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        errors = (scores - batch.rewards.to(scores)).square() + self.regularisation * scores.square()
        return joint_mean(errors.sum(0), len(scores))


REWARD_LOSSES = {"pairs": BradleyTerry, "sequences": SquaredError}
"""What a reward model learns of each view: which of two responses is better, or the score of each."""
