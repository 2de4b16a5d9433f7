"""What fits which type of artifact, and what is kept of it."""

import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from typing import Any, Final

from otelflow._core.process import losses
from otelflow._core.process.settings import settings
from otelflow._core.text import classes
from otelflow._core.text.excerpt import Excerpt
from otelflow._core.text.hints import nearest
from otelflow._core.text.plain import frame_rows, has_fields, is_structured, plain
from otelflow._core.text.redaction import recorded, redact_value
from otelflow._core.text.regex import lazy_compile
from otelflow._core.text.safe_str import brief_repr, error_text, printable, safe_str
from otelflow.errors import InvalidArtifact

#: How many characters an artifact keeps: they are read for secrets, which holds the run up for a tenth of a second
LONGEST_TEXT: Final = 192 * 1024
# What floats that should add up to 100 may add up to more.
_ROUNDING: Final = 1e-6
# No artifact has room for more.
_MOST_COLUMNS: Final = 10_000
# As 'tabel' and 'table' are, and not yet 'list' and 'link'
_ALIKE: Final = 0.8
_URL: Final = r"(?i)https?://[^\s]+"
_NO_TABLE: Final = "a table artifact needs a list of rows (dicts or lists), a dict of columns, or one of values"


def checked_data(artifact_type: str, data: object, excerpt: Excerpt) -> object:
    """Return what is kept of *data*: bytes, or text and plain JSON without secrets. Raises InvalidArtifact."""
    similar = None if artifact_type in _CHECKS else nearest(artifact_type, _CHECKS, alike=_ALIKE)
    if similar:  # any other word is a type of the program's own
        message = "An artifact has the type %r, of which otelflow knows nothing; is %r meant?"
        losses.warn_once(f"artifact type {similar}", message, artifact_type, similar)
    return _CHECKS.get(artifact_type, _free_form)(data, excerpt)


def _markdown(data: object, excerpt: Excerpt) -> object:
    if not isinstance(data, str):
        raise InvalidArtifact(f"a markdown artifact needs a text, not {type(data).__name__}")
    return excerpt.text(data)


def _table(data: object, excerpt: Excerpt) -> object:
    """A list of rows (dicts or lists), a dict of columns, one row as a dict or a model, or a data frame."""
    # One model is one row, as one dict is; a model that is a collection has rows of its own.
    rows = [data] if has_fields(data) and not isinstance(data, Collection) else frame_rows(data)
    if rows is None and isinstance(data, Mapping):
        pairs = list(itertools.islice(data.items(), _MOST_COLUMNS + 1))  # whatever it says of its length
        data, excerpt.is_cut = dict(pairs[:_MOST_COLUMNS]), len(pairs) > _MOST_COLUMNS
    if rows is None and isinstance(data, Mapping) and not any(map(_has_items, data.values())):
        rows = [data] if data else []
    if rows is None and isinstance(data, Mapping):
        lengths = {
            str(name): operator.length_hint(column, -1)
            if _has_items(column) and issubclass(type(column), Sized)
            else -1
            for name, column in data.items()
        }
        if -1 in lengths.values():
            raise InvalidArtifact(_NO_TABLE)
        if len(set(lengths.values())) > 1:
            raise InvalidArtifact(f"a table artifact's columns must be equally long, not {brief_repr(lengths, 200)}")
        rows = (dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True))
    if rows is None:
        # What can be looked at only once, such as a generator, is the program's to look at.
        if not _has_items(data) or not isinstance(data, Collection):
            raise InvalidArtifact(_NO_TABLE)
        rows = data
    copies = []
    for row in excerpt.within(rows):
        if not isinstance(row, Mapping) and not is_structured(row) and not _has_items(row):
            raise InvalidArtifact(_NO_TABLE)
        copies.append(excerpt.copy(plain(_with_names(row), LONGEST_TEXT)))
    return redact_value(copies)


def _with_names(row: Any) -> object:
    """Return the *row* of a database, which looks like a sequence, with the names of its columns."""
    kind = type(row)
    if isinstance(row, Mapping) or is_structured(row):
        return row
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, row, strict=True))  # a named tuple
    if hasattr(kind, "_mapping"):  # of SQLAlchemy
        return row._mapping  # noqa: SLF001 its documented name
    names = list(row.keys()) if hasattr(kind, "keys") else []  # of sqlite3, asyncpg
    return dict(zip(names, row, strict=True)) if names and len(set(names)) == len(names) else row


def _has_items(value: object) -> bool:
    """Tell whether *value* may be a column: a list, a range, a set, an array of a library, but no text and no dict."""
    # By the abstract classes, which do not ask the metaclass: the class of an Enum has items, its members have none.
    kind = type(value)
    return issubclass(kind, Iterable) and not issubclass(kind, str | bytes | Mapping)


def _link(data: object, excerpt: Excerpt) -> object:
    text = data if isinstance(data, str) else safe_str(data, LONGEST_TEXT)  # libraries have classes for addresses
    if lazy_compile(_URL).fullmatch(text) is None:
        raise InvalidArtifact(f"a link artifact needs an http or https address, not {brief_repr(data)}")
    return excerpt.text(text)


def _progress(data: object, _: Excerpt) -> object:
    is_number = not isinstance(data, str) and hasattr(type(data), "__float__")  # a Decimal, one of numpy's
    number = float(data) if is_number and not isinstance(data, int | float) else data  # type: ignore[arg-type]
    if isinstance(number, float) and 100 < number < 100 + _ROUNDING:  # a sum of shares
        number = 100.0
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 100:
        raise InvalidArtifact(f"a progress artifact needs a number from 0 to 100, not {brief_repr(data)}")
    return number


def _image(data: object, excerpt: Excerpt) -> object:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if isinstance(data, str) and lazy_compile(_URL).fullmatch(data):
        return excerpt.text(data)
    raise InvalidArtifact(f"an image artifact needs bytes or an http or https address, not {brief_repr(data)}")


def _json(data: object, excerpt: Excerpt) -> object:
    # What the conversion cuts is more than the excerpt keeps.
    return redact_value(excerpt.copy(plain(data, 2 * LONGEST_TEXT)))


def _error(data: object, excerpt: Excerpt) -> object:
    if isinstance(data, BaseException):
        return printable(error_text(classes.qualified_name(type(data)), recorded(data, settings().value_limit)))
    return _free_form(data, excerpt)


def _free_form(data: object, excerpt: Excerpt) -> object:
    """Take anything: what is no text, bytes or JSON becomes its ``str()``."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if data is None or isinstance(data, int | float | dict | list | tuple) or is_structured(data):
        return _json(data, excerpt)
    return excerpt.text(data)


_CHECKS: Final[Mapping[str, Callable[[object, Excerpt], object]]] = {
    "markdown": _markdown,
    "table": _table,
    "link": _link,
    "progress": _progress,
    "image": _image,
    "json": _json,
    "error": _error,
}
