"""Methods compared in one call: trained, measured and judged, without a script or a file of settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from threadpoolctl import threadpool_limits

from lightning_moa.answers import is_foreign
from lightning_moa.config import parse
from lightning_moa.data.registry import DATASETS
from lightning_moa.errors import UserError
from lightning_moa.methods.products import Product
from lightning_moa.reporting.claims import Row, judge
from lightning_moa.reporting.margins import of_metric
from lightning_moa.reporting.plots import front_figure, save_figure
from lightning_moa.reporting.run_record import plain, read_run_record
from lightning_moa.reporting.statistics import metric_difference
from lightning_moa.study.chosen import schema_of
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, Tables, judged, print_summary
from lightning_moa.study.script import end_in_a_line
from lightning_moa.workers import cores, leave_if_imported


@dataclass(frozen=True)
class Comparison:
    """What a call of `run_study` has left: in memory, and in `folder`."""

    tables: Tables
    """`points`, `accuracies` and `metrics`, one row a policy and preference, or a method and seed."""
    claims: pd.DataFrame
    """For each two methods whether the first spans more: value, interval over seeds, verdict."""
    picture: Path
    folder: Path


def run_study(
    methods: Mapping[str, Product],
    data: str | Path = "synthetic",
    seeds: Sequence[int] = (0, 1, 2),
    *,
    labels: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    name: str = "compared",
    results_dir: str | Path = "results",
    runs_dir: str | Path = "runs",
    workers: int | None = None,
) -> Comparison:
    """Train and measure the methods, and print the table, the verdicts and where the picture is.

    What is trained is kept in `runs_dir`, so a second call does only what is missing. In a script the call stands under
    `if __name__ == "__main__":`, for workers import it.

    Args:
        methods: at least two, by their names.
        data: a data set's name, 'module:Class', or a file of pairs.
        seeds: of the trainings; verdicts need two.
        labels: objective -> label column of a file of pairs; '-column' reverses it.
        settings: any other keys of a study, such as {"dpo.steps": 100, "model.path": "<hub id>"}.
        name: of the folder `<results_dir>/own/<name>/own`. Results of other settings in it are not written over, unless
            `settings` has {"replace": True}.
        results_dir, runs_dir: where results and trained policies go.
        workers: processes that train side by side; None: one a core.

    Raises:
        UserError: a mistake in what was given, or results of other settings in the folder.
        RunsFailed: names the runs that failed; the others are kept.
        Stopped: a signal came; a line for each training, which has left a checkpoint.

    Where a script catches none of them, it ends with their lines and the exit codes of `moa.script`.
    """
    leave_if_imported()
    end_in_a_line()
    if len(methods) < 2:
        raise UserError(f"run_study: {len(methods)} method(s) given; at least two are compared")
    words = _words(data, labels or {}, {**(settings or {}), "seeds": list(map(plain, seeds))})
    config: Any = parse(schema_of(methods), words, None, methods)
    config.results_dir = config.results_dir or str(results_dir)
    config.runs_dir = config.runs_dir or str(runs_dir)
    config.workers = workers or config.workers or cores()
    console = Console()
    artefact = Artefact.begin("own", name, config)
    _keep_another(artefact.folder, methods, config.replace)
    with threadpool_limits(limits=1):
        collected = conduct(config, methods, console)
    tables = artefact.tables(collected)
    judgement = judged(lambda reference: _claims(tables.at(reference), list(methods), collected.space))
    artefact.write(collected, tables, judgement)
    picture = artefact.folder / "fronts.png"
    fronts = {}
    if collected.exact is not None:
        gold = [f"gold_{objective}" for objective in collected.objectives]
        fronts["gold"] = collected.exact.front[gold].to_numpy()
    title = ", ".join(methods)
    save_figure(front_figure(tables.points, spaces=[collected.space], fronts=fronts, title=title), picture)
    print_summary(console, artefact, collected, tables, judgement, [picture])
    return Comparison(tables, judgement.claims, picture, artefact.folder)


def _keep_another(folder: Path, methods: Mapping[str, Product], replace: bool) -> None:
    """Raise `UserError` where the folder holds the results of other methods."""
    record = (None if replace else read_run_record(folder / "run.yaml")) or {}
    there = list(dict.fromkeys(each["method"] for each in record.get("policies") or []))
    if there and set(there) != set(methods):
        raise UserError(
            f"{folder}: holds a comparison of {', '.join(there)}; another name=... keeps it, and "
            'settings={"replace": True} writes over it'
        )


def _claims(tables: Tables, methods: Sequence[str], space: str) -> list[Row]:
    """Of each two methods, in their order: whether the first spans more."""
    rows = []
    for first, second in combinations(methods, 2):
        gap = metric_difference(tables.metrics, "hypervolume", first, second, space)
        what = f"difference of hypervolume ({space})"
        margin = of_metric(tables.metrics, "hypervolume", first, second, space)
        claim = f"{first} spans more than {second}"
        rows.append(judge(claim, "asked", what, gap, ">", 0, margin=margin, whose="ours"))
    return rows


def _words(data: str | Path, labels: Mapping[str, str], settings: Mapping[str, Any]) -> list[str]:
    """The same as `key=value` words of a command line."""
    text = str(data)
    if text in DATASETS or is_foreign(text):
        words = [f"data={text}"]
    elif Path(text).exists():
        words = ["data=pairs", f"data.path={text}"]
    else:
        raise UserError(
            f"data={text}: there is no such file, and no data set of that name; these are {', '.join(DATASETS)}"
        )
    words += [f"data.labels.{objective}={column}" for objective, column in labels.items()]
    for key, given in settings.items():
        value = plain(given)
        try:
            words.append(f"{key}={value if isinstance(value, str) else json.dumps(value)}")
        except (TypeError, ValueError) as error:
            raise UserError(f"run_study: {key}={value!r} can't be written as JSON ({error})") from error
    return words
