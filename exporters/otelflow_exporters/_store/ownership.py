"""Which folder is a store, and which files in it are the store's own: nothing else is ever written or removed.

A folder becomes a store when it is new or empty; from then on a marker in it says so. The store's files have names that
only the store makes, and content that fits. A folder of an earlier version, which has no marker, is taken over if
everything in it is the store's own in this sense.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import sys
from pathlib import Path
from typing import Final

from otelflow._core.process.files import WRITABLE_BY_OTHERS, Folder, StoredFile
from otelflow.errors import StoreUnreadable
from otelflow_exporters._store.records import LARGEST_SEGMENT, is_segment

MARKER: Final = "OTELFLOW_STORE"
#: What such a folder may be, and the variable that names it
VARIABLES: Final = {"store": "OTELFLOW_STORE", "spool": "OTELFLOW_SPOOL_DIR"}
PAYLOADS: Final = "payloads"
#: The files in a spool that say for whom it is, and whether that answers; how those end that say what was sent
DESTINATION: Final = "OTELFLOW_DESTINATION.txt"
ANSWERS: Final = "OTELFLOW_ANSWERS.txt"
PROGRESS: Final = ".sent"
#: The folders in a spool in which signals other than spans wait
INNER_SPOOLS: Final = frozenset({"logs", "metrics"})
#: What the name of a segment begins with before it is held and has its first records
UNFINISHED: Final = "."
#: Whatever the limits: the largest payload that is looked at
LARGEST_PAYLOAD: Final = 1024 * 1024 * 1024

_VERSION: Final = b"otelflow store 1\n"
_SEGMENT_NAME: Final = re.compile(r"\d{8}T\d{6}\.\d{6}Z-(\d{1,10})-[0-9a-f]{8}\.otlp")
_PAYLOAD_NAME: Final = re.compile(r"[0-9a-f]{64}")
_PART_NAME: Final = re.compile(r"\.[0-9a-f]{64}-[0-9a-f]{8}")
_PART_DIGITS: Final = re.compile(r"[0-9a-f]{8}")


def open_store(directory: Path, *, is_made: bool = False, kind: str = "store") -> Folder:
    """Return the store's folder, held open; when *is_made*, a missing or empty folder becomes a store.

    A spool is a store in which spans wait: *kind* is what errors call it.

    Raises FileNotFoundError when there is none, StoreUnreadable when the folder is not the store's own.
    """
    try:
        folder = Folder.reached(directory, is_made=is_made)
    except FileNotFoundError:
        raise
    except OSError as error:
        if directory.is_symlink():
            raise _refusal(
                kind, directory, "is a symbolic link; name the folder that it leads to in {variable}"
            ) from None
        raise unreadable(kind, directory, error) from error
    try:
        _check_owner(folder, directory, kind)
        _check_marker(folder, kind, is_made=is_made)
    except BaseException:
        folder.close()
        raise
    return folder


def open_payloads(store: Folder, *, is_made: bool = False, kind: str = "store") -> Folder:
    """Return the folder of the payloads, held open. Raises FileNotFoundError when there is none, StoreUnreadable."""
    try:
        folder = store.subfolder(PAYLOADS, is_made=is_made)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = f"has something else than a folder of its own as {PAYLOADS}; remove it, or name another folder in "
        raise _refusal(kind, store.path, reason + "{variable}") from error
    try:
        _check_owner(folder, store.path, kind)
    except BaseException:
        folder.close()
        raise
    return folder


def segment_files(store: Folder) -> list[StoredFile]:
    """Return the files that are called as segments are, the one that was written last first."""
    files = (store.file(name) for name in store.names() if _SEGMENT_NAME.fullmatch(name))
    return sorted(filter(None, files), key=lambda file: file.modified, reverse=True)


def unfinished_names(store: Folder) -> list[str]:
    """Return what segments were called that were not begun yet, and files that were to replace others."""
    return list(filter(_is_unfinished, store.names()))


def _is_unfinished(name: str) -> bool:
    if not name.startswith(UNFINISHED):
        return False
    name = name.removeprefix(UNFINISHED)
    whole, _, digits = name.rpartition("-")
    return bool(_SEGMENT_NAME.fullmatch(name)) or (_PART_DIGITS.fullmatch(digits) is not None and _is_of_spool(whole))


def payload_files(payloads: Folder) -> list[StoredFile]:
    """Return the files that are called as payloads are, and the parts of those that were cut short."""
    names = (name for name in payloads.names() if _PAYLOAD_NAME.fullmatch(name) or _PART_NAME.fullmatch(name))
    return list(filter(None, map(payloads.file, names)))


def writer_of(name: str) -> int:
    """Return the id of the process that made the segment *name*."""
    match = _SEGMENT_NAME.fullmatch(name)
    return int(match[1]) if match else 0


def is_own_segment(store: Folder, file: StoredFile) -> bool:
    """Return whether the store wrote this file: its name and its content say so."""
    if not _SEGMENT_NAME.fullmatch(file.name) or file.size > LARGEST_SEGMENT:
        return False
    try:
        return is_segment(store.read(file.name, LARGEST_SEGMENT))
    except OSError:
        return False


def is_own_payload(payloads: Folder, file: StoredFile) -> bool:
    """Return whether the store wrote this file: its name is the hash of its content, or that of an unfinished one."""
    if _PART_NAME.fullmatch(file.name):
        return True
    if not _PAYLOAD_NAME.fullmatch(file.name) or file.size > LARGEST_PAYLOAD:
        return False
    try:
        with os.fdopen(payloads.open(file.name, os.O_RDONLY), "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.name
    except OSError:
        return False


def _refusal(kind: str, directory: Path | None, reason: str) -> StoreUnreadable:
    return StoreUnreadable(f"The {kind} {directory} {reason.replace('{variable}', VARIABLES[kind])}")


def unreadable(kind: str, directory: Path | None, error: OSError) -> StoreUnreadable:
    """Return what says that *error* keeps *directory* from being read, and what to do about it."""
    if error.errno in (errno.EMFILE, errno.ENFILE):  # of this process, or of the machine
        cure = "too many files are open: raise the limit (ulimit -n), or close some"
    else:
        cure = "check its permissions, or name another directory in {variable}"
    return _refusal(kind, directory, f"cannot be read ({error.strerror or error}); {cure}")


def _check_owner(folder: Folder, directory: Path, kind: str) -> None:
    """Refuse a folder in which another user can put files. Windows has its own ways, which are not looked at."""
    if sys.platform == "win32":
        return
    status = folder.status()
    if status.st_uid != os.geteuid():
        raise _refusal(kind, directory, "belongs to another user; name a folder of your own in {variable}")
    if status.st_mode & WRITABLE_BY_OTHERS:
        raise _refusal(
            kind,
            directory,
            f"can be written by other users (mode {stat.S_IMODE(status.st_mode):04o}); run chmod 700 {folder.path}, "
            "or name another folder in {variable}",
        )


def _check_marker(store: Folder, kind: str, *, is_made: bool) -> None:
    """Refuse a folder that has no marker of ours and holds anything else; mark it when *is_made*."""
    with contextlib.suppress(FileNotFoundError):
        open_payloads(store, kind=kind).close()
    if store.file(MARKER) is not None:
        try:
            content = store.read(MARKER, 100)
        except OSError:
            content = b"?"
        # It is empty for the moment between the making of the file and its writing.
        if content not in (b"", _VERSION):
            raise _refusal(
                kind, store.path, f"has a file {MARKER} that this version did not write; name another folder"
            )
        return
    if not all(_is_own(store, name) for name in store.names()):
        reason = "holds files of others; name a new or empty folder in {variable}, such as "
        raise _refusal(kind, store.path, reason + str(store.path / "traces"))
    if is_made:
        store.make_private()
        # Another process that makes the same store is no trouble, nor is a marker that it has made.
        with (
            contextlib.suppress(FileExistsError),
            os.fdopen(store.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as marker,
        ):
            marker.write(_VERSION)


def _is_own(store: Folder, name: str) -> bool:
    """Return whether the store made the file or folder *name*; one that has gone meanwhile, another process made."""
    if name == PAYLOADS:
        with open_payloads(store) as payloads:
            files = [payloads.file(payload) for payload in payloads.names()]
            return all(file is not None and is_own_payload(payloads, file) for file in files)
    if name in INNER_SPOOLS:
        with contextlib.suppress(OSError), store.subfolder(name) as inner:
            names = inner.names()
            return MARKER in names or not names  # another thread or process is about to mark it
    file = store.file(name)
    if file is None:
        return name not in store.names()
    # The marker is the oldest file of all: who removes what is old removes it first.
    is_known = name == MARKER or _is_unfinished(name) or (_is_of_spool(name) and not name.endswith(".otlp"))
    return is_known or is_own_segment(store, file)


def _is_of_spool(name: str) -> bool:
    return name in (DESTINATION, ANSWERS) or bool(_SEGMENT_NAME.fullmatch(name.removesuffix(PROGRESS)))
