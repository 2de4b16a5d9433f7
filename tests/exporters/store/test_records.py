import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow_exporters._store.records import (
    LARGEST_RECORD,
    Segment,
    framed,
    is_segment,
    read_varint,
    spans_of,
    varint,
    without,
)


def body(number, spans=1, padding=0, resources=1):
    traces = TracesData()
    for _ in range(resources):
        scope_spans = traces.resource_spans.add().scope_spans.add()
        for index in range(spans):
            scope_spans.spans.add(
                trace_id=number.to_bytes(16, "big"), span_id=(index + 1).to_bytes(8, "big"), name="x" * padding
            )
    return traces.SerializeToString()


def read(content):
    segment = Segment(content)
    numbers = [int.from_bytes(next(spans_of(r.traces)).trace_id, "big") for r in segment.records()]
    return numbers, segment.unreadable


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_a_number_comes_back_whatever_width_it_was_written_in(number, width):
    encoded = varint(number, width)

    assert read_varint(encoded, 0, len(encoded)) == (number, len(encoded))
    assert len(encoded) >= width


def test_what_was_written_is_read_in_order_and_nothing_is_unreadable():
    content = b"".join(framed(body(n, spans=n)) for n in range(1, 30))

    assert read(content) == (list(range(1, 30)), 0)


def test_a_torn_tail_is_counted_and_costs_nothing_before_it():
    whole, torn = framed(body(1)), framed(body(2))

    assert read(whole + torn[:-1]) == ([1], len(torn) - 1)


def test_a_changed_letter_makes_a_record_unreadable_rather_than_wrong():
    content = framed(body(1)) + framed(body(2, padding=50)).replace(b"xxx", b"xyx", 1) + framed(body(3))

    assert read(content) == ([1, 3], len(framed(body(2, padding=50))))


def test_every_otlp_reader_understands_a_record():
    traces = TracesData()
    record = framed(body(1, spans=3))
    traces.ParseFromString(record[1:] if record[0] < 128 else record[2:])

    assert len(list(spans_of(traces))) == 3


def test_a_hole_of_zeros_is_skipped():
    assert read(framed(body(1)) + bytes(5000) + framed(body(2))) == ([1, 2], 5000)


def test_garbage_is_unreadable_and_no_more():
    assert read(b"\x0a" * 100_000) == ([], 100_000)
    assert read(b"") == ([], 0)


@st.composite
def damaged_segments(draw):
    shapes = draw(
        st.lists(st.tuples(st.integers(1, 4), st.integers(0, 200), st.integers(1, 3)), min_size=2, max_size=8)
    )
    records = [framed(body(n + 1, *shape)) for n, shape in enumerate(shapes)]
    content = b"".join(records)
    start = draw(st.integers(0, len(content) - 1))
    length = draw(st.integers(1, min(40, len(content) - start)))
    damage = draw(st.one_of(st.just(b""), st.binary(min_size=length, max_size=length), st.binary(max_size=40)))
    ends = [sum(map(len, records[: n + 1])) for n in range(len(records))]
    before = [n + 1 for n, end in enumerate(ends) if end <= start]
    after = [n + 1 for n, end in enumerate(ends) if end - len(records[n]) >= start + length]
    return content[:start] + damage + content[start + length :], before, after


@settings(max_examples=400, deadline=None)
@given(damaged_segments())
def test_every_record_before_and_fully_after_the_damage_is_read(damaged):
    content, before, after = damaged

    numbers, _ = read(content)

    assert numbers[: len(before)] == before
    assert numbers[len(numbers) - len(after) :] == after


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_no_content_at_all_breaks_the_reader(content):
    _, unreadable = read(content)

    assert unreadable <= len(content)


def test_a_forgotten_record_keeps_its_length_and_is_no_damage():
    content = framed(body(1, padding=300)) + framed(body(2))
    record = next(Segment(content).records())

    emptied = content[: record.start] + without(record, lambda _: True) + content[record.end :]

    assert len(emptied) == len(content)
    assert b"xxx" not in emptied
    segment = Segment(emptied)
    assert [len(list(spans_of(r.traces))) for r in segment.records()] == [0, 1]
    assert segment.unreadable == 0


