"""The command `moa`: what can be asked of results without running a model.

    moa list                         every artefact of the papers, and how its claims stand
    moa compare RESULTS [RESULTS..]  fronts of several runs above one reference point
    moa new method NAME              a method of one's own: its file, its test, and a script that compares it
    moa plan SCRIPT [key=value ..]   memory, operations and hours that a script's runs would take

A command is a function that adds its parser; what it needs is imported when it runs, so that `--help` and a
mistyped command answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from lightning_moa import __version__
from lightning_moa.errors import UserError, warn
from lightning_moa.reporting.console import Parser, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `moa` with the arguments (the process's own if not given); returns the exit code."""
    return run_command(lambda: _dispatch(sys.argv[1:] if arguments is None else list(arguments)))


def _dispatch(arguments: list[str]) -> int | None:
    parser = Parser(prog="moa", description="Multi-objective alignment: results, compared and listed.")
    parser.add_argument("--version", action="version", version=f"moa {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for add in COMMANDS:
        add(commands)
    options = parser.parse_args(_join_reference(arguments))
    run: Callable[[argparse.Namespace], int | None] = options.run
    return run(options)


def _add_list(commands: Any) -> None:
    parser = commands.add_parser("list", help="list every artefact of the papers and how its claims stand")
    parser.add_argument("--root", help="the repository's root (default: the working folder)")
    parser.set_defaults(run=_list)


def _list(options: argparse.Namespace) -> None:
    from lightning_moa.reporting.catalogue import find_root, standings
    from lightning_moa.reporting.tables import catalogue_table

    _print(catalogue_table(standings(find_root(options.root))))


def _add_compare(commands: Any) -> None:
    parser = commands.add_parser("compare", help="compare the fronts of several runs")
    parser.add_argument(
        "results", nargs="+", help="points.csv files, folders of results, or folders above them"
    )
    parser.add_argument(
        "--space", help="gold, reward or accuracy (default: gold if all have it, else reward)"
    )
    parser.add_argument(
        "--reference",
        metavar="A,B,..",
        help="reference point of the hypervolume, one number per objective"
        " (default: the worst of all compared points, less a tenth of their range)",
    )
    parser.add_argument("--plot", metavar="FILE", help="draw the fronts, as .png or .pdf")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    from lightning_moa.reporting.compare import compare, load_runs
    from lightning_moa.reporting.tables import comparison_table

    runs = load_runs(options.results)
    comparison = compare(runs, options.space, _numbers(options.reference))
    for message in comparison.warnings:
        warn(message)
    _print(comparison_table(comparison))
    if options.plot:
        from lightning_moa.reporting.compare_plot import comparison_figure
        from lightning_moa.reporting.plots import save_figure

        save_figure(comparison_figure(runs, comparison.space), options.plot)


def _add_plan(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="estimate what a script's runs take, before any machine is rented",
        description="Estimates memory by kind, operations and hours of a script's runs, offline. The script's own "
        "key=value settings hold; devices=, nodes=, strategy=, precision= and optimiser= stand for hardware.*; gpu= "
        "is a GPU's memory in GiB, gpu_type= one of h100, h200, a100, a800, v100, utilisation= the share of its peak "
        "that runs reach (0.35), rows= the rows of the training split where they are not published.",
    )
    parser.add_argument("script", help="such as experiments/panacea/figure4.py")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="of the script, and of the plan")
    parser.add_argument("--csv", metavar="FILE", help="write the rows there, too, with every digit")
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> None:
    from pathlib import Path

    from lightning_moa.forecast.plan import parse_options, plan_of
    from lightning_moa.reporting.files import write_atomically
    from lightning_moa.reporting.plan_table import plan_csv, plan_table

    chosen, words = parse_options(options.settings)
    found = plan_of(Path(options.script), chosen, words)
    from lightning_moa.forecast.memory import KINDS, MARGIN

    for message in found.warnings:
        warn(message)
    title = f"{options.script} {' '.join(options.settings)}: {found.processes} devices"
    _print(plan_table(found.rows, chosen.gib, MARGIN, title))
    hours = sum(row.hours * row.count for row in found.rows)
    print(
        f"An estimate, ± {MARGIN:.0%} of the memory as checked on CPUs, not on GPUs; batches as long as settings allow."
        f"\n{hours:.3g} hours in all, {hours * found.processes:.3g} device-hours, at {chosen.utilisation:.0%} of a "
        f"{chosen.gpu_type}'s peak ({chosen.gpu.flops / 1e12:g} TFLOP/s, {chosen.gpu.bandwidth / 1e12:g} TB/s)."
    )
    for note in found.notes:
        print(note)
    if options.csv:
        write_atomically(Path(options.csv), plan_csv(found.rows, chosen.gib, MARGIN, KINDS))


def _add_new(commands: Any) -> None:
    parser = commands.add_parser("new", help="begin a method of one's own: its file, its test, and a script")
    parser.add_argument("what", choices=["method"])
    parser.add_argument("name", help="of its module: small letters, digits and underscores")
    parser.add_argument("--folder", default=".", help="where the files go (default: the working folder)")
    parser.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> None:
    from pathlib import Path

    from lightning_moa.scaffold import new_method

    for path in new_method(options.name, Path(options.folder)):
        print(path)


def _join_reference(arguments: list[str]) -> list[str]:
    """`--reference -1,-2` as one argument: argparse would take what begins with a minus for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--reference":
            joined[-1] = f"--reference={argument}"
        else:
            joined.append(argument)
    return joined


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(
            f"--reference {text}; allowed are numbers with commas between, such as -1,0.5"
        ) from error


def _print(table: Any) -> None:
    from rich.console import Console

    # A pipe has no width to fit; wide enough that rows stay on one line there.
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)


COMMANDS = (_add_list, _add_compare, _add_plan, _add_new)

if __name__ == "__main__":
    sys.exit(main())
