"""A callback of one's own: the share of responses that end by themselves, at each validation."""

import numpy as np

import lightning_moa as moa


class Finished(moa.Look):
    """Logs `finished`, under equal weights: the share of responses shorter than the longest that is allowed."""

    def look(self, trainer, module) -> None:
        said = self.sampled(trainer, module, module.policy, np.full((1, module.m), 1 / module.m))
        moa.log_numbers(trainer, {"finished": float((said["tokens"] < self.decoding.max_new_tokens).mean())})
