"""What is sent is what lies in the segment, byte for byte, whatever lies there."""

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from otelflow_exporters._otlp.encoder import encode_span
from otelflow_exporters._spool import batches
from otelflow_exporters._spool.batches import (
    CLOSED,
    item_of,
    item_of_traces,
    lost_spans,
    read_chunk,
    read_range,
    request_of,
    start_record,
)
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.records import Segment, framed

TEXTS = st.text("aü\0", max_size=200)


def ended(name="span", resource_schema="", scope_schema="", **attributes):
    resource = Resource({"service.name": "shop"}, resource_schema)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    span = provider.get_tracer("program", "1", scope_schema or None).start_span(name, attributes=attributes)
    span.end()
    return span


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.sampled_from(["", "https://a"]), st.sampled_from(["", "https://b"]), TEXTS)
def test_the_bytes_of_a_span_are_taken_as_they_lie_and_are_what_a_parser_reads(name, resource, scope, text):
    body = encode_span(ended(name, resource, scope, text=text))

    item = item_of(body, 7)

    assert (item.end, item.spans) == (7, 1)
    assert request_of([item]) == body
    assert TracesData.FromString(request_of([item_of_traces(TracesData.FromString(body), 7)])) == TracesData.FromString(
        body
    )


def test_bodies_of_one_length_are_read_whatever_the_one_before_them_held():
    open_span = TracerProvider(shutdown_on_exit=False).get_tracer("program", "1").start_span("ab")
    open_body = encode_span(open_span)
    open_span.end()
    spans = [
        ended("ab", "https://a", "https://b", text="xyz"),
        ended("ab", "https://b", "https://a", text="xyz"),
        ended("abxyz", "https://a", "https://b", text=""),
        ended("ab", "https://c", "https://b", text="xyz"),
    ]
    bodies = [encode_span(span) for span in (*spans, *reversed(spans))]
    read = [request_of([item_of(body, 0)]) for body in bodies]

    assert len(set(map(len, bodies))) == 1
    assert read == bodies
    assert [item_of(body, 0).spans for body in (encode_span(open_span), open_body, encode_span(open_span))] == [1, 0, 1]
    assert len(open_body) == len(encode_span(open_span))


@pytest.mark.parametrize("is_bare", [True, False])
def test_no_parser_is_needed_for_what_the_spool_writes(monkeypatch, is_bare):
    span = ended(text="x" * 1_000)
    if is_bare:
        span = ReadableSpan("bare", span.context, resource=Resource({}), end_time=1)
    body = encode_span(span)
    monkeypatch.setattr(batches, "parsed", None)

    assert item_of(body, 0).spans == 1


def test_a_request_holds_each_resource_and_scope_once_whoever_wrote_the_record():
    traces = TracesData()
    for name in ("a", "b"):
        traces.MergeFromString(encode_span(ended(name)))

    request = TracesData.FromString(request_of([item_of(encode_span(ended("c")), 0), item_of_traces(traces, 0)]))

    assert [len(part.scope_spans) for part in request.resource_spans] == [1]
    assert [span.name for span in request.resource_spans[0].scope_spans[0].spans] == ["c", "a", "b"]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_record_that_was_made_to_deceive_is_read_as_a_parser_reads_it_or_not_at_all(data):
    body = bytearray(encode_span(ended(text="x" * data.draw(st.sampled_from([1, 200])))))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(body[: data.draw(st.integers(0, len(body)))])

    item = item_of(body, 0)

    assert item is None or len(request_of([item])) <= len(body) + 20


NAME = "20260101T000000.000000Z-1-00000000.otlp"


@pytest.fixture
def segment(tmp_path):
    """Write a segment of these records; return its folder and where each record ends."""
    with open_store(tmp_path / "s", is_made=True, kind="spool") as store:

        def write(*records):
            (tmp_path / "s" / NAME).write_bytes(b"".join(records))
            return store, list(itertools.accumulate(map(len, records)))

        yield write


