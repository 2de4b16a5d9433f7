"""Where the store is and how much it may keep."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, cast

from otelflow._core.process.directories import state_directory
from otelflow._core.process.environment import SWITCH
from otelflow._core.text.hints import nearest
from otelflow.errors import ConfigurationError

STORE_VARIABLE: Final = "OTELFLOW_STORE"
MAX_BYTES_VARIABLE: Final = "OTELFLOW_STORE_MAX_BYTES"
MAX_AGE_VARIABLE: Final = "OTELFLOW_STORE_MAX_AGE_DAYS"

_LARGEST_SEGMENT: Final = 16 * 1024 * 1024
# Room for a whole segment is kept for each process that writes one; of half of the limit, if they are very many.
_SEGMENTS: Final = 64
# The share that is kept free for payloads, which are not counted each time.
_PAYLOAD_ROOM_SHARE: Final = 16
_LONGEST_SEGMENT: Final = timedelta(days=1)
_LONGEST_AGE_DAYS: Final = 36_500
# As 'of' and 'off' are, and not yet 'tree' and 'true'
_ALIKE: Final = 0.76
_N = TypeVar("_N", int, float)


class Limits(NamedTuple):
    """How many bytes the store keeps, and how long, before it removes the oldest files; payloads count as well."""

    max_bytes: int = 256 * 1024 * 1024
    max_age: timedelta = timedelta(days=7)

    @property
    def segment_bytes(self) -> int:
        """Return the size at which a process begins its next segment at the latest, so that its older ones can go."""
        return max(1, min(_LARGEST_SEGMENT, self.max_bytes // _SEGMENTS))

    def segment_share(self, writers: int) -> int:
        """Return the size of a segment where so many processes write one: together they leave half to what has ended.

        >>> Limits(max_bytes=6_400).segment_share(32), Limits(max_bytes=6_400).segment_share(64)
        (100, 50)
        """
        return max(1, min(self.segment_bytes, self.max_bytes // (2 * max(1, writers))))

    @property
    def payload_room(self) -> int:
        """Return how many bytes pruning leaves free for payloads."""
        return self.max_bytes // _PAYLOAD_ROOM_SHARE

    @property
    def segment_age(self) -> timedelta:
        """Return the age at which a process begins its next segment, so that age limits hold for services too."""
        return min(_LONGEST_SEGMENT, self.max_age / 7)


def store_directory(directory: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the store's absolute directory: *directory*, else ``OTELFLOW_STORE``, else the platform's own.

    A text may say ``on``, which is the platform's own, or ``off``, which is None.
    """
    source = "directory"
    if directory is None:
        source = STORE_VARIABLE
        directory = os.environ.get(STORE_VARIABLE, "").strip() or "on"
    choice = SWITCH.get(directory.lower()) if isinstance(directory, str) else None
    if choice is not None:
        return default_directory() if choice else None
    return absolute(directory, source)


def default_directory() -> Path:
    """Return the store's directory on this platform."""
    return state_directory("the store", f"set {STORE_VARIABLE} to a directory, or to off") / "traces"


def store_limits(*, max_bytes: int | None = None, max_age: timedelta | None = None) -> Limits:
    """Return the limits from the arguments, else the environment, else the defaults."""
    defaults = Limits()
    if max_bytes is None:
        max_bytes = _number(MAX_BYTES_VARIABLE, int, "a whole number of bytes above 0, such as 268435456")
    if max_age is None:
        days = _number(MAX_AGE_VARIABLE, float, f"a number of days up to {_LONGEST_AGE_DAYS}, such as 7")
        max_age = None if days is None else timedelta(days=days)
    limits = Limits(
        defaults.max_bytes if max_bytes is None else max_bytes,
        defaults.max_age if max_age is None else max_age,
    )
    size, age = cast("tuple[object, object]", limits)  # whatever was given
    if not (isinstance(size, int | float) and size > 0 and isinstance(age, timedelta) and age > timedelta(0)):
        raise ConfigurationError(
            f"The store's limits must be a number of bytes and a timedelta, both above 0, not {limits.max_bytes!r} and "
            f"{limits.max_age!r}"
        )
    return limits


def _number(variable: str, convert: Callable[[str], _N], meaning: str) -> _N | None:
    """Return the number in *variable*, or None when it is not set. Raises ConfigurationError that says *meaning*."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        number = convert(text)
    except ValueError:
        number = None
    # NaN is not above 0, so it fails as well.
    if number is None or not number > 0 or (convert is float and number > _LONGEST_AGE_DAYS):
        raise ConfigurationError(f"{variable}={text!r} is not {meaning}; correct or unset it")
    return number


def absolute(path: str | os.PathLike[str], origin: str) -> Path:
    """Return the absolute form of *path*. Raises ConfigurationError, which names *origin*, if it is none.

    A word that is like yes or no is none either, unless there is a folder of that name; a ``Path`` is no word.
    """
    text = os.fspath(path)
    if "\0" in text or not text:
        raise ConfigurationError(f"{origin}={text!r} is no path; name a directory, or set {STORE_VARIABLE}=off")
    try:
        os.fsencode(text)
        directory = Path(text).expanduser().absolute()
    except (RuntimeError, OSError, UnicodeError) as error:
        raise ConfigurationError(f"{origin}={text!r} is no usable path ({error}); name an absolute one") from None
    may_be_word = isinstance(path, str) and text.isalpha() and len(text) <= max(map(len, SWITCH)) + 1
    word = nearest(text.lower(), SWITCH, alike=_ALIKE) if may_be_word else None
    if word and not directory.is_dir():
        raise ConfigurationError(f"{origin}={text!r}: is {word!r} meant? For a folder of that name write './{text}'")
    return directory
