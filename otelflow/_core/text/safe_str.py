"""Text of any value: bounded, encodable, and never raising."""

import _signal  # type: ignore[import-not-found]  # that of C: it is there also when the interpreter ends
import itertools
import reprlib
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, Final

from otelflow._core.text import classes

# A cut text says so; this leaves room for the sentence that says it.
_CUT: Final = "… [cut, {total:,} characters]"
_CUT_LENGTH: Final = 60
# What a container shows of itself: never the whole of a million items.
_ITEMS: Final = 200
_DEPTH: Final = 6
#: The most characters of a name, an id, a key or a type; ``bounded_name`` cuts a longer one and marks the cut
NAME_LENGTH: Final = 256
# Python refuses to write an int with more digits than its user allows, 640 at the least.
_DIGITS_AT_ONCE: Final = 600
_MOST_DIGITS: Final = 20_000
_BITS_PER_DIGIT: Final = 3.3219281


_CONTAINERS = (list, tuple, dict, set, frozenset, deque)


class _BoundedRepr(reprlib.Repr):
    """``repr`` that never walks through more than a bounded part of a container, in its own order."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # it takes limits only from Python 3.12 on
        self._room = limit  # of nested containers, too, which could hold 200 items on each of six levels
        self.maxlevel = _DEPTH
        self.maxstring = self.maxother = self.maxlong = limit
        self.maxtuple = self.maxlist = self.maxarray = self.maxdict = self.maxset = _ITEMS
        self.maxfrozenset = self.maxdeque = _ITEMS

    def repr1(self, x: object, level: int) -> str:
        if self._room <= 0:
            return "..."
        text = super().repr1(x, level)
        if not isinstance(x, _CONTAINERS):
            self._room -= len(text)
        return text

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        pieces = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in itertools.islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join([*pieces, *(["..."] if len(x) > self.maxdict else [])]) + "}"

    def repr_str(self, x: str, level: int) -> str:
        # From its beginning on: the end of a secret would be none that redaction knows.
        return repr(x[: self.maxstring])

    def repr_int(self, x: int, level: int) -> str:
        return digits(x)[: self.maxlong]

    def repr_set(self, x: Any, level: int) -> str:
        # To sort a million items would take as long as to show them.
        return super().repr_set(x if len(x) <= _ITEMS else set(itertools.islice(x, _ITEMS + 1)), level)

    def repr_frozenset(self, x: Any, level: int) -> str:
        return f"frozenset({self.repr_set(x, level)})" if x else "frozenset()"

    def repr_instance(self, x: object, level: int) -> str:
        for kind, own_reprs in _KINDS:
            # One whose class shows itself in another way does so, whole.
            if not isinstance(x, kind) or type(x).__repr__ not in own_reprs:
                continue
            items = (
                kind.__iter__ if kind is not dict else OrderedDict.items if isinstance(x, OrderedDict) else dict.items
            )
            head = kind(itertools.islice(items(x), _ITEMS + 1))  # whatever a subclass makes of its methods
            text, name = self.repr1(head, level), type_name(x)
            if text.startswith(f"{kind.__name__}("):
                return name + text.removeprefix(kind.__name__)
            if isinstance(x, defaultdict):
                return f"{name}({self.repr1(x.default_factory, level - 1)}, {text})"
            is_named = kind is set or type(x).__repr__ is not kind.__repr__
            return f"{name}({text if head else ''})" if is_named else text
        return repr(x)[: self.maxother]


# Of their subclasses, reprlib knows nothing: what has one of these for its ``repr`` is shown as what it is made of.
_KINDS: Final[tuple[tuple[Any, tuple[Any, ...]], ...]] = (
    (dict, (dict.__repr__, Counter.__repr__, OrderedDict.__repr__, defaultdict.__repr__)),
    *((kind, (kind.__repr__,)) for kind in (list, tuple, set, frozenset, deque)),
)


def cut(text: str, limit: int, length: int = 0) -> str:
    """Return *text*, or its first *limit* characters and a sentence that says how long it was.

    *length* is that of the whole, if *text* is the beginning of something longer.
    """
    return text if len(text) <= limit else text[:limit] + _CUT.format(total=length or len(text))


def is_cut(text: str) -> bool:
    """Tell whether *text* says that it was longer."""
    return text.endswith(_CUT.partition("{total:,}")[2]) and _CUT.partition("{")[0] in text[-_CUT_LENGTH:]


def printable(text: str) -> str:
    """Return *text* without lone surrogates, which no exporter can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def brief_repr(value: object, limit: int = 80) -> str:
    """Return the first *limit* characters of ``repr(value)``, for an error; never raises."""
    try:
        return printable(_BoundedRepr(limit).repr(value)[:limit])
    except BaseException as error:  # foreign __repr__, which may raise anything
        if comes_from_outside(error):
            raise
        return f"<{type_name(value)}: repr() raised {type_name(error)}>"


