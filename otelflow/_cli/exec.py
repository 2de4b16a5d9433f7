"""Run any program as a flow, which its own flows are a part of."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from opentelemetry import trace

from otelflow import flow, semconv, settings, trace_environment
from otelflow._cli.run import RunOptions, run
from otelflow._core.process.shutdown import end_signals
from otelflow.errors import TargetNotFound, Terminated


def run_program(words: Sequence[str], name: str | None, options: RunOptions) -> int:
    """Run the program that *words* are as a flow called *name*, and return its exit code.

    Raises TargetNotFound when there is no such program.
    """
    program = shutil.which(words[0])
    if program is None:
        raise TargetNotFound(f"There is no program {words[0]!r:.80}: give its path, or a name that PATH finds")
    settings.check()
    flow_name = name or Path(words[0]).name

    def run_words() -> None:
        waiting_signals = HeldSignals()
        try:
            process = subprocess.Popen([*words], executable=program, env=os.environ | trace_environment())  # noqa: S603
        except BaseException:
            waiting_signals.release()
            raise
        try:
            waiting_signals.release()
            code = process.wait()
        except KeyboardInterrupt as interrupt:
            end(process, interrupt)
            raise
        finally:
            if process.returncode is not None:
                trace.get_current_span().set_attribute(semconv.PROCESS_EXIT_CODE, process.returncode)
        if code:
            reason = f"was ended by signal {-code}" if code < 0 else f"ended with the exit code {code}"
            failure = SystemExit(f"{Path(words[0]).name} {reason}")
            failure.code = 128 - code if code < 0 else code
            raise failure

    return run(flow(flow_name=flow_name)(run_words)(), options, service_name=flow_name)


class HeldSignals:
    """Keeps signals until ``release()``: one that comes while the program starts would end us, and not the program."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        numbers = [number for number in (signal.SIGINT, *end_signals()) if callable(signal.getsignal(number))]
        self._handlers = {
            number: signal.signal(number, lambda number, _: self._numbers.append(number)) for number in numbers
        }

    def release(self) -> None:
        """Put the handlers back, and raise each signal that has come meanwhile."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in self._numbers:
            signal.raise_signal(number)


def end(process: "subprocess.Popen[bytes]", interrupt: KeyboardInterrupt) -> None:
    """Hand on the signal that has ended us, and each one after it, and wait for the program as long as it takes.

    Ctrl-C has reached it without us.
    """

    def hand_on(number: int, frame: FrameType | None) -> None:
        del frame
        process.send_signal(number)

    handlers = {number: signal.signal(number, hand_on) for number in end_signals()}
    try:
        if isinstance(interrupt, Terminated):
            process.send_signal(signal.Signals[str(interrupt)])
        while process.returncode is None:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
