import signal
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

PRELUDE = """
import os, signal, threading, time
from otelflow._core.process.signals import OwnHandlers

def own(number, frame): print("own", flush=True)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
HANDLERS = """
def child_that_ends_itself(is_inherited):
    handlers = OwnHandlers([signal.SIGTERM], own, are_inherited=is_inherited)
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(7)
    code = ended(child)
    handlers.give_back()
    return code, signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

print(child_that_ends_itself(False))
print(child_that_ends_itself(True))
handlers = OwnHandlers([signal.SIGTERM], own)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
handlers.give_back()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)
"""
AT_ONCE = """
handlers = OwnHandlers([signal.SIGTERM], own)
codes = set()
for _ in range(50):
    child = os.fork()
    if child == 0:
        time.sleep(20)
        os._exit(7)
    os.kill(child, signal.SIGTERM)
    codes.add(ended(child))
print(codes)
"""
IN_THE_MIDDLE = """
import os, signal
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))  # called after what is registered later
"""
RAISED = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside the thread that sends the signal once more

class Ended(BaseException): pass

def end(number, frame): raise Ended

handlers = OwnHandlers([signal.SIGTERM], end)
try:
    if os.fork() == 0:
        os._exit(7)
    threading.Event().wait(20)
except Ended:
    print("raised")
"""


def test_a_forked_child_has_the_handlers_of_before_unless_they_are_inherited(program):
    program.run(PRELUDE, HANDLERS)

    lines = [str((-signal.SIGTERM, True)), "own", str((7, True)), "True"]
    assert program.out.splitlines() == lines, program.err


def test_a_signal_that_reaches_a_child_before_its_first_step_ends_it(program):
    program.run(PRELUDE, AT_ONCE)

    assert program.out == f"{{{-signal.SIGTERM}}}\n", program.err


def test_a_signal_that_comes_while_this_process_forks_is_raised_after_that(program):
    program.run(IN_THE_MIDDLE, PRELUDE, RAISED)

    assert (program.out, program.err) == ("raised\n", "")
