"""`moa policies`: the policies that a study has trained, and where they lie."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.show import show


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "policies", help="list the policies that a study has trained, by method, preference and seed"
    )
    parser.add_argument("results", help="a folder of results, or one above such folders")
    parser.add_argument("--runs", help="the folder of the runs (default: where run.yaml says)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    import os

    from rich.table import Table
    from rich.text import Text

    from lightning_moa.inference.found import trained_policies
    from lightning_moa.inference.preferences import shown

    found = trained_policies(options.results, options.runs)
    several = len({each.results for each in found}) > 1
    table = Table()
    for heading in (*(["results"] if several else []), "method", "seed", "used as", "trained for", "folder"):
        table.add_column(heading, overflow="fold")
    for each in found:
        for folder, (_, preference) in zip(each.folders, each.policies, strict=True):
            at = "-" if preference is None else shown(preference)
            where = os.path.relpath(folder) if folder.is_dir() else f"{os.path.relpath(folder)} (not here)"
            head = [os.path.relpath(each.results)] if several else []
            cells = (*head, each.method, str(each.seed), each.deployment, at, where)
            # As they are: brackets in a name or a path are no markup.
            table.add_row(*map(Text, cells))
    show(table)
