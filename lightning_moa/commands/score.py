"""`moa score`: rewards of responses in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lightning_moa.commands.show import show
from lightning_moa.errors import UserError


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "score",
        help="score the responses of a file",
        description="Scores each response of a file of prompts and responses. Sources are what ppo.rewards takes: "
        "'module:name', a published model by name or as {model: ..., template: ..., index: ..., sign: ...}; with "
        "--results also trained and gold, and without --rewards all that the study measured.",
    )
    parser.add_argument("file", help="jsonl, json, csv or parquet, with columns prompt and response")
    parser.add_argument("--rewards", nargs="+", default=[], metavar="OBJECTIVE=SOURCE")
    parser.add_argument("--results", help="a folder of results, whose study trained the reward model")
    parser.add_argument("--seed", type=int, help="which of the study's seeds (default: the first)")
    parser.add_argument("--runs", help="the folder of the runs (default: where run.yaml says)")
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="MODULE:FUNCTION",
        help="a reward from outside that the study measured with: none is imported unless it is named here, or by "
        "--rewards",
    )
    parser.add_argument("--prompt-column", default="prompt", help="(default: prompt)")
    parser.add_argument("--response-column", default="response", help="(default: response)")
    parser.add_argument("--batch-size", type=int, default=32, help="texts scored at a time (default: 32)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--to", metavar="FILE.csv", help="write the rows with their rewards there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    import csv

    from lightning_moa.answers import load as load_answer
    from lightning_moa.inference.scoring import score_file, summary
    from lightning_moa.reporting.files import spreadsheet_text, write_atomically

    if options.to and Path(options.to).suffix != ".csv":
        raise UserError(f"--to {options.to}: allowed is .csv")
    named = [_source(word) for word in options.rewards]
    rewards = dict(named)
    if len(rewards) < len(named):
        raise UserError(
            f"--rewards {' '.join(options.rewards)}: an objective is there twice; allowed is once"
        )
    study = None if options.results is None else _study(options)
    scored = score_file(
        options.file,
        rewards,
        study,
        prompt_column=options.prompt_column,
        response_column=options.response_column,
        batch_size=options.batch_size,
        device=options.device,
        own=[load_answer(name, "--own") for name in options.own],
    )
    show(_table(summary(scored)))
    if options.to:
        text = spreadsheet_text(scored).to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        write_atomically(options.to, text)


def _study(options: argparse.Namespace) -> Any:
    """A method of the study and seed that trained the reward model, whichever: all learn from one."""
    from lightning_moa.inference.found import trained_policies

    found = trained_policies(options.results, options.runs)
    ours = [each for each in found if options.seed in (None, each.seed)]
    if not ours:
        seeds = ", ".join(map(str, dict.fromkeys(each.seed for each in found)))
        raise UserError(f"{options.results}: no seed {options.seed}; there are {seeds}")
    folders = dict.fromkeys(str(each.results) for each in ours)
    if len(folders) > 1:
        raise UserError(f"{options.results}: several studies, {', '.join(folders)}; name one")
    return ours[0]


def _source(word: str) -> tuple[str, Any]:
    """`objective=source`, the source in YAML."""
    import yaml

    name, equals, value = word.partition("=")
    if not equals or not name or not value:
        raise UserError(f"--rewards {word}: allowed is objective=source, such as concise=my_reward:brevity")
    if not value.startswith("{"):
        return name, value
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--rewards {word}: not YAML, {' '.join(str(error).split())}") from error


def _table(rows: Any) -> Any:
    import math

    from rich.table import Table
    from rich.text import Text

    names = [name for name in rows if not name.endswith("_se")]
    table = Table()
    for name in names:
        table.add_column(Text(name), justify="right" if f"{name}_se" in rows or name == "n" else "left")
    # A row taken out of the frame would have floats for its whole numbers.
    for row in rows.to_dict("records"):
        cells = []
        for name in names:
            if f"{name}_se" in rows:
                error = row[f"{name}_se"]
                cells.append(f"{row[name]:.4g}" + ("" if math.isnan(error) else f" ± {error:.2g}"))
            else:
                cells.append(str(row[name]))
        # Names are the file's: brackets in them are no markup.
        table.add_row(*map(Text, cells))
    table.caption = "mean ± standard error over responses; higher is better"
    return table
