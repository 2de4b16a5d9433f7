from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow_exporters._store.records import Segment, framed, read_varint, spans_of, varint, without


def body(number, spans=1, padding=0, resources=1):
    traces = TracesData()
    for _ in range(resources):
        scope_spans = traces.resource_spans.add().scope_spans.add()
        for index in range(spans):
            scope_spans.spans.add(
                trace_id=number.to_bytes(16, "big"), span_id=(index + 1).to_bytes(8, "big"), name="x" * padding
            )
    return traces.SerializeToString()


def found(content):
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

    assert found(content) == (list(range(1, 30)), 0)


def test_a_torn_tail_is_counted_and_costs_nothing_before_it():
    whole, torn = framed(body(1)), framed(body(2))

    assert found(whole + torn[:-1]) == ([1], len(torn) - 1)


def test_a_changed_letter_makes_a_record_unreadable_rather_than_wrong():
    content = framed(body(1)) + framed(body(2, padding=50)).replace(b"xxx", b"xyx", 1) + framed(body(3))

    assert found(content) == ([1, 3], len(framed(body(2, padding=50))))


def test_every_otlp_reader_understands_a_record():
    traces = TracesData()
    record = framed(body(1, spans=3))
    traces.ParseFromString(record[1:] if record[0] < 128 else record[2:])

    assert len(list(spans_of(traces))) == 3


def test_a_hole_of_zeros_is_skipped():
    assert found(framed(body(1)) + bytes(5000) + framed(body(2))) == ([1, 2], 5000)


def test_garbage_is_unreadable_and_no_more():
    assert found(b"\x0a" * 100_000) == ([], 100_000)
    assert found(b"") == ([], 0)


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
def test_every_record_before_and_fully_after_the_damage_is_found(damaged):
    content, before, after = damaged

    numbers, _ = found(content)

    assert numbers[: len(before)] == before
    assert numbers[len(numbers) - len(after) :] == after


@settings(deadline=None)
@given(st.binary(max_size=3000))
def test_no_content_at_all_breaks_the_reader(content):
    _, unreadable = found(content)

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
