"""`moa watch`: a study in progress."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.show import show
from lightning_moa.errors import UserError


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "watch",
        help="watch a study in progress: its runs, losses, rewards and remaining time",
        description="Shows what the studies of a runs folder are at: runs under way with their losses and, with "
        "trainer.callbacks=[lightning_moa:GridRewards], their rewards on the grid; runs that failed, were stopped or "
        "killed; and the remaining time. It reads what runs write, and writes nothing. In a terminal it goes on until "
        "Ctrl-C; in a pipe, or with --once, it prints once.",
    )
    parser.add_argument("runs", nargs="?", default="runs", help="the folder of the runs (default: runs)")
    parser.add_argument("--once", action="store_true", help="print once")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks (default: 2)")
    parser.add_argument(
        "--last", type=int, default=3, help="trainings shown of those that a study finished last (default: 3)"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="numbers shown whose names begin so, such as loss or grid/; may be given again (default: all)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if not 0.2 <= options.every <= 86400:
        raise UserError(f"--every {options.every:g}: must be at least 0.2 seconds, and at most a day's 86400")
    if options.last < 0:
        raise UserError(f"--last {options.last}: must be at least 0")
    import time

    from rich.console import Console
    from rich.live import Live

    from lightning_moa.watch.view import View
    from lightning_moa.watch.watcher import Watcher

    watcher = Watcher(options.runs)

    def look() -> View:
        return View(watcher.runs, watcher.look(options.last), options.only)

    console = Console()
    if options.once or not console.is_terminal:
        show(look())
        return
    try:
        with Live(look(), console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(options.every)
                live.update(look(), refresh=True)
    except KeyboardInterrupt:
        console.print(look())