def names_of(items):
    return [
        span.name
        for part in TracesData.FromString(request_of(items)).resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]


def test_what_has_only_started_and_what_says_nothing_is_no_span():
    assert item_of(encode_span(TracerProvider().get_tracer("x").start_span("open")), 5) == (5, [], 0)
    (record,) = Segment(CLOSED).bodies()
    assert item_of(CLOSED[record.start : record.fields_end], 5) == (5, [], 0)
    assert item_of(b"no traces", 5) is None


def test_of_several_spans_in_one_record_each_is_an_own_part():
    traces = TracesData()
    for name in ("a", "b"):
        traces.MergeFromString(encode_span(ended(name)))
    item = item_of(traces.SerializeToString(), 9)

    assert (item.end, item.spans, names_of([item])) == (9, 2, ["a", "b"])


def test_spans_without_a_scope_are_taken_for_spans():
    traces = TracesData()
    spans = [TracesData.FromString(encode_span(ended(n))).resource_spans[0].scope_spans[0].spans[0] for n in "ab"]
    traces.resource_spans.add().scope_spans.add().spans.extend(spans)
    without_resource = traces.SerializeToString()
    traces.resource_spans[0].resource.SetInParent()

    for body in (traces.SerializeToString(), without_resource):
        item = item_of(body, 9)
        assert (item.spans, names_of([item])) == (2, ["a", "b"])


def test_a_part_of_a_segment_is_read_from_its_beginning_to_its_end(segment):
    folder, ends = segment(*(framed(encode_span(ended(name))) for name in "abcd"), CLOSED)

    def read(start, end):
        return names_of(read_range(folder, NAME, item_of, start, end))

    assert read(0, ends[-1]) == ["a", "b", "c", "d"]
    assert read(ends[0], ends[2]) == ["b", "c"]
    assert read(ends[0], ends[2] - 1) == ["b"]
    assert read(ends[1], ends[1]) == []
    assert all(item.spans for item in read_range(folder, NAME, item_of, 0, ends[-1]))


def test_of_a_segment_that_is_gone_no_part_is_left(segment):
    folder, _ = segment(framed(encode_span(ended())))
    folder.remove(NAME)

    assert read_range(folder, NAME, item_of, 0, 100) == []


def test_each_place_without_a_record_counts_once_and_each_record_that_is_none(segment):
    records = [framed(encode_span(ended(name))) for name in "ab"]
    folder, ends = segment(b"noise", records[0], b"more noise", framed(encode_span(ended("other"))), records[1])

    def read(body, end):
        return None if b"other" in body else item_of(body, end)

    piece = read_chunk(folder, NAME, read, 0, is_finished=False)

    assert (names_of(piece.items), piece.end, piece.unreadable) == (["a", "b"], ends[-1], 3)
    assert [item.end for item in piece.items] == [ends[1], ends[4]]


@pytest.mark.parametrize(("is_finished", "end", "unreadable"), [(True, 5, 1), (False, 0, 0)])
def test_what_is_no_record_at_the_end_is_left_for_later_until_nobody_writes_there(
    segment, is_finished, end, unreadable
):
    folder, _ = segment(b"noise")

    assert read_chunk(folder, NAME, item_of, 0, is_finished=is_finished) == ([], end, unreadable)


def test_at_the_end_of_a_segment_there_is_nothing(segment):
    folder, ends = segment(framed(encode_span(ended())))

    assert read_chunk(folder, NAME, item_of, ends[0], is_finished=True) == ([], ends[0], 0)
    assert read_chunk(folder, NAME, item_of, ends[0], is_finished=False) == ([], ends[0], 0)


