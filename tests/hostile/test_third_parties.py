"""Hosts that are packages of their own; each test is skipped, and says so, where its package is not installed."""

import importlib.util
import json
import os
import signal
import sys
import textwrap
import time
import urllib.request
from pathlib import Path

import pytest

from support.ports import free_ports

FLOW = """
from otelflow import flow, task

@task
def inner(number=1):
    print("inside", number)
    return number

@flow
def outer():
    return inner() + inner(2)
"""
SPANS = [("task inner", "success"), ("task inner", "success"), ("flow outer", "success")]


def needs(*modules):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@needs("logfire")
def test_logfire_gets_flows_into_its_own_traces(program):
    source = """
    import logfire, otelflow
    logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(Lines())]
    )
    telemetry = otelflow.configure()
    with logfire.span("request"):
        print(telemetry.is_host, outer().execute().flow_return_value)
    """
    program.run(FLOW, source, env={"LOGFIRE_IGNORE_NO_CONFIG": "1"})

    assert program.out.splitlines()[-1] == "True 3"
    assert [name for name, _ in program.results()] == ["task inner", "task inner", "flow outer", "request"]
    assert program.one("flow outer").parent == program.one("request").id
    assert program.spans[0].messages == ["inside 1"]


@needs("logfire")
def test_logfire_that_is_configured_after_the_first_run_is_used_from_then_on(program):
    source = """
    outer().execute()
    import logfire
    logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(Lines())]
    )
    outer().execute()
    """
    program.run(FLOW, source)

    assert program.results() == SPANS


@needs("opentelemetry.instrumentation", "opentelemetry.distro")
def test_opentelemetry_instrument_makes_the_provider(program):
    (program.folder / "app.py").write_text(
        FLOW + "import otelflow\nprint(otelflow.configure().is_host)\nouter().execute()"
    )
    instrument = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    command = [sys.executable, "-c", instrument, sys.executable, "app.py"]
    environment = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    program.start_command(command, environment).done()

    assert program.code == 0, program.err
    assert program.out.count('"name": "task inner"') == 2
    assert program.out.count('"name": "flow outer"') == 1
    assert "True" in program.out.splitlines()


CONFIG = """
file_format: "1.0"
tracer_provider:
  processors:
    - simple:
        exporter:
          console: {}
"""


@needs("opentelemetry.configuration")
def test_a_configuration_file_makes_the_provider_and_otelflow_adds_nothing(program):
    source = """
    import otelflow
    from opentelemetry.configuration import configure_sdk, load_config_file
    first = otelflow.configure()
    configure_sdk(load_config_file(os.environ["OTEL_CONFIG_FILE"]))
    second = otelflow.configure()
    print(first.is_host, second.is_host, len(second.provider._active_span_processor._span_processors))
    outer().execute()
    """
    path = program.folder / "otel.yaml"
    path.write_text(CONFIG)
    program.run(FLOW, source, env={"OTEL_CONFIG_FILE": str(path)})

    assert program.code == 0, program.err
    assert program.out.splitlines()[0] == "True True 1"
    assert program.out.count('"name": "task inner"') == 2


def test_a_configuration_file_keeps_configure_from_making_a_provider(program):
    program.run(FLOW, "import otelflow\nprint(otelflow.configure().is_host)", env={"OTEL_CONFIG_FILE": "otel.yaml"})

    assert program.out.splitlines() == ["True"]