@given(st.integers(2, 6), st.integers(0, 400), st.data())
@settings(deadline=None)
def test_spans_can_be_forgotten_out_of_a_record_that_others_share(spans, padding, data):
    record = next(Segment(framed(body(7, spans, padding))).records())
    ids = [span.span_id for span in spans_of(record.traces)]
    forgotten = data.draw(st.sets(st.sampled_from(ids), min_size=1))

    rewritten = without(record, lambda span: span.span_id in forgotten)

    assert len(rewritten) == record.end - record.start
    left = [span.span_id for r in Segment(varint(len(rewritten)) + rewritten).records() for span in spans_of(r.traces)]
    assert left == [span_id for span_id in ids if span_id not in forgotten]


MADE_TO_BE_SLOW = {
    "every byte is a tag": b"\n",
    "no length before the tag": b"\x80\n",
    "each length spans many fields": b"\n\x04\x12\x81\x80\x04",
    "each length spans many fields of one byte": b"\n\x05\n\x00\xff\xff\x03",
    "each length spans empty fields": b"\x7f\n\x00",
    "large fields": b"\xff\xff\x7f\n\x81\x80\x08\n",
}


@pytest.mark.parametrize("unit", MADE_TO_BE_SLOW.values(), ids=MADE_TO_BE_SLOW.keys())
def test_content_that_was_made_to_be_slow_is_read_in_linear_time(unit):
    before = framed(body(1))

    seconds = []
    for size in (300_000, 2_400_000):
        begun = time.process_time()
        numbers, unreadable = read(before + unit * (size // len(unit)))
        seconds.append(time.process_time() - begun)
        assert (numbers, unreadable) == ([1], size // len(unit) * len(unit))

    assert seconds[0] < 1
    assert seconds[1] < max(20 * seconds[0], 3)


def test_records_inside_each_other_with_right_checksums_are_read_in_linear_time():
    content = b"\x12\x00" * 300_000
    for _ in range(200):
        fields = b"\n" + varint(len(content)) + content
        content = b"\x0a" + varint(len(framed(fields))) + framed(fields)

    begun = time.process_time()
    numbers, unreadable = read(content)

    assert (numbers, unreadable) == ([], len(content))
    assert time.process_time() - begun < 3


units = st.one_of(
    st.sampled_from(list(MADE_TO_BE_SLOW.values())),
    st.binary(min_size=1, max_size=12),
    st.builds(lambda number, size: framed(body(number, padding=size)), st.integers(1, 9), st.integers(0, 300)),
    st.builds(lambda tag, size: b"\n" + varint(size) + tag, st.sampled_from([b"\n", b"\x12"]), st.integers(0, 2**28)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(units, st.integers(1, 3_000)), min_size=1, max_size=6))
def test_whatever_a_segment_holds_is_read_within_a_bound_of_time(pieces):
    content = b"".join(unit * count for unit, count in pieces)[:400_000]

    begun = time.process_time()
    _, unreadable = read(content)

    assert unreadable <= len(content)
    assert time.process_time() - begun < 2


def test_a_length_that_no_record_has_is_damage():
    content = varint(LARGEST_RECORD + 6) + b"\n" + bytes(10)

    assert read(content + framed(body(1))) == ([1], len(content))


@pytest.mark.parametrize(
    "content",
    [b"", bytes(4096), framed(body(1)), b"damage" + framed(body(1)), framed(body(1, padding=200))[:-50]],
    ids=["nothing", "zeros", "a record", "a record after damage", "half a record"],
)
def test_the_content_of_a_segment_is_told(content):
    assert is_segment(content)


@pytest.mark.parametrize("content", [b"x", b"a text\nof two lines\n", b"\n" * 500, b"\x7fELF", bytes(9) + b"1"])
def test_any_other_content_is_no_segment(content):
    assert not is_segment(content)
