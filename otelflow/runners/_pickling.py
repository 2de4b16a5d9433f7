"""How a report is written: as pickle does it, but exceptions keep cause and context, and travel if it can be done."""

import functools
import importlib.util
import io
import pickle
from collections.abc import Mapping
from typing import Any, Final

from otelflow._core.text.portable import portable
from otelflow._core.text.safe_str import comes_from_outside

# What pickle leaves out of an exception
_LINKS: Final = ("__cause__", "__context__", "__suppress_context__")
# Modules that are there in every process
_OWN: Final = ("otelflow.", "opentelemetry.")
_REDUCE: Final = ("__reduce__", "__reduce_ex__")


def dumps(value: object) -> bytes:
    """Return *value*, a report, as it travels."""
    buffer = io.BytesIO()
    _pickler_class(has_cloudpickle())(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


@functools.cache
def has_cloudpickle() -> bool:
    """Tell whether functions and classes can travel that another process cannot import."""
    return importlib.util.find_spec("cloudpickle") is not None


def dumps_whole(value: object) -> bytes:
    """Return *value* as it travels, with functions and classes of the main program, if that can be done."""
    if has_cloudpickle():
        import cloudpickle  # noqa: PLC0415 an extra

        return cloudpickle.dumps(value)  # type: ignore[no-any-return]  # bytes
    return pickle.dumps(value)


class _Exceptions:
    """Writes of each exception how it is made, and what it is linked to; a part of a pickler."""

    def reducer_override(self, value: Any) -> Any:
        """Return how *value* is made, or that pickle knows it."""
        kind = type(value)
        if not issubclass(kind, BaseException):
            # Most of a report are our own classes and what they make; cloudpickle would look long at each.
            if str(getattr(value if kind is type else kind, "__module__", "")).startswith(_OWN):
                return NotImplemented
            # That of cloudpickle; a plain pickler has none.
            of_base = getattr(super(), "reducer_override", None)
            return NotImplemented if of_base is None else of_base(value)
        return (*_how_made(value), {name: getattr(value, name) for name in _LINKS}, None, None, _link)


@functools.cache
def _pickler_class(is_whole: bool) -> Any:
    base: Any = pickle.Pickler
    if is_whole:
        import cloudpickle  # noqa: PLC0415 an extra

        base = cloudpickle.Pickler
    return type("ReportPickler", (_Exceptions, base), {})


def _link(error: BaseException, links: Mapping[str, Any]) -> None:
    for name, value in links.items():
        setattr(error, name, value)


def _how_made(error: BaseException) -> tuple[Any, tuple[Any, ...]]:
    """Return a function, and the arguments with which it makes *error*, or else a stand-in."""
    try:
        text = _text_of(error)
        if text is None:
            return _make, _parts_of(error)
    except BaseException as trouble:  # foreign classes, which may do anything
        if comes_from_outside(trouble):
            raise
        text = pickle.dumps(portable(error))
    return pickle.loads, (text,)


def _text_of(error: BaseException) -> bytes | None:
    """Return *error* as pickle writes it, if that makes the same of it."""
    if issubclass(type(error), BaseExceptionGroup):
        return None  # of its exceptions, each travels as it can
    try:
        text = dumps_whole(error)
        copy = pickle.loads(text)  # noqa: S301 it was written a moment ago
    except Exception:  # noqa: BLE001 an attribute that cannot travel; a class that asks for more than Python keeps of it
        return None
    return text if type(copy) is type(error) and copy.args == error.args else None


def _parts_of(error: Any) -> tuple[bytes, tuple[Any, ...]]:
    """Return class and attributes, as pickle writes them, and the arguments of *error*; raises if it is not to be."""
    kind = type(error)
    if any(next(k for k in kind.__mro__ if name in vars(k)).__module__ != "builtins" for name in _REDUCE):
        raise TypeError(kind)  # it knows better than Python how it is pickled
    _, args, *state = error.__reduce__()
    text = dumps_whole((kind, portable(dict(*state))))
    if isinstance(error, BaseExceptionGroup):
        return text, (error.message, list(error.exceptions))
    args = tuple(map(portable, args))
    _make(text, args)
    return text, args


def _make(text: bytes, args: tuple[Any, ...]) -> BaseException:
    """Return an exception without the ``__init__`` of its class, which may ask for more than Python keeps of it."""
    kind, attributes = pickle.loads(text)  # noqa: S301 it comes from a process that this one has started
    builtin = next(k for k in kind.__mro__ if k.__module__ == "builtins")
    error: BaseException = kind.__new__(kind, *args)
    builtin.__init__(error, *args)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error
