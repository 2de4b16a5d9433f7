import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer

from otelflow._cli._exit_codes import Termination, exit_of
from otelflow.errors import Terminated


def test_what_a_signal_raises_can_be_pickled():
    again = pickle.loads(pickle.dumps(Terminated("SIGTERM")))

    assert (type(again), again.args) == (Terminated, ("SIGTERM",))


def test_what_a_signal_raises_knows_the_exit_code():
    assert Terminated("SIGTERM").code == 143


@pytest.mark.parametrize(
    ("error", "code", "is_kept"),
    [
        (SystemExit(), 0, False),
        (SystemExit(0), 0, False),
        (SystemExit(7), 7, True),
        (SystemExit(257), 1, True),
        (SystemExit("bye"), 1, True),
        (KeyboardInterrupt(), 130, True),
        (ValueError(), 1, True),
        (GeneratorExit(), 1, True),
        (typer.Exit(), 0, False),
        (typer.Exit(7), 7, True),
        (typer.Abort(), 1, True),
    ],
)
def test_every_exception_has_an_exit_code(error, code, is_kept):
    def run():
        raise error

    ending = exit_of(run, Termination())

    assert ending == (code, error if is_kept else None)


@pytest.mark.parametrize(
    ("status", "code"), [("success", 0), ("cancellation", 0), ("failure", 1), ("timeout", 1), ("error", 1)]
)
def test_a_flow_that_keeps_its_error_inside_fails_all_the_same(status, code):
    flow = SimpleNamespace(flow_state=SimpleNamespace(status=status), flow_error=None)

    assert exit_of(lambda: flow, Termination()).code == code


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_signal_is_an_exception_inside_and_the_handlers_come_back():
    program = (
        "import os, signal\n"
        "from otelflow._cli._exit_codes import Termination\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "with Termination() as quiet: pass\n"
        "print(quiet.code, repr(quiet.cause), signal.getsignal(signal.SIGTERM) is before)\n"
        "try:\n"
        "    with Termination() as termination: os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt as error: print(type(error).__name__, termination.code, termination.cause)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )

    done = subprocess.run([sys.executable, "-uc", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "130 '' True\nTerminated 143  by SIGTERM\n"
    assert done.returncode == -signal.SIGTERM
