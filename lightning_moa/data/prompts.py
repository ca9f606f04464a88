"""Your own file of prompts alone."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import PromptsConfig
from lightning_moa.data.prompt_files import read_prompts
from lightning_moa.data.tables import PairTable
from lightning_moa.errors import UserError


class Prompts(PreferenceData):
    """Prompts of a local file or folder, texts or lists of messages, for policies that are rewarded for what they
    sample. A share of them is held out, unless file names say which are.

    There are no labels: objectives are named by `objectives=[...]`, and each has a source of rewards.
    """

    config: PromptsConfig

    def __init__(self, config: PromptsConfig, objectives: Sequence[str] | None = None) -> None:
        super().__init__(config, objectives)
        self.report.unit = "prompts"
        self._prompts: dict[str, dict[str, str]] | None = None

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those that are named."""
        if not objectives or self.config.labels:
            raise UserError(
                "data=prompts has no labels: name the objectives that are rewarded, objectives=[...]"
            )
        return tuple(objectives)

    def tables(self) -> dict[str, PairTable]:
        """Raises `UserError`: there are no responses."""
        raise UserError(
            "data=prompts has prompts alone, no responses: nothing can be learnt from pairs or texts of it"
        )

    def prompt_list(self, split: str) -> list[str]:
        """The distinct prompts of a split; those to evaluate on so that any first of them stand for all."""
        return list(self.subsets(split))

    def subsets(self, split: str) -> dict[str, str]:
        """Prompt -> the folder that its file lies in."""
        if self._prompts is None:
            self._prompts = read_prompts(self.config, self.report)
        return self._prompts[split]
