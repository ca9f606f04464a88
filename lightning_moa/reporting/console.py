"""What a command says to its user when something is wrong: one line, no traceback."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lightning_moa.errors import UserError

BAD_INPUT = 2
"""Exit code of a command that was given bad input."""
INTERRUPTED = 130
NOT_READ = 1
"""Exit code of a command whose reader, such as `head`, has gone; rich's own is the same."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are UserErrors, so that they too are one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code.

    A UserError becomes the line `error: ...` on stderr and exit code 2. Other exceptions are ours to mend and
    keep their traceback.
    """
    try:
        code = command() or 0
        # What is still held back is written now, where a reader that has gone is no surprise.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_READ
    except UserError as error:
        # One line, whatever a user's own code has said in several.
        print(f"error: {' '.join(map(str.strip, str(error).splitlines()))}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
