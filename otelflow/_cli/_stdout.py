"""Let commands write when nobody reads it: stdout is closed, or a pipe whose reader is gone."""

import errno
import io
import os
import sys
from typing import Final, NoReturn

# These run a program, to which stdout belongs.
_RUN_PROGRAMS: Final = frozenset({"run", "resume", "demo", "serve", "exec"})


class _ClosedStdout(io.TextIOBase):
    """Stands in the place of a stdout that was closed before the command began: to write there is an OSError."""

    encoding = "utf-8"
    errors = "strict"

    @property
    def buffer(self) -> NoReturn:
        """Raise OSError: there is nothing that takes bytes."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "stdout")

    def write(self, text: str) -> int:
        """Raise OSError, unless there is nothing to write."""
        return self.buffer if text else 0


def keep_standard_descriptors() -> None:
    """Let no file that is opened later have the number of a standard stream that is closed: it would be written to."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one


def use_stdout(command: str) -> None:
    """Let *command* fail when it writes to a stdout that is closed, unless it runs a program, which knows that."""
    if isinstance(sys.stdout, _ClosedStdout) and command in _RUN_PROGRAMS:
        sys.stdout = None
    elif sys.stdout is None and command not in _RUN_PROGRAMS:
        sys.stdout = _ClosedStdout()


def is_unread() -> bool:
    """Tell whether the reader of stdout has gone: typer then puts a stream that takes everything in its place."""
    return type(sys.stdout).__name__ == "PacifyFlushWrapper"