def digits(number: int) -> str:
    """Return *number* in decimal digits, also past Python's own limit; a gigantic one in hexadecimal digits."""
    if number.bit_length() < _DIGITS_AT_ONCE * _BITS_PER_DIGIT:
        return int.__repr__(number)
    if number.bit_length() > _MOST_DIGITS * _BITS_PER_DIGIT:
        return hex(number)  # linear; decimal digits of as many are not
    pieces = []
    rest = abs(number)
    while rest:
        rest, piece = divmod(rest, 10**_DIGITS_AT_ONCE)
        pieces.append(f"{piece:0{_DIGITS_AT_ONCE}}")
    return ("-" if number < 0 else "") + "".join(reversed(pieces)).lstrip("0")


# The base classes of what gevent, eventlet, dramatiq and func_timeout throw into a greenlet or a thread
_THROWN_IN: Final = frozenset({"GreenletExit", "Timeout", "Interrupt", "FunctionTimedOut"})
# The same of RQ and of billiard, which Celery uses: where there are no signals, a timer throws them into a thread
_TIME_LIMITS: Final = frozenset({"BaseTimeoutException", "SoftTimeLimitExceeded"})


def comes_from_outside(error: BaseException) -> bool:
    """Tell whether *error*, which left telemetry or foreign code that it calls, was meant for the program.

    An exception of that code stays here. One that was thrown into this thread must reach the program: Ctrl-C, a
    greenlet or thread that is ended or has run out of time, what a signal handler raised (the time limit of a job).
    """
    kind = type(error)
    if issubclass(kind, RecursionError):  # a full stack has no room for a closer look
        return False
    thrown_in = _TIME_LIMITS if issubclass(kind, Exception) else _THROWN_IN
    if issubclass(kind, KeyboardInterrupt) or any(classes.name_of(base) in thrown_in for base in classes.bases(kind)):
        return True
    # signal.getsignal() takes the repr() of each handler, and asyncio.run() has one that shows the result of its task.
    handlers = [_signal.getsignal(number) for number in _signal.valid_signals()]
    handlers = [handler for handler in handlers if callable(handler)]  # most are no function, but a number
    functions = [getattr(handler, "func", handler) for handler in handlers]  # of a partial
    functions += [getattr(type(function), "__call__", None) for function in functions]  # noqa: B004 of an object
    codes = {getattr(getattr(function, "__func__", function), "__code__", None) for function in functions} - {None}
    frames = error.__traceback__
    while frames is not None:
        if frames.tb_frame.f_code in codes:
            return True
        frames = frames.tb_next
    return False


def type_name(value: object) -> str:
    """Return the name of the class of *value*, also where a metaclass has other ideas."""
    return classes.name_of(type(value))


def safe_str(value: object, limit: int) -> str:
    """Return ``str(value)``, bounded to about *limit* characters; never raises."""
    try:
        if isinstance(value, str):
            return printable(cut(str.__str__(value), limit))  # without what a subclass may do
        if isinstance(value, bytes | bytearray):
            text = bytes(value[:limit]).decode("utf-8", "backslashreplace")
            return cut(text, limit) if len(value) <= limit else text[:limit] + _CUT.format(total=len(value))
        if isinstance(value, _CONTAINERS):
            return printable(cut(_BoundedRepr(limit).repr(value), limit))
        text = digits(value) if type(value) is int else str.__str__(str(value))
        return printable(cut(text, limit))
    except BaseException as error:  # foreign __str__ and __repr__, which may raise anything
        if comes_from_outside(error):
            raise
        return f"<{type_name(value)}: str() raised {type_name(error)}>"


def bounded_name(value: object) -> str:
    """Return *value* as a name: a printable text of at most ``NAME_LENGTH`` characters, whose end marks a cut."""
    if type(value) is str and len(value) <= NAME_LENGTH and value.isascii():
        return value
    text = safe_str(value, 2 * NAME_LENGTH)
    return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"


def without_ansi(text: str) -> str:
    """Return *text* without ANSI escape sequences."""
    if "\x1b" not in text:
        return text
    import re  # noqa: PLC0415 rarely needed

    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)


def error_text(kind: str, text: str) -> str:
    """Return the type and the text of an exception as Python writes them: no colon stands before nothing."""
    return f"{kind}: {text}" if text else kind
