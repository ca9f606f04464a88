"""The command `moa`: results listed and compared, what was trained put to use, runs planned.

moa list                         every artefact of the papers, and how its claims stand
moa compare RESULTS [RESULTS..]  fronts of several runs above one reference point
moa report RESULTS --to FOLDER   results as a static site, to be opened from the disk
moa policies RESULTS             the policies that a study has trained, and where they lie
moa generate RESULTS             responses of a trained policy, at several preferences side by side
moa demo RESULTS                 a local page: move a policy's preference, see its answers change
moa export RESULTS               a trained policy as stock libraries load it, with a model card
moa score FILE                   rewards of responses in a file
moa watch RUNS                   a study in progress: its runs, losses, rewards, remaining time
moa plan SCRIPT [key=value ..]   memory, operations and hours that a script's runs would take
moa unpack NAME FOLDER           a pretrained model of the package index as a folder of safetensors
moa new method NAME              a method of one's own: its file, its test, and a script that compares it
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from lightning_moa import __version__
from lightning_moa.commands import (
    compare,
    demo,
    export,
    generate,
    listing,
    new,
    plan,
    policies,
    report,
    score,
    unpack,
    watch,
)
from lightning_moa.reporting.console import Parser, run_command

COMMANDS = (listing, compare, report, policies, generate, demo, export, score, watch, plan, unpack, new)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `moa` with the arguments (the process's own if not given); returns the exit code."""
    return run_command(lambda: _dispatch(sys.argv[1:] if arguments is None else list(arguments)))


def _dispatch(arguments: list[str]) -> int | None:
    parser = Parser(prog="moa", description="Multi-objective alignment: results, policies and plans.")
    parser.add_argument("--version", action="version", version=f"moa {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(_join_reference(arguments))
    run: Callable[[Namespace], int | None] = options.run
    return run(options)


def _join_reference(arguments: list[str]) -> list[str]:
    """`--reference -1,-2` as one argument: argparse would take what begins with a minus for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--reference":
            joined[-1] = f"--reference={argument}"
        else:
            joined.append(argument)
    return joined


if __name__ == "__main__":
    sys.exit(main())
