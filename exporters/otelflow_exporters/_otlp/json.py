"""Stored traces as standard OTLP JSON."""

import base64
import binascii
from typing import cast

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData


def to_otlp_json(traces: TracesData) -> dict[str, object]:
    """Return *traces* as OTLP JSON: protobuf's JSON, but ids in hex and enums as integers."""
    document = MessageToDict(traces, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                _ids_to_hex(span)
    return cast("dict[str, object]", document)


def _ids_to_hex(span: dict[str, object]) -> None:
    links = cast("list[dict[str, object]]", span.get("links", []))
    for holder in (span, *links):
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in holder:
                holder[key] = binascii.hexlify(base64.b64decode(str(holder[key]))).decode()
