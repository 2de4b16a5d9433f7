"""Where values are kept: a folder, the memory of this process, an address for fsspec, or an object of the user's.

Each value has a name, 64 hexadecimal digits that are made of its key.
"""

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from otelflow._core.process import forks
from otelflow._core.process.directories import state_directory
from otelflow._core.process.files import StoredFile
from otelflow._core.process.ids import new_id
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.results.folder import ResultFolder
from otelflow._core.results.records import LARGEST_RECORD
from otelflow._core.text.redaction import redact_address
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError, MissingExtra


@runtime_checkable
class ResultStorage(Protocol):
    """Keeps bytes by name: what ``result_storage`` takes besides a folder or an address.

    A name is 64 hexadecimal digits. Methods are called on the threads of the runs, several at a time; of an exception
    that they raise a warning is logged, and the task runs as if nothing were kept.

    >>> from otelflow.results import ResultStorage
    >>> class Shelf(dict):
    ...     def read(self, name):
    ...         return self.get(name)
    ...     def write(self, name, content):
    ...         self[name] = content
    >>> shelf: ResultStorage = Shelf()
    >>> shelf.write("0" * 64, b"value")
    >>> shelf.read("0" * 64)
    b'value'
    """

    def read(self, name: str) -> bytes | None:
        """Return what is kept under *name*, or None."""

    def write(self, name: str, content: bytes) -> None:
        """Keep *content* under *name*, in the place of what was there, as one step for those that read."""


class FolderStorage:
    """Keeps values as files in the folder *path* (str or path), private to this user; it is made when it is needed.

    Files are replaced by one step, no symbolic link is followed, and a folder that others can write is refused with an
    OSError. With *max_bytes* and *max_age* (seconds) the files that are too old go, and the oldest of too many.
    Raises ConfigurationError for a path that cannot be used.

    >>> from otelflow.results import FolderStorage
    >>> storage = FolderStorage("kept")
    >>> storage.write("0" * 64, b"value")
    >>> storage.read("0" * 64), storage.read("1" * 64)
    (b'value', None)
    >>> unlock = storage.acquire("0" * 64)
    >>> storage.acquire("0" * 64) is None
    True
    >>> unlock()
    >>> storage.forget(lambda file, content: True)  # what otelflow itself has not written stays
    0
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int | None = None, max_age: float | None = None
    ) -> None:
        self.path: Final = _absolute(path)
        check_limits("FolderStorage", max_bytes=max_bytes, max_age=max_age)
        self._folder: Final = ResultFolder(self.path, max_bytes, max_age)

    def read(self, name: str) -> bytes | None:
        """Return the content of the file *name*, or None."""
        return self._folder.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Keep *content* as the file *name*."""
        self._folder.write(name, content)

    def acquire(self, name: str) -> Callable[[], None] | None:
        """Return a function that gives the lock of *name* back, or None while another has it, in any process.

        The lock goes with its process, however that ends.
        """
        return self._folder.acquire(name)

    def forget(self, is_meant: Callable[[StoredFile, bytes], bool]) -> int:
        """Remove the values for which *is_meant* says so, told the file and its content. Returns how many."""
        return self._folder.forget(is_meant)

    def __repr__(self) -> str:
        return f"FolderStorage({str(self.path)!r})"


class MemoryStorage:
    """Keeps values in the memory of this process: at most *max_bytes*, then those go that were not read for longest.

    >>> from otelflow.results import MemoryStorage
    >>> storage = MemoryStorage()
    >>> storage.write("0" * 64, b"value")
    >>> storage.read("0" * 64)
    b'value'
    """

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        check_limits("MemoryStorage", max_bytes=max_bytes)
        self._max_bytes: Final = max_bytes
        self._lock: Final = forks.new_lock()
        self._contents: Final[OrderedDict[str, bytes]] = OrderedDict()
        self._size = 0

    def read(self, name: str) -> bytes | None:
        """Return what is kept under *name*, or None."""
        with self._lock:
            content = self._contents.get(name)
            if content is not None:
                self._contents.move_to_end(name)
            return content

    def write(self, name: str, content: bytes) -> None:
        """Keep *content* under *name*."""
        with self._lock:
            self._size -= len(self._contents.pop(name, b""))
            if len(content) > self._max_bytes:
                return  # the others would have to go, and it would not fit
            self._size += len(content)
            self._contents[name] = content
            while self._size > self._max_bytes:
                self._size -= len(self._contents.popitem(last=False)[1])

    def __repr__(self) -> str:
        return "the memory of this process"


