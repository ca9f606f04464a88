"""`moa report`: results as a static site."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.errors import warn


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="write results as a static site, to be opened from the disk",
        description="Writes a site of all results in and below the folders: an index with verdicts, a page for each "
        "artefact with its picture, fronts to explore, claims, configuration and files, a page for each method, and "
        "what `moa compare` says of any two. It needs no server and no network. Needs the extra: "
        "pip install lightning_moa[report].",
    )
    parser.add_argument(
        "results",
        nargs="*",
        default=["results"],
        help="folders of results, or folders above them (default: results)",
    )
    parser.add_argument("--to", metavar="FOLDER", required=True, help="new, empty, or a site to be replaced")
    parser.add_argument(
        "--runs",
        help="the folder of the runs, for the responses that were measured (default: none are shown)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from pathlib import Path

    from lightning_moa.pages.site import write_site

    written = write_site(options.results, options.to, options.runs)
    for problem in written.problems:
        warn(problem)
    if options.runs is not None:
        print(f"results with responses in {options.runs}: {written.measured}")
    size = f"{written.bytes / 1e6:.1f} MB"
    print(
        f"{written.results} result{'s' * (written.results != 1)}, {size}: open {Path(options.to) / 'index.html'}"
    )
