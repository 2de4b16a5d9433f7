"""What another process can have of a value: the value itself, or else its text."""

import operator
from typing import Any, Final

from otelflow._core.text.redaction import recorded
from otelflow._core.text.safe_str import comes_from_outside, error_text, type_name

# By identity: to look for a class by its hash or with == would ask its metaclass, which is foreign code.
_PLAIN: Final = frozenset(map(id, (type(None), bool, int, float, complex, str, bytes)))
_LENGTH: Final = 1_000


def portable(value: Any) -> Any:
    """Return *value*, or a text in its place if pickle cannot take it there and back (a lock, a connection).

    In tuples, lists and dicts this is done for each item. An exception becomes a RuntimeError with its text.
    """
    kind = type(value)
    if id(kind) in _PLAIN:
        return value
    if kind is tuple or kind is list:
        items = kind(map(portable, value))
        return value if all(map(operator.is_, items, value)) else items
    if kind is dict:
        pairs = {key: portable(item) for key, item in value.items()}
        return value if all(item is value[key] for key, item in pairs.items()) else pairs
    import pickle  # noqa: PLC0415 only for what travels

    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 it was written a moment ago
    except BaseException as error:  # foreign __reduce__, which may raise anything
        if comes_from_outside(error):
            raise
        if type(error) is RecursionError and issubclass(kind, BaseException) and (value.__cause__ or value.__context__):
            return _portable_alone(value)
        text = recorded(value, _LENGTH)
        return RuntimeError(error_text(type_name(value), text)) if issubclass(kind, BaseException) else text
    return value


def _portable_alone(error: BaseException) -> Any:
    """Return *error* as above, without causes: where tblib is installed, as Dask does, pickle follows each of them."""
    try:
        how: Any = BaseException.__reduce__(error)
        make, args, *state = how
        alone = make(*args)
        vars(alone).update(*state)
    except Exception:  # noqa: BLE001 a class that asks for more than Python keeps of it
        return RuntimeError(error_text(type_name(error), recorded(error, _LENGTH)))
    return portable(alone)