def test_a_record_that_is_larger_than_what_is_read_at_once_is_read_wherever_it_lies(segment, monkeypatch):
    monkeypatch.setattr(batches, "_PIECE", 500)
    large = framed(encode_span(ended("large", text="x" * 3_000)))
    small = framed(encode_span(ended("small")))
    folder, ends = segment(small, small, large, small)
    reads = []
    pread = os.pread
    monkeypatch.setattr(batches.os, "pread", lambda *arguments: reads.append(arguments[1]) or pread(*arguments))

    pieces = [read_chunk(folder, NAME, item_of, start, is_finished=False) for start in (ends[1], ends[2], ends[3])]

    assert names_of(pieces[0].items)[0] == "large"
    assert names_of(pieces[1].items) == ["small"]
    assert pieces[2] == ([], ends[3], 0)
    assert len(reads) == 4, "only the large one is read twice"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_between_records_cost_nothing_but_themselves(tmp_path_factory, noise, number):
    folder = tmp_path_factory.mktemp("spool") / "s"
    records = [framed(encode_span(ended(f"a{index}"))) for index in range(number)]
    with open_store(folder, is_made=True, kind="spool") as store:
        (folder / NAME).write_bytes(noise.join([b"", *records, b""]))
        items, position = [], 0
        while (piece := read_chunk(store, NAME, item_of, position, is_finished=True)).end > position:
            items += piece.items
            position = piece.end

    assert names_of(items) == [f"a{index}" for index in range(number)]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 5))
def test_what_is_told_of_a_lost_process_survives_any_damage(noise, place, cut):
    span = TracerProvider(shutdown_on_exit=False).get_tracer("program").start_span("open")
    record = start_record(encode_span(span))
    content = record + noise
    content = content[:place] + b"\xff" * cut + content[place + cut :]

    lost = lost_spans(content, 5)

    is_whole = place >= len(record) or not cut
    assert len(lost) == 1 if is_whole else len(lost) <= 1


@pytest.mark.parametrize("noise", [b"\xff" * 50, b"\x01\x0a" * 3])
def test_what_started_behind_damage_is_told(noise):
    span = TracerProvider(shutdown_on_exit=False).get_tracer("program").start_span("open")

    (item,) = lost_spans(noise + start_record(encode_span(span)), 5)

    assert item.spans == 1


def lost(*, last_sign, ended=False, closed=False, **attributes):
    """Return what is reported of one span that had started in a process that is gone."""
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("program").start_span("open", attributes=attributes, start_time=1_000)
    content = start_record(encode_span(span))
    if ended:
        span.end(2_000)
        content += framed(encode_span(span))
    items = lost_spans(content + (CLOSED if closed else b""), last_sign)
    traces = TracesData.FromString(request_of(items))
    return [span for group in traces.resource_spans for scope in group.scope_spans for span in scope.spans]


@pytest.mark.parametrize(("last_sign", "end"), [(5_000, 5_000), (1_000, 1_000), (999, 1_000), (0, 1_000)])
def test_a_lost_span_ends_with_the_last_sign_of_its_process_and_never_before_it_began(last_sign, end):
    (span,) = lost(last_sign=last_sign)

    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1_000, end)


@pytest.mark.parametrize(
    ("attributes", "result"),
    [
        ({"otelflow.flow.name": "nightly"}, "error"),
        ({"otelflow.task.name": "fetch"}, "error"),
        ({"otelflow.task.name": "fetch", "otelflow.run.result": "skip"}, "skip"),
        ({"http.request.method": "GET"}, None),
    ],
)
def test_a_lost_span_is_an_error_and_a_lost_run_has_a_result(attributes, result):
    (span,) = lost(last_sign=5_000, **attributes)
    values = {attribute.key: attribute.value.string_value for attribute in span.attributes}

    assert (span.status.code, span.status.message) == (2, "the process was lost")
    assert values["error.type"] == "process_lost"
    assert values.get("otelflow.run.result") == result


@pytest.mark.parametrize("end", ["ended", "closed"])
def test_what_had_ended_or_was_given_up_is_not_lost(end):
    assert lost(last_sign=5_000, **{end: True}) == []
