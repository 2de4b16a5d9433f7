"""How a flow ended, as an exit code; and the signals that end one."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self

import otelflow
from otelflow import semconv
from otelflow._core.process.shutdown import end_signals
from otelflow._core.process.signals import OwnHandlers
from otelflow._core.runs.endings import exit_code_of
from otelflow.errors import Terminated

SUCCESS: Final = 0
FAILURE: Final = 1
BAD_INPUT: Final = 2
TELEMETRY_LOST: Final = 3
#: Of ``verify``, which loses nothing: what it was asked cannot be told
NOT_TOLD: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT
#: Nobody reads what is written any more: as of a program that SIGPIPE has ended
UNREAD: Final = 128 + 13


class Exit(NamedTuple):
    """The exit code and, when something was raised or kept inside, the exception."""

    code: int
    error: BaseException | None = None


class Termination:
    """Inside, SIGTERM and SIGHUP are exceptions, so that runs end truthfully; a second one ends the process at once."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._numbers = end_signals()
        self._handlers: OwnHandlers | None = None

    @property
    def code(self) -> int:
        """The exit code of a program that one of these signals, or Ctrl-C, interrupted."""
        return INTERRUPTED if self._signal is None else 128 + self._signal

    @property
    def cause(self) -> str:
        """`` by SIGTERM`` or the like, and nothing for Ctrl-C."""
        return "" if self._signal is None else f" by {self._signal.name}"

    def __enter__(self) -> Self:
        self._handlers = OwnHandlers(self._numbers, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        if self._handlers is not None:  # after one of the signals there are those of the system, and they stay
            self._handlers.give_back()

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self._signal = signal.Signals(number)
        for handled in self._numbers:
            signal.signal(handled, signal.SIG_DFL)
        interrupt = signal.getsignal(signal.SIGINT)
        # A running event loop cancels its main task in an orderly way when it is interrupted.
        if callable(interrupt) and interrupt is not signal.default_int_handler:
            interrupt(signal.SIGINT, frame)
        else:
            raise Terminated(self._signal.name)


def end_at_next_interrupt() -> None:
    """Let the next Ctrl-C end the process where it is: the first one has ended what could be ended in order."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def exit_of(run: Callable[[], otelflow.Flow[Any]], termination: Termination) -> Exit:
    """Call *run* and return how its flow ended; nothing that it raises comes out."""
    try:
        flow = run()
    except SystemExit as end:  # as Python does with `sys.exit(…)`
        if end.code is None:
            return Exit(SUCCESS)
        if isinstance(end.code, int):
            return Exit(end.code & 0xFF, end if end.code else None)
        return Exit(FAILURE, end)
    except KeyboardInterrupt as interrupt:
        return Exit(termination.code, interrupt)
    except BaseException as error:  # noqa: BLE001 whatever a flow raises, its end is reported
        code = exit_code_of(error)
        return Exit(code & 0xFF, error if code else None) if isinstance(code, int) else Exit(FAILURE, error)
    return Exit(FAILURE, flow.flow_error) if flow.flow_state.status in semconv.FAILED_RESULTS else Exit(SUCCESS)
