"""Stored traces as standard OTLP JSON."""

import base64
import binascii
from typing import cast

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


def to_otlp_json(traces: TracesData) -> dict[str, object]:
    """Return *traces* as OTLP JSON: protobuf's JSON, but ids in hex and enums as integers.

    Args:
        traces: the spans as OpenTelemetry's protobuf message, such as ``StoredTrace.traces``.

    Returns:
        A document that ``json.dumps`` takes, and that any OTLP/JSON receiver understands.

    Example:
        >>> to_otlp_json(TracesData())
        {}

    """
    document = MessageToDict(traces, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    for key in {"traceId", "spanId", "parentSpanId"} & holder.keys():
                        holder[key] = binascii.hexlify(base64.b64decode(holder[key])).decode()
    return cast("dict[str, object]", document)
