"""How a value becomes bytes: as JSON, which runs no code when it is read, or pickled, where that is asked for."""

import zlib
from typing import Any, Final, Protocol, runtime_checkable

from otelflow._core.results import plain_values
from otelflow._core.text.safe_str import brief_repr, comes_from_outside
from otelflow.errors import ConfigurationError, ResultNotStorable, ResultUnreadable

#: Whatever the storage: the largest value that is kept, in bytes
LARGEST: Final = 256 * 1024 * 1024

_COMPRESSED: Final = "compressed/"


@runtime_checkable
class ResultSerializer(Protocol):
    """Makes bytes of a value, and the value of the bytes: what ``result_serializer`` takes besides a name.

    What stands under one ``name`` is read by a serializer of that name only.

    >>> from otelflow.results import ResultSerializer
    >>> class Text:
    ...     name = "text"
    ...     def dumps(self, value):
    ...         return value.encode()
    ...     def loads(self, content):
    ...         return content.decode()
    >>> text: ResultSerializer = Text()
    >>> text.loads(text.dumps("value"))
    'value'
    """

    @property
    def name(self) -> str:
        """What it is called in what it has written."""

    def dumps(self, value: Any) -> bytes:
        """Return what to keep of *value*; any exception means that it cannot be kept."""

    def loads(self, content: bytes) -> Any:
        """Return the value; any exception means that *content* cannot be read."""


class _JSON:
    name: Final = "json"

    def dumps(self, value: Any) -> bytes:
        return plain_values.dumps(value).encode("utf-8")  # json writes ASCII only: half a character is no trouble

    def loads(self, content: bytes) -> Any:
        return plain_values.loads(content)


class _Pickle:
    name: Final = "pickle"

    def dumps(self, value: Any) -> bytes:
        import pickle  # noqa: PLC0415 only where it is asked for

        try:
            return pickle.dumps(value)
        except Exception as error:  # every class raises what it likes
            if comes_from_outside(error):
                raise
            raise ResultNotStorable("", f"cannot be pickled: {brief_repr(str(error), 200)}") from None

    def loads(self, content: bytes) -> Any:
        import pickle  # noqa: PLC0415

        return pickle.loads(content)  # noqa: S301 the user has asked for it


class _Compressed:
    """Lets another serializer's bytes take less room."""

    def __init__(self, serializer: ResultSerializer) -> None:
        self._serializer = serializer
        self.name: Final = _COMPRESSED + serializer.name

    def dumps(self, value: Any) -> bytes:
        return zlib.compress(self._serializer.dumps(value))

    def loads(self, content: bytes) -> Any:
        inflation = zlib.decompressobj()
        plain = inflation.decompress(content, LARGEST)
        if not inflation.eof:
            raise ResultUnreadable("it is cut off, or too large when it is decompressed")
        return self._serializer.loads(plain)


_BY_NAME: Final[dict[str, ResultSerializer]] = {
    serializer.name: serializer for serializer in (_JSON(), _Pickle(), _Compressed(_JSON()), _Compressed(_Pickle()))
}


def serializer_of(owner: str, choice: object) -> ResultSerializer:
    """Return the serializer that *choice* names or is (None: JSON). Raises ConfigurationError that names *owner*."""
    if choice is None:
        return _BY_NAME["json"]
    if isinstance(choice, str):
        serializer = _BY_NAME.get(choice)
        if serializer is not None:
            return serializer
        from otelflow._core.text.hints import suggestion  # noqa: PLC0415 only for mistakes

        cure = suggestion(choice, _BY_NAME)
        raise ConfigurationError(f"{owner}: there is no result_serializer {brief_repr(choice, 60)}{cure}")
    if isinstance(choice, type) or not isinstance(choice, ResultSerializer) or not isinstance(choice.name, str):
        names = ", ".join(map(repr, _BY_NAME))
        raise ConfigurationError(
            f"{owner}: result_serializer must be one of {names}, or an object with name, dumps() and loads(), "
            f"not {brief_repr(choice, 60)}"
        )
    return choice
