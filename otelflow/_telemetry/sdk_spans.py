"""Choose what makes the spans of runs for a tracer of the SDK: ``RunSpanMaker``, if it does what the tracer does.

It leans on private parts of the SDK, which may be others in any version. So once per provider both make spans on trial,
and where anything differs the SDK's tracer makes the spans. No sampler or processor of the program is told of a trial.
"""

import functools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, Tracer, TracerProvider, sampling
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.version import __version__
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from otelflow._core.process import forks, losses
from otelflow._core.process.provider import TracerSpanMaker
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import comes_from_outside
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow._telemetry.span import RunSpan
from otelflow._telemetry.span_maker import RunSpanMaker

if TYPE_CHECKING:
    from otelflow._core.process.provider import SpanMaker

# A ratio of a half takes it, a ratio of a quarter does not.
_TRACE_ID: Final = (1 << 126) | (1 << 62)
_SAMPLERS: Final = (
    sampling.ParentBased(sampling.ALWAYS_ON),
    sampling.ALWAYS_OFF,
    sampling.ParentBased(sampling.ALWAYS_OFF, sampling.TraceIdRatioBased(0.5), sampling.ALWAYS_ON),
    sampling.ParentBasedTraceIdRatio(0.5),
    sampling.TraceIdRatioBased(0.25),
)
_STATE: Final = TraceState([("vendor", "x")])
_PARENTS: Final = (
    SpanContext(0, 0, False),
    SpanContext(_TRACE_ID, 2, False, TraceFlags(1), _STATE),
    SpanContext(_TRACE_ID, 2, False, TraceFlags(2)),
    SpanContext(_TRACE_ID, 2, True, TraceFlags(3), _STATE),
    SpanContext(_TRACE_ID, 2, True, TraceFlags(0)),
)
# The SDK's spans always have something to call at their end, and a lock that a signal handler waits for in vain.
_MAY_DIFFER: Final = frozenset({"_record_end_metrics", "_lock"})
_lock: Final = forks.new_lock()


class _SameIds(IdGenerator):
    def generate_span_id(self) -> int:
        return 1

    def generate_trace_id(self) -> int:
        return _TRACE_ID

    def is_trace_id_random(self) -> bool:
        return True


