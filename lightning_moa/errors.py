"""The one kind of error that is the user's to mend; and what a user is told besides."""

from __future__ import annotations

import sys


class UserError(ValueError):
    """Bad input: a wrong key, value, path, file or preference.

    The message is one line that says what is wrong, where, and what is allowed. Commands print it
    without a traceback and exit with code 2; in a library call it is an ordinary `ValueError`.
    """


class BrokenContract(UserError):
    """An answer does not do what its room asks of it; found at a training's first update, or before."""


class NotFinite(UserError):
    """Numbers that an update can't be made of. In a training that is no bad input, but the end of that training."""


class Diverged(RuntimeError):
    """A training can't go on from where it is; the message says what happened, when, and what to try."""


class Stopped(BaseException):
    """A signal has stopped what was under way; a training has left a checkpoint to go on from.

    No `Exception`, as `KeyboardInterrupt` is none: it may come up anywhere, and nobody but who starts a study may take
    it for an error.

    Args:
        message: a line for each run that was under way, how far it has come.
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
