"""`moa plan`: what a script's runs would take."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.show import show
from lightning_moa.errors import warn


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="estimate what a script's runs take, before any machine is rented",
        description="Estimates memory by kind, operations and hours of a script's runs, offline. The script's own "
        "key=value settings hold; devices=, nodes=, strategy=, precision= and optimiser= stand for hardware.*; gpu= "
        "is a GPU's memory in GiB, gpu_type= one of h100, h200, a100, a800, v100, or cpu_core, utilisation= the share "
        "of its peak that runs reach (0.35; of a core 1), rows= the rows of the training split where they are not "
        "published.",
    )
    parser.add_argument("script", help="such as experiments/panacea/figure4.py")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="of the script, and of the plan")
    parser.add_argument("--csv", metavar="FILE", help="write the rows there, too, with every digit")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from pathlib import Path

    from lightning_moa.forecast.plan import plan_of
    from lightning_moa.reporting.files import write_atomically
    from lightning_moa.reporting.plan_table import plan_csv, plan_table

    found = plan_of(Path(options.script), options.settings)
    chosen = found.options
    from lightning_moa.forecast.memory import KINDS, MARGIN

    for message in found.warnings:
        warn(message)
    title = f"{options.script} {' '.join(options.settings)}: {found.processes} devices"
    show(plan_table(found.rows, chosen.gib, MARGIN, title))
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
