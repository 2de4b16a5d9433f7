import signal

import pytest

from otelflow import testing

pytest.register_assert_rewrite("support")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so the programs that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def spans():
    """What the runs of the test leave in a trace, collected by the double that ships with the product."""
    with testing.flow_trace() as trace:
        yield trace
