"""A callback of one's own: the share of responses that end by themselves, at each validation."""

import lightning_moa as moa


class Finished(moa.Look):
    """Logs `finished`, under equal weights: the share of responses shorter than the longest that is allowed."""

    def look(self, trainer, module) -> None:
        m = len(module.names)
        said = self.sampled(trainer, module, module.policy, moa.preference_grid(m, 1.0)[:1] * 0 + 1 / m)
        moa.log_numbers(trainer, {"finished": float((said["tokens"] < self.decoding.max_new_tokens).mean())})
