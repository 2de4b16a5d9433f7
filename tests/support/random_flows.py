"""Random flows that write whatever they like on their spans, and what of it is exported, without ids and times."""

import base64
import enum
import json
import logging
import re
from dataclasses import dataclass, field
from io import StringIO

from google.protobuf.json_format import MessageToDict
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

import otelflow
from otelflow import flow, task
from otelflow._core.process import provider as core_provider
from otelflow._telemetry.id_generator import SystemIdGenerator

# What is written


class Color(enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    SEVEN = 7


class Word(str):
    __slots__ = ()


class Silent:
    """Without a text of its own."""


class Rude:
    def __str__(self):
        raise ValueError("no text")


_keys = st.one_of(st.sampled_from(["a", "b", "c", "otelflow.run.result", "otelflow.task.name"]), st.text(max_size=3))
_simple = st.one_of(st.text(max_size=6), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=4))
_odd = st.sampled_from([Color.RED, Number.SEVEN, Word("word"), Silent(), Rude(), 2**70, "\ud800", {1}, object, 3j])
_values = st.recursive(
    st.one_of(_simple, _odd),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(_keys, inner, max_size=2)),
    max_leaves=4,
)
_odd_keys = st.one_of(_keys, _keys, st.sampled_from([None, 7, b"k", Word("k")]))
_attributes = st.one_of(st.none(), st.dictionaries(_odd_keys, _values, max_size=3))
_times = st.one_of(st.none(), st.integers(0, 10**9))
_texts = st.one_of(st.none(), st.text(max_size=5))
_parents = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
    st.sampled_from([None, TraceState([("vendor", "x")])]),
)


class Fault(Exception):
    """With a text that may be odd."""


_errors = st.one_of(st.builds(Fault, st.text(max_size=5)), st.builds(KeyError, st.integers()))
_plain_attribute = st.tuples(st.just("set_attribute"), st.sampled_from("ab"), st.sampled_from(["x", 1, 2.5, True]))
_actions = st.one_of(
    *[_plain_attribute] * 6,
    st.tuples(st.just("set_attribute"), _odd_keys, _values),
    st.tuples(st.just("set_attribute"), _keys, _simple),
    st.tuples(st.just("set_attributes"), _attributes),
    st.tuples(st.just("add_event"), st.text(max_size=4), _attributes, _times),
    st.tuples(st.just("add_link"), _parents, _attributes),
    st.tuples(st.just("update_name"), st.text(max_size=4)),
    st.tuples(st.just("set_status"), st.sampled_from(StatusCode), _texts),
    st.tuples(st.just("set_status"), st.builds(Status, st.just(StatusCode.ERROR), _texts), _texts),
    st.tuples(st.just("set_status"), st.just(Status(StatusCode.OK))),
    st.tuples(st.just("record_exception"), _errors, _attributes, _times),
    st.tuples(st.just("end"), _times),
    st.tuples(st.just("start"), _times),
)
_others = st.one_of(
    st.tuples(st.just("print"), st.text(max_size=5)),
    st.tuples(st.just("span of another scope"), st.text(max_size=4)),
    st.tuples(st.just("with the span"), st.booleans()),
)


@dataclass(frozen=True)
class Node:
    """One flow or task: what it does on its span, what it runs, how it ends, and what it does after its end."""

    kind: str
    first: list
    inside: list["Node"] = field(default_factory=list)
    last: list = field(default_factory=list)
    error: Exception | None = None
    late: list = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """Flows one after the other, in a process that is set up so."""

    nodes: list[Node]
    sampler: object
    limits: tuple
    parent: SpanContext | None
    writes_at_start: list


def _nodes(inside):
    steps = st.lists(st.one_of(_plain_attribute, _actions, _others), max_size=5)
    return st.builds(
        Node,
        st.sampled_from(["flow", "task"]),
        steps,
        inside,
        steps,
        st.one_of(st.none(), st.none(), _errors),
        st.lists(_actions, max_size=2),
    )


_some = st.one_of(st.none(), st.integers(0, 4))
_ratio = sampling.TraceIdRatioBased(1.0)
programs = st.builds(
    Program,
    st.lists(
        st.recursive(_nodes(st.just([])), lambda nodes: _nodes(st.lists(nodes, min_size=1, max_size=2)), max_leaves=3),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from(
        [
            *[sampling.DEFAULT_ON] * 3,
            sampling.ALWAYS_ON,
            sampling.ALWAYS_OFF,
            sampling.ParentBased(_ratio, local_parent_sampled=_ratio),
            sampling.ParentBased(sampling.ALWAYS_ON, remote_parent_not_sampled=sampling.ALWAYS_ON),
            sampling.StaticSampler(sampling.Decision.RECORD_ONLY),
        ]
    ),
    st.one_of(st.just((128,) * 6 + (None, None)), st.tuples(*[_some] * 8)),
    st.one_of(st.none(), _parents),
    st.lists(_actions, max_size=1),
)


# Running it


class _Writing(SpanProcessor):
    """Writes on each span when it starts, and tries to when it is about to end."""

    def __init__(self, actions, outcomes):
        self.actions = actions
        self.outcomes = outcomes

    def on_start(self, span, parent_context=None):
        self.outcomes.append((span.name, parent_context, span.is_recording()))
        for action in self.actions:
            if action[0] not in ("end", "start"):
                _act(span, action, self.outcomes)

    def _on_ending(self, span):
        _act(span, ("set_attribute", "ending", 1), self.outcomes)


def _act(span, action, outcomes):
    name, *arguments = action
    try:
        if name == "print":
            print(*arguments)
        elif name == "span of another scope":
            with trace.get_tracer("other", tracer_provider=core_provider._chosen.override).start_as_current_span(
                *arguments, kind=SpanKind.CLIENT
            ) as other:
                other.set_attribute("a", 1)
        elif name == "with the span":
            with trace.use_span(span, end_on_exit=arguments[0], record_exception=True):
                raise Fault("in a with block")
        else:
            outcomes.append((name, getattr(span, name)(*arguments)))
    except Exception as error:  # noqa: BLE001 what the SDK refuses is what is compared
        outcomes.append((name, type(error)))


def _run(node, place, held, outcomes):
    def body():
        span = trace.get_current_span()
        held.append((span, node.late))
        for action in node.first:
            _act(span, action, outcomes)
        for number, inner in enumerate(node.inside):
            try:
                _run(inner, f"{place}_{number}", held, outcomes)
            except Exception as error:  # noqa: BLE001 the node's own
                outcomes.append(type(error))
        for action in node.last:
            _act(span, action, outcomes)
        if node.error is not None:
            raise node.error.with_traceback(None)

    body.__name__ = f"node_{place}"
    if node.kind == "task":
        task(body)()
    else:
        flow(body)().execute()


class _Noted(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.name, record.levelname, str(record.msg)))


