"""Options of the commands that load a trained policy, and what they make of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_moa.inference.loading import Loaded


def add_choice(parser: Any, *, several: bool = False) -> None:
    """Which of a study's policies; `several`: `--method` may be given several times, and is a list."""
    parser.add_argument("results", help="a folder of results, or of a policy: runs/<run>/policy")
    if several:
        words = "which of the study's; several times for several (default: all)"
        parser.add_argument("--method", action="append", help=words)
    else:
        parser.add_argument("--method", help="which of the study's (default: the only one)")
    parser.add_argument("--seed", type=int, help="which of its seeds (default: the first)")
    parser.add_argument("--runs", help="the folder of the runs (default: where run.yaml says)")
    parser.add_argument(
        "--policy", metavar="NAME", help="by name, where policies know no preference: 'head 0'"
    )
    parser.add_argument(
        "--own",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a class from outside that the method is made of: none is imported unless it is named here",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="(default: a GPU where there is one)")


def load_chosen(options: argparse.Namespace) -> Loaded:
    """What the options name, on its base."""
    from lightning_moa.answers import load as load_answer
    from lightning_moa.inference.found import chosen
    from lightning_moa.task_files import SIDECAR

    if not (Path(options.results) / SIDECAR).is_file():
        # What is wrong with a folder, a method or a seed is said before torch is imported, which takes seconds.
        chosen(options.results, options.method, options.seed, options.runs)
    from lightning_moa.inference.loading import load

    own = [load_answer(name, "--own") for name in options.own]
    return load(
        options.results, options.method, seed=options.seed, runs=options.runs, own=own, device=options.device
    )
