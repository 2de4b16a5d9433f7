"""Where a person finds a trace: its address in Jaeger, Grafana or elsewhere, as the setting ``trace_url`` says."""

from typing import Final

from otelflow._core.process.process import State
from otelflow._core.process.settings import settings

_PLACEHOLDER: Final = "{trace_id}"


class _LastTrace(State):
    """The trace of the outermost run that has ended last, 0 if there was none."""

    trace_id: int

    def reset(self) -> None:
        """Have none."""
        self.trace_id = 0

    def begin_anew(self) -> None:
        """Forget the trace in a forked child: the parent tells of it."""
        self.trace_id = 0


_last: Final = _LastTrace()


def remember(trace_id: int) -> None:
    """Let *trace_id* be the last trace of this process."""
    _last.trace_id = trace_id


def address_of(trace_id: int) -> str:
    """Return the address of a trace, or its id where no address is set."""
    digits = f"{trace_id:032x}"
    template = settings().trace_url
    return template.replace(_PLACEHOLDER, digits) if template else digits


def last_trace() -> str:
    """Return the address of the trace that has ended last, or nothing."""
    return address_of(_last.trace_id) if _last.trace_id else ""