def exported(program, maker):
    """Return all that comes of *program*, with *maker* as the setting ``span``."""
    outcomes, held, exporter, console = [], [], InMemorySpanExporter(), StringIO()
    provider = TracerProvider(
        program.sampler, id_generator=SystemIdGenerator(), span_limits=_limits(program.limits), shutdown_on_exit=False
    )
    provider.add_span_processor(_Writing(program.writes_at_start, outcomes))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otelflow.configure(tracer_provider=provider, span=maker)
    noted, log = _Noted(), logging.getLogger("opentelemetry")
    log.addHandler(noted)
    token = context.attach(
        context.Context()
        if program.parent is None
        else trace.set_span_in_context(NonRecordingSpan(program.parent), context.Context())
    )
    try:
        for number, node in enumerate(program.nodes):
            try:
                _run(node, str(number), held, outcomes)
            except Exception as error:  # noqa: BLE001 the node's own
                outcomes.append(type(error))
        for span, actions in held:
            for action in actions:
                _act(span, action, outcomes)
    finally:
        context.detach(token)
        log.removeHandler(noted)
    spans = exporter.get_finished_spans()
    numbers = {}
    return {
        "outcomes": outcomes,
        "log": noted.lines,
        "in memory": [_in_memory(span, numbers) for span in spans],
        "console": _or_error(lambda: _console(spans, console, numbers)),
        "otlp": _or_error(lambda: decoded(encode_spans(spans), numbers)),
        "types": [isinstance(span, trace.Span) for span, _ in held],
        "open": [(span.is_recording(), _ids(span.get_span_context(), numbers)) for span, _ in held],
    }


def _limits(numbers):
    return SpanLimits(*(SpanLimits.UNSET if number is None else number for number in numbers))


def _or_error(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001 an encoder that refuses a value refuses it both ways
        return type(error)


# What is compared


def _number(numbers, identity):
    return numbers.setdefault(identity, len(numbers)) if identity else None


def _ids(ids, numbers):
    if ids is None:
        return None
    trace_id, span_id = _number(numbers, ids.trace_id), _number(numbers, ids.span_id)
    return type(ids), trace_id, span_id, ids.is_remote, ids.trace_flags, str(ids.trace_state), ids.is_valid


_RUN_ID = re.compile(r"(?:task|flow)_id__\w+")


def _plain(values, kind=repr):
    return _RUN_ID.sub("run id", kind(values))


def _in_memory(span, numbers):
    return {
        "name": span.name,
        "kind": span.kind,
        "context": _ids(span.context, numbers),
        "parent": _ids(span.parent, numbers),
        "times": [type(span.start_time), type(span.end_time)],
        "attributes": [(key, type(value), _plain(value)) for key, value in span.attributes.items()],
        "events": [(event.name, _short(event.timestamp), _plain(dict(event.attributes))) for event in span.events],
        "links": [(link.context, _plain(dict(link.attributes))) for link in span.links],
        "status": (span.status.status_code, span.status.description),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "of events": [event.dropped_attributes for event in span.events],
        "of links": [link.dropped_attributes for link in span.links],
        "resource": span.resource.attributes == span.resource.attributes,
        "scope": (span.instrumentation_scope.name, span.instrumentation_scope.schema_url),
    }


def _short(time):
    """Return a time that the program has given; any other is another one each time."""
    return time if time is None or time < 10**12 else "now"


def _console(spans, stream, numbers):
    exporter = ConsoleSpanExporter(out=stream)
    exporter.export(spans)
    text = re.sub(r"0x[0-9a-f]+", lambda found: str(_number(numbers, int(found[0], 16))), stream.getvalue())
    return _RUN_ID.sub("run id", re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+Z", "now", text))


def decoded(request, numbers):
    """Return an OTLP request as plain data, read from its bytes."""
    request = type(request).FromString(request.SerializeToString())
    document = MessageToDict(request)
    for resource in document.get("resourceSpans", ()):
        resource["resource"] = sorted(item["key"] for item in resource["resource"].get("attributes", ()))
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    span[key] = _number(numbers, int.from_bytes(base64.b64decode(span.get(key, ""))))
                del span["startTimeUnixNano"], span["endTimeUnixNano"]
                for event in span.get("events", ()):
                    event["timeUnixNano"] = _short(int(event.get("timeUnixNano", 0)))
    return _plain(document, lambda value: json.dumps(value, sort_keys=True))
