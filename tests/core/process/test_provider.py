"""Which provider makes the spans, and runs without one."""

import subprocess
import sys

import pytest

from otelflow import flow, task
from otelflow._core.runs.current import current_run
from support.flows import leaf


def test_runs_need_nobody_who_makes_spans():
    error = KeyError("still mine")

    @task
    def breaks():
        raise error

    @flow
    def bare():
        assert leaf() == 1
        return breaks()

    run = bare()
    with pytest.raises(KeyError) as raised:
        run.execute()

    assert raised.value is error
    assert (run.status, run.flow_error) == ("failure", error)
    assert [task.status for task in run.executed_tasks] == ["success", "failure"]
    assert current_run() is None


def test_an_sdk_without_a_private_name_that_is_imported_makes_the_spans_itself():
    body = """
import opentelemetry.sdk.trace as sdk
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from otelflow import configure, flow

# As if a newer SDK called its spans otherwise: its own tracer has the new name.
source = pathlib.Path(sdk.__file__).read_text().replace("_Span(", "_Renamed(")
exec(compile(source, sdk.__file__, "exec"), vars(sdk))
del sdk._Span
assert hasattr(sdk, "_Renamed")

telemetry = configure()
exporter = ConsoleSpanExporter(formatter=lambda span: span.name + "\\n")
telemetry.provider.add_span_processor(SimpleSpanProcessor(exporter))


@flow
def works():
    return 1


works().execute()
print(dict(telemetry.dropped))
"""
    done = subprocess.run(
        [sys.executable, "-c", f"import pathlib\n{body}"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == "flow works\n{}\n", done.stderr
