"""The address at which a person finds a trace."""

import os

import pytest

from otelflow import errors
from otelflow._core.process import settings, trace_address
from support.programs import python


def test_the_template_has_the_id_in_each_place_and_without_one_the_id_is_all_there_is():
    assert trace_address.address_of(10) == "0000000000000000000000000000000a"

    settings.configure(trace_url="https://grafana/explore?a={trace_id}&b={trace_id}#{x}")

    digits = f"{10:032x}"
    assert trace_address.address_of(10) == f"https://grafana/explore?a={digits}&b={digits}#{{x}}"


@pytest.mark.parametrize("text", ["http://localhost:16686", "http://localhost/{trace}", "{}"])
def test_an_address_in_which_the_trace_has_no_place_is_refused(text):
    with pytest.raises(errors.ConfigurationError, match=r"trace_url must hold \{trace_id\}, as http://localhost:16686"):
        settings.configure(trace_url=text)


def test_the_last_trace_is_forgotten_with_the_process_and_in_a_forked_child():
    assert trace_address.last_trace() == ""
    trace_address.remember(11)
    assert trace_address.last_trace() == f"{11:032x}"

    if hasattr(os, "fork"):
        done = python(
            """
            import os
            from otelflow._core.process import trace_address
            trace_address.remember(11)
            child = os.fork()
            print(repr(trace_address.last_trace()), flush=True)
            if child:
                os.waitpid(child, 0)
            """,
            options=(),
        )
        assert sorted(done.stdout.splitlines()) == ["''", repr(f"{11:032x}")]
