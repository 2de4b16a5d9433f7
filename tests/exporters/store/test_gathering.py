"""One trace out of the records that it is scattered over."""

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow import semconv
from otelflow_exporters._store.gathering import INCOMPLETE, TraceCollector, running_and_lost

OURS, THEIRS = b"1" * 16, b"2" * 16


def record(trace_id, span, service="shop", scope="otelflow", version="1"):
    """Return one span in a record of its own."""
    traces = TracesData()
    resource_spans = traces.resource_spans.add(schema_url="https://resource")
    resource_spans.resource.attributes.add(key="service.name").value.string_value = service
    scope_spans = resource_spans.scope_spans.add(schema_url="https://scope")
    scope_spans.scope.name, scope_spans.scope.version = scope, version
    scope_spans.spans.add(trace_id=trace_id, span_id=span.encode() * 8, name=span, end_time_unix_nano=1)
    return traces


def test_each_resource_and_scope_stands_once_with_its_spans_and_other_traces_leave_nothing():
    collector = TraceCollector(OURS)
    collector.add(record(OURS, "a"))
    collector.add(record(OURS, "b"))
    collector.add(record(OURS, "c", version="2"))
    collector.add(record(OURS, "d", service="bank"))
    collector.add(record(THEIRS, "e", service="other"))
    collector.add(record(THEIRS, "f", scope="other"))

    gathered = [
        (
            resource_spans.resource.attributes[0].value.string_value,
            resource_spans.schema_url,
            [
                (
                    scope_spans.scope.name,
                    scope_spans.scope.version,
                    scope_spans.schema_url,
                    [span.name for span in scope_spans.spans],
                )
                for scope_spans in resource_spans.scope_spans
            ],
        )
        for resource_spans in collector.traces.resource_spans
    ]
    scopes = [("otelflow", "1", "https://scope", ["a", "b"]), ("otelflow", "2", "https://scope", ["c"])]
    assert gathered == [
        ("shop", "https://resource", scopes),
        ("bank", "https://resource", [("otelflow", "1", "https://scope", ["d"])]),
    ]


def notes(*names, start=100, trace_id=OURS):
    """Return a collector of the notes of open spans."""
    collector = TraceCollector(trace_id, of_notes=True)
    for name in names:
        traces = record(trace_id, name)
        span = traces.resource_spans[0].scope_spans[0].spans[0]
        span.start_time_unix_nano, span.end_time_unix_nano = start, 0
        collector.add(traces)
    return collector


def test_a_note_is_none_of_the_spans_that_have_ended_and_the_other_way_round():
    collector, of_notes = TraceCollector(OURS), notes("a")
    collector.add(of_notes.traces)
    of_notes.add(record(OURS, "b"))

    assert len(collector.traces.resource_spans) == 0
    assert [span.name for span in of_notes.traces.resource_spans[0].scope_spans[0].spans] == ["a"]


def test_what_is_noted_goes_on_or_is_lost_with_its_process_unless_it_has_ended():
    ended = TraceCollector(OURS)
    ended.add(record(OURS, "e"))
    alive, gone = notes("r", "e"), notes("l", "e", "r")

    running, lost = running_and_lost(ended, {True: alive, False: gone}, 700)

    assert [(span.name, span.is_open) for span in running] == [("r", True)]
    assert [(span.name, span.is_open, span.start, span.end) for span in lost] == [("l", False, 100, 700)]
    assert lost[0].attributes[semconv.RUN_RESULT] == INCOMPLETE
    assert running[0].end > 1_700_000_000 * 10**9, "until now"


def test_a_span_never_ends_before_it_began_whatever_the_clock_says():
    running, lost = running_and_lost(
        TraceCollector(OURS), {True: notes("r", start=2**62), False: notes("l", start=2**62)}, 700
    )

    assert [span.end for span in (*running, *lost)] == [2**62, 2**62]
