"""An instance id that the next process on this host takes over, and that no two processes have at once.

With OpenTelemetry's own, which is random, each run of a nightly job would make new series, all born at 1: unbounded in
number, and blind for ``increase()``. Without one, the workers of a service would overwrite each other's numbers.
"""

import contextlib
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from otelflow._core.process.files import Folder, lock

_MOST: Final = 256


class Instance:
    """Holds the lowest free number of *service* on this host, for the life of the process; ``id`` is made of it."""

    def __init__(self, service: str) -> None:
        self._file: int | None = None
        number = f"pid{os.getpid()}"  # where nothing can be locked
        stem = re.sub(r"[^A-Za-z0-9._-]", "_", service)[:100]
        with contextlib.suppress(OSError), _own_folder() as folder:
            for candidate in range(_MOST):
                file = folder.open(f"{stem}.{candidate}", os.O_RDWR | os.O_CREAT)
                if lock(file):
                    self._file, number = file, str(candidate)
                    break
                os.close(file)  # another process has it
        self.id = f"{socket.gethostname()}-{number}"

    def release(self) -> None:
        """Let another process have the number."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _own_folder() -> Folder:
    """Return a folder of this user alone, held open: in a shared one, another user's file could stand in the way."""
    if sys.platform == "win32":
        raise OSError("nothing can be locked")
    user = os.geteuid()
    path = Path(tempfile.gettempdir()).resolve() / f"otelflow-instances-{user}"
    path.mkdir(mode=0o700, exist_ok=True)
    folder = Folder(path)
    if folder.status().st_uid != user:
        folder.close()
        raise PermissionError(path)
    folder.make_private()
    return folder
