"""A generator that others consume, each step on any thread."""

import contextvars
from collections.abc import Generator, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")


class Steps(Generic[T]):
    """The items of *generator*, all of whose steps run in one context of their own."""

    def __init__(self, generator: Generator[T, None, None]) -> None:
        self._generator: Final = generator
        self._context: Final = contextvars.copy_context()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self._context.run(next, self._generator)

    def close(self) -> None:
        """End the generator: everything was taken, or the client has gone."""
        self._context.run(self._generator.close)
