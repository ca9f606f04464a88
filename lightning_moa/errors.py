"""The one kind of error that is the user's to mend; and what a user is told besides."""

from __future__ import annotations

import sys


class UserError(ValueError):
    """Bad input: a wrong key, value, path, file or preference.

    The message is one line that says what is wrong, where, and what is allowed. Commands print it
    without a traceback and exit with code 2; in a library call it is an ordinary `ValueError`.
    """


class Stopped(Exception):
    """A training was told to stop by a signal, and has left a checkpoint to go on from.

    Args:
        message: one line, how far it has come.
        signum: the signal.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message, signum)
        self.message = message
        self.signum = signum

    def __str__(self) -> str:
        return self.message


def warn(message: str) -> None:
    """A line `warning: ...` on stderr."""
    print(f"warning: {message}", file=sys.stderr)
