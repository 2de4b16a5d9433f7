"""Tell whether a trace arrived whole in Jaeger: each span that the local store has, and nothing else."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from otelflow._cli._http import Unreachable, get

_POLL_SECONDS: Final = 0.5

Span = dict[str, Any]


class Difference(NamedTuple):
    """One span that is not in Jaeger as it was recorded."""

    span_id: str
    name: str
    what: str


def verify(recorded: Mapping[str, Any], jaeger: str, trace_id: str, *, wait_seconds: float) -> list[Difference]:
    """Compare *recorded* (OTLP JSON) with what the Jaeger at *jaeger* has, for at most *wait_seconds*.

    Returns no difference when the trace arrived whole. Raises Unreachable.
    """
    expected = {span["span_id"]: span for span in spans_of(recorded)}
    deadline = time.monotonic() + wait_seconds
    while True:
        found = {span["span_id"]: span for span in _stored(jaeger, trace_id)}
        differences = list(compare(expected, found))
        if not differences or time.monotonic() > deadline:
            return differences
        time.sleep(_POLL_SECONDS)


def _stored(jaeger: str, trace_id: str) -> list[Span]:
    answer = get(jaeger, f"/api/v3/traces/{trace_id}")
    if answer.status == 404 and isinstance(answer.body, dict):  # Jaeger says it in JSON, another server does not
        return []
    if answer.status != 200 or not isinstance(answer.body, dict) or "result" not in answer.body:
        raise Unreachable(
            jaeger, f"/api/v3/traces answered {answer.status}; is it Jaeger's query address (port 16686)?"
        )
    return list(spans_of(answer.body["result"]))


def compare(expected: Mapping[str, Span], found: Mapping[str, Span]) -> Iterator[Difference]:
    """Yield what is missing, what is too much, and what is not equal."""
    for span_id, span in expected.items():
        if span_id not in found:
            yield Difference(span_id, span["name"], "is missing")
            continue
        wrong = [field for field in span if span[field] != found[span_id][field]]
        if wrong:
            yield Difference(span_id, span["name"], f"differs in {', '.join(wrong)}")
    for span_id, span in found.items():
        if span_id not in expected:
            yield Difference(span_id, span["name"], "was not recorded here")


def spans_of(document: Mapping[str, Any]) -> Iterator[Span]:
    """Yield each span of an OTLP JSON document in a comparable form."""
    for resource in document.get("resourceSpans", []):
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                yield _comparable(span)


def _comparable(span: Mapping[str, Any]) -> Span:
    status = span.get("status", {})
    return {
        "span_id": span["spanId"],
        "parent": span.get("parentSpanId") or None,
        "name": span.get("name", ""),
        "kind": span.get("kind", 0),
        "start": int(span.get("startTimeUnixNano", 0)),
        "end": int(span.get("endTimeUnixNano", 0)),
        "status": (status.get("code", 0), status.get("message") or ""),
        "attributes": _plain(span.get("attributes", [])),
        "events": sorted(
            (int(event.get("timeUnixNano", 0)), event.get("name", ""), json.dumps(_plain(event.get("attributes", []))))
            for event in span.get("events", [])
        ),
    }


def _plain(attributes: list[Mapping[str, Any]]) -> dict[str, str]:
    """Return attributes as JSON texts: Jaeger's storage keeps a list as the text of its JSON."""
    return {one["key"]: _text(one.get("value", {})) for one in sorted(attributes, key=lambda one: str(one["key"]))}


def _text(value: Mapping[str, Any]) -> str:
    for kind, inner in value.items():
        if kind == "arrayValue":
            items = [_scalar(item) for item in inner.get("values", [])]
            return json.dumps(items, separators=(",", ":"))
        return str(_scalar({kind: inner}))
    return ""


def _scalar(value: Mapping[str, Any]) -> Any:
    for kind, inner in value.items():
        return int(inner) if kind == "intValue" else inner
    return None
