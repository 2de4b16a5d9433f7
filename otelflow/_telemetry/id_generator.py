"""Ids of traces and spans from the randomness of the operating system, never from the program's."""

import os
from typing import Final

from opentelemetry.sdk.trace.id_generator import IdGenerator

from otelflow._core.process.forks import begin_anew, fork, notice

_BYTES: Final = 8
_AT_ONCE: Final = 256


class SystemIdGenerator(IdGenerator):
    """Draws from ``os.urandom``, many numbers at once: a program that seeds ``random`` has the same draws as untraced.

    Nor have two processes that seed alike the same ids. A forked child draws its own numbers.
    """

    def __init__(self) -> None:
        self._numbers: list[int] = []
        begin_anew(self, SystemIdGenerator.begin_anew)

    def begin_anew(self) -> None:
        """Leave the parent's numbers to the parent."""
        self._numbers = []

    def generate_span_id(self) -> int:
        """Return 64 random bits that are not 0."""
        if not fork.page[0]:
            notice()
        while True:
            try:
                number = self._numbers.pop()  # at once: no two threads get the same one
            except IndexError:
                block = os.urandom(_BYTES * _AT_ONCE)
                starts = range(0, len(block), _BYTES)
                self._numbers += [int.from_bytes(block[start : start + _BYTES]) for start in starts]
                continue
            if number:
                return number

    def generate_trace_id(self) -> int:
        """Return 128 random bits that are not 0."""
        return self.generate_span_id() << 64 | self.generate_span_id()

    def is_trace_id_random(self) -> bool:
        """Tell that every bit is random."""
        return True
