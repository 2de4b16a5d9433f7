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
_FAILED: Final = ("failure", "timeout", "error")


class Ending(NamedTuple):
    """The exit code and, when something was raised or kept inside, the exception."""

    code: int
    error: BaseException | None = None


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived: the flow is cancelled as by Ctrl-C."""


class _Signals:
    """Which signal, other than Ctrl-C, interrupted the flow."""

    arrived: signal.Signals | None = None


def interrupted() -> int:
    """Return the exit code of a program that was interrupted."""
    return INTERRUPTED if _Signals.arrived is None else 128 + _Signals.arrived


def by_which_signal() -> str:
    """Return `` by SIGTERM`` or the like, and nothing for Ctrl-C."""
    return "" if _Signals.arrived is None else f" by {_Signals.arrived.name}"


def _terminate(number: int, frame: FrameType | None) -> None:
    _Signals.arrived = signal.Signals(number)
    interrupt = signal.getsignal(signal.SIGINT)
    # A running event loop cancels its main task in an orderly way when it is interrupted.
    if callable(interrupt) and interrupt is not signal.default_int_handler:
        interrupt(signal.SIGINT, frame)
    else:
        raise Terminated(_Signals.arrived.name)


def _terminating() -> list[signal.Signals]:
    """Return the signals that end a flow: SIGTERM, and a terminal that is closed unless ``nohup`` says otherwise."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
        return [signal.SIGTERM, signal.SIGHUP]
    return [signal.SIGTERM]


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP are exceptions, so that runs end truthfully; a second one ends the process at once."""
    heard = _terminating()
    _Signals.arrived = None

    def first(number: int, frame: FrameType | None) -> None:
        for one in heard:
            signal.signal(one, signal.SIG_DFL)
        _terminate(number, frame)

    before = {one: signal.signal(one, first) for one in heard}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if by_which_signal() else handler)


def end_at_once_next_time() -> None:
    """Let the next Ctrl-C end the process where it is: the first one has ended what could be ended in order."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def ending_of(run: Callable[[], otelflow.Flow[Any]]) -> Ending:
    """Call *run* and return how its flow ended; nothing that it raises comes out."""
    try:
        flow = run()
    except SystemExit as end:
        return _exit(end)
    except KeyboardInterrupt as interrupt:
        return Ending(interrupted(), interrupt)
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
