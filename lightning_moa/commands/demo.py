"""`moa demo`: a local page on trained policies."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lightning_moa.commands.asking import add_choice
from lightning_moa.errors import UserError

if TYPE_CHECKING:
    from lightning_moa.demo.answers import Choice


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="a local page: move the preference of trained policies, and see their answers change",
        description="Serves a page for a browser on this machine: a prompt's answers at a preference, beside the "
        "reference's and the corners', with their rewards. It ends with Ctrl-C. Needs the extra: "
        "pip install lightning_moa[demo].",
    )
    add_choice(parser, several=True)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8000, help="(default: 8000)")
    parser.add_argument(
        "--known-as",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that browsers know this machine by, where --host lets others in",
    )
    parser.add_argument(
        "--longest-prompt", type=int, default=2000, help="characters that a prompt may have (default: 2000)"
    )
    parser.add_argument(
        "--waiting", type=int, default=16, help="requests that may wait behind the one answered (default: 16)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.demo.installed import check_installed

    check_installed()
    for name, least in (("port", 1), ("longest_prompt", 1), ("waiting", 0)):
        if getattr(options, name) < least:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be at least {least}")
    if options.port > 65535:
        raise UserError(f"--port {options.port}: must be at most 65535")
    from lightning_moa.demo.answers import Answers
    from lightning_moa.demo.server import LOCAL, app, serve
    from lightning_moa.inference.loading import accelerator_of

    # Here, since a page is no place to hear of it first.
    accelerator_of(options.device or "cpu")
    answers = Answers(_choices(options), options.policy, options.device or "cpu")
    hosts = {*LOCAL, options.host, *options.known_as}
    made = app(answers, hosts=hosts, longest=options.longest_prompt, waiting=options.waiting)
    serve(made, options.host, options.port)


def _choices(options: argparse.Namespace) -> list[Choice]:
    from lightning_moa.answers import load as load_answer
    from lightning_moa.demo.choices import choices

    own = [load_answer(name, "--own") for name in options.own]
    return choices(
        options.results, options.method, seed=options.seed, runs=options.runs, own=own, device=options.device
    )
