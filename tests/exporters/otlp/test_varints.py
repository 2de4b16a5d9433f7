"""A number is written in as many bytes as it takes, and read back; what never stops is no number."""

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from otelflow_exporters._otlp.varints import field, read_varint, varint, varints_before


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_a_number_comes_back_whatever_width_it_was_written_in(number, width):
    encoded = varint(number, width)

    assert read_varint(encoded, 0, len(encoded)) == (number, len(encoded))
    assert len(encoded) >= width


def test_a_number_that_does_not_stop_is_none():
    assert read_varint(b"\x80" * 5 + b"\x01", 0, 6) is None
    assert read_varint(b"\x80" * 4 + b"\x01", 0, 5) == (1 << 28, 5)
    assert read_varint(b"\x80\x01", 0, 1) is None
    assert read_varint(b"\x01\x85\x02", 1, 3) == (0x105, 3)
    assert [varint(127), varint(128), varint(1, 3)] == [b"\x7f", b"\x80\x01", b"\x81\x80\x00"]


def test_every_length_that_could_stop_at_a_place_is_tried_the_shortest_first():
    content = b"\x81\x82\x83\x84\x85\x06\n"

    assert list(varints_before(content, 6, 0)) == [5, 4, 3, 2, 1]
    assert list(varints_before(content, 6, 4)) == [5, 4]
    assert list(varints_before(content, 6, 5)) == [5]
    assert list(varints_before(content, 6, 6)) == []
    assert list(varints_before(b"\x01\x02\n", 2, 0)) == [1]
    assert list(varints_before(b"\x81\n", 1, 0)) == list(varints_before(b"\x80\n", 1, 0)) == []


@pytest.mark.parametrize("number", [1, 127, 128, 16_383, 16_384, 2**32, 2**64 - 1])
def test_protobuf_writes_a_number_with_the_same_bytes(number):
    assert b"\x08" + varint(number) == UInt64Value(value=number).SerializeToString()


@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_protobuf_writes_a_field_with_the_same_bytes(size):
    assert field(0x0A, b"x" * size) == BytesValue(value=b"x" * size).SerializeToString()
