"""The larger examples, run as their README says, and what they left in the real Jaeger."""

import importlib.util
import json
import os
import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.ports import free_ports
from support.programs import clean_environment, run

EXAMPLES = Path(__file__).parents[3] / "examples"
STATUS_ERROR = 2


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def installed():
    """Skip the test, or fail it where the stack is required, if what an example imports is not installed."""

    def check(*modules, extra="examples"):
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            reason = f"{', '.join(missing)} is not installed: pip install 'otelflow[{extra}]'"
            if os.environ.get("OTELFLOW_REQUIRE_STACK") == "1":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)

    return check


@dataclass
class Span:
    """What Jaeger says of one span."""

    id: str
    parent: str
    name: str
    service: str
    start: int
    has_failed: bool
    attributes: dict
    events: list
    children: list = field(default_factory=list)

    def lines(self, depth=0, services=False):
        """This span and what is below it, one line each; ✗ stands before what failed."""
        service = f" · {self.service}" if services else ""
        yield "  " * depth + ("✗ " if self.has_failed else "") + self.name + service
        for child in sorted(self.children, key=lambda span: span.start):
            yield from child.lines(depth + 1, services)

    def find(self, name):
        """Every span of that name, here and below, in order of their start."""
        below = [span for child in sorted(self.children, key=lambda span: span.start) for span in child.find(name)]
        return [self, *below] if self.name == name else below

    def event(self, name):
        """The attributes of the only event of that name."""
        (attributes,) = (attributes for event, attributes in self.events if event == name)
        return attributes


@pytest.fixture
def read_tree(jaeger, tools):
    """Read a trace from Jaeger until it has at least *count* spans, and give its only root."""

    def read(trace_id, count):
        def spans():
            status, text = tools.get(f"{jaeger}/api/v3/traces/{trace_id}")
            listed = list(spans_in(json.loads(text))) if status == 200 else []
            return listed if len(listed) >= count else None

        by_id = {span.id: span for span in tools.wait_for(spans, seconds=60, event=f"{count} spans of {trace_id}")}
        roots = [span for span in by_id.values() if span.parent not in by_id]
        for span in by_id.values():
            if span.parent in by_id:
                by_id[span.parent].children.append(span)
        assert [(root.name, root.parent) for root in roots if root.parent or len(roots) > 1] == [], "not one whole tree"
        return roots[0]

    return read


def spans_in(answer):
    for group in answer["result"]["resourceSpans"]:
        service = plain(group["resource"]["attributes"])["service.name"]
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                attributes = plain(span.get("attributes", []))
                yield Span(
                    id=span["spanId"],
                    parent=span.get("parentSpanId", ""),
                    name=span["name"],
                    service=service,
                    start=int(span["startTimeUnixNano"]),
                    # A task that was allowed to fail has no status: its result tells.
                    has_failed=span.get("status", {}).get("code", 0) == STATUS_ERROR
                    or attributes.get("otelflow.run.result") == "failure",
                    attributes=attributes,
                    events=[(event["name"], plain(event.get("attributes", []))) for event in span.get("events", [])],
                )


def plain(attributes):
    return {attribute["key"]: next(iter(attribute["value"].values()), "") for attribute in attributes}


@pytest.fixture
def otelflow_run(collector, tmp_path):
    """Do ``otelflow run …`` in an empty folder, sending to the Collector; give the process and the id of its trace."""

    def command(*words, **environment):
        done = run(
            *(sys.executable, "-m", "otelflow", "run", *words),
            cwd=tmp_path,
            OTELFLOW_STORE=tmp_path / "store",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector,
            **environment,
        )
        assert "otelflow: flow" in done.stderr, done.stderr
        return done, re.findall(r"trace ([0-9a-f]{32})", done.stderr)[-1]

    return command


@pytest.fixture(scope="module")
def postgres(tools, tmp_path_factory):
    """The URL of a PostgreSQL that nobody has used."""
    folder, (port,) = tmp_path_factory.mktemp("postgres"), free_ports(1)
    log = folder / "postgres.log"

    def accepts():
        return "ready to accept connections" in log.read_text()

    with tools.running("PostgreSQL", [tools.program("postgres"), folder, "-p", port], ready=accepts, log=log):
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="session")
def starting(tools):
    """Start an example that serves until it is told to end; its environment says nothing of telemetry by itself."""

    @contextmanager
    def start(name, command, *, ready, folder, **environment):
        clean = clean_environment(**environment)
        unset = {name: "" for name in os.environ if name not in clean}
        log = folder / "program.log"
        with tools.running(name, command, ready=ready, log=log, **unset | clean) as process:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    return start
