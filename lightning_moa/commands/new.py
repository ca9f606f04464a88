"""`moa new method NAME`: a method of one's own to begin with, its test, and a script that compares it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("new", help="begin a method of one's own: its file, its test, and a script")
    parser.add_argument("what", choices=["method"])
    parser.add_argument("name", help="of its module: small letters, digits and underscores")
    parser.add_argument("--folder", default=".", help="where the files go (default: the working folder)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.scaffold import new_method

    for path in new_method(options.name, Path(options.folder)):
        print(path)
