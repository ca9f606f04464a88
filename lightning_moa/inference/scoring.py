"""Rewards of responses in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers.utils.logging import disable_progress_bar

from lightning_moa.data.base import PreferenceData
from lightning_moa.data.files import format_of, read_local, texts
from lightning_moa.data.registry import DATASETS, build
from lightning_moa.errors import UserError
from lightning_moa.inference.found import TrainedMethod
from lightning_moa.inference.loading import accelerator_of
from lightning_moa.inference.sources import allow
from lightning_moa.reporting.files import without_apostrophe
from lightning_moa.rewards import Rewards, RuleRewards
from lightning_moa.rewards.sources import FUNCTION, GOLD, TRAINED, Source, build_sources, parse_sources
from lightning_moa.turns import recalled

# A bar per loaded model says nothing to who wants scores.
disable_progress_bar()

APART = ("method", "seed", "policy")
"""Columns, with those of a preference, whose values are told apart in the summary."""


def score_file(
    path: str | Path,
    rewards: Mapping[str, Any],
    study: TrainedMethod | None = None,
    *,
    prompt_column: str = "prompt",
    response_column: str = "response",
    batch_size: int = 32,
    device: str = "cpu",
    own: Sequence[Any] = (),
) -> pd.DataFrame:
    """The rows of a file of prompts and responses, with a column `reward_<objective>` for each source.

    Args:
        path: jsonl, json, csv or parquet; of a csv, `spreadsheet_text`'s apostrophes are no part. A prompt in the form
            of `turns.readable` is the conversation that it was.
        rewards: objective to source, as `ppo.rewards` takes them: 'module:name', a model, `trained` or `gold`. Empty:
            all that the study's measurements have, `gold_<objective>` columns beside them where its world knows them.
        study: which says what `trained` and `gold` are.
        prompt_column, response_column: in the file.
        batch_size: texts that a model scores at a time.
        device: where models are put.
        own: functions from outside of this package that the study measured with: none is imported by its own word.

    Raises:
        UserError: a file without these columns, a row without a text, or with rewards already; or a source that
            is none.
    """
    frame = pd.concat(read_local(path, by_name=False, key="FILE").values())
    if format_of(Path(path)) == ".csv":
        frame = frame.map(lambda cell: without_apostrophe(cell) if isinstance(cell, str) else cell)
    prompts, responses = (_whole(frame, column, path) for column in (prompt_column, response_column))
    prompts = [recalled(prompt) for prompt in prompts]
    found: dict[str, Any] = {}
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: must be at least 1")
    accelerator_of(device)
    for prefix, source in _sources(rewards, study, batch_size, device, own).items():
        for name, column in zip(source.objectives, source.scores(prompts, responses).T, strict=True):
            found[f"{prefix}_{name}"] = column
    there = [name for name in found if name in frame]
    if there:
        raise UserError(f"{path}: has a column {there[0]} already; allowed is a file without it")
    return frame.assign(**found)


def summary(scored: pd.DataFrame) -> pd.DataFrame:
    """Mean of each reward and its standard error, for each method, seed, policy and preference that the file tells
    apart: columns `<reward>` and `<reward>_se`, and `n` responses. A column that is called like a reward and holds
    texts is none."""
    columns = [
        name for name in map(str, scored) if name.startswith(("reward_", "gold_")) and _numeric(scored[name])
    ]
    keys = [name for name in map(str, scored) if name in APART or name.startswith("lambda_")]
    groups = scored.groupby(keys, sort=False, dropna=False) if keys else [((), scored)]
    rows = []
    for key, group in groups:
        row: dict[str, Any] = {**dict(zip(keys, key, strict=True)), "n": len(group)}
        for column in columns:
            values = group[column].to_numpy(np.float64)
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
            row |= {column: values.mean(), f"{column}_se": error}
        rows.append(row)
    return pd.DataFrame(rows)


def _numeric(column: pd.Series) -> bool:
    try:
        column.to_numpy(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _whole(frame: pd.DataFrame, column: str, path: str | Path) -> list[str]:
    found = texts(frame, column)
    empty = next((i for i, text in enumerate(found, 1) if text is None), None)
    if empty is not None or not found:
        raise UserError(
            f"{path}: column {column!r}, row {empty or 1} has no text; allowed is one in each row"
        )
    return [text for text in found if text is not None]


def _sources(
    given: Mapping[str, Any], study: TrainedMethod | None, batch_size: int, device: str, own: Sequence[Any]
) -> dict[str, Rewards]:
    """Prefix of columns to what scores."""
    if study is None:
        if not given:
            raise UserError(
                "--rewards: none; allowed is objective=source, or the results of a study by --results"
            )
        return {"reward": _build(given, list(given), None, None, batch_size, device)}
    if not given:
        return measured_rewards(study, batch_size, device, own)
    spec, folder = _spec_and_trained(study)
    return {"reward": _build(given, list(given), _gold(spec), folder, batch_size, device)}


def measured_rewards(
    study: TrainedMethod, batch_size: int = 32, device: str = "cpu", own: Sequence[Any] = ()
) -> dict[str, Rewards]:
    """What a study's responses were scored by: `reward`, what it measured with, where it did; `gold`, where its world
    knows.

    Args:
        batch_size: texts that a model scores at a time.
        device: where models are put.
        own: as for `score_file`.

    Raises:
        UserError: a function from outside that `own` does not hold.
    """
    spec, folder = _spec_and_trained(study)
    gold = _gold(spec)
    found: dict[str, Rewards] = {}
    if spec["rewards"]:
        sources = {name: Source.from_json(each) for name, each in spec["rewards"].items()}
        for source in sources.values():
            if source.kind == FUNCTION:
                allow(source.name, own, "lightning_moa.rewards.")
        found["reward"] = build_sources(
            sources,
            spec["objectives"],
            gold=gold,
            trained_folder=folder,
            batch_size=batch_size,
            device=device,
        )
    if gold is not None:
        found["gold"] = RuleRewards(gold)
    return found


def _spec_and_trained(study: TrainedMethod) -> tuple[dict[str, Any], Path | None]:
    """The measurement's settings, and the folder of the reward model that the study trained, if it did."""
    measured = study.measured()
    trained = measured["inputs"].get("rewards")
    return measured["spec"], None if trained is None else study.runs / trained / "model"


def _build(
    given: Mapping[str, Any],
    objectives: Sequence[str],
    gold: Mapping[str, Any] | None,
    folder: Path | None,
    batch_size: int,
    device: str,
) -> Rewards:
    sources = parse_sources("--rewards", given, TRAINED, objectives, has_gold=True)
    for name, source in sources.items():
        if source.kind == GOLD and gold is None:
            raise UserError(f"--rewards {name}=gold: only the world of a study by --results has gold rewards")
        if source.kind == TRAINED and folder is None:
            raise UserError(
                f"--rewards {name}=trained: only a study by --results has a model trained on its pairs"
            )
    return build_sources(
        sources, objectives, gold=gold, trained_folder=folder, batch_size=batch_size, device=device
    )


def _gold(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """The true rewards of the study's world; None for other data."""
    data = data_of(spec)
    return None if data is None else data.gold_rewards()


def data_of(spec: Mapping[str, Any]) -> PreferenceData | None:
    """The data set of a study; None for one from outside, which is not imported by a folder's word."""
    data = spec["data"]
    if data["name"] not in DATASETS:
        return None
    return build(DATASETS[data["name"]].config(**data), spec["objectives"])
