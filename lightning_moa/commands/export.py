"""`moa export`: a trained policy at one preference, as stock libraries load it."""

from __future__ import annotations

import argparse
from typing import Any

from lightning_moa.commands.asking import add_choice, load_chosen


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write a trained policy as a stock peft adapter or a whole model, with a model card",
        description="Writes a trained policy at one preference as a LoRA that stock peft loads, or merged into a whole "
        "model, with its tokenizer and a model card: objectives, preference, data, metrics, limits.",
    )
    add_choice(parser)
    parser.add_argument(
        "--preference", metavar="a=.3,b=.7", help="a weight for each objective, on the simplex"
    )
    parser.add_argument("--merged", action="store_true", help="a whole model instead of an adapter")
    parser.add_argument("--to", metavar="FOLDER", required=True, help="new, or empty")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.inference.preferences import parse_preference

    preference = None if options.preference is None else parse_preference(options.preference)
    loaded = load_chosen(options)
    from lightning_moa.inference.export import base_of, export

    opened = export(loaded, options.to, preference, policy=options.policy, merged=options.merged)
    base, revision = base_of(loaded)
    at = (
        ""
        if opened.preference is None
        else f" at {' '.join(f'{each:g}' for each in opened.preference.tolist())}"
    )
    print(
        f"{options.to}: {opened.deployed.name}{at}, {'merged' if options.merged else f'an adapter of {base}'}"
    )
    if revision is not None and not options.merged:
        print(f"revision {revision}")
