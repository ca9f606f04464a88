"""A user's own files of prompts alone, read and checked. Light: no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_moa.data.configs import PromptsConfig
from lightning_moa.data.files import read_local, require_prompt
from lightning_moa.data.forms import MESSAGES, PROMPTS
from lightning_moa.data.messages import prompts_of
from lightning_moa.data.rows import Rows, prompt_lists
from lightning_moa.data.tables import DropReport
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def read_prompts(config: PromptsConfig, report: DropReport) -> dict[str, dict[str, str]]:
    """As `prompt_lists`, of `config.path`; what is left out goes into `report`.

    Raises:
        UserError: no path, a file that cannot be read, or a value that is not allowed; the line names file and row.
    """
    if config.path is None:
        raise UserError("data.path is empty: give data.path=<file or folder> of your prompts")
    rows = {split: _rows(frame, config.prompt_column) for split, frame in read_local(config.path).items()}
    return prompt_lists(rows, config, report)


def _rows(frame: pd.DataFrame, given: str | None) -> Rows:
    column = given or next((name for name in (*PROMPTS, MESSAGES) if name in frame.columns), PROMPTS[0])
    require_prompt(frame, column)
    prompts, reasons = prompts_of(frame, column)
    return Rows(
        prompts=prompts,
        responses=[()] * len(prompts),
        reasons=reasons,
        keys=[prompt or "" for prompt in prompts],
        labels=frame.drop(columns=list(frame.columns)),
    )
