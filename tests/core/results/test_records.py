"""A kept value vouches for itself: what is damaged, cut off or somebody else's is refused with one sentence."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow._core.results import records
from otelflow._core.results.records import MAGIC, Record, header_of, packed, unpacked
from otelflow._core.results.serializers import serializer_of
from otelflow.errors import ResultNotStorable, ResultUnreadable

KEY = "ab" * 32
RECORD = Record(KEY, "load", "task_id__1", 2**127, 2**63, 1, 1_000.5, {"rows": (1, 2)})
JSON = serializer_of("load", "json")
CONTENT = packed(RECORD, JSON)


class Broken:
    """A serializer that raises."""

    name = "json"

    def dumps(self, value):
        raise OverflowError("too much")

    def loads(self, content):
        raise OverflowError("too much")


def with_header(**changes):
    header = {"serializer": "json", **RECORD._asdict(), **changes}
    del header["value"]
    return signed(json.dumps(header).encode() + b"\n[1]")


def signed(rest):
    return MAGIC + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def test_a_record_comes_back_whole():
    assert unpacked(CONTENT, KEY, JSON) == RECORD
    assert header_of(CONTENT)[0]["trace_id"] == 2**127


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_one_changed_byte_is_noticed(place, change):
    damaged = bytearray(CONTENT)
    damaged[place] ^= change

    with pytest.raises(ResultUnreadable):
        unpacked(bytes(damaged), KEY, JSON)


@given(st.integers(0, len(CONTENT) - 1))
def test_a_record_that_is_cut_off_is_noticed(length):
    with pytest.raises(ResultUnreadable):
        unpacked(CONTENT[:length], KEY, JSON)


@given(st.binary())
def test_any_other_bytes_are_refused(content):
    with pytest.raises(ResultUnreadable, match=r"^it is not what otelflow writes$"):
        unpacked(content, KEY, JSON)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_header(key="cd" * 32), "that of another key"),
        (with_header(serializer="pickle"), "written with result_serializer='pickle': read it with that, not 'json'"),
        (with_header(trace_id="1"), "its header is not"),
        (with_header(created=None), "its header is not"),
        (signed(b"[]\n[1]"), "its header is not"),
        (signed(b"\n[1]"), "its header is not"),
        (signed(b"[" * 50_000 + b"\n"), "its header is not"),
        (signed(b'{"key": "' + b"x" * 100_000 + b'"}\n'), "its header is not"),
    ],
)
def test_a_record_of_something_else_is_refused_by_what_is_wrong_with_it(content, message):
    with pytest.raises(ResultUnreadable, match=message):
        unpacked(content, KEY, JSON)


def test_what_a_serializer_raises_is_told_as_its_own():
    with pytest.raises(ResultNotStorable, match="cannot be kept by the serializer 'json': OverflowError: too much"):
        packed(RECORD, Broken())
    with pytest.raises(ResultUnreadable, match="the serializer 'json' raised OverflowError: 'too much'"):
        unpacked(CONTENT, KEY, Broken())


def test_a_value_that_is_too_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(records, "LARGEST", 10)

    with pytest.raises(ResultNotStorable, match=r"the value takes [0-9,]+ bytes; at most 10 are kept"):
        packed(RECORD, JSON)
