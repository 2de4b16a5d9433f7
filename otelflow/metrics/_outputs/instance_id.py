"""An instance id that the next process on this host takes over, and that no two processes have at once.

With OpenTelemetry's own, which is random, each run of a nightly job would make new series, all born at 1: unbounded in
number, and blind for ``increase()``. Without one, the workers of a service would overwrite each other's numbers.
"""

import contextlib
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Final

_MOST: Final = 256


class Instance:
    """Holds the lowest free number of *service* on this host, for the life of the process; ``id`` is made of it."""

    def __init__(self, service: str) -> None:
        self._file: int | None = None
        number = f"pid{os.getpid()}"  # where nothing can be locked
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # noqa: PLC0415 not on Windows

            folder = _own_folder()
            for candidate in range(_MOST):
                path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', service)[:100]}.{candidate}"
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:  # another process has it
                    os.close(file)
                    continue
                self._file, number = file, str(candidate)
                break
        self.id = f"{socket.gethostname()}-{number}"

    def release(self) -> None:
        """Let another process have the number."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _own_folder() -> Path:
    """Return a folder of this user alone: in a shared one, another user's file could stand in the way."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"otelflow-instances-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != user:
        raise PermissionError(folder)
    return folder
