"""Anthropic/hh-rlhf: dialogues that end in a chosen and in a rejected reply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import HH_SUBSETS, HHRLHFConfig
from lightning_moa.data.files import read_hub, read_local, texts
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.messages import talked
from lightning_moa.data.order import stable_hash
from lightning_moa.data.rows import Rows, pair_tables
from lightning_moa.data.tables import PairTable
from lightning_moa.data.templates import in_turns
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "Anthropic/hh-rlhf"
MARKER = "\n\nAssistant:"
RED_TEAM = "red-team-attempts"
SUBSET = "subset"
"""The column that says which folder a row is of; empty where it isn't known."""
GOALS = ("harmless", "helpful")
"""How the folders' names begin: what people were asked to choose by."""


class HHRLHF(PreferenceData):
    """Comparisons of hh-rlhf. Label columns: `human` (the chosen reply), `harmless` and `helpful` (the same, on rows of
    the folders of that name alone: what people chose in the others says nothing of it), and the rule `shorter`.

    The prompt is the dialogue up to and with its last "\\n\\nAssistant:", the response what follows, without
    outer white space. Chosen and rejected are cut each at its own last marker. Dropped and counted: dialogues
    whose prompts differ, without a marker, with an empty reply, or with equal replies. Which of the two
    replies is response 0 is decided by a hash of them, so that the index gives no hint of the label.

    With a template that tells turns apart (`data.template=chat`) the prompt is a conversation of the dialogue's turns.

    `path`: a file, a folder with files named train and test, or a copy of the repository (folders named as
    `subsets`). Empty: the hub. The hub's and a folder's own test split is used for evaluation. A file or a folder is of
    the subset that its name, or that of the folder around it, holds; without such a name of that of `subsets`, and
    where it names several nobody knows which.
    """

    config: HHRLHFConfig

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        chat = in_turns(self.config.template)
        rows = {split: parse(frame, chat) for split, frame in self._frames().items()}
        return pair_tables(rows, choose_labels(self.config.labels, self.objectives), self.config, self.report)

    def _frames(self) -> dict[str, pd.DataFrame]:
        _check_subsets(self.config.subsets)
        subsets, path = self.config.subsets, self.config.path
        local = None if path is None else _local_parts(Path(path), subsets)
        if local is None:
            splits = {"train": "train", "eval": "test"}
            parts = [read_hub(HUB_ID, self.config.revision, splits, data_dir=subset) for subset in subsets]
        else:
            parts = [read_local(each) for each in local]
        import pandas as pd

        if len({tuple(part) for part in parts}) > 1:
            raise UserError(
                f"of the folders {', '.join(self.config.subsets)} some have a test split and some not"
            )
        named = _held_by(local[0], subsets) if local is not None and len(local) == 1 else subsets
        return {
            split: pd.concat(
                [part[split].assign(**{SUBSET: name}) for part, name in zip(parts, named, strict=True)]
            )
            for split in parts[0]
        }


def parse(frame: pd.DataFrame, chat: bool = False) -> Rows:
    """The rows of a frame with the columns chosen and rejected, and subset where it is known. `chat`: a prompt is a
    conversation of the dialogue's turns."""
    prompts: list[str | None] = []
    responses: list[tuple[str | None, ...]] = []
    reasons: list[str | None] = []
    chosen_index: list[int] = []
    for chosen, rejected in zip(texts(frame, "chosen"), texts(frame, "rejected"), strict=True):
        good_prompt, good = _cut(chosen or "")
        bad_prompt, bad = _cut(rejected or "")
        swap = stable_hash(good, bad) % 2
        prompts.append(good_prompt or bad_prompt)
        responses.append((bad, good) if swap else (good, bad))
        reasons.append(_reason(good_prompt, bad_prompt))
        chosen_index.append(swap)
    return Rows(
        prompts=[talked(prompt) if chat else prompt for prompt in prompts],
        responses=responses,
        reasons=reasons,
        keys=[prompt or "" for prompt in prompts],
        labels=_labels(chosen_index, frame),
        subsets=frame[SUBSET].tolist() if SUBSET in frame else [],
    )


def _labels(chosen: Sequence[int], frame: pd.DataFrame) -> pd.DataFrame:
    """The chosen reply, on all rows and on those of each goal's folders, where it is known which folder a row is of."""
    import pandas as pd

    labels = pd.DataFrame({"human": chosen}, index=frame.index)
    subsets = frame[SUBSET].tolist() if SUBSET in frame.columns else [""]
    if not all(subsets):
        return labels
    for goal in GOALS:
        held = [
            index if subset.startswith(goal) else None for index, subset in zip(chosen, subsets, strict=True)
        ]
        labels[goal] = pd.Series(held, frame.index, dtype=object)
    return labels


def _cut(dialogue: str) -> tuple[str | None, str]:
    """(prompt with its last marker, reply without outer white space); the prompt is None without a marker."""
    before, marker, reply = dialogue.rpartition(MARKER)
    return (before + marker, reply.strip()) if marker else (None, "")


def _reason(chosen_prompt: str | None, rejected_prompt: str | None) -> str | None:
    if chosen_prompt is None or rejected_prompt is None:
        return "no Assistant turn"
    return "prompts differ" if chosen_prompt != rejected_prompt else None


def _check_subsets(subsets: Sequence[str]) -> None:
    if not subsets:
        raise UserError(f"data.subsets is empty: give any of {', '.join(HH_SUBSETS)}")
    for subset in subsets:
        if subset == RED_TEAM:
            raise UserError(
                f"data.subsets: {RED_TEAM} holds transcripts, not comparisons; "
                f"allowed are {', '.join(HH_SUBSETS)}"
            )
        if subset not in HH_SUBSETS:
            raise UserError(f"data.subsets: {subset!r} is not known; allowed are {', '.join(HH_SUBSETS)}")


def _local_parts(path: Path, subsets: Sequence[str]) -> list[Path]:
    """The subsets' folders in a copy of the repository; else the path itself: one subset's file or folder."""
    path = path.expanduser()
    if not any((path / subset).is_dir() for subset in (*HH_SUBSETS, RED_TEAM)):
        return [path]
    absent = [subset for subset in subsets if not (path / subset).is_dir()]
    if absent:
        raise UserError(f"data.path {path} has no folder {absent[0]}")
    return [path / subset for subset in subsets]


def _held_by(path: Path, subsets: Sequence[str]) -> Sequence[str]:
    """The subset of one file or folder: the one that its name or the one around it holds, else that of `subsets`."""
    held = [[subset for subset in HH_SUBSETS if subset in name] for name in (path.name, path.parent.name)]
    found = next((each for each in held if len(each) == 1), None)
    if found is None:
        return subsets if len(subsets) == 1 else [""]
    if found[0] not in subsets and subsets != HHRLHFConfig().subsets:
        raise UserError(
            f"data.path {path} is of {found[0]}, and data.subsets names {', '.join(subsets)}: allowed is "
            f"data.subsets=[{found[0]}], or a folder of these names"
        )
    return found
