"""The files by which the processes of one user on one machine know of each other's limits."""

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Final

from otelflow._core.process import forks, losses
from otelflow._core.process.directories import state_directory
from otelflow._core.process.files import Folder
from otelflow._core.process.process import State
from otelflow._core.text.safe_str import comes_from_outside

_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.ASCII)
_NO_FILES: Final = "Limits hold in this process only: their files cannot be used (%s)"


class _Files(State):
    """The folder, held open, for as long as the environment names the same one."""

    folder: Folder | None = None

    def reset(self) -> None:
        """Have no folder."""
        folder, self.folder = self.folder, None
        if folder is not None:
            folder.close()


_lock: Final = forks.new_lock()
_files: Final = _Files()


def directory() -> Path:
    """Return where the files lie: beside the local store. Raises ConfigurationError where the user has no home."""
    return state_directory("the files of limits", "set XDG_STATE_HOME to a directory") / "limits"


def file_name(limit: str) -> str:
    """Return what the files of *limit* are called: another name for each, whatever characters it has."""
    if _PLAIN.fullmatch(limit):
        return limit
    plain = re.sub(r"[^a-z0-9_-]", "_", limit.lower()[:40])
    return f"{plain}.{hashlib.sha256(limit.encode(errors='surrogatepass')).hexdigest()[:24]}"


def open_file(name: str) -> int | None:
    """Return a descriptor of the file *name*, made if it is not there; None, said once, where there can be none."""
    if sys.platform == "win32":  # it has no such locks
        return None
    try:
        with _lock:
            if _files.folder is None or _files.folder.path != directory() or not _files.folder.is_open:
                _files.reset()
                folder = Folder.reached(directory(), is_made=True)
                folder.make_private()
                _files.folder = folder
            return _files.folder.open(name, os.O_RDWR | os.O_CREAT)
    except (OSError, ValueError) as error:  # a full disk, no home, a folder of another user
        warn_of_memory(error)
        return None


def warn_of_memory(error: Exception) -> None:
    """Say once that limits hold in this process only, for *error*; raise it if it was meant for the program."""
    if comes_from_outside(error):  # a time limit is an OSError, too
        raise error
    losses.warn_once("limits", _NO_FILES, error)
