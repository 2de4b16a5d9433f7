"""What a run recorded, in words that what Jaeger stored is told in too."""

import json


def as_recorded(span):
    """Tell a finished span of the SDK; test_pipeline.py tells Jaeger's spans the same way."""
    return {
        "trace_id": f"{span.context.trace_id:032x}",
        "span_id": f"{span.context.span_id:016x}",
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "kind": span.kind.name,
        "start": span.start_time,
        "end": span.end_time,
        "status": span.status.status_code.name,
        "status_text": span.status.description,
        "attributes": flat(span.attributes),
        "events": sorted([event.timestamp, event.name, flat(event.attributes)] for event in span.events),
    }


def flat(attributes):
    """Jaeger's format on disk knows no lists: it keeps them as JSON text."""
    return {
        key: json.dumps(list(value), separators=(",", ":")) if isinstance(value, tuple | list) else value
        for key, value in (attributes or {}).items()
    }
