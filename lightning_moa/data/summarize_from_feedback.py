"""openai/summarize_from_feedback, comparisons: a post, two summaries, and which one a human chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.configs import SummarizeFromFeedbackConfig
from lightning_moa.data.files import place, read_hub, read_local, require_columns, values
from lightning_moa.data.labels import choose_labels
from lightning_moa.data.rows import Rows, pair_tables
from lightning_moa.data.tables import PairTable
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

HUB_ID = "openai/summarize_from_feedback"
PARQUET = {"train": "comparisons/train/*.parquet", "validation": "comparisons/validation/*.parquet"}

PARTS = ("subreddit", "title", "post", "article")
"""What of a row's `info` a prompt is made of."""


class SummarizeFromFeedback(PreferenceData):
    """Comparisons of summaries. Label columns: `choice` (the human's) and the rule `shorter`.

    The prompt of a Reddit post is

        SUBREDDIT: r/<subreddit>

        TITLE: <title>

        POST: <post>

    and that of a CNN/DM article (rows without a post) its TITLE and ARTICLE; `articles=drop` leaves those
    rows out. The template adds a blank line and "TL;DR:". Summaries lose their outer white space (the files
    have a leading space). A post has many comparisons: all of them are on one side, and `prompt_list` has
    each post once.

    `path`: a file or folder of the published JSON lines. Where rows say both train and valid1/valid2 in their
    column `split`, that is the split. Empty: the hub's parquet files, at a commit of its branch
    refs/convert/parquet, which `revision` must give (the branch main holds a script, which is never run).
    """

    config: SummarizeFromFeedbackConfig

    def choose_objectives(self, objectives: Sequence[str] | None) -> tuple[str, ...]:
        """Those of `config.labels`."""
        return tuple(choice.objective for choice in choose_labels(self.config.labels, objectives))

    def tables(self) -> dict[str, PairTable]:
        """The pairs of "train" and "eval"."""
        if self.config.path is None:
            splits = {"train": "train", "eval": "validation"}
            frames = read_hub(HUB_ID, self.config.revision, splits, data_files=PARQUET)
        else:
            frames = _by_split_column(read_local(self.config.path, by_name=False)["train"])
        keep_articles = self.config.articles == "use"
        rows = {split: parse(frame, keep_articles) for split, frame in frames.items()}
        return pair_tables(rows, choose_labels(self.config.labels, self.objectives), self.config, self.report)


def _by_split_column(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    if "split" not in frame.columns:
        return {"train": frame}
    training = frame["split"] == "train"
    if training.all() or not training.any():
        return {"train": frame}
    return {"train": frame[training], "eval": frame[~training]}


def parse(frame: pd.DataFrame, keep_articles: bool = True) -> Rows:
    """The rows of a frame with the columns info, summaries and choice."""
    require_columns(frame, ["info", "summaries", "choice"])
    infos = [_info(frame, position, info) for position, info in enumerate(values(frame, "info"))]
    summaries = [
        _summaries(frame, position, pair) for position, pair in enumerate(values(frame, "summaries"))
    ]
    return Rows(
        prompts=[prompt_of(info) for info in infos],
        responses=summaries,
        reasons=[None if info.get("post") or keep_articles else "CNN/DM article" for info in infos],
        keys=[str(info["id"]) for info in infos],
        labels=frame[["choice"]],
        subsets=["posts" if info.get("post") else "articles" for info in infos],
    )


def prompt_of(info: dict[str, Any]) -> str | None:
    """The prompt of a row's `info`: a Reddit post, else a news article, else None."""
    title = f"TITLE: {info['title']}\n\n" if info.get("title") else ""
    if info.get("post"):
        subreddit = f"SUBREDDIT: r/{info['subreddit']}\n\n" if info.get("subreddit") else ""
        return f"{subreddit}{title}POST: {info['post'].strip()}"
    if info.get("article"):
        return f"{title}ARTICLE: {info['article'].strip()}"
    return None


def _info(frame: pd.DataFrame, position: int, info: Any) -> dict[str, Any]:
    if not isinstance(info, dict) or "id" not in info:
        file, row = place(frame, position)
        raise UserError(f"{file}, row {row}, column 'info': an object with an id is expected")
    for name in PARTS:
        if not isinstance(info.get(name, ""), str | None):
            file, row = place(frame, position)
            raise UserError(
                f"{file}, row {row}, column 'info': {name} must be a text, got {type(info[name]).__name__}"
            )
    return info


def _summaries(frame: pd.DataFrame, position: int, pair: Any) -> tuple[str | None, ...]:
    found = list(pair) if pair is not None and not isinstance(pair, (str, dict)) else []
    if len(found) != 2 or not all(
        isinstance(item, dict) and isinstance(item.get("text"), str) for item in found
    ):
        file, row = place(frame, position)
        raise UserError(
            f"{file}, row {row}, column 'summaries': two objects with a text are expected "
            f"(the comparisons, not the axis ratings)"
        )
    return tuple(item["text"].strip() for item in found)
