import itertools
import signal

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from otelflow import testing
from otelflow._core.flows import declared
from otelflow._core.process import process

# A failed assert there shows its values, too; modules that are imported later than here are rewritten.
pytest.register_assert_rewrite("support")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so the programs that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def fresh_process(tmp_path_factory):
    """Each test has what a process has that has just begun, and finds nothing that another has left.

    What otelflow knows is forgotten, and the flows that the test declares, since only so many are remembered. What it
    leaves in a spool is not in the user's home. There is no provider yet: OpenTelemetry lets one be set only once.
    """
    process.reset()
    flows = declared._declarations.flows
    before = dict(flows)
    state = tmp_path_factory.getbasetemp() / f"state-{next(_numbers)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setattr(trace, "_TRACER_PROVIDER", None)
        patch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
        yield
    flows.clear()
    flows.update(before)
    process.reset()


@pytest.fixture
def spans():
    """What the runs of the test leave in a trace, collected by the double that ships with the product."""
    with testing.flow_trace() as trace:
        yield trace


@pytest.fixture
def heard():
    """The events that listeners of every flow hear during the test."""
    from otelflow import flow_events

    events = []
    flow_events.event_listeners.append(events.append)
    yield events
    flow_events.event_listeners.remove(events.append)


@pytest.fixture
def program(tmp_path):
    """A program in a process of its own, which is over when the test is."""
    from support.programs import Program, end

    program = Program(tmp_path)
    yield program
    if program.process is not None:
        end(program.process)
