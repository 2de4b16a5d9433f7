"""Call the span processors of a provider; those whose hooks do nothing are skipped."""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

_HOOKS: Final = ("on_start", "_on_ending")
# They do nothing in the SDK's own processors.
_IDLE: Final = frozenset(
    vars(kind)[hook]
    for kind in (SpanProcessor, BatchSpanProcessor, SimpleSpanProcessor)
    for hook in _HOOKS
    if hook in vars(kind)
)


class Processors:
    """The processors of one provider, to which more may be added at any time."""

    __slots__ = ("_ending", "_members", "_root", "_starting")

    def __init__(self, root: Any) -> None:
        # Any other processor of processors tells its own as it sees fit.
        self._root: Final = root if type(root) is SynchronousMultiSpanProcessor else _SingleProcessor(root)
        self._look()

    def _look(self) -> None:
        processors = self._root._span_processors
        self._starting = tuple(processor for processor in processors if _does_something(processor, "on_start"))
        self._ending = tuple(processor for processor in processors if _does_something(processor, "_on_ending"))
        self._members = processors  # last: another thread must not find it without the others

    def started(self, span: Span, context: Context | None) -> None:
        """Tell that *span* has started with its parent in *context*."""
        if self._root._span_processors is not self._members:
            self._look()
        for processor in self._starting:
            processor.on_start(span, parent_context=context)

    def ended(self, span: Any) -> None:
        """Tell that *span* is ending, and that it has ended."""
        if self._root._span_processors is not self._members:
            self._look()
        for processor in self._ending:
            processor._on_ending(span)
        for processor in self._members:
            processor.on_end(span)


class _SingleProcessor:
    """One processor in the place of many."""

    __slots__ = ("_span_processors",)

    def __init__(self, processor: Any) -> None:
        self._span_processors: Final = (processor,)


def _does_something(processor: Any, hook: str) -> bool:
    return hook in getattr(processor, "__dict__", ()) or getattr(type(processor), hook, None) not in _IDLE
