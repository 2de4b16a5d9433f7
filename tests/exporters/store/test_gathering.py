"""One trace out of the records that it is scattered over."""

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otelflow_exporters._store.gathering import TraceCollector

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
