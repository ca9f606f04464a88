"""`moa compare`: fronts of several runs above one reference point."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.show import numbers, show
from lightning_moa.errors import warn

FORMATS = ("table", "markdown", "csv", "latex", "json")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare the fronts of several runs",
        description="Puts the methods of several runs above one reference point, and warns where the runs differ in "
        "what numbers hang on besides the methods: data, held-out prompts, decoding, base model, reward models, "
        "commit, library versions. Regrets under different weights of the KL or over different preferences have no "
        "difference.",
    )
    parser.add_argument(
        "results", nargs="+", help="points.csv files, folders of results, or folders above them"
    )
    parser.add_argument(
        "--space",
        help="gold, judge, reward or accuracy (default: the first of the former three that all have)",
    )
    parser.add_argument(
        "--reference",
        metavar="A,B,..",
        help="reference point of the hypervolume, one number per objective"
        " (default: the worst of all compared points, less a tenth of their range)",
    )
    parser.add_argument(
        "--baseline", metavar="METHOD", help="show the others' differences to this method, paired by seed"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="take runs of one artefact and scale as one: its seeds, made apart",
    )
    parser.add_argument(
        "--columns",
        metavar="OURS=THEIRS,..",
        help="for CSV files of another form: which of their columns holds what, such as "
        "method=algo,seed=run,reward_helpful=score_h,reward_harmless=score_s,lambda_helpful=w_h,lambda_harmless=w_s",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="(default: table)")
    parser.add_argument("--plot", metavar="FILE", help="draw the fronts, as .png or .pdf")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.reporting.compare import compare
    from lightning_moa.reporting.compare_formats import FORMATS
    from lightning_moa.reporting.foreign import parse_columns
    from lightning_moa.reporting.loaded import load_runs, merged

    columns = None if options.columns is None else parse_columns(options.columns)
    runs = load_runs(options.results, columns)
    if options.merge:
        runs = merged(runs)
    reference = numbers(options.reference, "--reference")
    comparison = compare(runs, options.space, reference, baseline=options.baseline)
    for message in comparison.warnings:
        warn(message)
    show(FORMATS[options.format](comparison))
    if options.plot:
        from lightning_moa.reporting.compare_plot import comparison_figure
        from lightning_moa.reporting.plots import save_figure

        save_figure(comparison_figure(runs, comparison.space), options.plot)
