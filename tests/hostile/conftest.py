"""Programs in processes of their own, and what they export."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

# Spans as lines of a file. A batch processor keeps them until the provider shuts down, as it would in real life.
PRELUDE = """
import json, os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

class Lines(SpanExporter):
    def export(self, spans):
        lines = [json.dumps({
            "name": span.name, "id": span.context.span_id, "trace": span.context.trace_id,
            "parent": span.parent.span_id if span.parent else None, "pid": os.getpid(),
            "attributes": dict(span.attributes), "status": span.status.status_code.name,
            "events": [[event.name, dict(event.attributes)] for event in span.events],
            "resource": dict(span.resource.attributes),
        }) + "\\n" for span in spans]
        with open(os.environ["SPANS"], "a") as file:
            file.write("".join(lines))
        return SpanExportResult.SUCCESS

def provide(*, at_once=False, **options):
    provider = TracerProvider(**options)
    provider.add_span_processor(SimpleSpanProcessor(Lines()) if at_once else BatchSpanProcessor(Lines()))
    trace.set_tracer_provider(provider)
    return provider
"""


class Exported(NamedTuple):
    """One span that a program exported."""

    name: str
    id: int
    trace: int
    parent: int | None
    pid: int
    attributes: dict
    status: str
    events: list
    resource: dict

    @property
    def result(self):
        return self.attributes.get("otelflow.run.result")

    @property
    def messages(self):
        return [found["otelflow.message.text"] for name, found in self.events if name == "otelflow.message"]


class Program:
    """A Python program that runs in a process of its own."""

    def __init__(self, folder, python=sys.executable):
        self.folder = folder
        self.python = python
        self.process = None

    def start(self, source, *arguments, options=(), env=None, prelude=PRELUDE):
        """Start *source*; ``done`` waits for its end."""
        path = self.write("program.py", source, prelude=prelude)
        return self.start_command([self.python, *options, str(path), *arguments], env)

    def write(self, name, source, prelude=PRELUDE):
        """Write a module that can set up a provider with ``provide()``."""
        path = self.folder / name
        path.write_text(prelude + textwrap.dedent(source))
        return path

    def start_command(self, command, env=None):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "TRACE"))}
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**clean, "SPANS": str(self.folder / "spans"), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self

    def run(self, source, *arguments, **keywords):
        return self.start(source, *arguments, **keywords).done()

    def line(self):
        """Wait for the next line that the program prints."""
        return self.process.stdout.readline().rstrip("\n")

    def send(self, number):
        self.process.send_signal(number)

    def done(self, timeout=60):
        """Wait for the end of the program."""
        try:
            self.out, self.err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.out, self.err = self.process.communicate()
            pytest.fail(f"the program hangs\n{self.out}\n{self.err}")
        self.code = self.process.returncode
        return self

    @property
    def spans(self):
        """What it exported, in order."""
        path = self.folder / "spans"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Exported(**json.loads(line)) for line in lines]

    def results(self):
        """Return (name, result) of each span, in the order in which they ended."""
        ids = [span.id for span in self.spans]
        assert len(set(ids)) == len(ids), "a span was exported twice"
        return [(span.name, span.result) for span in self.spans]

    def one(self, name):
        (found,) = (span for span in self.spans if span.name == name)
        return found


@pytest.fixture
def program(tmp_path):
    made = Program(Path(tmp_path))
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.send_signal(signal.SIGKILL)
        made.process.communicate()
