"""nvidia/HelpSteer2: pairs of responses, each rated in five respects by people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.data.configs import HelpSteer2Config
from lightning_moa.data.files import read_hub, read_local, require_columns, texts
from lightning_moa.data.pairs import PublishedPairs

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "nvidia/HelpSteer2"
_MARK = re.compile(r"<extra_id_1>(User|Assistant)\n")


class HelpSteer2(PublishedPairs):
    """Label columns: helpfulness, correctness, coherence, complexity, verbosity (the more verbose one), each a rating
    from 0 to 4 of both responses to a prompt, of which a tie is no label; and the rule `shorter`.

    Prompts of several turns become conversations. `path`: a file, a folder with files named train and validation, or a
    copy of the repository (its folders are left out). Empty: the hub, with its validation split.
    """

    config: HelpSteer2Config

    def frames(self) -> Mapping[str, pd.DataFrame]:
        """The rows, a response each."""
        if self.config.path is None:
            found = read_hub(HUB_ID, self.config.revision, {"train": "train", "eval": "validation"})
        else:
            copied = (Path(self.config.path).expanduser() / "preference").is_dir()
            found = read_local(self.config.path, below=not copied)
        return {split: with_turns(frame) for split, frame in found.items()}


def with_turns(frame: pd.DataFrame) -> pd.DataFrame:
    """Prompts of several turns as lists of messages."""
    require_columns(frame, ["prompt"])
    prompts: list[Any] = [
        text if text is None or not _MARK.search(text) else _messages(text) for text in texts(frame, "prompt")
    ]
    return frame.assign(prompt=prompts)


def _messages(text: str) -> list[dict[str, str]]:
    """The first turn is a user's; the others stand behind a mark that says whose they are."""
    first, *parts = _MARK.split(text)
    turns = [("User", first), *zip(parts[::2], parts[1::2], strict=True)]
    return [{"role": role.lower(), "content": said.strip()} for role, said in turns if said.strip()]
