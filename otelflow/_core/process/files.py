"""Files in a folder that is held open: no symbolic link leads out of it, and no lock outlives its process."""

import contextlib
import errno
import os
import secrets
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from otelflow._core.text.safe_str import comes_from_outside

if sys.platform != "win32":
    import fcntl
    import resource

# Windows has no way to name a file by the folder that holds it: there, paths are checked before they are used.
_HAS_FOLDER_DESCRIPTORS: Final = os.open in os.supports_dir_fd and os.unlink in os.supports_dir_fd
# Without O_NONBLOCK a FIFO in a file's place would block its reader for ever.
_FLAGS: Final = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
#: The rights of a folder in which other users can put files
WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_PIECE: Final = 1024 * 1024
# To pass through a folder, one needs no right to read it.
_ON_THE_WAY: Final = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
_MOST_LINKS: Final = 40


class StoredFile(NamedTuple):
    """One regular file of a folder; *modified* in seconds since 1970."""

    name: str
    size: int
    modified: float


class Folder:
    """A folder that is held open; a symbolic link in its place, or in a file's place, is refused with an OSError."""

    def __init__(self, path: Path, parent: "Folder | None" = None, descriptor: int = -1) -> None:
        self.path = path
        if descriptor < 0 and _HAS_FOLDER_DESCRIPTORS:
            name, place = parent.address(path.name) if parent else (str(path), None)
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=place)
        self._descriptor = descriptor
        self._file = OpenFile(descriptor) if descriptor >= 0 else None
        if self._file is None and not stat.S_ISDIR(os.lstat(path).st_mode):
            raise NotADirectoryError(f"{path} is no folder")

    @classmethod
    def reached(cls, path: Path, *, is_made: bool = False, may_be_link: bool = False) -> Self:
        """Return the folder at the absolute *path*, held open; when *is_made*, what is missing is made private.

        A symbolic link on the way to it is followed, unless another user has put it into a folder that others can
        write: then it is an OSError. So is a link in its own place, unless it *may_be_link*.
        """
        if _HAS_FOLDER_DESCRIPTORS:
            return cls(path, descriptor=_descriptor_of(path, is_made=is_made, may_be_link=may_be_link))
        if is_made:
            path.mkdir(parents=True, exist_ok=True)
        return cls(path.resolve() if may_be_link else path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        if self._file is not None:
            self._file.close()
        self._descriptor = -1

    @property
    def is_open(self) -> bool:
        """Whether the folder is still held open, and the program has not closed it."""
        return self._file is None or self._file.status() is not None

    def address(self, name: str) -> tuple[str, int | None]:
        """Return the path and the ``dir_fd`` with which the functions of ``os`` reach the file *name*."""
        return (name, self._descriptor) if _HAS_FOLDER_DESCRIPTORS else (str(self.path / name), None)

    def status(self) -> os.stat_result:
        """Return owner, mode and times of the folder itself."""
        return os.fstat(self._descriptor) if _HAS_FOLDER_DESCRIPTORS else os.lstat(self.path)

    def make_private(self) -> None:
        """Let only its owner into the folder."""
        if _HAS_FOLDER_DESCRIPTORS:
            os.fchmod(self._descriptor, stat.S_IRWXU)

    def keep_open(self) -> "OpenFile":
        """Return the folder as a file that is to stay open: so long systemd-tmpfiles, which tidies, looks into none."""
        file = OpenFile(os.dup(self._descriptor))
        hold(file.descriptor)
        return file

    def names(self) -> list[str]:
        """Return the names of everything in the folder."""
        with os.scandir(self._descriptor if _HAS_FOLDER_DESCRIPTORS else self.path) as entries:
            return [entry.name for entry in entries]

    def file(self, name: str) -> StoredFile | None:
        """Return the regular file *name*; None for a link, a folder, a device, and for a file that is gone."""
        path, descriptor = self.address(name)
        try:
            status = os.stat(path, dir_fd=descriptor, follow_symlinks=False)
        except OSError:  # another process may have removed it
            return None
        return StoredFile(name, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None

    def changed(self, name: str) -> float:
        """Return when content or status of the file *name* was changed last, which nobody can set; 0 if it is gone."""
        path, descriptor = self.address(name)
        try:
            return os.stat(path, dir_fd=descriptor, follow_symlinks=False).st_ctime
        except OSError:
            return 0.0

    def subfolder(self, name: str, *, is_made: bool = False) -> "Folder":
        """Return the folder *name*, held open; one that is missing is made when *is_made*."""
        path, descriptor = self.address(name)
        if is_made:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, stat.S_IRWXU, dir_fd=descriptor)
        return Folder(self.path / name, self)

    def open(self, name: str, flags: int) -> int:
        """Return a descriptor of the regular file *name*; a new file is private."""
        path, descriptor = self.address(name)
        if not _HAS_FOLDER_DESCRIPTORS and Path(path).is_symlink():
            raise OSError(f"{path} is a symbolic link")
        file = os.open(path, flags | _FLAGS, stat.S_IRUSR | stat.S_IWUSR, dir_fd=descriptor)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(f"{self.path / name} is no regular file")
        return file

    def read(self, name: str, limit: int) -> bytes:
        """Return the first *limit* bytes of the file *name*."""
        pieces = []
        with os.fdopen(self.open(name, os.O_RDONLY), "rb") as file:
            # In pieces, because read(limit) would ask for all of that memory at once.
            while limit > 0 and (piece := file.read(min(limit, _PIECE))):
                pieces.append(piece)
                limit -= len(piece)
        return b"".join(pieces)

    def write(
        self, name: str, content: bytes, mode: int = stat.S_IRUSR | stat.S_IWUSR, modified: float | None = None
    ) -> None:
        """Make or replace the file *name* by one step: others see the old content or the new, and *mode* with it.

        It is *modified* now, or at that time, in seconds since 1970.
        """
        part = f".{name}-{secrets.token_hex(4)}"
        try:
            with os.fdopen(self.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                hold(file.fileno())
                file.write(content)
                if modified is not None and os.utime in os.supports_fd:
                    file.flush()  # what is written later would be a change of now
                    os.utime(file.fileno(), (modified, modified))
                if _HAS_FOLDER_DESCRIPTORS:
                    os.fchmod(file.fileno(), mode)
                unlock(file.fileno())
            self.rename(part, name)
        except BaseException:
            self.remove(part)
            raise

    def rename(self, name: str, new_name: str) -> None:
        """Let the file *name* be called *new_name* by one step."""
        (source, descriptor), (target, _) = self.address(name), self.address(new_name)
        os.replace(source, target, src_dir_fd=descriptor, dst_dir_fd=descriptor)

    def touch(self, name: str) -> None:
        """Let the file *name* be modified now."""
        path, descriptor = self.address(name)
        os.utime(path, dir_fd=descriptor, follow_symlinks=not _HAS_FOLDER_DESCRIPTORS)

    def remove(self, name: str) -> bool:
        """Remove the file *name*; return whether it is gone."""
        path, descriptor = self.address(name)
        try:
            os.unlink(path, dir_fd=descriptor)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def _descriptor_of(path: Path, *, is_made: bool, may_be_link: bool) -> int:
    """Open the folder at *path*, one name after the other: replacing a folder meanwhile leads nowhere else."""
    names = [*reversed(path.parts[1:])]
    links = 0
    place = os.open(path.anchor, (_ON_THE_WAY if names else os.O_RDONLY) | _FLAGS)
    try:
        while names:
            name = names.pop()
            try:
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            except FileNotFoundError:
                if not is_made:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, stat.S_IRWXU, dir_fd=place)
                status = os.stat(name, dir_fd=place, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode) and (names or may_be_link) and links < _MOST_LINKS:
                links += 1
                check_link(name, status, os.fstat(place))
                names += reversed(Path(os.readlink(name, dir_fd=place)).parts)
                continue
            kind = _ON_THE_WAY if names else os.O_RDONLY | os.O_DIRECTORY
            place, before = os.open(name, kind | _FLAGS, dir_fd=place), place
            os.close(before)
    except BaseException:
        os.close(place)
        raise
    return place


def check_link(name: str, link: os.stat_result, folder: os.stat_result) -> None:
    """Raise OSError if the symbolic link *name* with this status was put into that folder by just anybody.

    It is the rule by which Linux protects links in sticky folders (``fs.protected_symlinks``), for every folder that
    others can write.
    """
    is_shared = folder.st_mode & WRITABLE_BY_OTHERS
    if is_shared and link.st_uid not in (os.geteuid(), 0, folder.st_uid):
        raise OSError(errno.ELOOP, f"another user has put the symbolic link {name!r} into its way")


class OpenFile:
    """A file that stays open for long, by its *descriptor*, which is looked at before each use.

    A program may close what it has not opened, as daemons do: then the number is free, or that of another file.
    """

    __slots__ = ("_identity", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._identity = _identity(os.fstat(descriptor))

    def status(self) -> os.stat_result | None:
        """Return size, links and times of the file; None if it is not open any more."""
        if self.descriptor < 0:
            return None
        try:
            status = os.fstat(self.descriptor)
        except OSError as error:
            if comes_from_outside(error):  # a time limit is one, too
                raise
            return None
        return status if (status.st_dev, status.st_ino) == self._identity else None

    def has_name_in(self, folder: Folder, name: str) -> bool:
        """Tell whether *name* leads to this file: one that was removed and made anew is another."""
        path, place = folder.address(name)
        try:
            return _identity(os.stat(path, dir_fd=place, follow_symlinks=False)) == self._identity
        except OSError:
            return False

    def close(self, *, is_unlocked: bool = False) -> None:
        """Close this file, once, and no other; give its lock back if that *is_unlocked* by it."""
        if self.status() is not None:
            if is_unlocked:
                unlock(self.descriptor)
            os.close(self.descriptor)
        self.descriptor = -1


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def hold(descriptor: int) -> bool:
    """Mark an open file as being written; the mark goes with the process, however that ends."""
    # On a file system without locks, readers look at the process id instead.
    return _flock(descriptor, is_shared=True) is not False


def lock(descriptor: int) -> bool | None:
    """Lock an open file for this process; False while another one has it, None where nothing can be locked."""
    return _flock(descriptor, is_shared=False)


def _flock(descriptor: int, *, is_shared: bool) -> bool | None:
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if comes_from_outside(error):
            raise
        return None
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back, also where a child that was forked meanwhile has the open file, too: closing it would not."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            if comes_from_outside(error):
                raise


def is_held(descriptor: int) -> bool | None:
    """Return whether a process holds the file; None on a system that cannot tell."""
    is_locked = lock(descriptor)
    if is_locked:
        unlock(descriptor)
    return None if is_locked is None else not is_locked


def largest_file() -> int:
    """Return how large a file of this process may become, in bytes, as ``ulimit -f`` says."""
    if sys.platform == "win32":
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def is_running(pid: int) -> bool:
    """Return whether a process has this id; in doubt it has."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