class _AddressStorage:
    """Keeps values where *url* leads, with fsspec. It has no lock: several processes may make a value at once.

    Object stores replace an object by one step, as is done here with a local file. Elsewhere, who reads while a value
    is written may get a part of it, which is refused by its first line and made anew.
    """

    def __init__(self, url: str) -> None:
        try:
            fsspec = import_module("fsspec")  # an extra
        except ImportError:
            raise MissingExtra("fsspec") from None
        self._system, self._folder = fsspec.core.url_to_fs(url)
        self._folder = self._folder.rstrip("/")
        self._url = redact_address(url)
        protocol = self._system.protocol
        self._is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def __repr__(self) -> str:
        return self._url

    def read(self, name: str) -> bytes | None:
        try:
            with self._system.open(f"{self._folder}/{name}", "rb") as file:
                content: bytes = file.read(LARGEST_RECORD)
                return content
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        try:
            self._put(name, content)
        except Exception:  # noqa: BLE001 each system says in its own way that the folder is missing
            # Not before: to make one in an object store may take rights that nothing else here takes.
            self._system.makedirs(self._folder, exist_ok=True)
            self._put(name, content)

    def _put(self, name: str, content: bytes) -> None:
        path = f"{self._folder}/{name}"
        if not self._is_local:
            self._system.pipe_file(path, content)
            return
        part = Path(new_id(f"{self._folder}/.{name}-"))
        try:
            self._system.pipe_file(str(part), content)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


class _Default(State):
    """The storages that need no name: made when they are asked for, once per process."""

    folder: FolderStorage | None
    memory: MemoryStorage | None

    def reset(self) -> None:
        """Have neither."""
        self.folder = self.memory = None


_default: Final = _Default()
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z0-9+.-]+)*://", re.IGNORECASE)
_DAY: Final = 24 * 60 * 60


def default_storage() -> FolderStorage:
    """Return the folder that the settings name, within their limits. Raises ConfigurationError."""
    if _default.folder is None:
        in_force = settings()
        _default.folder = FolderStorage(
            in_force.results or state_directory("values to be kept", "set OTELFLOW_RESULTS to a directory") / "results",
            max_bytes=in_force.results_max_bytes,
            max_age=in_force.results_max_age_days * _DAY,
        )
    return _default.folder


def storage_of(owner: str, choice: object) -> ResultStorage | None:
    """Return the storage that *choice* names or is; None: the default one, which is found when it is needed.

    Raises ConfigurationError that names *owner*, MissingExtra.
    """
    if choice is None:
        return None
    if choice == "memory":
        _default.memory = _default.memory or MemoryStorage()
        return _default.memory
    try:
        if isinstance(choice, str) and _URL.match(choice):
            return _AddressStorage(choice)
        if isinstance(choice, str | os.PathLike):
            return FolderStorage(choice)
    except ConfigurationError as error:
        raise ConfigurationError(f"{owner}: {error}") from None
    except (ValueError, ImportError, OSError) as error:
        if isinstance(error, MissingExtra):
            raise
        reason = brief_repr(str(error), 200)
        raise ConfigurationError(f"{owner}: result_storage={choice!r} cannot be used: {reason}") from None
    if isinstance(choice, type) or not isinstance(choice, ResultStorage):
        raise ConfigurationError(
            f"{owner}: result_storage must be a folder, an address such as 's3://bucket/results', 'memory', or an "
            f"object with read() and write(), not {brief_repr(choice, 60)}"
        )
    return choice


def check_limits(owner: str, **limits: object) -> None:
    """Raise ConfigurationError for one of *limits* that is no number from 0 on, and not None."""
    for name, limit in limits.items():
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 0):
            raise ConfigurationError(f"{owner}: {name} must be a number from 0 on, not {brief_repr(limit, 60)}")


def _absolute(path: object) -> Path:
    text: object = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if not isinstance(text, str):
        raise ConfigurationError(f"result_storage={brief_repr(path, 60)} is no path; name a folder")
    if not text or "\0" in text:
        raise ConfigurationError(f"result_storage={text!r} is no path; name a folder")
    try:
        os.fsencode(text)
        return Path(text).expanduser().absolute()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(f"result_storage={text!r} is no usable path: {error}") from None
