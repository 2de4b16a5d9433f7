"""Programs in processes of their own: a clean environment, a limit of time, what they print and what they export."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

# What the caller's shell says of telemetry is not to be tested.
_OF_THE_CALLER = ("OTEL", "PROMETHEUS", "TRACE")


def clean_environment(**variables):
    """Return the environment of this process without the variables of telemetry, and with *variables*.

    A ``PYTHONPATH`` among them goes before that of this process, which says which otelflow is tested.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_CALLER)}
    if "PYTHONPATH" in variables and "PYTHONPATH" in inherited:
        variables["PYTHONPATH"] = f"{variables['PYTHONPATH']}{os.pathsep}{inherited['PYTHONPATH']}"
    return {**inherited, **{name: str(value) for name, value in variables.items()}}


def source_of(*parts):
    """Return one program of several *parts*, each written with an indentation of its own."""
    return "\n".join(map(textwrap.dedent, parts))


#: What opentelemetry-instrument says where a distribution's configurator comes before that of otelflow
OTHER_CONFIGURATOR = "Configuration of otelflow not loaded, configurator already loaded\n"


def run(*command, cwd=None, timeout=110, check=False, is_whole=False, **environment):
    """Run *command* to its end and return its ``returncode``, ``stdout`` and ``stderr``, as text."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=check,
    )
    if OTHER_CONFIGURATOR in done.stderr and not is_whole:  # the disk decides whether it comes
        done.stderr = done.stderr.replace(OTHER_CONFIGURATOR, "", 1)
    return done


def run_python(*arguments, **keywords):
    """Do as ``run`` with ``python *arguments``: a file, or ``-m`` and a module."""
    return run(sys.executable, *arguments, **keywords)


def python(*parts, options=("-W", "error"), arguments=(), **keywords):
    """Do as ``run`` with the program that *parts* are; a warning of it is an error."""
    return run(sys.executable, *options, "-c", source_of(*parts), *arguments, **keywords)


def start(*command, cwd=None, is_fed=False, **environment):
    """Start *command* and return the running process; the caller reads its output, and writes its input if *is_fed*."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**environment),
        stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def end(process, timeout=30):
    """Kill *process* if it still runs, and let go of its pipes."""
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=timeout)


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
        return [attributes["otelflow.message.text"] for name, attributes in self.events if name == "otelflow.message"]


class Program:
    """A Python program that runs in *folder*, and the spans that it exported with ``provide()``."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None

    def start(self, *parts, arguments=(), options=(), env=None, prelude=PRELUDE):
        """Start the program that *parts* are; ``done`` waits for its end."""
        path = self.write("program.py", *parts, prelude=prelude)
        return self.start_command([sys.executable, *options, path, *arguments], env)

    def write(self, name, *parts, prelude=PRELUDE):
        """Write a module that can set up a provider with ``provide()``."""
        path = self.folder / name
        path.write_text(source_of(prelude, *parts))
        return path

    def start_command(self, command, env=None):
        environment = {"SPANS": self.folder / "spans", "PYTHONUNBUFFERED": "1", **(env or {})}
        self.process = start(*command, cwd=self.folder, **environment)
        return self

    def run(self, *parts, **keywords):
        return self.start(*parts, **keywords).done()

    def line(self):
        """Wait for the next line that the program prints."""
        return self.process.stdout.readline().rstrip("\n")

    def send(self, number):
        self.process.send_signal(number)

    def done(self, timeout=110):
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
        (span,) = (span for span in self.spans if span.name == name)
        return span
