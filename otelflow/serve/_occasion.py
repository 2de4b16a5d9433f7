"""For which time a run takes place: an attribute of its root span, written when the run starts."""

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import format_trace_id

from otelflow import Flow_Run__Event, Listener, semconv


@dataclass
class Occasion:
    """One run of a schedule, due at *moment* (Unix time), after *missed* ones that did not take place."""

    schedule: str
    moment: float
    missed: int
    trace_id: str = ""
    is_told: bool = False


#: The run that this context is for
current: Final[ContextVar[Occasion | None]] = ContextVar("otelflow_serve_occasion", default=None)


class OccasionListener(Listener):
    """Writes on the first flow of each occasion when it was due."""

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """Write it on the span that is current: that of the flow which starts."""
        occasion = current.get()
        if occasion is None or occasion.is_told:
            return
        occasion.is_told = True
        context = event.event_data.span_context
        if context is not None and context.is_valid:
            occasion.trace_id = format_trace_id(context.trace_id)
        span = trace.get_current_span()
        span.set_attribute(semconv.SCHEDULE_NAME, occasion.schedule)
        span.set_attribute(semconv.SCHEDULE_TIME, datetime.fromtimestamp(occasion.moment, UTC).isoformat())
        if occasion.missed:
            span.set_attribute(semconv.SCHEDULE_MISSED, occasion.missed)
