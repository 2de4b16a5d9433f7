"""Tell that a flow has begun, by a span of zero length: its own span comes when it ends, perhaps hours later."""

from collections.abc import Callable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext

from otelflow import semconv


class StartMarkers(SpanProcessor):
    """Hands a marker of each flow that begins to *delivery*, and to nobody else: it is no run, and counts as none.

    *new_span_id* returns the id of the next.
    """

    def __init__(self, delivery: SpanProcessor, new_span_id: Callable[[], int]) -> None:
        self._delivery: Final = delivery
        self._new_span_id: Final = new_span_id

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand over the marker of *span*, if that is a flow."""
        context = span.get_span_context()
        if not context.trace_flags.sampled or not span.name.startswith(semconv.FLOW_SPAN):
            return
        attributes = getattr(span, "plain_attributes", None)  # to read those that the SDK keeps would make them
        if attributes is None:
            attributes = span.attributes or {}
        if semconv.FLOW_NAME not in attributes or semconv.TASK_NAME in attributes:
            return  # of another instrumentation, or inside a task
        marker = ReadableSpan(
            name=semconv.FLOW_STARTED_SPAN + span.name.removeprefix(semconv.FLOW_SPAN),
            context=SpanContext(
                context.trace_id,
                self._new_span_id(),
                is_remote=False,
                trace_flags=context.trace_flags,
                trace_state=context.trace_state,
            ),
            parent=context,
            resource=span.resource,
            attributes={**attributes, semconv.RUN_MARKER: semconv.STARTED},
            start_time=span.start_time,
            end_time=span.start_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        self._delivery.on_end(marker)
