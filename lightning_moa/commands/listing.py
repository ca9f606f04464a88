"""`moa list`: every artefact of the papers, and how its claims stand."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.show import show


def add(commands: Any) -> None:
    parser = commands.add_parser("list", help="list every artefact of the papers and how its claims stand")
    parser.add_argument("--root", help="the repository's root (default: the working folder)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.reporting.catalogue import find_root, standings
    from lightning_moa.reporting.tables import catalogue_table

    show(catalogue_table(standings(find_root(options.root))))
