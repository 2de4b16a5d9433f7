import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow_exporters._otlp.varints import read_varint, varint
from otelflow_exporters._store.records import (
    LARGEST_RECORD,
    Segment,
    framed,
    is_segment,
    note,
    note_in,
    spans_of,
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


WRONG = bytes([framed(body(1))[-1] ^ 1])


@pytest.mark.parametrize(
    "content",
    [b"x", b"a text\nof two lines\n", b"\n" * 500, b"\x7fELF", bytes(9) + b"1", framed(body(1))[:-1] + WRONG],
)
def test_any_other_content_is_no_segment(content):
    assert not is_segment(content)


def segment_of(content, size=0):
    segment = Segment(content, size)
    list(segment.records())
    return segment


def test_the_bytes_of_a_file_that_were_not_read_are_unreadable():
    content = framed(body(1))

    assert segment_of(content, len(content) + 1_000).unreadable == 1_000
    assert segment_of(content + b"xyz", len(content) + 1_003).unreadable == 1_003


def test_only_records_that_hold_the_bytes_are_yielded_and_the_others_are_no_damage():
    content = framed(body(1)) + framed(body(2)) + framed(body(3))
    segment = Segment(content)

    records = list(segment.records((2).to_bytes(16, "big")))

    assert [next(spans_of(record.traces)).trace_id[-1] for record in records] == [2]
    assert content[records[0].start : records[0].end] == framed(body(2))[1:]
    assert segment.unreadable == 0


def test_a_right_checksum_over_what_holds_no_span_is_damage_and_costs_no_other_record():
    empty = TracesData()
    empty.resource_spans.add().scope_spans.add()
    no_ids = TracesData()
    no_ids.resource_spans.add().scope_spans.add().spans.add(trace_id=b"short", span_id=b"12345678")
    made = [framed(traces.SerializeToString()) for traces in (empty, no_ids)]

    assert read(made[0] + framed(body(1)) + made[1] + framed(body(2))) == ([1, 2], len(made[0]) + len(made[1]))


@pytest.mark.parametrize(("count", "is_reached"), [(50, True), (70, False)])
def test_content_that_deceives_by_right_checksums_is_given_up_after_some_tens_of_thousands_of_bytes(count, is_reached):
    deceiving = TracesData()
    deceiving.resource_spans.add(schema_url="x" * 1_000)
    content = framed(deceiving.SerializeToString()) * count

    numbers, unreadable = read(content + framed(body(1)))

    assert numbers == [1] * is_reached
    assert unreadable == len(content) + len(framed(body(1))) * (not is_reached)


def filler(size, width=1):
    """Return the record of a forgotten span."""
    return framed(b"\x7a" + varint(size, width) + bytes(size))


def test_a_record_of_the_largest_size_is_read_and_one_byte_more_is_damage():
    sixteen_mebibytes = 16 * 1024 * 1024
    largest = filler(sixteen_mebibytes - 5 - 1 - 5, width=5)
    larger = filler(sixteen_mebibytes - 5 - 1 - 4, width=5)

    assert segment_of(largest).unreadable == 0
    assert segment_of(larger).unreadable == len(larger)


def test_a_checksum_without_anything_before_it_is_no_record():
    nothing = framed(b"")

    assert read(nothing + framed(body(1))) == ([1], len(nothing))


@pytest.mark.parametrize("change", [-1, 1])
def test_fields_that_do_not_end_with_the_checksum_are_damage(change):
    whole = body(1)
    size, start = read_varint(whole, 1, len(whole))
    wrong = framed(whole[:1] + varint(size + change) + whole[start:])

    assert read(wrong + framed(body(2))) == ([2], len(wrong))


def test_a_field_of_another_kind_is_damage():
    other = framed(body(1) + b"\x12\x00")

    assert read(other + framed(body(2))) == ([2], len(other))


def test_a_right_checksum_over_what_is_no_message_is_damage():
    nonsense = framed(b"\x0a\x03abc")

    assert read(nonsense + framed(body(1))) == ([1], len(nonsense))


def test_several_fields_in_one_record_are_one_record():
    both = body(1) + body(2) + b"\x7a\x03abc"
    segment = Segment(framed(both) + framed(body(3)))

    traces = [record.traces for record in segment.records()]

    assert [[span.trace_id[-1] for span in spans_of(each)] for each in traces] == [[1, 2], [3]]
    assert segment.unreadable == 0


@pytest.mark.parametrize("padding", [0, 30, 99, 100, 200, 16_000, 17_000, 3_000_000])
def test_a_record_after_damage_is_found_whatever_the_width_of_its_length(padding):
    for damage in (b"x", b"\x85", b"\xff" * 9, framed(body(9))[:-1], b"\x0a\x81"):
        assert read(damage + framed(body(1, padding=padding)) + framed(body(2))) == ([1, 2], len(damage))


@pytest.mark.parametrize("damage", [b"\x81", b"\x81\x82\x83", b"\xff" * 6])
def test_bytes_that_look_like_the_beginning_of_a_longer_length_hide_no_record(damage):
    assert read(damage + framed(body(1))) == ([1], len(damage))


@pytest.mark.parametrize("length", range(40, 200))
def test_what_was_forgotten_is_filled_up_to_the_last_byte(length):
    traces = TracesData()
    scope_spans = traces.resource_spans.add().scope_spans.add()
    for number in (1, 2):
        scope_spans.spans.add(trace_id=bytes([number]) * 16, span_id=bytes([number]) * 8, name="x" * (length - 40))
    (record,) = Segment(framed(traces.SerializeToString())).records()

    rewritten = without(record, lambda span: span.trace_id[0] == 1)

    assert len(rewritten) == record.end - record.start
    segment = Segment(varint(len(rewritten)) + rewritten)
    assert [span.trace_id[0] for left in segment.records() for span in spans_of(left.traces)] == [2]
    assert segment.unreadable == 0


def test_a_resource_of_which_no_span_is_left_is_forgotten_with_them():
    traces = TracesData()
    for number, service in ((1, "secret"), (2, "shop")):
        resource_spans = traces.resource_spans.add()
        resource_spans.resource.attributes.add(key="service.name").value.string_value = service
        for _ in range(2):
            resource_spans.scope_spans.add().spans.add(trace_id=bytes([number]) * 16, span_id=bytes(8))
    (record,) = Segment(framed(traces.SerializeToString())).records()

    rewritten = without(record, lambda span: span.trace_id[0] == 1)

    assert b"secret" not in rewritten
    assert b"shop" in rewritten


def test_half_a_record_is_a_segment_only_if_what_is_there_can_be_its_beginning():
    half = framed(body(1, padding=200))[:-50]
    _, start = read_varint(half, 0, len(half))
    field, _ = read_varint(half, start + 1, len(half))

    assert is_segment(half)
    assert not is_segment(varint(len(half) - start) + half[start:]), "it would be whole"
    assert not is_segment(varint(field) + half[start:]), "its field would be larger than it"
    assert is_segment(varint(field + 1, 2) + half[start:])
    assert not is_segment(half[:start] + b"\x0b" + half[start + 1 :])
    assert not is_segment(b"\x80" * 6)
    assert not is_segment(half[: start + 1])


@pytest.mark.parametrize("text", [b"", b"text", b"x" * 127, b"x" * 128, b"x" * 20_000])
def test_the_text_of_a_note_comes_back(text):
    content = note(text)
    (part,) = Segment(content).bodies()

    assert note_in(content[part.start : part.fields_end]) == text


@pytest.mark.parametrize("other", [b"", b"\x7a", b"\x0a\x04text", b"\x7a\x04textmore", b"\x7a\x05text", b"\x7a\xff"])
def test_what_is_not_only_a_note_has_no_text(other):
    assert note_in(other) is None


def test_the_places_of_records_are_told_beside_damage_which_counts_as_it_does_when_they_are_read():
    records = [framed(body(1)), framed(body(2, padding=200)), framed(body(3))]
    content = b"\x81".join((b"xyz", *records)) + b"half"
    segment = Segment(content, len(content) + 7)

    places = list(segment.bodies())

    assert [content[place.beginning : place.end] for place in places] == records
    assert [content[place.start : place.fields_end] for place in places] == [body(1), body(2, padding=200), body(3)]
    assert segment.unreadable == len(content) + 7 - sum(map(len, records))