class _Log(SpanProcessor):
    """Notes what a processor is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.lines.append(("on_start", span.is_recording(), dict(span.attributes or {}), parent_context))

    def _on_ending(self, span: Span) -> None:
        self.lines.append(("_on_ending", span.is_recording()))

    def on_end(self, span: ReadableSpan) -> None:
        self.lines.append(("on_end", span.name, dict(span.attributes or {}), span.context, span.end_time))


@functools.cache
def _trial() -> tuple[Any, _Log]:
    # Once for the process: the SDK lets each provider be called in every forked child, for ever.
    provider = TracerProvider(sampling.ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False, id_generator=_SameIds())
    log = _Log()
    provider.add_span_processor(log)
    return provider.get_tracer("trial", "1", "https://example.org/schema"), log


def span_maker(tracer: Tracer) -> "SpanMaker":
    """Return what makes the spans of *tracer*: a maker of ours, or the tracer if its SDK is another one."""
    if type(tracer) is Tracer:
        try:
            difference = difference_on_trial()
        except Exception as error:  # an SDK that is not known may raise anything
            if comes_from_outside(error):
                raise
            difference = f"{type(error).__name__}: {error}"
        if not difference:
            return RunSpanMaker(tracer)
        message = "opentelemetry-sdk %s makes the spans itself: %s is not as expected"
        log(losses.logger, logging.DEBUG, message, __version__, difference)
    return TracerSpanMaker(tracer)


def difference_on_trial() -> str:
    """Return in what the spans of the SDK on trial and ours differ, or nothing."""
    with _lock:
        tracer, log = _trial()
        tracer.id_generator = _SameIds()
        for sampler in _SAMPLERS:
            tracer.sampler = sampler
            for parent in _PARENTS:
                context = set_span_in_context(NonRecordingSpan(parent), Context())
                spans, logs = [], []
                for maker in (TracerSpanMaker(tracer), RunSpanMaker(tracer)):
                    log.lines = []
                    span: Any = maker.start("trial", context, lambda: {"a": "b"}, 1_000)
                    if sampler is _SAMPLERS[0]:  # once is enough: with each it would take milliseconds
                        _write_on(span)
                    span.end(3_000)
                    spans.append(span)
                    logs.append(log.lines)
                if logs[0] != logs[1]:
                    return "what processors are told"
                difference = _difference_of(*spans, is_whole=sampler is _SAMPLERS[0])
                if difference:
                    return difference
        # Below spans of its own, and with ids that it knows, ours takes shorter roads.
        tracer.id_generator = SystemIdGenerator()  # the SDK's own would draw from the program's randomness
        for tracer.sampler in (sampling.DEFAULT_ON, sampling.ALWAYS_OFF):
            if _generations(TracerSpanMaker(tracer)) != _generations(RunSpanMaker(tracer)):
                return "the child of a span"
    return ""


def _generations(maker: "SpanMaker") -> list[object]:
    """Return a span without a parent, its child, and the child's child, as far as their ids are no matter."""
    context, generations = Context(), []
    for _ in range(3):
        span: Any = maker.start("trial", context, lambda: {"a": "b"}, 1_000)
        context = set_span_in_context(span, Context())
        generations.append(span)
    first = generations[0].get_span_context()
    return [
        (
            span.is_recording(),
            span.get_span_context()[2:],
            span.get_span_context().trace_id == first.trace_id,
            getattr(span, "parent", None) == getattr(parent, "context", None),
            dict(getattr(span, "attributes", {})),
        )
        for parent, span in zip([None, *generations], generations, strict=False)
    ]


def _write_on(span: Any) -> None:
    """Do with *span* all that can be done with one, but what is logged."""
    span.set_attribute("n", 1)
    span.set_attribute("a", "c")
    span.set_attributes({"list": [1, 2], "b": True})
    span.add_event("event", {"a": "b"}, 2_000)
    span.add_event("empty", None, 2_000)
    span.add_link(SpanContext(3, 4, True), {"a": "b"})
    span.set_status(Status(StatusCode.ERROR, "trial"))
    span.update_name("renamed")


def _difference_of(span: Any, own: Any, *, is_whole: bool) -> str:
    ids, own_ids = span.get_span_context(), own.get_span_context()
    if (type(ids), ids) != (type(own_ids), own_ids) or type(own).mro().count(type(span)) != 1:
        return "the ids of a span"
    if is_whole and isinstance(span, ReadableSpan):
        if type(own) is not RunSpan or dict(_public_parts(span)) != dict(_public_parts(own)):
            return "what is exported"
        for name, part in vars(span).items():
            if name not in _MAY_DIFFER and type(getattr(own, name)) is not type(part):
                return name
            if name == "_attributes" and _state_of(part) != _state_of(getattr(own, name)):
                return name
    return ""


def _state_of(attributes: Any) -> dict[str, object]:
    """Return what *attributes* consist of, with the types: not every dictionary can do what a subclass can."""
    return {name: (type(part), part) for name, part in vars(attributes).items() if name != "_lock"}


def _public_parts(span: ReadableSpan) -> Iterator[tuple[str, object]]:
    """Yield each public part of *span* in a form that can be compared."""
    yield "json", span.to_json()
    for name, member in vars(ReadableSpan).items():
        if not isinstance(member, property) or name.startswith("_") or name == "instrumentation_info":  # deprecated
            continue
        part: Any = getattr(span, name)
        if name == "status":
            part = part.status_code, part.description
        elif name in ("events", "links"):
            part = [(_state_of(item.attributes), item.dropped_attributes) for item in part]
        elif name == "attributes":
            part = list(part.items())
        yield name, part
