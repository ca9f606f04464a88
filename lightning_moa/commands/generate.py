"""`moa generate`: responses of a trained policy, at several preferences side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_moa.commands.asking import add_choice, load_chosen
from lightning_moa.commands.show import show
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from lightning_moa.inference.loading import Loaded

PROMPTS = 3
"""Of the study's held-out ones, where none are given."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="sample responses of a trained policy, at several preferences side by side",
        description="Samples a response to each prompt at each preference, with the same noise for all. Without "
        f"prompts, the first {PROMPTS} that the study measured are answered.",
    )
    add_choice(parser)
    parser.add_argument(
        "--preference",
        action="append",
        metavar="a=.3,b=.7",
        help="a weight for each objective, on the simplex; several times for several preferences",
    )
    prompts = parser.add_mutually_exclusive_group()
    prompts.add_argument(
        "--prompt", action="append", metavar="TEXT", help="several times for several prompts"
    )
    prompts.add_argument(
        "--prompts", metavar="FILE", help="a text file of a prompt a line, or a table with a column prompt"
    )
    parser.add_argument("--max-new-tokens", type=int, help="longest response (default: as measured)")
    parser.add_argument(
        "--temperature", type=float, help="0 takes the likeliest token (default: as measured)"
    )
    parser.add_argument("--top-p", type=float, help="(default: as measured)")
    parser.add_argument("--sample-seed", type=int, help="as evaluation.sample_seed (default: as measured)")
    parser.add_argument("--batch-size", type=int, default=32, help="prompts answered at a time (default: 32)")
    parser.add_argument(
        "--to",
        metavar="FILE",
        help="write the responses there, too: a .csv or .jsonl file; in a .csv an apostrophe stands before what a "
        "spreadsheet would take for a formula",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.inference.preferences import parse_preference

    if options.to and Path(options.to).suffix not in (".csv", ".jsonl"):
        raise UserError(f"--to {options.to}: allowed are .csv and .jsonl")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size}: must be at least 1")
    preferences: list[Any] = [parse_preference(text) for text in options.preference or []] or [None]
    given = _given(options)
    loaded = load_chosen(options)
    prompts = given or _measured(loaded)
    frame = _answers(loaded, prompts, preferences, options)
    show(_side_by_side(frame, prompts))
    if options.to:
        _write(frame, Path(options.to))


def _given(options: argparse.Namespace) -> list[str]:
    if options.prompts is None:
        return list(options.prompt or [])
    import io

    from lightning_moa.data.files import format_of, read_local, texts
    from lightning_moa.reporting.files import read_text, without_apostrophe
    from lightning_moa.turns import recalled

    file = Path(options.prompts)
    if format_of(file) is None:
        # What ends a line in a file, and not all that `splitlines` takes for an end, such as U+2028 within a text.
        lines = io.StringIO(read_text(file), newline=None)
        found = [line.removesuffix("\n") for line in lines if line.strip()]
    else:
        (frame,) = read_local(file, by_name=False, key="--prompts").values()
        given = [text for text in texts(frame, "prompt") if text]
        plain = [without_apostrophe(text) for text in given] if format_of(file) == ".csv" else given
        found = [recalled(text) for text in plain]
    if not found:
        raise UserError(f"--prompts {file}: no prompt in it")
    return found


def _measured(loaded: Loaded) -> list[str]:
    """The first prompts that the study's policies were measured on."""
    study = loaded.source.study
    if study is None:
        raise UserError("a policy's own folder tells no prompts: give --prompt or --prompts")
    return study.prompts(PROMPTS)


def _answers(
    loaded: Loaded, prompts: list[str], preferences: list[Any], options: argparse.Namespace
) -> pd.DataFrame:
    """A row for each preference and prompt."""
    import pandas as pd

    from lightning_moa.inference.loading import noise_of
    from lightning_moa.turns import readable

    study = loaded.source.study
    decoding = {
        "max_new_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": None if options.sample_seed is None else noise_of(options.sample_seed),
    }
    parts = []
    for number, preference in enumerate(preferences):
        opened = loaded.open(preference, options.policy)
        responses = loaded.answer(opened, prompts, options.batch_size, **decoding)
        weights = [None] * len(loaded.objectives) if opened.preference is None else opened.preference.tolist()
        part = pd.DataFrame(
            {
                "prompt": [readable(prompt) for prompt in prompts],
                "response": responses,
                "method": "" if study is None else study.method,
                "seed": loaded.spec["seed"],
                "policy": opened.deployed.name,
                **{f"lambda_{name}": value for name, value in zip(loaded.objectives, weights, strict=True)},
            }
        )
        parts.append(part.assign(number=number, title=_heading(loaded, opened, weights, options.policy)))
    return pd.concat(parts, ignore_index=True)


def _heading(loaded: Loaded, opened: Any, weights: list[float | None], asked: str | None) -> str:
    if opened.preference is None:
        return f"{opened.deployed.name} (knows no preference)"
    said = ", ".join(f"{name} {value:g}" for name, value in zip(loaded.objectives, weights, strict=True))
    which = "the nearest that was trained" if asked is None else "the policy that was named"
    return said if opened.distance < 1e-6 else f"{said} ({which})"


def _side_by_side(frame: pd.DataFrame, prompts: list[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from lightning_moa.turns import readable

    table = Table(show_lines=True)
    table.add_column("prompt", overflow="fold")
    columns = []
    for _, part in frame.groupby("number", sort=True):
        table.add_column(Text(part["title"].iloc[0]), overflow="fold")
        columns.append(part["response"].tolist())
    for i, prompt in enumerate(prompts):
        table.add_row(
            *(Text(_printable(text)) for text in (readable(prompt), *(column[i] for column in columns)))
        )
    return table


def _printable(text: str) -> str:
    """Without what would steer a terminal; line ends stay."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode()
        for each in text
    )


def _write(frame: pd.DataFrame, path: Path) -> None:
    import csv

    from lightning_moa.reporting.files import spreadsheet_text, write_atomically

    rows = frame.drop(columns=["number", "title"])
    if path.suffix == ".jsonl":
        write_atomically(path, rows.to_json(orient="records", lines=True, force_ascii=False))
    else:
        text = spreadsheet_text(rows).to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        write_atomically(path, text)
