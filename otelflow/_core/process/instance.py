"""An instance id that the next process on this host takes over, and that no two processes have at once.

With OpenTelemetry's own, which is random, each run of a nightly job would make new series, each starting at 1:
unbounded in number, and blind for ``increase()``. Without one, the workers of a service would overwrite each other's
numbers. Traces, log records and metrics of a process have the same.
"""

import contextlib
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from otelflow._core.process import forks
from otelflow._core.process.files import Folder, OpenFile, lock
from otelflow._core.process.process import State

_MOST: Final = 256


class _Instances(State):
    """The ids of this process by service, the locked files that keep others from having them, and its parents' ids."""

    def __init__(self) -> None:
        self.lock = forks.new_lock()
        self.ids: dict[str, str] = {}
        self.inherited: frozenset[str] = frozenset()
        self.files: list[OpenFile] = []
        super().__init__()

    def reset(self) -> None:
        """Have no id, and let another process have it."""
        self.begin_anew()
        self.inherited = frozenset()

    def begin_anew(self) -> None:
        """Leave the ids to the parent, which holds their locks on."""
        self.inherited = self.inherited.union(self.ids.values())
        while self.files:
            self.files.pop().close()
        self.ids.clear()


_instances: Final = _Instances()


def instance_id(service: str) -> str:
    """Return the id of this process among those of *service*: the host's name and the lowest number that is free.

    The number is held for the life of the process.
    """
    with _instances.lock:
        if service not in _instances.ids:
            _instances.ids[service] = f"{socket.gethostname()}-{_take_suffix(service)}"
        return _instances.ids[service]


def is_instance_id(text: object) -> bool:
    """Tell whether *text* is an id that this process or its parents took here, not one that was configured."""
    return text in _instances.inherited or text in _instances.ids.values()


def _take_suffix(service: str) -> str:
    """Return what tells this process from the others of *service* on this host: a number that it holds from now on."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", service)[:100]
    with contextlib.suppress(OSError), _own_folder() as folder:
        for candidate in range(_MOST):
            name = f"{stem}.{candidate}"
            file = OpenFile(folder.open(name, os.O_RDWR | os.O_CREAT))
            is_locked = lock(file.descriptor)
            if is_locked and file.has_name_in(folder, name):
                folder.touch(name)  # for those who tidy by time alone
                _instances.files += [file, folder.keep_open()]
                return str(candidate)
            file.close()  # another process has it
            if is_locked is None:
                break
    return f"pid{os.getpid()}"  # where nothing can be locked


def _own_folder() -> Folder:
    """Return a folder of this user alone, held open: in a shared one, another user's file could stand in the way."""
    if sys.platform == "win32":
        raise OSError("nothing can be locked")
    user = os.geteuid()
    chosen = tempfile.tempdir
    path = Path(tempfile.gettempdir()).resolve() / f"otelflow-instances-{user}"
    tempfile.tempdir = chosen  # it stays undecided until the program asks: only then is TMPDIR read
    path.mkdir(mode=0o700, exist_ok=True)
    folder = Folder(path)
    if folder.status().st_uid != user:
        folder.close()
        raise PermissionError(path)
    folder.make_private()
    return folder