@needs("gevent")
def test_greenlets_have_their_own_runs(program):
    source = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, time
    from otelflow import flow, task
    @task
    def step(name, place):
        print(name, place)
        time.sleep(0.001)
        print(name, place)
    @flow
    def many(name):
        for place in range(5):
            step(name, place)
    provide(at_once=True)
    gevent.joinall([gevent.spawn(many(name).execute) for name in "abcdef"], raise_error=True)
    @task
    def forever():
        gevent.sleep(60)
    started = gevent.spawn(forever)
    gevent.sleep(0.01)
    started.kill()
    """
    program.run(source)

    assert program.code == 0, program.err
    results = program.results()
    assert results.count(("task step", "success")) == 30
    assert results.count(("flow many", "success")) == 6
    assert results[-1] == ("task forever", "cancellation")
    steps = [span for span in program.spans if span.name == "task step"]
    assert sorted(span.messages for span in steps) == [[f"{n} {p}"] * 2 for n in "abcdef" for p in range(5)]
    assert all(len({s.trace for s in steps if s.messages[0][0] == name}) == 1 for name in "abcdef")


@needs("nbclient", "nbformat", "ipykernel")
def test_a_notebook_runs_flows_sync_and_async_in_its_loop(program):
    import nbclient
    import nbformat

    cells = [
        FLOW,
        "import asyncio\n@flow\nasync def later():\n    await asyncio.sleep(0)\n    return inner(7)",
        "from otelflow import testing\nopened = testing.flow_trace(); spans = opened.__enter__()",
        "outer().execute().flow_return_value",
        "(await later().execute_async()).flow_return_value",
        "later().execute().flow_return_value",
        "1 / inner(0)",
        "print(spans)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"display_name": "this", "language": "python", "argv": command}
    folder = program.folder / "kernels" / "this"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(kernel))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(program.folder)
    try:
        nbclient.NotebookClient(notebook, kernel_name="this", timeout=60, allow_errors=True).execute()
    finally:
        os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)

    texts = ["".join(str(dict(output)) for output in cell.outputs) for cell in notebook.cells]
    assert "inside 1\\ninside 2" in texts[3]
    assert "'text/plain': '3'" in texts[3]
    assert "'text/plain': '7'" in texts[4]
    assert "'text/plain': '7'" in texts[5]
    assert "execute_async()" in texts[5]
    assert "ZeroDivisionError" in texts[6]
    assert texts[7].count("flow later · success") == 2
    assert texts[7].count("task inner · success") == 5


APP = """
from otelflow import flow, task

@task
async def inner():
    return {version}

@flow
async def outer():
    return await inner()

provide(at_once=True)

async def app(scope, receive, send):
    if scope["type"] == "http":
        value = (await outer().execute_async()).flow_return_value
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": str(value).encode()}})
"""


@needs("uvicorn")
def test_uvicorn_reloads_and_serves_flows_before_and_after(program):
    port = free_ports(1)[0]
    program.write("app.py", APP.format(version=1))
    program.start_command(
        [sys.executable, "-m", "uvicorn", "app:app", "--reload", "--port", str(port), "--log-level", "warning"]
    )
    assert answer(port, "1") == "1"
    time.sleep(1.1)  # a file system may tell the time of a change in whole seconds
    program.write("app.py", APP.format(version=2))
    assert answer(port, "2") == "2"
    program.send(signal.SIGINT)
    program.done()

    assert {span.result for span in program.spans} == {"success"}
    assert len({span.pid for span in program.spans}) == 2
    assert len(program.results()) >= 4


def answer(port, version):
    """Ask until the server answers *wanted*, for twenty seconds at most."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    text, over = None, time.monotonic() + 20
    while text != version and time.monotonic() < over:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=2) as response:
                text = response.read().decode()
        except OSError:
            time.sleep(0.05)
    return text


@needs("xdist")
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_tests_that_run_flows_run_in_parallel(program):
    tests = """
    import pytest
    from otelflow import flow, task, testing

    @task
    def inner(number):
        print("inside", number)

    @flow
    def outer(number):
        inner(number)

    @pytest.mark.parametrize("number", range(12))
    def test_flow(number, capsys):
        with testing.flow_trace() as spans:
            outer(number).execute()
        assert spans.tree() == [("flow outer", "success", [("task inner", "success", [])])]
        assert spans.messages("task inner") == [f"inside {number}"]
        assert capsys.readouterr().out == f"inside {number}\\n"
    """
    Path(program.folder / "test_it.py").write_text(textwrap.dedent(tests))
    program.start_command(
        [sys.executable, "-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider", "test_it.py"]
    ).done(timeout=240)  # three processes that import pytest and its plugins

    assert program.code == 0, program.out
    assert "12 passed" in program.out
