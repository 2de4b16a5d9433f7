"""Protobuf's varints (seven bits a byte, the last one below 128), and fields with their length before them.

Source: https://protobuf.dev/programming-guides/encoding/#varints.
"""

import functools
from collections.abc import Iterator
from typing import Final

#: A byte from here on has another one behind it.
MORE: Final = 0x80
#: In bytes: a length, which has 32 bits at most
LONGEST_LENGTH: Final = 5
_SEVEN_BITS: Final = MORE - 1
_MOST_KEPT: Final = 4_000


@functools.lru_cache(_MOST_KEPT)  # nearly every one is a length, and those are some hundred numbers
def varint(number: int, width: int = 1) -> bytes:
    """Return *number* in at least *width* bytes."""
    encoded = bytearray()
    while number >= MORE or len(encoded) < width - 1:
        encoded.append(number & _SEVEN_BITS | MORE)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(content: bytes, position: int, end: int) -> tuple[int, int] | None:
    """Return the length at *position* and where it stops, or None when it does not stop in time."""
    if end - position > 1:  # nearly every one has one byte, or two
        first, second = content[position], content[position + 1]
        if first < MORE:
            return first, position + 1
        if second < MORE:
            return first & _SEVEN_BITS | second << 7, position + 2
    number = 0
    for index in range(position, min(position + LONGEST_LENGTH, end)):
        byte = content[index]
        number |= (byte & _SEVEN_BITS) << (7 * (index - position))
        if byte < MORE:
            return number, index + 1
    return None


def varints_before(content: bytes, end: int, first: int) -> Iterator[int]:
    """Yield the positions, not before *first*, at which a length could stand that stops at *end*."""
    position = end - 1
    if position < first or content[position] >= MORE:
        return
    yield position
    while position > first and end - position < LONGEST_LENGTH and content[position - 1] >= MORE:
        position -= 1
        yield position


def field(tag: int, content: bytes) -> bytes:
    """Return *content* as a field with this *tag*, which has one byte."""
    return bytes((tag,)) + varint(len(content)) + content
