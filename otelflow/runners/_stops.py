"""How a task in another process of this machine hears that nobody needs it any more: by a file, which is there then."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final


class Stop:
    """Tells the process that runs a call to wait no longer: for its next attempt, for a limit, for a cached value."""

    def __init__(self) -> None:
        #: Of no file until it is given, and nobody guesses it; empty if there is no folder to write to
        self.path = ""
        with contextlib.suppress(OSError):
            self.path = str(Path(tempfile.gettempdir()) / f"otelflow-stop-{secrets.token_hex(16)}")
        self._is_given = self._is_over = False

    def give(self) -> None:
        """Make the file, as long as the call has not ended."""
        if self._is_over or not self.path:
            return
        self._is_given = True
        with contextlib.suppress(OSError):  # a full disk, or it is there already
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if self._is_over:  # it has ended meanwhile
            self.clear()

    def clear(self) -> None:
        """Remove the file: the call has ended."""
        self._is_over = True
        if self._is_given:
            with contextlib.suppress(OSError):
                Path(self.path).unlink()


class SubmittedElsewhere:
    """The submitted task that runs here, in another process than its flow."""

    def __init__(self, stop_path: str) -> None:
        self._stop_path: Final = stop_path

    @property
    def is_cancel_asked(self) -> bool:
        """Whether it was cancelled meanwhile."""
        return os.path.exists(self._stop_path)  # noqa: PTH110 that of a Path may raise

    def end(self) -> None:
        """Remove the file when the task has ended: who made it may be gone by then."""
        if self._stop_path:
            with contextlib.suppress(OSError):  # nearly always it was never there
                Path(self._stop_path).unlink()
