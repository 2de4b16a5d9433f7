"""Tell whether a trace arrived whole in Jaeger: each span that the local store has, and no other of the same process.

A trace may be more than what was recorded here: a flow inside a request of another program is a part of its trace.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME

from otelflow import semconv
from otelflow._cli._http import Unreachable, get, without_path
from otelflow._core.process import clock

_POLL_SECONDS: Final = 0.5
MISSING: Final = "is missing"
_WRITTEN_WITH_EXPONENT: Final = 1e21

Span = dict[str, Any]


class Difference(NamedTuple):
    """One span that is not in Jaeger as it was recorded."""

    span_id: str
    name: str
    fault: str


def verify(recorded: Mapping[str, Any], jaeger: str, trace_id: str, *, wait_seconds: float) -> list[Difference]:
    """Compare *recorded* (OTLP JSON) with what the Jaeger at *jaeger* has, for at most *wait_seconds*.

    Returns no difference when the trace arrived whole. Raises Unreachable.
    """
    expected = {span["span_id"]: span for span in spans_of(recorded)}
    deadline = clock.monotonic() + wait_seconds
    while True:
        answer = get(jaeger, f"/api/v3/traces/{trace_id}")
        document = answer.body if isinstance(answer.body, dict) else None
        # Jaeger says in JSON that it has no such trace; another server does not.
        if document is None or not (answer.status == 404 or (answer.status == 200 and "result" in document)):
            reason = f"/api/v3/traces answered {answer.status}{answer.redirect}"
            raise Unreachable(jaeger, reason, f"is not Jaeger's query address (port 16686{without_path(jaeger)})")
        try:
            spans = {span["span_id"]: span for span in spans_of(document.get("result", {}))}
        except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
            # Anything may be in the JSON of another server.
            reason = "/api/v3/traces answered with JSON that is no trace"
            raise Unreachable(jaeger, reason, "is not Jaeger's query address (port 16686)") from None
        differences = list(compare(expected, spans))
        if not differences or not clock.monotonic() <= deadline:  # nan is no time to wait
            return differences
        clock.sleep(_POLL_SECONDS)


def compare(expected: Mapping[str, Span], arrived: Mapping[str, Span]) -> Iterator[Difference]:
    """Yield spans that are missing, that differ, or that were not recorded though a recorded one is around them."""
    for span_id, span in expected.items():
        if span_id not in arrived:
            yield Difference(span_id, span["name"], MISSING)
            continue
        fields = [field for field in span if span[field] != arrived[span_id][field]]
        if fields:
            yield Difference(span_id, span["name"], f"differs in {', '.join(fields)}")
    processes = {span["process"] for span in expected.values()}
    for span_id, span in arrived.items():
        if semconv.RUN_MARKER in span["attributes"]:
            continue  # it says that a flow has begun, which is sent only
        if span_id not in expected and span["process"] in processes and _is_below(span, arrived, expected):
            yield Difference(span_id, span["name"], "was not recorded here")


def _is_below(span: Span, arrived: Mapping[str, Span], expected: Mapping[str, Span]) -> bool:
    """Tell whether *span* is inside one of *expected*; a caller is not, nor are its other children."""
    ancestors = set()
    parent = span["parent"]
    while parent is not None and parent not in expected and parent not in ancestors and parent in arrived:
        ancestors.add(parent)
        parent = arrived[parent]["parent"]
    return parent in expected


def spans_of(document: Mapping[str, Any]) -> Iterator[Span]:
    """Yield each span of an OTLP JSON document in a comparable form."""
    for resource in document.get("resourceSpans", []):
        of_process = _texts(resource.get("resource", {}))
        process = tuple(of_process.get(key, "") for key in (SERVICE_NAME, SERVICE_INSTANCE_ID))
        for scope in resource.get("scopeSpans", []):
            for span in scope.get("spans", []):
                status = span.get("status", {})
                yield {
                    "span_id": str(span["spanId"]),
                    "process": process,
                    "parent": str(span.get("parentSpanId") or "") or None,
                    "name": str(span.get("name", "")),
                    "kind": span.get("kind", 0),
                    "start": int(span.get("startTimeUnixNano", 0)),
                    "end": int(span.get("endTimeUnixNano", 0)),
                    "status": (status.get("code", 0), status.get("message") or ""),
                    "attributes": _texts(span),
                    "events": sorted(
                        (int(event.get("timeUnixNano", 0)), event.get("name", ""), json.dumps(_texts(event)))
                        for event in span.get("events", [])
                    ),
                    # Jaeger's older storages keep the ids of a link and nothing else of it.
                    "links": sorted(
                        (link.get("traceId", ""), link.get("spanId", "")) for link in span.get("links", [])
                    ),
                }


def _texts(owner: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of *owner* as texts: Jaeger's storage keeps a list or a dict as the text of its JSON."""
    texts = {}
    for attribute in sorted(owner.get("attributes", []), key=lambda attribute: str(attribute["key"])):
        value = _plain(attribute.get("value", {}))
        if isinstance(value, str) and value.startswith(("[", "{")):
            with contextlib.suppress(ValueError, RecursionError):  # a text of the program's is what it likes
                # NaN, which is no JSON, is no number to int, either.
                value = json.loads(value, parse_float=lambda digits: _number(float(digits)), parse_constant=int)
        if isinstance(value, list | dict):
            try:
                value = json.dumps(value, sort_keys=True, allow_nan=False)
            except ValueError:
                value = ""  # JSON has no NaN and no infinity: of what holds one, Jaeger keeps nothing
        texts[attribute["key"]] = "" if value is None else str(value)
    return texts


def _plain(value: Mapping[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return _number(float(content))
        if kind == "arrayValue":
            return [_plain(item) for item in content.get("values", [])]
        if kind == "kvlistValue":
            return {str(pair["key"]): _plain(pair.get("value", {})) for pair in content.get("values", [])}
        return content
    return None


def _number(double: float) -> int | float:
    """Return *double* as a reader of JSON has it: Jaeger writes 1 for 1.0, and 1e+21 only from there on."""
    is_short = double.is_integer() and abs(double) < _WRITTEN_WITH_EXPONENT
    return int(Decimal(repr(double))) if is_short else double
