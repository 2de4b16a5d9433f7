"""The listener: a span processor with a hook for each kind of event."""

from collections.abc import Callable
from typing import Any, ClassVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otelflow._core.inside import events
from otelflow._core.inside.events import Flow_Run__Event, Flow_Run__Event_Type
from otelflow.listeners import _from_spans as from_spans


class Listener(SpanProcessor):
    """Hears about every run. Override the methods you care about; the rest do nothing.

    ``otelflow.add_listener(listener)`` lets it hear every run once, messages at once, at any sampling ratio;
    ``provider.add_span_processor(listener)`` the recorded runs of that provider, messages when the span ends. Both
    ways, it hears each run once, from the engine. A hook that raises is counted, logged once, and never breaks the run.
    """

    _overridden: ClassVar[frozenset[Flow_Run__Event_Type]] = frozenset()
    _hears_all: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._hears_all = hears_all = cls.on_event is not Listener.on_event
        cls._overridden = frozenset(
            kind
            for kind, hook in events.HOOKS.items()
            if hears_all or getattr(cls, hook) is not getattr(Listener, hook)
        )

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """A flow began; its span is open."""

    def on_flow_stop(self, event: Flow_Run__Event) -> None:
        """A flow ended, with result and duration."""

    def on_task_start(self, event: Flow_Run__Event) -> None:
        """A task began; its span is open."""

    def on_task_stop(self, event: Flow_Run__Event) -> None:
        """A task ended, with result and duration."""

    def on_message(self, event: Flow_Run__Event) -> None:
        """A run said something."""

    def on_artifact(self, event: Flow_Run__Event) -> None:
        """A run left an artifact."""

    def on_result(self, event: Flow_Run__Event) -> None:
        """A run recorded a result."""

    def on_event(self, event: Flow_Run__Event) -> None:
        """Anything happened; comes before the hook for it."""

    # Driven by the engine

    def hears(self, event_type: Flow_Run__Event_Type) -> bool:
        """Tell whether a hook for *event_type* is overridden."""
        return event_type in self._overridden

    def hear(self, event: Flow_Run__Event) -> None:
        """Call the hooks for *event*; the engine guards this call."""
        hook: Callable[[Flow_Run__Event], None] = getattr(self, events.HOOKS[event.event_type])
        if not self._hears_all:
            hook(event)
            return
        try:
            self.on_event(event)
        finally:
            hook(event)

    # Driven by the SDK

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hear of a run whose span starts, unless the engine tells of it."""
        self._hear_span(from_spans.started, span)

    def on_end(self, span: ReadableSpan) -> None:
        """Hear of what happened in a run whose span ends, and of its end, unless the engine has told of it."""
        self._hear_span(from_spans.ended, span)

    def _hear_span(self, read: Callable[[ReadableSpan], list[Flow_Run__Event]], span: ReadableSpan) -> None:
        if not events.is_listening(self):
            for event in events.guarded(self, read, span) or ():
                if event.event_type in self._overridden:
                    events.guarded(self, self.hear, event)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept back."""
        return True
