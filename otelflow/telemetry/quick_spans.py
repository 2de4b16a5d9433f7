"""Make the SDK's own spans at two thirds of its price.

``Tracer.start_span`` spends most of its time on what a run never needs: it cleans attributes that are clean, and makes
lists for events and links that most spans do not have. Sampler, id generator, limits, resource and processors are the
provider's, as ever. What is used of the SDK's private parts is compared with the SDK once per provider; where anything
is different, the SDK's tracer makes the spans.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanLimits, Tracer, TracerProvider, sampling
from opentelemetry.sdk.trace import _Span as SdkSpan  # as the SDK's tracer makes them
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace import Span as ApiSpan

from otelflow._core.spans import SpanMaker

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_UNSET: Final = Status(StatusCode.UNSET)
_RECORD: Final = sampling.Decision.RECORD_AND_SAMPLE


class _WhenNeeded:
    """A bounded list of a span that is made when somebody looks for it."""

    def __init__(self, limit: str) -> None:
        self._limit = limit

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, owner: type) -> Any:
        return span.__dict__.setdefault(self._name, BoundedList(getattr(span._limits, self._limit)))


class QuickSpan(SdkSpan):
    """A span of the SDK in every respect but the way it is made."""

    # The SDK keeps these in the instance; so does this class, from their first use on.
    _events: Any = _WhenNeeded("max_events")
    _links: Any = _WhenNeeded("max_links")

    def get_span_context(self) -> SpanContext:
        """Return the span's ids and flags."""
        return self._context

    def _readable_span(self) -> "QuickSpan":
        return self  # nothing changes any more in a span that has ended


class QuickSpanMaker:
    """Does what the SDK's ``Tracer.start_span`` does, for internal spans without links."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._limits = tracer._span_limits
        self._follows_sampled_parent = _follows_sampled_parent(tracer.sampler)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        *,
        attributes: Mapping[str, Any],
        start_time: int,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> ApiSpan:
        """Start a span that is not current; its parent is the span of *context*, or the current one."""
        tracer = self._tracer
        above = get_current_span(context).get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(above)
        parent = above if above.is_valid else None
        trace_id = tracer.id_generator.generate_trace_id() if parent is None else parent.trace_id
        decision, flags, state = _RECORD, _SAMPLED, None
        if parent is not None and self._follows_sampled_parent and parent.trace_flags.sampled and not parent.is_remote:
            state = parent.trace_state
        else:
            result = tracer.sampler.should_sample(context, trace_id, name, SpanKind.INTERNAL, attributes, ())
            decision, attributes, state = result.decision, result.attributes or {}, result.trace_state
            flags = _SAMPLED if decision.is_sampled() else _NOT_SAMPLED
        if tracer.id_generator.is_trace_id_random() if parent is None else parent.trace_flags.random_trace_id:
            flags = TraceFlags(flags | TraceFlags.RANDOM_TRACE_ID)
        own = SpanContext(trace_id, tracer.id_generator.generate_span_id(), False, flags, state)
        when_ended = tracer._tracer_metrics.start_span(parent, decision)
        if not decision.is_recording():
            return NonRecordingSpan(own)
        span = self._span(name, own, parent, attributes, when_ended)
        span._record_exception, span._set_status_on_exception = record_exception, set_status_on_exception
        span.start(start_time, context)
        return span

    def _span(
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        attributes: Mapping[str, Any],
        when_ended: Callable[[], None],
    ) -> QuickSpan:
        tracer = self._tracer
        span: Any = QuickSpan.__new__(QuickSpan)
        span.__dict__ = {
            "_name": name,
            "_context": own,
            "_kind": SpanKind.INTERNAL,
            "_instrumentation_info": tracer.instrumentation_info,
            "_instrumentation_scope": tracer._instrumentation_scope,
            "_parent": parent,
            "_start_time": None,
            "_end_time": None,
            "_attributes": _bounded(attributes, self._limits),
            "_resource": tracer.resource,
            "_status": _UNSET,
            "_sampler": tracer.sampler,
            "_trace_config": None,
            "_record_exception": False,
            "_set_status_on_exception": False,
            "_span_processor": tracer.span_processor,
            "_limits": self._limits,
            "_lock": _new_lock(),
            "_record_end_metrics": when_ended,
        }
        return span
