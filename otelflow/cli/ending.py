"""How a flow ended, as an exit code; and the signals that end one."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NamedTuple

import otelflow

SUCCESS: Final = 0
FAILURE: Final = 1
BAD_INPUT: Final = 2
TELEMETRY_LOST: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM
_FAILED: Final = ("failure", "timeout", "error")


class Ending(NamedTuple):
    """The exit code and, when something was raised or kept inside, the exception."""

    code: int
    error: BaseException | None = None


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: the flow is cancelled as by Ctrl-C."""

    def __init__(self) -> None:
        super().__init__("SIGTERM")


class _Signals:
    """Whether SIGTERM was what interrupted the flow."""

    is_terminated = False


def _terminate(_: int, frame: FrameType | None) -> None:
    _Signals.is_terminated = True
    interrupt = signal.getsignal(signal.SIGINT)
    # A running event loop cancels its main task in an orderly way when it is interrupted.
    if callable(interrupt) and interrupt is not signal.default_int_handler:
        interrupt(signal.SIGINT, frame)
    else:
        raise Terminated


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Inside, SIGTERM is an exception, so that runs end truthfully; a second one ends the process at once."""

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _terminate(number, frame)

    before = signal.signal(signal.SIGTERM, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if _Signals.is_terminated else before)


def ending_of(run: Callable[[], otelflow.Flow[Any]]) -> Ending:
    """Call *run* and return how its flow ended; nothing that it raises comes out."""
    try:
        flow = run()
    except SystemExit as end:
        return _exit(end)
    except KeyboardInterrupt as interrupt:
        return Ending(TERMINATED if _Signals.is_terminated else INTERRUPTED, interrupt)
    except BaseException as error:  # noqa: BLE001 whatever a flow raises, its end is reported
        return Ending(FAILURE, error)
    return Ending(FAILURE, flow.flow_error) if flow.status in _FAILED else Ending(SUCCESS)


def _exit(end: SystemExit) -> Ending:
    """Return what Python makes of ``sys.exit(…)``."""
    if end.code is None:
        return Ending(SUCCESS)
    if isinstance(end.code, int):
        return Ending(end.code & 0xFF, end if end.code else None)
    return Ending(FAILURE, end)
