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
def fresh_process():
    """What otelflow knows of this process is forgotten before each test, and after it."""
    process.reset()
    yield
    process.reset()


@pytest.fixture(autouse=True)
def own_declarations():
    """No test finds the flows that another has declared: only so many are remembered."""
    flows = declared._declarations.flows
    before = dict(flows)
    yield
    flows.clear()
    flows.update(before)


@pytest.fixture(autouse=True)
def own_state(monkeypatch, tmp_path_factory):
    """No test finds what another has left to wait in a spool, and none leaves it in the user's home."""
    number = next(_numbers)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{number}"))


@pytest.fixture(autouse=True)
def own_provider(monkeypatch):
    """No test finds the provider that another has set for the process: OpenTelemetry lets that be done only once."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


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
