"""Run any program as a flow, which its own flows are a part of."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from opentelemetry import trace

from otelflow import flow, semconv, settings, trace_environment
from otelflow._cli._exit_codes import Terminated
from otelflow._cli.run import RunOptions, run
from otelflow.errors import TargetNotFound

# A program that was told to end has so long; Ctrl-C and the end of a terminal have reached it without us.
_SECONDS_TO_END: Final = 10.0


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
        process = None
        try:
            with signals_later():  # one that came while it starts would leave a program behind that nobody knows of
                process = subprocess.Popen([*words], executable=program, env=os.environ | trace_environment())  # noqa: S603
            code = process.wait()
        except KeyboardInterrupt as interrupt:
            if process is not None:
                end(process, interrupt)
            raise
        trace.get_current_span().set_attribute(semconv.PROCESS_EXIT_CODE, code)
        if code:
            raise SystemExit(128 - code if code < 0 else code)

    return run(flow(flow_name=flow_name)(run_words)(), options, service_name=flow_name)


@contextlib.contextmanager
def signals_later() -> Iterator[None]:
    """Let signals that would interrupt what is inside interrupt what comes after it."""
    numbers: list[int] = []
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    handlers = {
        getattr(signal, name): signal.signal(getattr(signal, name), lambda number, _: numbers.append(number))
        for name in names
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in numbers:
            signal.raise_signal(number)


def end(process: "subprocess.Popen[bytes]", interrupt: KeyboardInterrupt) -> None:
    """Hand on the signal that has ended us, and wait for the program, which is killed when it takes too long."""
    if isinstance(interrupt, Terminated):
        process.send_signal(signal.Signals[str(interrupt)])
    try:
        process.wait(_SECONDS_TO_END)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
