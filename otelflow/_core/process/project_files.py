"""Which ``pyproject.toml`` files are read, and for what: the folder that a program is started in decides little.

The nearest file of the working folder may set what is harmless anywhere. The one of the program that runs, beside its
own script or package, may set everything, unless another user could have written it.
"""

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from otelflow._core.process import losses
from otelflow._core.process.process import State

if TYPE_CHECKING:
    from pathlib import Path

# The time to read TOML grows with the square of the parts of a key: a file of a stranger must not hang the program.
_MOST_BYTES: Final = 100_000
_MOST_DOTS: Final = 50


class ProjectFile(NamedTuple):
    """One file that is read; *distrust* says why only harmless settings are taken from it, empty if all are."""

    path: "Path"
    distrust: str


class _Program(State):
    """The file of the program that runs, where that is not the interpreter's own ``__main__``."""

    path: str

    def reset(self) -> None:
        """Go by ``__main__``."""
        self.path = ""


_program: Final = _Program()


def use_program(path: str) -> None:
    """Take *path* for the file of the program: a command is about to run it."""
    _program.path = path


def project_files() -> list[ProjectFile]:
    """Return the files that are read; a later one wins."""
    from pathlib import Path  # noqa: PLC0415 some milliseconds, which an import need not take

    program = _program.path or getattr(sys.modules.get("__main__"), "__file__", None)
    folders = []
    with contextlib.suppress(OSError):  # the working folder was removed
        folders.append(Path.cwd())
    own = None
    if isinstance(program, str) and program:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # what a host has put there need be no path
            with contextlib.suppress(FileNotFoundError):  # such as what lies in an archive
                os.stat(program)  # noqa: PTH116 Path.resolve() takes a link that leads to itself for a file
            own = _nearest(Path(program).resolve().parent)
    files = [path for path in map(_nearest, folders) if path is not None and path != own]
    distrust = "it is not in the folders of the program that runs"
    return [
        *(ProjectFile(path, distrust) for path in files),
        *([ProjectFile(own, _distrust(own, program))] if own is not None and isinstance(program, str) else ()),
    ]


def read(file: ProjectFile) -> str:
    """Return the text of *file*, or nothing if it does not speak of otelflow. Raises OSError, UnicodeError."""
    with file.path.open("rb") as opened:
        content = opened.read(_MOST_BYTES + 1 if file.distrust else -1)
    if b"otelflow" not in content:
        return ""
    if file.distrust and (
        len(content) > _MOST_BYTES or any(line.count(b".") > _MOST_DOTS for line in content.splitlines())
    ):
        losses.warn_once(
            f"project file {file.path}",
            "%s is too large or too complex to be read, since %s (ignored)",
            file.path,
            file.distrust,
        )
        return ""
    return content.decode()


def _nearest(folder: "Path") -> "Path | None":
    candidates = (parent / "pyproject.toml" for parent in (folder, *folder.parents))
    # Path.is_file() raises where a folder must not be looked into, as services often may not above their own.
    return next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113


def _distrust(path: "Path", program: str) -> str:
    """Return why another user could have written *path*; Windows has its own ways, which are not looked at."""
    if sys.platform == "win32":
        return ""
    owners = {0, os.geteuid()}
    with contextlib.suppress(OSError):  # a package need not have a file of its own
        owners.add(os.stat(program).st_uid)  # noqa: PTH116 its code runs with all rights of this process already
    try:
        statuses = (path.lstat(), path.stat(), path.parent.stat())
    except OSError as error:
        return f"its owner cannot be seen ({error.strerror})"
    for status in statuses:
        if status.st_uid not in owners:
            return "it belongs to another user, or its folder does"
        is_private_group = status.st_gid == status.st_uid
        writable = stat.S_IWOTH | (0 if is_private_group else stat.S_IWGRP)
        # Nobody removes the file of another user from a sticky folder such as /tmp.
        if not stat.S_ISLNK(status.st_mode) and not status.st_mode & stat.S_ISVTX and status.st_mode & writable:
            return "it can be written by other users, or its folder can"
    return ""
